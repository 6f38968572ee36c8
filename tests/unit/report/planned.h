/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_PLANNED_H
#define FC_TEST_PLANNED_H

#include <fleetcast/report/train_plan.h>

/* A small search with an answer: two devices, a deadline that one count misses, a near miss. */
typedef struct {
  fc_train_plan_def file;
  fc_train_search_device device[2];
  fc_train_search_def search;
  fc_train_search_result result;
  fc_train_plan_answer answer;
} planned;

void planned_make(planned *p);
void planned_free(planned *p);

#endif
