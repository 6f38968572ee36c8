/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_FLEET_GRID_H
#define FC_FLEET_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/base/time.h>
#include <fleetcast/fleet/def.h>

/** 128-bit integers: 10^7 devices for 300 years are 10^26 device-nanoseconds. */
__extension__ typedef __int128 fc_wide;

/** The rows of timeseries.csv: [start, end) cut at hours, days or calendar months. */
typedef struct fc_grid {
  size_t n;
  fc_time *at;   /* [n + 1]; at[n] is the end */
  fc_time pitch; /* of regular cuts; 0: calendar months */
} fc_grid;

FC_NODISCARD
fc_status fc_grid_init(fc_grid *grid, fc_time start, fc_time end, fc_bucket bucket);
void fc_grid_fini(fc_grid *grid);
/** The bucket that holds t; n for the end.  @pre at[0] <= t <= at[n] */
size_t fc_grid_find(const fc_grid *grid, fc_time t);

/** The exact integral of an integer level over time, by bucket.  An interval costs O(1) however many buckets
 * it spans: partial sums at its two edges, a difference for what lies between; summed up when read. */
typedef struct fc_integral {
  struct fc_integral_cell {
    fc_wide edge;      /* level x ns inside this bucket */
    int64_t begin_end; /* change of the level that holds for the whole of this bucket on */
  } * cell;            /* [n + 1]; NULL until the first interval */
} fc_integral;

/** Adds `level` over [from, to).  @pre grid->at[0] <= from, to <= grid->at[n]; no-op unless from < to
 *  @return false when memory ran out */
bool fc_integral_add(fc_integral *integral, const fc_grid *grid, fc_time from, fc_time to, int64_t level);
/** All buckets, [n]; zeros for an integral that was never added to. */
void fc_integral_read(const fc_integral *integral, const fc_grid *grid, fc_wide *out);
void fc_integral_fini(fc_integral *integral);

#endif
