/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include <fleetcast/calibrate/transfer.h>

#include "validate.h"

/* A system without operator tables gets those of the nearest one that has them, moved by datasheet. */

bool validate_has_tables(const fc_profile *profile) {
  for (size_t i = 0; i < profile->n_kernels; i++)
    if (profile->kernels[i].local) return true;
  return false;
}

const fc_profile *validate_nearest(const fc_profile *const *candidates, size_t n, const fc_device *to) {
  const fc_profile *best = NULL;
  double least = (double)INFINITY;
  for (size_t i = 0; i < n; i++) {
    double distance = fc_transfer_distance(candidates[i]->device, to, FC_DTYPE_BF16);
    if (!(distance < least)) continue;
    least = distance;
    best = candidates[i];
  }
  return best;
}

fc_status validate_transfer(fc_profile *out, const fc_profile *to, const fc_profile *from, fc_arena *arena) {
  fc_kernel_fit *fit = fc_arena_array(arena, to->n_kernels + from->n_kernels + 1, sizeof *fit);
  if (!fit) return FC_E_NOMEM;
  *out = *to;
  if (to->n_kernels > 0) memcpy(fit, to->kernels, to->n_kernels * sizeof *fit);
  for (size_t i = 0; i < from->n_kernels; i++) {
    if (!from->kernels[i].local) continue;
    fc_status status = fc_transfer(&fit[out->n_kernels], &from->kernels[i], from->device, to->device, arena);
    if (status == FC_E_NOMEM) return status;
    out->n_kernels += status == FC_OK;
  }
  out->kernels = fit;
  return FC_OK;
}
