/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_SERVE_H
#define FC_REPORT_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/report/write.h>
#include <fleetcast/scenario/load.h>
#include <fleetcast/serve/cluster.h>
#include <fleetcast/serve/replica.h>
#include <fleetcast/serve/view.h>
#include <fleetcast/workload/load.h>
#include <fleetcast/workload/trace.h>

/** Answers about a deployment: percentiles with their intervals and when they are good enough; a page for a
 *  person, a folder of CSV files.  Definitions and method: docs/serve.md.  One thread.  Same run, same bytes.
 */

/* --- samples and intervals --- */

/** As benchmark clients define them: TTFT first token - arrival; TPOT (last - first token) / (output - 1);
 *  ITL each gap between two tokens that the client gets one after the other; E2E last token - arrival. */
typedef enum { FC_LATENCY_TTFT, FC_LATENCY_TPOT, FC_LATENCY_ITL, FC_LATENCY_E2E, FC_LATENCIES } fc_latency;

const char *fc_latency_text(fc_latency latency);

/** A value and its 95 % interval; all -1: not defined. */
typedef struct fc_interval {
  double value, low, high;
  bool known;  /* false: too few samples for an interval; low = high = value */
  bool closed; /* false: the sample is too small to bound it from above; high is its maximum */
} fc_interval;

/** Two-sided 95 % quantile of Student's t: Cornish-Fisher to 1/v^4, within 0.05 % from v = 4 on.
 *  @source Abramowitz & Stegun 26.7.5 */
double fc_student_975(double degrees);

/** Of a mean from batch means: half width of the 95 % interval, widened by what neighbouring batches have in
 *  common: variance times (1 + r)/(1 - r), r their correlation at lag 1, at most 0.9.  Infinite below
 *  FC_BATCHES_MIN batches. */
double fc_batch_half_width(const double *batch, size_t n, double *mean);

enum {
  FC_BATCHES_MIN = 5,
  FC_BATCHES = 64,      /* kept at a time: when they are full, neighbours are merged */
  FC_BATCHES_LOOK = 40, /* looked at, at most; at least half of it once so many are full */
  FC_BATCH_FIRST = 16,  /* requests of a batch to begin with */
  FC_CLASSES_MAX = 32,
};

typedef struct fc_study_def {
  double width;   /* as fc_serve_stop; 0: never done before the end */
  double warm_up; /* share, [0, 0.9] */
  size_t n_classes;
  const fc_serve_class *classes; /* borrowed; promises of class i, up to FC_CLASSES_MAX */
} fc_study_def;

/** Collects requests that are over.  The requests looked at are the first n by number: all of them are over
 *  then, so that long ones are not missed; n grows by half from look to look. */
typedef struct fc_study fc_study;

FC_NODISCARD
fc_status fc_study_new(fc_study **out, const fc_study_def *def);
void fc_study_free(fc_study *study);
/** Does the next request to be added want to know the gaps?  It ends a batch. */
bool fc_study_wants_gaps(const fc_study *study);
/** @param gaps  all ITL samples so far; nullable where they are not wanted, or not known before the end
 *  @return true: a look is due */
bool fc_study_add(fc_study *study, const fc_cluster_record *record, const fc_digest *gaps);
/** After a look that was not enough: when the next one is due. */
void fc_study_go_on(fc_study *study);
/** The load is over and so are all requests: everything is looked at.  @param gaps  as above, at the end */
void fc_study_end(fc_study *study, const fc_digest *gaps);
/** All ITL samples of a run that did not know them before: a distribution without intervals. */
void fc_study_gaps(fc_study *study, const fc_digest *gaps);

/** Quantile p in (0, 1); value -1: there is no sample. */
fc_interval fc_study_quantile(const fc_study *study, fc_latency latency, double p);
fc_interval fc_study_mean(const fc_study *study, fc_latency latency);
/** Are P50, P90 and P99 of all four within the width? */
bool fc_study_is_enough(const fc_study *study);

/** Rates over the batches looked at, by the time requests end. */
typedef enum {
  FC_RATE_REQUESTS,      /* done, 1/s */
  FC_RATE_INPUT_TOKENS,  /* of them, 1/s */
  FC_RATE_OUTPUT_TOKENS, /* of them, 1/s */
  FC_RATE_GOOD,          /* requests that kept all promises of their class, 1/s */
  FC_RATE_GOOD_SHARE,    /* of all that are over, refused and lost ones too */
  FC_RATES
} fc_rate;
fc_interval fc_study_rate(const fc_study *study, fc_rate rate);
/** Share of class i that kept its promises; value -1: no request of it. */
fc_interval fc_study_class_good(const fc_study *study, size_t i);

typedef struct fc_study_state {
  uint64_t over, looked_at, left_out; /* requests: over; in the answer; of them at the start, left out */
  uint64_t next_look;                 /* request number up to which all must be over */
  uint64_t batches, batch_requests;
} fc_study_state;
fc_study_state fc_study_now(const fc_study *study);

/* --- the answer --- */

typedef enum {
  FC_VERDICT_ENOUGH,    /* every interval is within the width */
  FC_VERDICT_END,       /* the load ended; it was to run to its end */
  FC_VERDICT_LIMIT,     /* the load ended before the intervals were narrow enough */
  FC_VERDICT_OVERLOADED /* requests pile up without end: percentiles grow with the length of the run */
} fc_verdict;

typedef struct fc_serve_answer {
  const fc_serve_def *def;
  uint64_t seed;
  fc_verdict verdict;
  const fc_study *study;
  const fc_serve_view *view, *prefill_view; /* whose operators; NULL: not told; prefill: where it is apart */
  const fc_replica_result *result;          /* of the instance, of all, or of all for decode */
  const fc_replica_result *prefill;         /* of all prefill instances; NULL: not apart */
  double transfer_mean_s, link_utilisation; /* apart */
  const fc_cluster_result *cluster;         /* NULL: none */
  double devices;                           /* that are held, all, mean over the run */
  double replicas;                          /* that they make; apart: of them for decode */
  int64_t prefill_devices;                  /* apart */
  int64_t kv_blocks, prefill_kv_blocks;     /* that the cache of one instance has */
  double decode_log_sd, prefill_log_sd;     /* of ln(step time): of a decode and of a prompt iteration */
  double price_usd_per_s;                   /* of a device; 0: not known */
  fc_load_summary load;
  const char *trace; /* as named; NULL: none */
  const char *trace_sha256;
  fc_trace_info trace_info;
} fc_serve_answer;

/** Where a millisecond of all iterations goes, and so on: what people read.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_report_serve_page(fc_text *out, const fc_serve_answer *answer);

/** A folder under construction: latency.csv, summary.csv, breakdown.csv, manifest.yaml; of a cluster
 *  replicas.csv; on demand requests.csv, and timeline.csv, of a cluster cluster.csv, which grow as the run
 *  goes. */
typedef struct fc_serve_files fc_serve_files;

typedef struct fc_serve_files_def {
  bool requests, timeline, cluster;
  size_t threads; /* of them, those beside the caller's make and write rows of requests.csv; 0 counts as 1 */
} fc_serve_files_def;

/** @param[out] why  [FC_REPORT_WHY], kept: also for the calls below
 *  @return FC_OK | FC_E_IO | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_serve_files_open(fc_serve_files **out, const char *folder, const fc_serve_files_def *def,
                              char *why);
void fc_serve_files_request(fc_serve_files *files, const fc_serve_def *def, const fc_cluster_record *record);
void fc_serve_files_stretch(fc_serve_files *files, const fc_replica_stretch *stretch);
void fc_serve_files_sample(fc_serve_files *files, const fc_cluster_sample *sample);
/** Writes the rest and gives all files their names; as fc_report_write.  Takes `files`.
 *  @return FC_OK | FC_E_IO | FC_E_NOMEM | FC_E_LAW | FC_E_CANCELLED */
FC_NODISCARD
fc_status fc_serve_files_commit(fc_serve_files *files, const fc_serve_answer *answer, const fc_input *input,
                                const fc_report_options *options);
/** SHA-256 of a regular file, in hexadecimal; empty if it cannot be read. */
void fc_report_hash(char out[65], const char *path);
/** Throws it away, with folders that were made for it.  NULL is a no-op. */
void fc_serve_files_abandon(fc_serve_files *files);

#endif
