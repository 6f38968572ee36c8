/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_training.h"

#include <criterion/criterion.h>

static const double hour = 3600;

static void fill_phase(fake_training *f) {
  fc_train_phase_answer *p = &f->answer.phase[0];
  *p = (fc_train_phase_answer){.name = "main <1>",
                               .composed = true,
                               .tokens = 1e9,
                               .steps = 1000,
                               .update_s = 90 * hour,
                               .rollout_s = 10 * hour,
                               .work_s = 100 * hour,
                               .watts = 500,
                               .closed_form_device_s = 1700 * hour,
                               .reported_device_s = 1650 * hour};
  p->estimate = (fc_train_estimate){.plan = {.devices = 16,
                                             .tp = 2,
                                             .pp = 2,
                                             .cp = 1,
                                             .ep = 1,
                                             .micro_batch = 1,
                                             .global_batch = 64,
                                             .sequence = 4096,
                                             .gemm = FC_DTYPE_FP8},
                                    .step_s = 10,
                                    .step_log_sd = 0.1,
                                    .tokens_per_s = 1e4,
                                    .flop_per_token = 1e9,
                                    .mfu = 0.4,
                                    .memory_bytes = 60e9,
                                    .fits = true,
                                    .bubble = 0.1,
                                    .exposed_comm = 0.05,
                                    .watts = 500,
                                    .goodput = 0.95};
  p->step = (fc_train_step){
      .seconds = 10, .attention_s = 2, .dense_s = 4, .experts_s = 1, .bubble_s = 1, .comm_s = 0.5};
  p->memory = (fc_train_memory){.weight_bytes = 20e9, .activation_bytes = 40e9, .total_bytes = 60e9};
  f->answer.phase[1] = (fc_train_phase_answer){
      .name = "stated", .work_s = 5 * hour, .watts = 700, .closed_form_device_s = 80 * hour};
}

static void fill_run(fake_training *f) {
  f->work[0] = (fc_recovery_phase){.work_s = 100 * hour, .log_sd = 0.1};
  f->work[1] = (fc_recovery_phase){.work_s = 5 * hour};
  f->hazard = (fc_hazard){.name = "node, \"any\"",
                          .level = FC_HAZARD_NODE,
                          .mtbf_s = fc_dist_point(40 * hour),
                          .slowdown = fc_dist_point(1),
                          .detect_s = fc_dist_point(300),
                          .restart_s = fc_dist_point(600)};
  f->recovery = (fc_recovery_def){.devices = 16,
                                  .node_devices = 8,
                                  .spare_nodes = 1,
                                  .n_phases = 2,
                                  .phases = f->work,
                                  .n_hazards = 1,
                                  .hazards = &f->hazard,
                                  .checkpoint_write_s = fc_dist_point(10),
                                  .checkpoint_flush_s = fc_dist_point(0),
                                  .repair_s = fc_dist_point(0),
                                  .replications = 20,
                                  .seed = 1};
  cr_assert_eq(fc_recovery_run(f->sample, &f->recovery, NULL), FC_OK);
}

static void fill_money(fake_training *f) {
  static const double cost[FC_COST_COUNT] = {
      [FC_COST_RENT] = 2.0 / 3600, [FC_COST_CHIP] = 20000,  [FC_COST_SERVER] = 5000,
      [FC_COST_NETWORK] = 10000,   [FC_COST_LIFE] = 1.5e8,  [FC_COST_UTILISATION] = 0.8,
      [FC_COST_PUE] = 1.25,        [FC_COST_TARIFF] = 3e-8, [FC_COST_STAFF] = 1e5};
  f->phase_name[0] = "main <1>";
  f->phase_name[1] = "stated";
  f->costs = (fc_ledger_def){.server_w = 1400,
                             .tdp_w = 700,
                             .busy_w = 500,
                             .idle_w = 70,
                             .devices = 16,
                             .spare_devices = 8,
                             .n_phases = 2,
                             .phase = f->phase_name,
                             .reported = {.device_s = 1700 * hour, .usd = 3400}};
  for (int i = 0; i < FC_COST_COUNT; i++) f->costs.cost[i] = fc_dist_point(cost[i]);
  cr_assert_eq(fc_ledger_make(&f->ledger, &f->costs, f->sample, 20, NULL), FC_OK);
}

static void fill_variants(fake_training *f) {
  f->variant[0] = (fc_train_variant_answer){.name = "first",
                                            .model = "tiny",
                                            .feasible = true,
                                            .estimate = f->answer.phase[0].estimate,
                                            .step = f->answer.phase[0].step,
                                            .memory = f->answer.phase[0].memory,
                                            .tokens = 1e9,
                                            .device_s = 1700 * hour,
                                            .usd = 3400};
  f->variant[1] = (fc_train_variant_answer){.name = "second", .model = "tiny", .why = "it does not fit"};
}

void fake_train(fake_training *f) {
  *f = (fake_training){.device = {.name = "gold", .memory_bytes = 80e9, .tdp_w = 700},
                       .model = {.name = "tiny"}};
  f->device.peak_flop_per_s[FC_DTYPE_BF16] = 1e12;
  f->profile = (fc_profile){.name = "gold", .device_name = "gold", .device = &f->device};
  f->named[0].devices = f->named[1].devices = 16;
  f->def = (fc_train_def){.name = "fake & run",
                          .question = "how long?",
                          .model = &f->model,
                          .profile = &f->profile,
                          .devices = 16,
                          .n_phases = 2,
                          .phases = f->phase,
                          .reported = {.device_s = 1700 * hour,
                                       .usd = 3400,
                                       .interruptions = 5,
                                       .goodput = 0.9,
                                       .includes = "the run",
                                       .excludes = "all else"},
                          .n_variants = 2,
                          .variants = f->named};
  f->answer = (fc_train_answer){.def = &f->def,
                                .seed = 1,
                                .n_phases = 2,
                                .recovery = &f->recovery,
                                .n_samples = 20,
                                .sample = f->sample,
                                .costs = &f->costs,
                                .ledger = &f->ledger,
                                .n_variants = 2,
                                .variant = f->variant};
  fill_phase(f);
  fill_run(f);
  fill_money(f);
  fill_variants(f);
}
