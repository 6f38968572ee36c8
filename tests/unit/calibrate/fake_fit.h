/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_FAKE_FIT_H
#define FC_TEST_FAKE_FIT_H

#include <fleetcast/base/file.h>
#include <fleetcast/calibrate/fit.h>
#include <fleetcast/calibrate/table.h>

/* A fitted table made by hand: GEMM, decode attention, row-wise kernels and all-reduce, with times that
 * scatter by a few per cent around known forms.  Its implementations need escaping. */

enum { FAKE_FAMILIES = 4, FAKE_POINTS = 24 }; /* points a family */

typedef struct {
  fc_device device;
  fc_table table;
  fc_fit_result fit;
  fc_point point[FAKE_FAMILIES * FAKE_POINTS];
  fc_family family[FAKE_FAMILIES];
  fc_kernel_fit kernel[FAKE_FAMILIES];
  fc_family_report report[FAKE_FAMILIES];
} fake_fit;

void fake_fit_init(fake_fit *out);

/* The file's bytes, to free(). */
char *fake_read_back(fc_file *file, const char *path);

#endif
