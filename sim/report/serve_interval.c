/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include <fleetcast/report/serve.h>

const char *fc_latency_text(fc_latency latency) {
  static const char *const text[FC_LATENCIES] = {[FC_LATENCY_TTFT] = "ttft",
                                                 [FC_LATENCY_TPOT] = "tpot",
                                                 [FC_LATENCY_ITL] = "itl",
                                                 [FC_LATENCY_E2E] = "e2e"};
  return text[latency];
}

double fc_student_975(double v) {
  const double z = 1.959963984540054, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z, z9 = z7 * z * z;
  return z + (z3 + z) / (4 * v) + (5 * z5 + 16 * z3 + 3 * z) / (96 * v * v) +
         (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * v * v * v) +
         (79 * z9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * z) / (92160 * v * v * v * v);
}

double fc_batch_half_width(const double *batch, size_t n, double *mean) {
  double sum = 0, squares = 0, products = 0;
  for (size_t i = 0; i < n; i++) sum += batch[i];
  *mean = n ? sum / (double)n : 0;
  if (n < FC_BATCHES_MIN) return HUGE_VAL;
  for (size_t i = 0; i < n; i++) {
    double d = batch[i] - *mean;
    squares += d * d;
    if (i) products += d * (batch[i - 1] - *mean);
  }
  if (!(squares > 0)) return 0;
  double count = (double)n, r = products / squares + 1 / count; /* independent batches have -1/n */
  r = fmin(0.9, fmax(0, r));
  return fc_student_975(count - 1) * sqrt(squares / (count - 1) / count * (1 + r) / (1 - r));
}
