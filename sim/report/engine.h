/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_INTERNAL_ENGINE_H
#define FC_REPORT_INTERNAL_ENGINE_H

#include <stdbool.h>

#include <fleetcast/scenario/text.h>
#include <fleetcast/serve/view.h>

enum { ENGINE_TEXT = 512 };

/** Whose operators, in which formats, or why the forms count. */
void fc_report_operators(char out[ENGINE_TEXT], const fc_serve_view *view, bool sparse);
/** Every overhead with its value. */
void fc_report_overheads(char out[ENGINE_TEXT], const fc_serve_view *view);
/** Both, for a page. */
void fc_report_engine(fc_text *out, const fc_serve_view *view, bool sparse);
/** Both, as a line of a manifest. */
void fc_report_manifest_engine(fc_text *out, const char *key, const fc_serve_view *view);

#endif
