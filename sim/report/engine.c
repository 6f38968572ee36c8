/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <stdio.h>

#include "sheet.h"

/* Whose operators compose iterations, and what comes on top. */

void fc_report_operators(char out[ENGINE_TEXT], const fc_serve_view *view, bool sparse) {
  const fc_engine *e = &view->engine;
  if (view->measured && sparse)
    (void)snprintf(out, ENGINE_TEXT, "operators as measured for %s: linear %s, experts %s, cache %s", e->name,
                   e->gemm, e->experts, e->kv);
  else if (view->measured)
    (void)snprintf(out, ENGINE_TEXT, "operators as measured for %s: linear %s, cache %s", e->name, e->gemm,
                   e->kv);
  else
    (void)snprintf(out, ENGINE_TEXT, "operators by the forms of profile %.60s%s%.160s", view->profile->name,
                   *view->why ? ": " : "", view->why);
}

void fc_report_overheads(char out[ENGINE_TEXT], const fc_serve_view *view) {
  const fc_engine *e = &view->engine;
  char factors[96] = "";
  if (view->measured)
    (void)snprintf(factors, sizeof factors,
                   "glue x %.3g, collective x %.3g, %.3g ms a latent layer with prompts, ", e->glue,
                   e->collective, 1e3 * e->eager_layer_s);
  (void)snprintf(
      out, ENGINE_TEXT,
      "overheads of %s: %s%.3g ms an iteration, %.3g us a request in it; before the first token %.3g ms "
      "and %.3g ms for each request under way, %.3g iterations ahead; %.3g ms to the client",
      e->name, factors, 1e3 * e->step_s, 1e6 * e->request_s, 1e3 * (e->front_s + e->way_s),
      1e3 * e->front_request_s, e->steps_ahead, 1e3 * e->way_s);
}

void fc_report_engine(fc_text *out, const fc_serve_view *view, bool sparse) {
  char line[ENGINE_TEXT];
  fc_report_operators(line, view, sparse);
  fc_report_wrap(out, 0, line);
  fc_report_overheads(line, view);
  fc_report_wrap(out, 0, line);
}

void fc_report_manifest_engine(fc_text *out, const char *key, const fc_serve_view *view) {
  const fc_engine *e = &view->engine;
  fc_text_printf(out, "%s: {", key);
  fc_text_printf(out, "profile: %s, name: %s, operators: %s", view->profile->name, e->name,
                 view->measured ? "measured" : "forms");
  if (view->measured)
    fc_text_printf(out,
                   ", linear: %s, experts: %s, cache: %s, glue: %.9g, collective: %.9g, eager_layer_s: %.9g",
                   e->gemm, e->experts, e->kv, e->glue, e->collective, e->eager_layer_s);
  if (*view->why) {
    fc_text_add(out, ", why: ");
    fc_text_quote(out, view->why);
  }
  fc_text_printf(out,
                 ", step_s: %.9g, request_s: %.9g, front_s: %.9g, front_request_s: %.9g, steps_ahead: %.9g, "
                 "way_s: %.9g}\n",
                 e->step_s, e->request_s, e->front_s, e->front_request_s, e->steps_ahead, e->way_s);
}
