/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/arena.h>
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <string.h>

#include "exhaust.h"
#include "fleet_text.h"
#include "scenario_support.h"
#include "serve_text.h"
#include "train_plan_text.h"
#include "train_text.h"

/* The arena asks malloc for 64 KiB at a time, so that failing malloc alone visits few paths: the arena's own
 * calls are made to fail one by one too (-Wl,--wrap). */

void *__real_fc_arena_alloc(fc_arena *arena, size_t size);
void *__real_fc_arena_array(fc_arena *arena, size_t count, size_t size);
char *__real_fc_arena_text(fc_arena *arena, const char *text, size_t length);
void *__wrap_fc_arena_alloc(fc_arena *arena, size_t size);
void *__wrap_fc_arena_array(fc_arena *arena, size_t count, size_t size);
char *__wrap_fc_arena_text(fc_arena *arena, const char *text, size_t length);

static struct { size_t calls, victim; } arena_chaos = {0, (size_t)-1};

void *__wrap_fc_arena_alloc(fc_arena *arena, size_t size) {
  return arena_chaos.calls++ == arena_chaos.victim ? NULL : __real_fc_arena_alloc(arena, size);
}

void *__wrap_fc_arena_array(fc_arena *arena, size_t count, size_t size) {
  return arena_chaos.calls++ == arena_chaos.victim ? NULL : __real_fc_arena_array(arena, count, size);
}

char *__wrap_fc_arena_text(fc_arena *arena, const char *text, size_t length) {
  return arena_chaos.calls++ == arena_chaos.victim ? NULL : __real_fc_arena_text(arena, text, length);
}

static const fc_load_options with_data = {
    .n_data_dirs = 1, .data_dirs = test_data_dirs, .files = &fc_input_disk};

static const char profile[] =
    "kind: profile\ndevice: alpha\nkernels:\n  - kernel: gemm\n    provenance: measured\n"
    "    coefficients: {flop_rate: 800 TFLOP/s, bandwidth: 2.5 TB/s}\n    local:\n      coordinates: [ln_m]\n"
    "      smooth: 0.2\n      length: [2]\n      rough_length: [1]\n      scale: 1\n"
    "      anchors: |\n        m,n,k,weight,scatter\n        1,2,3,4,5\n";

/* Loads, dumps, frees. */
static fc_status load_and_dump(const char *yaml, const fc_load_options *options) {
  fc_input *input;
  fc_status status = fc_input_parse(&input, "x.yaml", yaml, strlen(yaml), options, NULL);
  if (status != FC_OK) return status;
  fc_text text = {0};
  status = fc_input_dump(input, &text);
  fc_text_fini(&text);
  fc_input_free(input);
  return status;
}

static fc_status work(void *none) {
  (void)none;
  static const char *const set[] = {"pools.b.lag=3 d", "services.api.slo.tpot=20 ms"};
  fc_load_options options = with_data;
  options.n_set = 2;
  options.set = set;
  fc_status status = load_and_dump(fleet, &options);
  if (status == FC_OK) status = load_and_dump(everything, &with_data);
  if (status == FC_OK) status = load_and_dump(several, &with_data);
  if (status == FC_OK) status = load_and_dump(training, &with_data);
  if (status == FC_OK) status = load_and_dump(training_plan, &with_data);
  return status == FC_OK ? load_and_dump(profile, &with_data) : status;
}

Test(scenario_nomem, every_malloc) {
  fc_exhaust(&(fc_exhaustion){.life = work, .least = 11});
}

Test(scenario_nomem, every_arena_call) {
  for (size_t k = 0;; k++) {
    arena_chaos.calls = 0;
    arena_chaos.victim = k;
    fc_status status = work(NULL);
    bool fired = arena_chaos.calls > k;
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "arena call %zu: %s", k, fc_status_text(status));
    if (!fired) {
      cr_log_info("%zu arena calls", k);
      cr_assert_gt(k, 500);
      break;
    }
  }
}

static fc_status write_all(void *none) {
  (void)none;
  fc_text text = {0};
  fc_status status = fc_input_docs(&text);
  if (status == FC_OK) status = fc_input_schema(FC_INPUT_SCENARIO, &text);
  if (status == FC_OK) status = fc_input_explain("memory", &text, NULL);
  fc_text_fini(&text);
  return status;
}

Test(scenario_nomem, texts) {
  fc_exhaust(&(fc_exhaustion){.life = write_all});
}
