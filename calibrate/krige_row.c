/* SPDX-License-Identifier: Apache-2.0 */
#include "krige.h"

#include <stdlib.h>

#include <fleetcast/base/lanes.h>

fc_status fc_kernel_rows_init(fc_kernel_rows *out, const fc_kernel_function *k, const fc_krige_points *points,
                              const size_t *at, size_t m) {
  size_t d = points->d;
  *out = (fc_kernel_rows){.d = d, .n = m, .stride = (m + FC_LANES - 1) / FC_LANES * FC_LANES};
  out->x = calloc((d + 1) * out->stride + 1, sizeof *out->x);
  if (!out->x) return FC_E_NOMEM;
  out->row = out->x + d * out->stride;
  for (size_t j = 0; j < d; j++) {
    out->per[j] = (float)(1 / k->length[j]);
    out->per_rough[j] = (float)(1 / k->rough_length[j]);
    for (size_t i = 0; i < m; i++) out->x[j * out->stride + i] = points->x[(at ? at[i] : i) * d + j];
  }
  out->smooth = (float)k->smooth;
  out->rough = (float)k->rough;
  out->own = (float)k->own;
  return FC_OK;
}

void fc_kernel_rows_fini(fc_kernel_rows *rows) {
  free(rows->x);
}

FC_WIDE void fc_kernel_rows_at(fc_kernel_rows *k, const float *at) {
  const size_t d = k->d;
  for (size_t l = 0; l < k->stride; l += FC_LANES) {
    fc_lanes square = {0}, sum = {0}, v, own = (fc_lanes){0} + k->own;
    for (size_t j = 0; j < d; j++) {
      fc_lanes_load(&v, k->x + j * k->stride + l);
      v -= at[j];
      fc_lanes_abs(&v);
      sum += v * k->per_rough[j];
      v *= k->per[j];
      square += v * v;
    }
    fc_lanes r = 3.0F * square;
    fc_int_lanes same = square == 0.0F;
    fc_lanes_sqrt(&r);
    fc_lanes e = r;
    fc_lanes_exp_minus(&e);
    fc_lanes_exp_minus(&sum);
    v = k->smooth * (1.0F + r) * e + k->rough * sum + (fc_lanes)(same & (fc_int_lanes)own);
    fc_lanes_store(k->row + l, &v);
  }
}
