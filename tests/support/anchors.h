/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_ANCHORS_H
#define FC_TEST_ANCHORS_H

#include <stddef.h>

#include <fleetcast/cost/model.h>
#include <fleetcast/cost/profile.h>

/** Published figures that the model composes and is never fitted to.  Tests assert a broad band; the errors
 *  themselves are printed by tests/bench/report_anchors.c for docs/model.md. */

typedef struct anchor_inputs {
  const fc_model *deepseek_v3, *llama_405b;
  const fc_profile *h100, *h800, *h200, *gb200; /* NULL: anchors on it are left out */
} anchor_inputs;

typedef struct anchor {
  const char *id, *what, *unit, *source;
  double low, high; /* as published; equal when a single figure */
  double composed;  /* NAN: not computed */
  double log_sd;    /* stated spread of the composed figure, 0: an operator's own is not carried here */
} anchor;

enum { ANCHORS_MAX = 40 };

/** Fills `out`; returns how many. */
size_t anchors_compute(anchor out[ANCHORS_MAX], const anchor_inputs *inputs);
/** Composed over the middle of the published range, minus 1. */
double anchor_error(const anchor *a);

#endif
