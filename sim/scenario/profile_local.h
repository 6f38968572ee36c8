/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_PROFILE_LOCAL_H
#define FC_SCENARIO_PROFILE_LOCAL_H

#include <fleetcast/cost/format.h>

#include "reader.h"

/** The key `local` of a profile's kernel: its table, and what no single key can say. */
extern const fc_schema fc_schema_local;

/** Coordinates and anchors, once the kernel and its formats are known; errors are told. */
void fc_profile_local_check(fc_reader *reader, const fc_kernel_fit *fit, const fc_format *format,
                            const fc_format *kv, const fc_node *map);
/** The arrays, once the device is known (NULL: as if it had one compute unit). */
void fc_profile_local_place(fc_reader *reader, const fc_kernel_fit *fit, const fc_device *device,
                            const fc_node *map);

#endif
