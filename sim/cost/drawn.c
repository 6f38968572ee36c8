/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/drawn.h>

#include <math.h>
#include <stdbool.h>

/* Popularities ~ x^-skew on [1, high], at the quantile u. */
static double popularity(double skew, double high, double u) {
  if (fabs(skew - 1) < 1e-9) return exp(u * log(high));
  return pow(1 + u * (pow(high, 1 - skew) - 1), 1 / (1 - skew));
}

double fc_moe_drawn(double tokens, double topk, double experts, double skew) {
  enum { QUANTILES = 64 };
  double x[QUANTILES], high = 0.8 * experts / topk, sum = 0, drawn = 0;
  int n = (int)fmin(fmax(floor(experts), 1), QUANTILES);
  bool skewed = skew > 0 && high > 1;
  for (int i = 0; i < n; i++) {
    x[i] = skewed ? popularity(skew, high, (i + 0.5) / n) : 1;
    sum += x[i];
  }
  for (int i = 0; i < n; i++) {
    double chance = topk / experts * x[i] * n / sum; /* that a token chooses it */
    drawn += chance < 1 ? -expm1(tokens * log1p(-chance)) : 1;
  }
  return drawn / n;
}
