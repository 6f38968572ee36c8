/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_LOAD_SERVER_H
#define FC_TESTS_LOAD_SERVER_H

#include <fleetcast/workload/load.h>

/** A server of any number of requests at once, each of which takes a time of its own; and statistics with
 * their bounds: a mean is held to 4.5 of its standard errors (7e-6 of all seeds fail), a chi-square of k
 * cells to its 99.99 % quantile, a Kolmogorov distance to 2.2 / sqrt(n) (1e-4).  Seeds are fixed. */

#define SIGMAS     4.5
#define KOLMOGOROV 2.2

void within(const char *what, double got, double expected, double standard_error);
void chi_square(const char *what, const double *count, const double *expected, size_t n);
/** For qsort of doubles. */
int ascending(const void *a, const void *b);

/** Poisson at 5/s, of a fixed seed; no limit. */
fc_load_def base(void);
fc_load *make(const fc_load_def *def);

typedef struct {
  size_t n;
  fc_request *request; /* blocks are not kept */
  fc_time *done;
  uint64_t *tail; /* hash of the last block; 0: none */
} history;

typedef fc_time service(const fc_request *request);

fc_time at_once(const fc_request *request);
/** 10 ms a token of output, and 0 to 120 ms by number. */
fc_time by_length(const fc_request *request);

/** Serves all that comes, and checks what holds of every load: take gives what peek told, numbers and
 * arrivals ascend, blocks fit.  To be forgotten. */
history serve(fc_load *load, service *time);
history run(const fc_load_def *def, service *time);
void forget(history *h);

#endif
