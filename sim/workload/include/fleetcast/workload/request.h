/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_REQUEST_H
#define FC_WORKLOAD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/time.h>

/** One request to a language model, and where requests come from. */

typedef struct fc_request {
  fc_time arrival;        /* [ns] since the load began */
  uint64_t number;        /* 0, 1, 2, ... in order of arrival: names the request */
  uint32_t input_tokens;  /* >= 1, the prompt with what a prefix cache may hold of it */
  uint32_t output_tokens; /* >= 0, generated; 0 ends with the prefill */
  uint32_t session, turn; /* of a conversation or an agent: turns follow one another; 0, 0: alone */
  uint32_t slo_class;     /* index into the scenario's classes */
  uint32_t block_tokens;  /* tokens of a block, 0: no prefix is known */
  uint32_t n_blocks;
  const uint64_t *block; /* [n_blocks] each names the prompt up to its end: equal hashes, equal prefixes;
                            borrowed until the source's next take() */
} fc_request;

/** A stream of requests.  A closed loop or a session learns by `done` that it may go on, so that what comes
 *  next is known only up to then. */
typedef struct fc_request_source {
  void *context;
  /** Time of the next request as known now.  @return false: none, or none before another request is done */
  bool (*peek)(void *context, fc_time *arrival);
  /** Takes that request.  @pre the last peek returned true */
  void (*take)(void *context, fc_request *out);
  /** The request finished, or was given up, at `at`. */
  void (*done)(void *context, uint64_t number, fc_time at);
} fc_request_source;

#endif
