/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_ERROR_QUANTILE_H
#define FC_TEST_ERROR_QUANTILE_H

#include <stdbool.h>
#include <stddef.h>

/** Of errors given as ln(composed / published): quantile of |composed / published - 1|, or with its sign;
 * between neighbours by their distance.  NaN where n is 0 or memory ends. */
double error_quantile(const double *ln_error, size_t n, double q, bool absolute);

#endif
