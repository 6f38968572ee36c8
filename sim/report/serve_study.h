/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_SERVE_STUDY_H
#define FC_REPORT_SERVE_STUDY_H

#include <fleetcast/report/serve.h>

/* Requests in batches: by number for what is theirs, by the order in which they end for what is the
 * replica's. */

enum { BY_NUMBER = 3 }; /* digests by number: TTFT, TPOT, E2E */

typedef struct {
  fc_time end;
  uint64_t over, done, input_tokens, output_tokens, good;
  uint32_t class_over[FC_CLASSES_MAX], class_good[FC_CLASSES_MAX];
} end_batch;

struct fc_study {
  fc_study_def def;
  uint64_t size;  /* requests of a batch */
  size_t look;    /* batches that the next look wants */
  size_t looked;  /* batches of the answer; the one after them too if `rest` */
  bool rest;      /* a batch that is not full is part of the answer: at the end of a load */
  uint64_t over;  /* requests */
  uint64_t below; /* of them, those whose number is below look * size */
  bool begun, gaps_known, gaps_whole;
  fc_time start; /* first arrival */
  uint64_t number_over[FC_BATCHES];
  end_batch end[FC_BATCHES];
  fc_digest *by_number; /* [BY_NUMBER][FC_BATCHES] */
  fc_digest *gaps;      /* [FC_BATCHES] */
  fc_digest *before;    /* all gaps up to the last full batch */
  fc_digest *all;       /* for sums, scratch */
};

/* Batches that the warm-up leaves out. */
size_t fc_study_first(const fc_study *s);

#endif
