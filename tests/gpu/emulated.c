/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cases.h>
#include <data.h>
#include <session.h>
#include <tables.h>

/* Our CUDA kernels, compiled for the emulator, through the same checks as on a GPU: every operator's odd
 * shapes, random and exact data, against the double-precision reference.  usage: emulated [KERNEL] [SEED]
 * [MULTIPROCESSORS] */

#define EACH_TABLE(X)                                                                                        \
  X(grouped)                                                                                                 \
  X(wgrad) X(mla_decode) X(gqa_decode) X(rows) X(quantise) X(training) X(router) X(permute) X(stream)
#define DECLARE(name) extern const fc_implementations fc_cuda_##name;
EACH_TABLE(DECLARE)
#define ENTRY(name) &fc_cuda_##name,
static const fc_implementations *const tables[] = {EACH_TABLE(ENTRY)};

static int emulated_open(fc_machine *m, char *why) {
  (void)why;
  *m = (fc_machine){.gpu = "emulated", .capability = 90, .cache_bytes = 1e6};
  m->memory_bytes = m->free_bytes = 8e9;
  return 0;
}

static const char *emulated_text(int error) {
  (void)error;
  return "the emulator refused the launch (its message stands above)";
}

/* One multiprocessor makes persistent kernels go round their rings many times; three split the work. */
static bool check_on(const fc_session_options *options, int units) {
  fc_session s;
  if (fc_session_open(&s, options)) return false;
  s.machine.compute_units = units;
  fc_status status = fc_session_check(&s);
  const fc_check_counts *c = &s.checks;
  (void)printf("%d multiprocessors: %zu passed, %zu failed; largest error over tolerance %.3g\n", units,
               c->passed, c->failed, s.worst_ratio);
  if (status) (void)printf("%s: %s\n", fc_status_text(status), s.why);
  if (c->failed > 0) (void)printf("first: %s\n", c->first_failure);
  bool ok = !status && c->failed == 0 && c->passed > 0;
  fc_session_close(&s);
  return ok;
}

/* Sets of weights that rotate: every further set runs, and the first is still right. */
static bool rotates(const fc_bench_device *device, const fc_bench_case *c, const fc_implementation *impl) {
  fc_machine machine;
  char why[FC_WHY] = "";
  fc_data d;
  void **states;
  fc_check check = {0};
  (void)device->open(&machine, why);
  machine.compute_units = 2;
  if (fc_data_new(&d, device, &machine, c, 1, false, 3, why)) return false;
  bool ok = !impl->supports || impl->supports(&d.problem, &machine, why);
  if (!ok) { /* another case of the operator will do */
    fc_data_free(&d);
    return true;
  }
  ok = fc_data_prepare(&states, &d, impl, &machine, why) == FC_OK;
  for (size_t i = d.sets; ok && i-- > 1;) {
    fc_bench_launch launch = {impl, &d.problem, &d.args[i], states[i]};
    ok = device->run(&launch) == 0;
  }
  if (ok) ok = fc_data_check(&check, &d, impl, states[0], 0.1, why) == FC_OK && check.passed;
  if (!ok)
    (void)printf("%s by %s, %zu sets: %s%s\n", fc_bench_op_text(c->op), impl->name, d.sets, why, check.text);
  if (ok || *check.text) fc_data_release(states, &d, impl);
  fc_data_free(&d);
  return ok;
}

static bool all_rotate(const fc_bench_device *device, const char *kernel) {
  fc_cases cases;
  if (fc_cases_build(&cases, FC_SCALE_TINY, false)) return false;
  bool ok = true;
  for (size_t t = 0; t < device->n_tables; t++)
    for (size_t i = 0; i < device->tables[t]->n; i++)
      for (size_t j = 0; j < cases.n; j++) {
        const fc_implementation *impl = &device->tables[t]->item[i];
        if (cases.item[j].op != impl->op || (kernel && strcmp(kernel, fc_bench_op_text(impl->op)) != 0))
          continue;
        ok = rotates(device, &cases.item[j], impl) && ok;
      }
  fc_cases_free(&cases);
  return ok;
}

int main(int argc, char **argv) {
  fc_bench_device device = fc_bench_cpu; /* memory is memory */
  device.name = "emulated";
  device.open = emulated_open;
  device.text = emulated_text;
  device.tables = tables;
  device.n_tables = sizeof tables / sizeof *tables;
  fc_session_options options = {.device = &device, .seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1};
  options.kernel = argc > 1 && *argv[1] ? argv[1] : NULL;
  if (argc > 3) return check_on(&options, atoi(argv[3])) ? EXIT_SUCCESS : EXIT_FAILURE;
  bool one = check_on(&options, 1), three = check_on(&options, 3);
  bool rotate = all_rotate(&device, options.kernel);
  return one && three && rotate ? EXIT_SUCCESS : EXIT_FAILURE;
}
