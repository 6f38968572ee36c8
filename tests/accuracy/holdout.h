/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_ACCURACY_HOLDOUT_H
#define FC_ACCURACY_HOLDOUT_H

#include "data.h"
#include "scores.h"
#include "trial.h"

/** Harder than a random split: whole groups of rows are held out. */

/** Of the chosen families: moe_ffn by model (hidden, inter, experts, topk), up to 8 a family; gemm by site
 * (n, k), 8 groups of sites.  Fits at most 400 of the other rows, or `all`.  Other families are left alone.
 */
bool holdout_groups(data_file *file, bool all, const trial_options *options);

/** Every row of every chosen family is predicted by the fit of the nearest other system that has the family,
 * moved by fc_transfer.  @pre training rows are set */
bool holdout_systems(data_file *file, size_t n, const trial_options *options);

#endif
