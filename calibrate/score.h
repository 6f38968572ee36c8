/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_SCORE_H
#define FC_CALIBRATE_INTERNAL_SCORE_H

#include <fleetcast/calibrate/predict.h>

#include "measure.h"

/** How far predictions are from what was measured, family by family; and the pages of text that they become.
 */

/* Texts that name a family, as in the file. */
enum { FC_KEY_TEXTS = (int)FC_MEASURE_kv_dtype + 1 };

/* Errors of the rows of one family: predicted/measured - 1, in file order. */
typedef struct fc_tally {
  size_t points, outside, clamped, within, n, room;
  float *error;
} fc_tally;

bool fc_score_tally_add(fc_tally *tally, float error);
/* Appends, and empties `from`. */
bool fc_score_tally_move(fc_tally *to, fc_tally *from);
void fc_score_tally_fini(fc_tally *tally);

typedef struct fc_scored {
  char *text[FC_KEY_TEXTS]; /* owned */
  size_t row;               /* of the operator table */
  const fc_format *format, *kv_format;
  bool told; /* that some of its rows cannot be modelled */
  fc_tally tally;
} fc_scored;

/* Sorts the families, fills all of `out` but counts and seconds.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_scores_fill(fc_scores *out, fc_scored *family, size_t n);

/* Value at share p of n > 0 numbers, between neighbours by linear interpolation; reorders them. */
double fc_score_quantile(float *value, size_t n, double p);

/* Six significant digits, plain decimal, no trailing zeros: "0.00123457", "1234570".
 * @return its length, at most FC_SHORT_NUMBER
 * @pre value is finite and not negative */
enum { FC_SHORT_NUMBER = 32 };
size_t fc_short_number(char *out, double value);

#endif
