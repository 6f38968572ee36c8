/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what the model composes beside what was published, as the table of docs/model.md.  Never fitted: a
 * profile's kernels go in, these figures come out. Usage: report_anchors [DATA_DIR]   shipped models and
 * profiles of DATA_DIR (scenarios/); without: the test fixture */
#include <stdio.h>

#include "anchors.h"
#include "fixture_models.h"
#include "shipped.h"

int main(int argc, char **argv) {
  anchor_inputs in = {.deepseek_v3 = &fixture_deepseek_v3,
                      .llama_405b = &fixture_llama_405b,
                      .h100 = &fixture_h100_profile,
                      .h800 = &fixture_h800_profile};
  if (argc > 1) {
    const char *dir = argv[1];
    in = (anchor_inputs){.deepseek_v3 = shipped_model(dir, "deepseek-v3"),
                         .llama_405b = shipped_model(dir, "llama-3.1-405b"),
                         .h100 = shipped_profile(dir, "h100"),
                         .h800 = shipped_profile(dir, "h800"),
                         .h200 = shipped_profile(dir, "h200"),
                         .gb200 = shipped_profile(dir, "gb200")};
    if (!in.deepseek_v3 || !in.llama_405b) return 1;
  }
  anchor a[ANCHORS_MAX];
  size_t n = anchors_compute(a, &in);
  (void)printf(
      "| figure | unit | published | composed | error | spread | source |\n|---|---|---|---|---|---|---|\n");
  for (size_t i = 0; i < n; i++) {
    char published[48];
    (void)snprintf(published, sizeof published, a[i].low == a[i].high ? "%.5g" : "%.5g to %.5g", a[i].low,
                   a[i].high);
    (void)printf("| %s | %s | %s | %.4g | %+.0f %% | ", a[i].what, a[i].unit, published, a[i].composed,
                 anchor_error(&a[i]) * 100);
    if (a[i].log_sd > 0) (void)printf("%.0f %%", a[i].log_sd * 100);
    (void)printf(" | %s |\n", a[i].source);
  }
  shipped_free();
  return 0;
}
