/* SPDX-License-Identifier: Apache-2.0 */
/* Whole layers as measured on a device, against the sum of what that device's own profile predicts for their
 * calls one by one: docs/kernels.md#whole-layers. usage: layers RESULTS_DIR SCENARIOS_DIR NAME...   prints a
 * table; fails where a GPU's layer misses by more than WORST, or they do in the median by more than MEDIAN.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/cost/predict.h>
#include <fleetcast/kernels/operator.h>

#include "cases.h"
#include "shipped.h"

enum { PAIRS_MAX = 128, LINE_BYTES = 2048, LAYERS_MAX = 32, LATENCY_COLUMN = 24 };
/* A tenth is what the training model claims for whole steps; layers of one device have less in them. */
static const double WORST = 0.10, MEDIAN = 0.03;

/* What a measurement file says of layers, and which implementations it has of which operator. */
typedef struct {
  struct {
    char op[32], impl[32];
  } pair[PAIRS_MAX];
  size_t n;
  double whole_us[FC_CHAIN_COUNT], parts_us[FC_CHAIN_COUNT]; /* 0: not measured */
} measured;

static void keep_pair(measured *out, const char *op, const char *impl) {
  for (size_t i = 0; i < out->n; i++)
    if (strcmp(out->pair[i].op, op) == 0 && strcmp(out->pair[i].impl, impl) == 0) return;
  if (out->n == PAIRS_MAX) return;
  (void)snprintf(out->pair[out->n].op, sizeof out->pair->op, "%s", op);
  (void)snprintf(out->pair[out->n++].impl, sizeof out->pair->impl, "%s", impl);
}

/* Fields before `latency_us` hold no quotes. */
static void keep_line(measured *out, char *line) {
  char *field[LATENCY_COLUMN + 1];
  int n = 0;
  for (char *at = line; at && n <= LATENCY_COLUMN;) {
    field[n++] = at;
    at = strchr(at, ',');
    if (at) *at++ = '\0';
  }
  if (n <= LATENCY_COLUMN) return;
  double us = strtod(field[LATENCY_COLUMN], NULL);
  if (!(us > 0)) return;
  keep_pair(out, field[0], field[1]);
  for (fc_chain_kind k = 0; k < FC_CHAIN_COUNT; k++)
    if (strcmp(field[0], fc_chain_text(k)) == 0)
      *(strcmp(field[1], "parts") == 0 ? &out->parts_us[k] : &out->whole_us[k]) = us;
}

static bool read_measured(measured *out, const char *path) {
  *out = (measured){0};
  FILE *f = fopen(path, "r");
  if (!f) return false;
  char line[LINE_BYTES];
  while (fgets(line, sizeof line, f)) keep_line(out, line);
  return fclose(f) == 0 && out->n > 0;
}

static bool was_measured(const measured *m, const char *op, const char *impl) {
  for (size_t i = 0; impl && i < m->n; i++)
    if (strcmp(m->pair[i].op, op) == 0 && strcmp(m->pair[i].impl, impl) == 0) return true;
  return false;
}

/* Seconds of one call by its fastest implementation, as the program that timed the layer chose; HUGE_VAL:
 * none. */
static double best_seconds(const fc_profile *profile, const measured *m, const fc_bench_case *c) {
  fc_problem problem;
  memset(&problem, 0, sizeof problem);
  if (fc_problem_init(&problem, c, 1, false)) return HUGE_VAL;
  fc_op op;
  fc_problem_cost(&problem, &op);
  double best = HUGE_VAL;
  for (size_t i = 0; i < profile->n_kernels; i++) {
    const fc_kernel_fit *fit = &profile->kernels[i];
    if (fit->kernel != fc_op_kernel(op.id) || fit->dtype != op.dtype || !(fit->points > 0)) continue;
    if (!was_measured(m, fc_bench_op_text(c->op), fit->impl)) continue;
    fc_predictor predictor;
    fc_predictor_init(&predictor, fit, profile->device);
    fc_prediction one;
    if (fc_predict(&one, &predictor, &op) == FC_OK) best = fmin(best, one.seconds);
  }
  return best;
}

static double layer_us(const fc_profile *profile, const measured *m, fc_bench_scale scale,
                       fc_chain_kind kind) {
  fc_cases calls;
  if (fc_chain_build(&calls, scale, kind)) return HUGE_VAL;
  double sum = 0;
  for (size_t i = 0; i < calls.n; i++) sum += best_seconds(profile, m, &calls.item[i]) * 1e6;
  fc_cases_free(&calls);
  return sum;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

typedef struct {
  double miss[LAYERS_MAX]; /* of GPUs */
  size_t n;
} misses;

/* The profile in RESULTS/NAME/profiles is named as its device. */
static bool one_device(misses *out, const char *results, const char *scenarios, const char *name) {
  char path[512];
  measured m;
  (void)snprintf(path, sizeof path, "%s/%s/measurements.csv", results, name);
  if (!read_measured(&m, path)) return false;
  bool gpu = strncmp(name, "cpu", 3) != 0;
  (void)snprintf(path, sizeof path, "%s/%s", results, name);
  const fc_profile *profile = shipped_profile_beside(path, gpu ? name : "intel-xeon-2t", scenarios);
  if (!profile) return false;
  for (fc_chain_kind k = 0; k < FC_CHAIN_COUNT; k++) {
    if (!(m.whole_us[k] > 0)) continue;
    double us = layer_us(profile, &m, gpu ? FC_SCALE_GPU : FC_SCALE_CPU, k), error = us / m.whole_us[k] - 1;
    printf("| %s | %s | %.0f | %.0f | %.0f | %+.1f %% |\n", name, strchr(fc_chain_text(k), '_') + 1,
           m.whole_us[k], m.parts_us[k], us, 100 * error);
    if (!isfinite(us)) return false;
    if (gpu && out->n < LAYERS_MAX) out->miss[out->n++] = fabs(error);
  }
  return true;
}

int main(int argc, char **argv) {
  misses all = {.n = 0};
  puts(
      "| device | layer | whole, us | its calls one by one | predicted | error |\n|---|---|---|---|---|---|");
  for (int i = 3; i < argc; i++)
    if (!one_device(&all, argv[1], argv[2], argv[i])) {
      (void)fprintf(stderr, "%s: not read, or a call of its layers that nothing predicts\n", argv[i]);
      return 1;
    }
  shipped_free();
  if (all.n == 0) return 1;
  qsort(all.miss, all.n, sizeof *all.miss, by_size);
  double median = 0.5 * (all.miss[(all.n - 1) / 2] + all.miss[all.n / 2]);
  printf("\nGPUs: %zu layers, median %.1f %% (at most %.0f), worst %.1f %% (at most %.0f)\n", all.n,
         100 * median, 100 * MEDIAN, 100 * all.miss[all.n - 1], 100 * WORST);
  return median <= MEDIAN && all.miss[all.n - 1] <= WORST ? 0 : 1;
}
