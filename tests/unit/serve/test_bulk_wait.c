/* SPDX-License-Identifier: Apache-2.0 */
/* The waiting of prefill against a simulated server that takes up to c prompts at a time. */
#include "phase.h"

#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/rng.h>

#include <criterion/criterion.h>

/* Mean wait, in units of a service of 1, of n prompts that come Poisson at rho c. */
static double simulated(int c, double rho, int n, uint64_t seed) {
  fc_rng rng = fc_rng_keyed(seed, FC_STREAM_TEST, (uint64_t)c, 0);
  double *came = malloc((size_t)n * sizeof *came), sum = 0, now = 0, clock = 0;
  cr_assert_not_null(came);
  for (int i = 0; i < n; i++) came[i] = clock += fc_rng_exponential(&rng) / (rho * c);
  for (int served = 0; served < n; now += 1) {
    now = fmax(now, came[served]); /* idle until a prompt comes */
    for (int taken = 0; taken < c && served < n && came[served] <= now; taken++) sum += now - came[served++];
  }
  free(came);
  return sum / n;
}

Test(bulk_wait, near_a_simulated_bulk_server) {
  static const int c[] = {1, 2, 8, 64};
  static const double rho[] = {0.6, 0.8, 0.92, 0.95};
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      double want = simulated(c[i], rho[j], 400000, 7), got = fc_phase_bulk_wait(1, rho[j], c[i]);
      cr_assert(fabs(got / want - 1) <= 0.1, "c %d, rho %g: %g against %g simulated", c[i], rho[j], got,
                want);
    }
}
