/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_DATA_H
#define FC_BENCH_DATA_H

#include <fleetcast/base/status.h>
#include <fleetcast/kernels/operator.h>

#include "check.h"
#include "device.h"

/** A problem with its data on a device: fresh random tensors, weights in as many copies as keep them cold. */

typedef struct fc_data {
  const fc_bench_device *device;
  fc_problem problem; /* tensor[].host: inputs of the first set */
  size_t sets;
  fc_args *args;     /* [sets]; they share everything but weights */
  const char *cache; /* column `cache`: cold_w, cold_l2 or hot */
} fc_data;

/** @param most_sets  1: for a check alone
 *  @return FC_OK | FC_E_DOMAIN (no such shape) | FC_E_NOMEM (device or
 *    host) | FC_E_IO (the device failed), all told into `why` [FC_WHY] */
FC_NODISCARD
fc_status fc_data_new(fc_data *out, const fc_bench_device *device, const fc_machine *machine,
                      const fc_bench_case *c, uint64_t seed, bool exact, size_t most_sets, char *why);
void fc_data_free(fc_data *d);

/** Poisons outputs, restores in-out tensors, runs one call of an implementation on the first set, compares,
 *  and sees that nothing else was written: the bytes behind each tensor, and inputs unless they are large.
 *  @return FC_OK (see out->passed) | FC_E_NOMEM | FC_E_IO, told into `why` */
FC_NODISCARD
fc_status fc_data_check(fc_check *out, const fc_data *d, const fc_implementation *impl, void *state,
                        double budget_s, char *why);

/** States of an implementation for every set (implementation.h).  @return as fc_data_check */
FC_NODISCARD
fc_status fc_data_prepare(void ***states, const fc_data *d, const fc_implementation *impl,
                          const fc_machine *machine, char *why);
void fc_data_release(void **states, const fc_data *d, const fc_implementation *impl);

#endif
