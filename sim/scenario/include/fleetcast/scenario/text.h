/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TEXT_H
#define FC_SCENARIO_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/status.h>

/** A text that grows.  Zero-initialise it; the first failure sticks, so that writers need not check each
 * call: ask fc_text_status at the end. */
typedef struct fc_text {
  char *bytes; /* NUL-terminated; NULL while empty */
  size_t length, capacity;
  bool failed;
} fc_text;

void fc_text_add(fc_text *text, const char *string);
void fc_text_printf(fc_text *text, const char *format, ...) FC_PRINTF(2, 3);
/** In double quotes, escaped so that JSON and YAML read the same string back. */
void fc_text_quote(fc_text *text, const char *string);
/** FC_OK | FC_E_NOMEM */
fc_status fc_text_status(const fc_text *text);
void fc_text_fini(fc_text *text);

#endif
