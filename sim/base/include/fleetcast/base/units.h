/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_UNITS_H
#define FC_BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Quantities with units: `3.35 TB/s`, `80 GB`, `2 USD/h`, `14.8 T tokens`, `56.3 %`, `0.087 USD/kWh`.
 *
 *  Grammar:  quantity = number [scale] [unit]; unit = [term] {("/" [number] | "*" | "-") term}, where a slash
 *  divides by what follows up to the next "/" or "*", and "-" joins: "USD/GPU-h", "/yr", "tokens/91.25 d";
 *  term = [SI prefix] symbol ["^" integer].
 *  scale is a word between number and unit: k K M B G T P Q, thousand million billion trillion quadrillion
 *  (B = 1e9; alone, "80 B" is bytes).  Prefixes are decimal (G = 1e9); Ki Mi Gi Ti are binary.  Values come
 *  back in base units: byte, s, FLOP, J, USD, token, device, request, user.  W = J/s; yr = 365.25 d. */

/** Exponents of the base units. */
typedef struct {
  int8_t byte, second, flop, joule, usd, token, device, request, user;
} fc_dim;

#define FC_DIM_NONE            ((fc_dim){0})
#define FC_DIM_BYTES           ((fc_dim){.byte = 1})
#define FC_DIM_SECONDS         ((fc_dim){.second = 1})
#define FC_DIM_PER_SECOND      ((fc_dim){.second = -1})
#define FC_DIM_FLOP            ((fc_dim){.flop = 1})
#define FC_DIM_FLOP_PER_SECOND ((fc_dim){.flop = 1, .second = -1})
#define FC_DIM_BYTES_PER_SEC   ((fc_dim){.byte = 1, .second = -1})
#define FC_DIM_JOULES          ((fc_dim){.joule = 1})
#define FC_DIM_WATTS           ((fc_dim){.joule = 1, .second = -1})
#define FC_DIM_USD             ((fc_dim){.usd = 1})
#define FC_DIM_USD_PER_SECOND  ((fc_dim){.usd = 1, .second = -1})
#define FC_DIM_USD_PER_JOULE   ((fc_dim){.usd = 1, .joule = -1})
#define FC_DIM_TOKENS          ((fc_dim){.token = 1})
#define FC_DIM_TOKENS_PER_SEC  ((fc_dim){.token = 1, .second = -1})
#define FC_DIM_DEVICES         ((fc_dim){.device = 1})
#define FC_DIM_REQUESTS_PER_S  ((fc_dim){.request = 1, .second = -1})

bool fc_dim_equal(fc_dim a, fc_dim b);

enum { FC_UNITS_TEXT = 160 };

/** Parses a whole text.
 *  @param[out] value   in base units; untouched on failure
 *  @param[out] dim     its dimension
 *  @param[out] why     on failure, a message for the user ("unknown unit 'TBs'; did you mean 'TB/s'?"),
 *                      at most FC_UNITS_TEXT bytes; nullable
 *  @return false when malformed, not finite, or of an unknown unit */
bool fc_quantity_parse(double *value, fc_dim *dim, const char *text, size_t length, char *why);

/** Words for a dimension, for messages: "bytes/s", "USD/s", "a plain number". */
void fc_dim_format(char out[FC_UNITS_TEXT], fc_dim dim);

/** A value in base units in the unit a reader expects: 3.35e12 bytes/s -> "3.35 TB/s".
 *  Parsing the text gives the value back to 12 significant digits. */
void fc_quantity_format(char out[FC_UNITS_TEXT], double value, fc_dim dim);

#endif
