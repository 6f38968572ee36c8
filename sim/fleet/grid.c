/* SPDX-License-Identifier: Apache-2.0 */
#include "grid.h"

#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

static fc_time next_cut(fc_time t, fc_bucket bucket) {
  if (bucket == FC_BUCKET_MONTH) return fc_time_month_start(t, 1);
  fc_time pitch = bucket == FC_BUCKET_HOUR ? FC_HOUR : FC_DAY;
  fc_time into = t % pitch;
  return t - (into < 0 ? into + pitch : into) + pitch;
}

fc_status fc_grid_init(fc_grid *grid, fc_time start, fc_time end, fc_bucket bucket) {
  *grid = (fc_grid){0};
  size_t n = 0;
  for (fc_time t = start; t < end; t = next_cut(t, bucket)) n++;
  grid->at = malloc((n + 1) * sizeof *grid->at);
  if (!grid->at) return FC_E_NOMEM;
  for (fc_time t = start; grid->n < n; t = next_cut(t, bucket)) grid->at[grid->n++] = t;
  grid->at[n] = end > start ? end : start;
  grid->pitch = bucket == FC_BUCKET_HOUR ? FC_HOUR : bucket == FC_BUCKET_DAY ? FC_DAY : 0;
  return FC_OK;
}

void fc_grid_fini(fc_grid *grid) {
  free(grid->at);
  *grid = (fc_grid){0};
}

size_t fc_grid_find(const fc_grid *grid, fc_time t) {
  size_t n = grid->n;
  FC_ASSERT(t >= grid->at[0] && t <= grid->at[n]);
  if (t == grid->at[n]) return n;
  if (n == 1 || t < grid->at[1]) return 0;
  if (grid->pitch > 0) return 1 + (size_t)((t - grid->at[1]) / grid->pitch);
  size_t low = 1, high = n; /* at[low] <= t < at[high] */
  while (high - low > 1) {
    size_t mid = low + (high - low) / 2;
    if (grid->at[mid] <= t)
      low = mid;
    else
      high = mid;
  }
  return low;
}

bool fc_integral_add(fc_integral *integral, const fc_grid *grid, fc_time from, fc_time to, int64_t level) {
  if (from >= to || level == 0) return true;
  if (!integral->cell) {
    integral->cell = calloc(grid->n + 1, sizeof *integral->cell);
    if (!integral->cell) return false;
  }
  struct fc_integral_cell *cell = integral->cell;
  size_t first = fc_grid_find(grid, from), last = fc_grid_find(grid, to);
  if (first == last) {
    cell[first].edge += (fc_wide)level * (to - from);
    return true;
  }
  cell[first].edge += (fc_wide)level * (grid->at[first + 1] - from);
  cell[last].edge += (fc_wide)level * (to - grid->at[last]);
  cell[first + 1].begin_end += level;
  cell[last].begin_end -= level;
  return true;
}

void fc_integral_read(const fc_integral *integral, const fc_grid *grid, fc_wide *out) {
  if (!integral->cell) {
    memset(out, 0, grid->n * sizeof *out);
    return;
  }
  int64_t level = 0;
  for (size_t b = 0; b < grid->n; b++) {
    level += integral->cell[b].begin_end;
    out[b] = integral->cell[b].edge + (fc_wide)level * (grid->at[b + 1] - grid->at[b]);
  }
}

void fc_integral_fini(fc_integral *integral) {
  free(integral->cell);
  integral->cell = NULL;
}
