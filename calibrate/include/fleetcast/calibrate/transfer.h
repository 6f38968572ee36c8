/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_TRANSFER_H
#define FC_CALIBRATE_TRANSFER_H

#include <fleetcast/base/arena.h>
#include <fleetcast/base/status.h>
#include <fleetcast/cost/profile.h>

/** A fit moved to another device by its datasheet: rates by peak, bandwidths by memory or link bandwidth,
 * fixed times and the local correction as they are, tiles on the other's compute units.  The rule and its own
 * error, measured by leaving one measured system out: docs/calibrate.md#transfer. */

/** Distance of two datasheets: root of summed squared ln ratios of compute peak, bandwidth and units. */
double fc_transfer_distance(const fc_device *from, const fc_device *to, fc_dtype dtype);

/** @param out  points into `arena` and into `fit` (anchors are shared)
 *  @return FC_OK | FC_E_DOMAIN (the device has no such rate) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_transfer(fc_kernel_fit *out, const fc_kernel_fit *fit, const fc_device *from,
                      const fc_device *to, fc_arena *arena);

#endif
