/* SPDX-License-Identifier: Apache-2.0 */
#include "order.h"

#include <math.h>
#include <stdbool.h>

/* Hoare's selection with the middle element as pivot. */
double fc_select(double *x, size_t n, size_t k) {
  size_t left = 0, right = n - 1;
  while (left < right) {
    double pivot = x[left + (right - left) / 2];
    size_t i = left, j = right;
    for (;;) {
      while (x[i] < pivot) i++;
      while (x[j] > pivot) j--;
      if (i >= j) break;
      double t = x[i];
      x[i++] = x[j];
      x[j--] = t;
    }
    if (k <= j)
      right = j;
    else
      left = j + 1;
  }
  return x[k];
}

double fc_median(double *x, size_t n) {
  return n ? fc_select(x, n, (n - 1) / 2) : (double)NAN;
}

double fc_robust_sd(double *x, size_t n) {
  if (!n) return 0;
  double middle = fc_median(x, n);
  for (size_t i = 0; i < n; i++) x[i] = fabs(x[i] - middle);
  return 1.4826 * fc_median(x, n);
}
