/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_ACCURACY_SCORES_H
#define FC_ACCURACY_SCORES_H

#include <stdbool.h>
#include <stddef.h>

#include "data.h"

/** Errors by family and by class of families; files of them; the gate. */

typedef struct score {
  char key[224]; /* "system,kernel,impl,dtype,kv_dtype" */
  size_t points, covered;
  double median, p90; /* of |predicted/measured - 1|; NaN: not told */
  double coverage;
} score;

typedef struct score_list {
  size_t n, room;
  score *item;
} score_list;

/** Adds one score for every chosen family that has scored rows.  False: out of memory. */
bool scores_add(score_list *out, const data_file *file);
/** A CSV file whose first five columns are the key, and that has columns `median` and perhaps p90, coverage,
 * test. False: told on stderr. */
bool scores_read(score_list *out, const char *path);
/** `scores`, and what `old` has besides when `keep`.  False: told on stderr. */
bool scores_write(score_list *scores, const score_list *old, bool keep, const char *path);
void scores_free(score_list *scores);
void scores_sort(score_list *scores);
const score *scores_find(const score_list *scores, const char *key);

void scores_print_families(const score_list *scores, const score_list *baseline);
/** Summary by class; a family is worse than the baseline beyond 2 % and 0.0005. */
void scores_print(const score_list *scores, const score_list *baseline);

/** Is every class as good as expected: medians of median and p90 no more than 3 % above and, where asked,
 * coverage of all its points within 85 and 95 %?  Only families in both are compared.  Tells what is not. */
bool scores_gate(const score_list *scores, const score_list *expected, bool with_coverage);

#endif
