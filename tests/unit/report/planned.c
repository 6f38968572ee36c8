/* SPDX-License-Identifier: Apache-2.0 */
#include "planned.h"

#include <criterion/criterion.h>

#include "fixture_models.h"

static const int64_t counts[] = {16, 64}, batch[] = {128}, one[] = {1}, tp[] = {2, 4}, pp[] = {1, 2};

void planned_make(planned *p) {
  *p = (planned){.file = {.name = "plan & run", .question = "on what <1>?"}};
  p->device[0] = (fc_train_search_device){"h100", &fixture_h100_profile, 3 / 3600.0, 2, counts};
  p->device[1] = (fc_train_search_device){"h<800>", &fixture_h800_profile, 2 / 3600.0, 2, counts};
  p->search =
      (fc_train_search_def){.model = &fixture_llama_8b,
                            .n_devices = 2,
                            .devices = p->device,
                            .tokens = 1e12,
                            .base = {.sequence = 4096},
                            .tp = {2, tp},
                            .pp = {2, pp},
                            .micro_batch = {1, one},
                            .global_batch = {1, batch},
                            .wall_s = 30 * 86400.0,
                            .memory = 0.6,
                            .failure = {.device_mtbf_s = 1e8, .restart_s = 600, .checkpoint_write_s = 5},
                            .margin = FC_TRAIN_SEARCH_MARGIN,
                            .threads = 1};
  p->answer = (fc_train_plan_answer){.def = &p->file, .search = &p->search, .result = &p->result};
  for (double share = 0.2; share < 1; share += 0.02) { /* until a little memory is lacking */
    p->search.memory = share;
    cr_assert_eq(fc_train_search_run(&p->result, &p->search, NULL), FC_OK);
    if (p->result.n == 4 && p->result.n_feasible_groups == 2 && p->result.n_near) return;
    fc_train_search_result_fini(&p->result);
  }
  cr_assert(false, "no scene with a near miss");
}

void planned_free(planned *p) {
  fc_train_search_result_fini(&p->result);
}
