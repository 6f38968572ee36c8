/* SPDX-License-Identifier: Apache-2.0 */
#include "error_quantile.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double error_quantile(const double *ln_error, size_t n, double q, bool absolute) {
  double *sorted = n > 0 ? malloc(n * sizeof *sorted) : NULL;
  if (!sorted) return (double)NAN;
  for (size_t i = 0; i < n; i++) {
    double e = expm1(ln_error[i]);
    sorted[i] = absolute ? fabs(e) : e;
  }
  qsort(sorted, n, sizeof *sorted, by_value);
  double at = q * (double)(n - 1);
  size_t low = (size_t)at;
  double high = sorted[low + 1 < n ? low + 1 : low];
  double value = sorted[low] + (at - (double)low) * (high - sorted[low]);
  free(sorted);
  return value;
}
