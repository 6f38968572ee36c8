/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_ORDER_H
#define FC_CALIBRATE_INTERNAL_ORDER_H

#include <stddef.h>

/** Order statistics, in place. */

/** The k-th smallest, k from 0; reorders.  @pre k < n, no NaN */
double fc_select(double *x, size_t n, size_t k);
/** Median (lower); NaN when n is 0. */
double fc_median(double *x, size_t n);
/** 1.4826 times the median absolute deviation from the median: the sd of a normal sample; 0 when n is 0. */
double fc_robust_sd(double *x, size_t n);

#endif
