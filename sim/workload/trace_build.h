/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_TRACE_BUILD_H
#define FC_WORKLOAD_TRACE_BUILD_H

#include <fleetcast/base/arena.h>
#include <fleetcast/workload/trace.h>

#include "trace_lines.h"
#include "trace_text.h"

/** A trace while it is read. */

enum { FC_TRACE_BLOCKS_MAX = UINT16_MAX /* of one request; what comes after is not known to be shared */ };

typedef struct fc_trace_record {
  fc_time arrival;
  uint32_t input_tokens, output_tokens;
  uint32_t prefix; /* with blocks: the index of the first; else the group; UINT32_MAX: none */
  uint16_t n_blocks, slo_class;
} fc_trace_record;

_Static_assert(sizeof(fc_trace_record) == 24, "a request takes 24 bytes");

typedef struct {
  const char *text;
  uint32_t tokens; /* of a group */
} fc_trace_name;

/** Names, numbered in order of appearance. */
typedef struct {
  size_t n, capacity, n_slots;
  fc_trace_name *name;
  uint32_t *slot; /* [n_slots] open addressing: index + 1, 0: free */
} fc_trace_names;

struct fc_trace {
  fc_trace_info about;
  size_t capacity, hash_capacity;
  fc_trace_record *record; /* [about.requests] */
  uint64_t *hash;          /* [about.blocks] */
  fc_trace_names groups, classes;
  fc_arena texts;
};

typedef struct {
  fc_trace *trace;
  const char *source;
  fc_diags *d;
  size_t first_late; /* line of the first row that is earlier than the one before; 0: none */
} fc_trace_reading;

/** Tells of a malformed row at byte `at` of the line, and counts it.  Always FC_OK: reading goes on. */
fc_status fc_trace_bad_row(fc_trace_reading *r, const fc_line *line, const char *at, const char *format, ...)
    FC_PRINTF(4, 5);
/** Position of a byte of the line, its column in characters. */
fc_pos fc_trace_position(const fc_line *line, const char *at);

/** Number of a name, which is new or not.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_trace_intern(fc_trace *trace, fc_trace_names *names, uint32_t *out, fc_slice text);
/** Adds one block to the row that is being read. */
FC_NODISCARD
fc_status fc_trace_add_block(fc_trace *trace, uint64_t hash);
FC_NODISCARD
fc_status fc_trace_add(fc_trace_reading *r, const fc_line *line, const fc_trace_record *record);

/** Mixes 64 bits: a bijection.  @source MurmurHash3's fmix64 (A. Appleby, public domain) */
static inline uint64_t fc_mix64(uint64_t x) {
  x ^= x >> 33;
  x *= UINT64_C(0xff51afd7ed558ccd);
  x ^= x >> 33;
  x *= UINT64_C(0xc4ceb9fe1a85ec53);
  return x ^ x >> 33;
}

/** Columns of a CSV file. */
typedef enum {
  FC_TRACE_AT, /* a date, or seconds */
  FC_TRACE_INPUT,
  FC_TRACE_OUTPUT,
  FC_TRACE_GROUP,
  FC_TRACE_GROUP_TOKENS,
  FC_TRACE_CLASS,
  FC_TRACE_COLUMNS
} fc_trace_column;

enum { FC_TRACE_FIELDS_MAX = 64 };

typedef struct {
  fc_trace_format format;
  size_t n;                            /* columns of the file */
  int place[FC_TRACE_COLUMNS];         /* -1: not there */
  fc_slice field[FC_TRACE_FIELDS_MAX]; /* of the last row, trimmed, without quotes */
  const char *start[FC_TRACE_FIELDS_MAX];
} fc_trace_csv;

/** @return FC_OK | FC_E_INPUT (told) */
FC_NODISCARD
fc_status fc_trace_csv_header(fc_trace_csv *csv, const fc_trace_reading *r, const fc_line *line);
FC_NODISCARD
fc_status fc_trace_csv_row(fc_trace_csv *csv, fc_trace_reading *r, const fc_line *line);
FC_NODISCARD
fc_status fc_trace_json_row(fc_trace_reading *r, const fc_line *line);

#endif
