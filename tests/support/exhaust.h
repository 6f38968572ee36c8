/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_EXHAUST_H
#define FC_TESTS_EXHAUST_H

#include <fleetcast/base/status.h>

#include "chaos_malloc.h"

/** A scenario and how memory runs out in it: every out-of-memory path is visited, one a life. */
typedef struct {
  fc_status (*life)(void *subject); /* makes, works, frees */
  void *subject;
  const char *name;   /* of the subject, for what a failure says; NULL: the test's name does */
  bool and_later;     /* also every allocation after the one refused */
  size_t least, most; /* allocations: fewer visit too little; more (0: than 10000) never end */
} fc_exhaustion;

/** One life with allocation `k` refused: nothing leaks, and the status is FC_E_NOMEM where an allocation was
 *  refused, else FC_OK.  @return whether one was */
bool fc_exhaust_at(const fc_exhaustion *e, size_t k);
/** Lives with allocation 0 refused, then 1 and so on, until one ends with none refused. */
void fc_exhaust(const fc_exhaustion *e);

#endif
