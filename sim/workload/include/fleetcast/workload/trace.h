/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_TRACE_H
#define FC_WORKLOAD_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/base/time.h>

/** Recorded requests, read from a file, plain or gzip, whose format is known by its content:
 *
 *      Azure LLM CSV    TIMESTAMP,ContextTokens,GeneratedTokens
 *      Mooncake JSONL   {"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [n, ...]}
 *      own CSV          arrival_s,input_tokens,output_tokens[,prefix_group][,prefix_tokens][,class]
 *
 *  Columns and keys stand in any order.  The text is read piece by piece and never kept; a request takes 24
 *  bytes and 8 more for each of its blocks.  A malformed row is told as a warning with file, line and column
 *  (the first FC_TRACE_TOLD, then how many more), counted and skipped; rows out of order are sorted, stably.
 *  A trace is constant once read: threads may share it. */
typedef struct fc_trace fc_trace;

typedef enum { FC_TRACE_AZURE, FC_TRACE_MOONCAKE, FC_TRACE_OWN } fc_trace_format;

enum {
  FC_TRACE_TOLD = 10,           /* malformed rows told one by one */
  FC_TRACE_BLOCK_TOKENS = 512,  /* of a Mooncake block.  @source Mooncake (FAST'25), trace's README */
  FC_TRACE_LINE_MAX = 1 << 20,  /* bytes; a longer line is malformed */
  FC_TRACE_TOKENS_MAX = 1 << 30 /* of a prompt or an output; a larger number is malformed */
};

/** Reads a file.  The arrivals of an Azure trace count from its first; those of the others from 0.
 *  @return FC_OK | FC_E_INPUT (told to d: of no known format, a column missing or misspelt, empty, not one
 *          good row, not gzip all through) | FC_E_IO (errno says why; told to nobody) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_trace_read(fc_trace **out, const char *path, fc_diags *d);
/** The same from memory; `bytes` is borrowed for the call.  @param source  name in diagnostics */
FC_NODISCARD
fc_status fc_trace_parse(fc_trace **out, const char *source, const void *bytes, size_t length, fc_diags *d);
void fc_trace_free(fc_trace *trace);

typedef struct fc_trace_info {
  fc_trace_format format;
  size_t requests;       /* >= 1 */
  size_t malformed;      /* rows skipped */
  size_t out_of_order;   /* rows that were earlier than the row before them */
  fc_time start;         /* date of time 0; 0 where the format has none */
  fc_time span;          /* arrival of the last request less that of the first [ns] */
  uint32_t block_tokens; /* tokens of a block; 0: no request has any */
  size_t blocks;         /* of all requests */
  size_t groups;         /* prefix groups: numbered from 0 in order of appearance */
  size_t classes;        /* names in column `class`, likewise */
} fc_trace_info;

/** Facts of the whole; `borrowed` until the trace dies. */
const fc_trace_info *fc_trace_about(const fc_trace *trace);
/** Name of a class or of a prefix group.  @pre i below their number */
const char *fc_trace_class_name(const fc_trace *trace, size_t i);
const char *fc_trace_group_name(const fc_trace *trace, size_t i);
/** Tokens that the requests of a group share; 0: the file does not say. */
uint32_t fc_trace_group_tokens(const fc_trace *trace, size_t i);

enum { FC_TRACE_NONE = UINT16_MAX /* no class */ };

typedef struct fc_trace_row {
  fc_time arrival;        /* [ns] */
  uint32_t input_tokens;  /* >= 1 */
  uint32_t output_tokens; /* >= 0 */
  uint32_t group;         /* UINT32_MAX: none */
  uint32_t slo_class;     /* FC_TRACE_NONE: none */
  uint32_t n_blocks;      /* full ones: n_blocks * block_tokens <= input_tokens */
  const uint64_t *block;  /* each names the prompt up to its end; borrowed until the trace dies */
} fc_trace_row;

/** Request i, in order of arrival.  @pre i < requests */
fc_trace_row fc_trace_at(const fc_trace *trace, size_t i);

#endif
