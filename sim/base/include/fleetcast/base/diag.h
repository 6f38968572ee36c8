/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_DIAG_H
#define FC_BASE_DIAG_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/status.h>

/** Diagnostics about a user's input, as compilers give them: `file:line:column: error: text`.
 *
 *  The collector is the caller's, usually on the stack; NULL is accepted everywhere and means "do not tell
 *  me".  The first FC_DIAG_MAX are kept, later ones counted. */

typedef struct {
  size_t line, column; /* 1-based, column in characters; {0,0}: no position */
} fc_pos;

typedef enum { FC_NOTE, FC_WARNING, FC_ERROR } fc_severity;

enum { FC_DIAG_MAX = 32 };

typedef struct {
  fc_severity severity;
  fc_pos at;
  char source[128]; /* path or "<argv>"; a longer path keeps its tail, "..." first */
  char text[256];
} fc_diag;

typedef struct {
  size_t n, dropped, n_errors;
  fc_diag item[FC_DIAG_MAX];
} fc_diags;

/** An empty collector. */
void fc_diags_init(fc_diags *d);

/** Adds one diagnostic; `source` may be NULL.  Always returns FC_E_INPUT, so that a parser can
 *  `return fc_diag_error(...)`. */
fc_status fc_diag_add(fc_diags *d, fc_severity severity, const char *source, fc_pos at, const char *format,
                      ...) FC_PRINTF(5, 6);
#define fc_diag_error(d, source, at, ...)   fc_diag_add((d), FC_ERROR, (source), (at), __VA_ARGS__)
#define fc_diag_warning(d, source, at, ...) ((void)fc_diag_add((d), FC_WARNING, (source), (at), __VA_ARGS__))

/** True once FC_DIAG_MAX errors are collected: a parser then stops. */
bool fc_diags_full(const fc_diags *d);

/** Renders one diagnostic, without a newline: `s.yaml:2:1: error: unknown key 'gpuz'`.
 *  @return the length that the whole text has, as snprintf does */
size_t fc_diag_format(char *out, size_t capacity, const fc_diag *diag);

/** Of `n` candidate words the one nearest to `word` by edit distance, if near enough to be a typing slip
 *  (distance <= 1 + length/4, and below the length); of equals the one that begins alike; else NULL. */
const char *fc_diag_nearest(const char *word, const char *const *candidates, size_t n);

#endif
