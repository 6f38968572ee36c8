/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "serve_tables.h"
#include "sheet.h"

static void add_row_of(sheet *g, const char *const *cells, size_t n) {
  for (size_t i = 0; i < n; i++) fc_sheet_cell(g, "%s", cells[i]);
}
#define ADD_ROW(g, cells) add_row_of((g), (cells), sizeof(cells) / sizeof *(cells))

/* --- what was asked --- */

static void add_instance(fc_text *out, const char *what, const fc_serve_plan *plan,
                         const fc_serve_policy *policy) {
  char text[PLAN_TEXT], line[2 * PLAN_TEXT];
  fc_report_serve_plan(text, plan);
  (void)snprintf(line, sizeof line, "%s: %s; %s, up to %lld requests, %lld tokens a group", what, text,
                 policy->name, (long long)policy->max_batch, (long long)policy->token_budget);
  fc_report_wrap(out, 0, line);
}

static void add_head(fc_text *out, const fc_serve_answer *a) {
  const fc_serve_def *d = a->def;
  fc_text_printf(out, "%s\n", d->name);
  if (d->question) fc_report_wrap(out, 0, d->question);
  fc_text_printf(out, "%s on %.4g %s; seed %" PRIu64 "\n", d->model->name, a->devices,
                 d->profile->device_name, a->seed);
  if (d->apart) {
    const fc_serve_apart *p = d->apart;
    char what[64];
    (void)snprintf(what, sizeof what, "%lld x prefill on %lld", (long long)p->prefill_replicas,
                   (long long)p->plan.devices);
    add_instance(out, what, &p->plan, &p->scheduler);
    (void)snprintf(what, sizeof what, "%lld x decode on %lld", (long long)p->decode_replicas,
                   (long long)d->plan.devices);
    add_instance(out, what, &d->plan, &d->engine.scheduler);
  } else {
    add_instance(out, "plan", &d->plan, &d->engine.scheduler);
  }
  if (a->view) fc_report_engine(out, a->view, d->model->moe.experts > 0);
}

/* "12.3", three digits or so. */
static void number(char out[SI_TEXT], double v) {
  double m = fabs(v);
  if (m >= 999999.5)
    (void)snprintf(out, SI_TEXT, "%.2e", v);
  else
    (void)snprintf(out, SI_TEXT, "%.*f", m < 0.9995 ? 3 : m < 9.995 ? 2 : m < 99.95 ? 1 : 0, v);
}

static void lengths_row(sheet *g, const char *name, const fc_load_lengths *l) {
  fc_sheet_cell(g, "%s", name);
  fc_sheet_cell(g, "%.0f", l->mean);
  fc_sheet_cell(g, "%.0f", l->sd);
  fc_sheet_cell(g, "%u", l->p50);
  fc_sheet_cell(g, "%u", l->p90);
  fc_sheet_cell(g, "%u", l->p99);
  fc_sheet_cell(g, "%u", l->max);
}

static void add_load(fc_text *out, const fc_serve_answer *a) {
  static const char *const head[] = {"tokens", "mean", "sd", "P50", "P90", "P99", "max"};
  const fc_load_summary *l = &a->load;
  fc_text_printf(out, "\nLOAD: %" PRIu64 " requests", l->requests);
  if (l->rate_per_s > 0)
    fc_text_printf(out, ", %.3g a second, gaps with a coefficient of variation of %.2f", l->rate_per_s,
                   l->gap_cv);
  fc_text_printf(out, "; at most %" PRIu64 " under way\n", l->under_way_max);
  if (a->trace)
    fc_text_printf(out, "trace: %s, %zu requests, %zu malformed rows skipped\n", a->trace,
                   a->trace_info.requests, a->trace_info.malformed);
  sheet g;
  fc_sheet_init(&g, "lrrrrrr");
  ADD_ROW(&g, head);
  lengths_row(&g, "input", &l->input);
  lengths_row(&g, "output", &l->output);
  fc_sheet_print(&g, out);
  if (l->cut) fc_text_printf(out, "shortened to input_max or output_max: %" PRIu64 " requests\n", l->cut);
  if (l->sessions_short)
    fc_text_printf(out, "sessions that ended at context_max: %" PRIu64 "\n", l->sessions_short);
}

/* --- latency --- */

static void interval_cell(sheet *g, const fc_interval *v, double scale) {
  char value[SI_TEXT], low[SI_TEXT], high[SI_TEXT];
  number(value, scale * v->value);
  number(low, scale * v->low);
  number(high, scale * v->high);
  if (v->value < 0)
    fc_sheet_cell(g, "-");
  else if (!v->known)
    fc_sheet_cell(g, "%s [?]", value);
  else
    fc_sheet_cell(g, "%s [%s, %s]", value, low, v->closed ? high : "?");
}

static void add_latency(fc_text *out, const fc_serve_answer *a) {
  static const char *const head[] = {"ms", "mean", "P50", "P90", "P99"};
  static const char *const name[FC_LATENCIES] = {[FC_LATENCY_TTFT] = "TTFT",
                                                 [FC_LATENCY_TPOT] = "TPOT",
                                                 [FC_LATENCY_ITL] = "ITL",
                                                 [FC_LATENCY_E2E] = "E2E"};
  static const double p[] = {0.5, 0.9, 0.99};
  fc_study_state s = fc_study_now(a->study);
  fc_text_printf(out,
                 "\nLATENCY of %" PRIu64 " requests, the first %" PRIu64
                 " left out (in brackets: 95 %% interval; ?: too few samples)\n",
                 s.looked_at, s.left_out);
  sheet g;
  fc_sheet_init(&g, "lrrrr");
  ADD_ROW(&g, head);
  for (int k = 0; k < FC_LATENCIES; k++) {
    fc_sheet_cell(&g, "%s", name[k]);
    fc_interval v = fc_study_mean(a->study, (fc_latency)k);
    interval_cell(&g, &v, 1e3);
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
      v = fc_study_quantile(a->study, (fc_latency)k, p[i]);
      interval_cell(&g, &v, 1e3);
    }
  }
  fc_sheet_print(&g, out);
}

/* --- rates and money --- */

static void rate_row(sheet *g, const char *name, const fc_interval *v, double share) {
  fc_sheet_cell(g, "%s", name);
  interval_cell(g, v, 1);
  if (share > 0)
    interval_cell(g, v, share);
  else
    fc_sheet_cell(g, " ");
}

static void add_rates(fc_text *out, const fc_serve_answer *a) {
  static const char *const head[] = {"a second", "deployment", "a device"};
  static const char *const name[] = {[FC_RATE_REQUESTS] = "requests done",
                                     [FC_RATE_INPUT_TOKENS] = "input tokens",
                                     [FC_RATE_OUTPUT_TOKENS] = "output tokens"};
  double share = 1 / a->devices;
  sheet g;
  fc_text_add(out, "\nTHROUGHPUT\n");
  fc_sheet_init(&g, "lrr");
  ADD_ROW(&g, head);
  for (int i = 0; i <= FC_RATE_OUTPUT_TOKENS; i++) {
    fc_interval v = fc_study_rate(a->study, (fc_rate)i);
    rate_row(&g, name[i], &v, share);
  }
  fc_sheet_print(&g, out);
  fc_interval made = fc_study_rate(a->study, FC_RATE_OUTPUT_TOKENS);
  fc_text_printf(out, "power: %.0f W a device", fc_serve_watts(a));
  if (a->price_usd_per_s > 0 && made.value > 0) {
    fc_interval usd = fc_serve_price(a, made);
    char value[SI_TEXT], low[SI_TEXT], high[SI_TEXT];
    number(value, usd.value);
    number(low, usd.low);
    number(high, usd.high);
    fc_text_printf(out, "; %s USD for a million output tokens", value);
    if (usd.known) fc_text_printf(out, " [%s, %s]", low, high);
    fc_text_printf(out, " at %.3g USD a device-hour", 3600 * a->price_usd_per_s);
  }
  fc_text_add(out, "\n");
}

static void promise(sheet *g, double limit_s) {
  char text[SI_TEXT];
  number(text, 1e3 * limit_s);
  fc_sheet_cell(g, "%s", limit_s > 0 ? text : "-");
}

static void add_goodput(fc_text *out, const fc_serve_answer *a) {
  static const char *const head[] = {"class", "TTFT", "TPOT", "E2E", "kept all %"};
  if (!a->def->n_classes) return;
  sheet g;
  fc_text_add(out, "\nGOODPUT (promises in ms; kept: of all requests that are over, refused ones too)\n");
  fc_sheet_init(&g, "lrrrr");
  ADD_ROW(&g, head);
  for (size_t i = 0; i < a->def->n_classes; i++) {
    const fc_serve_class *c = &a->def->classes[i];
    fc_interval v = fc_study_class_good(a->study, i);
    fc_sheet_cell(&g, "%.24s", c->name);
    promise(&g, c->ttft_s);
    promise(&g, c->tpot_s);
    promise(&g, c->e2e_s);
    if (v.value < 0)
      fc_sheet_cell(&g, "none came");
    else
      interval_cell(&g, &v, 100);
  }
  fc_sheet_print(&g, out);
  char value[SI_TEXT], low[SI_TEXT], high[SI_TEXT];
  fc_interval v = fc_study_rate(a->study, FC_RATE_GOOD);
  number(value, v.value);
  number(low, v.low);
  number(high, v.high);
  fc_text_printf(out, "goodput: %s requests a second", value);
  if (v.known) fc_text_printf(out, " [%s, %s]", low, high);
  fc_text_add(out, "\n");
}

/* --- the instances --- */

static void instance_row(sheet *g, const char *name, const fc_replica_result *r, int64_t blocks, double n) {
  fc_sheet_cell(g, "%s", name);
  fc_sheet_cell(g, "%.1f %%", r->span_s > 0 ? 100 * r->busy_s / r->span_s / n : 0);
  fc_sheet_cell(g, "%.1f", r->batch_mean);
  fc_sheet_cell(g, "%.0f", r->batch_peak);
  fc_sheet_cell(g, "%.1f", r->queue_mean);
  fc_sheet_cell(g, "%.1f %%", 100 * r->kv_mean / (double)blocks / n);
  fc_sheet_cell(g, "%.1f %%", 100 * r->kv_peak / (double)blocks);
  fc_sheet_cell(g, "%" PRIu64, r->preemptions);
  fc_sheet_si(g, (double)r->iterations);
  fc_sheet_cell(g, "%.2f", r->iterations ? 1e3 * r->busy_s / (double)r->iterations : 0);
}

static void add_cluster(fc_text *out, const fc_serve_answer *a) {
  const fc_cluster_result *c = a->cluster;
  if (!c) return;
  double each = c->span_s * (double)a->def->plan.devices;
  fc_text_printf(out, "replicas behind '%s', mean:", fc_route_name(a->def->cluster->route));
  for (int i = FC_REPLICA_PROVISIONING; i < FC_REPLICA_CONDITIONS; i++)
    if (c->device_s[i] > 0)
      fc_text_printf(out, " %.3g %s", c->device_s[i] / each,
                     fc_serve_condition_text((fc_replica_condition)i));
  fc_text_printf(out, "\nscaled up %" PRIu64 ", down %" PRIu64 " times; availability %.3f %%\n", c->scaled_up,
                 c->scaled_down, 100 * c->availability);
  if (c->failures || c->lost || c->router_refused)
    fc_text_printf(out,
                   "failures: %" PRIu64 " of replicas, %" PRIu64 " requests sent again, %" PRIu64
                   " lost, %" PRIu64 " refused by the router\n",
                   c->failures, c->retries, c->lost, c->router_refused);
}

static void add_instances(fc_text *out, const fc_serve_answer *a) {
  static const char *const head[] = {"instances", "busy",    "batch",     "peak",       "queue",
                                     "KV mean",   "KV peak", "preempted", "iterations", "mean ms"};
  sheet g;
  fc_text_add(out, "\nINSTANCES, whole run (batch: decoding requests of an iteration)\n");
  fc_sheet_init(&g, "lrrrrrrrrr");
  ADD_ROW(&g, head);
  if (a->prefill) {
    instance_row(&g, "prefill", a->prefill, a->prefill_kv_blocks, (double)a->def->apart->prefill_replicas);
    instance_row(&g, "decode", a->result, a->kv_blocks, a->replicas);
  } else {
    instance_row(&g, "whole", a->result, a->kv_blocks, a->replicas);
  }
  fc_sheet_print(&g, out);
  add_cluster(out, a);
  if (a->prefill)
    fc_text_printf(out, "transfer of a prompt's cache: %.1f ms; link in use %.1f %%\n",
                   1e3 * a->transfer_mean_s, 100 * a->link_utilisation);
  uint64_t hits = a->result->cache_hits + (a->prefill ? a->prefill->cache_hits : 0);
  uint64_t looks = a->result->cache_lookups + (a->prefill ? a->prefill->cache_lookups : 0);
  if (looks)
    fc_text_printf(out, "prefix cache: %.1f %% of the blocks found\n", 100 * (double)hits / (double)looks);
}

static void parts_row(sheet *g, const char *name, const fc_replica_result *r) {
  fc_sheet_cell(g, "%s", name);
  for (int i = 0; i < SERVE_PARTS; i++) {
    double seconds;
    (void)fc_serve_part(&r->parts, i, &seconds);
    fc_sheet_cell(g, "%.1f", r->busy_s > 0 ? 100 * seconds / r->busy_s : 0);
  }
}

static void add_parts(fc_text *out, const fc_serve_answer *a) {
  sheet g;
  fc_text_add(out, "\nWHERE STEP TIME GOES (% of all iterations; comm: what nothing hides)\n");
  fc_sheet_init(&g, "lrrrrrrrr");
  fc_sheet_cell(&g, "instances");
  for (int i = 0; i < SERVE_PARTS; i++) {
    double seconds;
    fc_sheet_cell(&g, "%s", fc_serve_part(&a->result->parts, i, &seconds));
  }
  if (a->prefill) parts_row(&g, "prefill", a->prefill);
  parts_row(&g, a->prefill ? "decode" : "whole", a->result);
  fc_sheet_print(&g, out);
}

/* --- how sure --- */

static void add_refusals(fc_text *out, const fc_serve_answer *a) {
  static const char *const why[FC_REFUSED_REASONS] = {[FC_REFUSED_PROMPT] =
                                                          "the prompt alone exceeds cache or context",
                                                      [FC_REFUSED_OUTPUT] = "prompt and output together do",
                                                      [FC_REFUSED_EMPTY] = "no prompt"};
  for (int i = FC_REFUSED_NOT + 1; i < FC_REFUSED_REASONS; i++) {
    uint64_t n = fc_serve_refused(a, (fc_refusal)i);
    if (n) fc_text_printf(out, "refused: %" PRIu64 " (%s)\n", n, why[i]);
  }
}

static void add_verdict(fc_text *out, const fc_serve_answer *a) {
  fc_text_add(out, "\n");
  add_refusals(out, a);
  switch (a->verdict) {
  case FC_VERDICT_ENOUGH:
    fc_text_printf(out, "stopped: every percentile is within %.3g %%\n", 100 * a->def->stop.width);
    break;
  case FC_VERDICT_END: fc_text_add(out, "stopped: the load ended\n"); break;
  case FC_VERDICT_LIMIT:
    fc_text_printf(out, "stopped: the load ended before every percentile was within %.3g %%\n",
                   100 * a->def->stop.width);
    break;
  case FC_VERDICT_OVERLOADED:
    fc_text_add(out, "OVERLOADED: more comes than is served, the queue grows without end, and with it every "
                     "latency above:\nwhat this run shows is its throughput, not a latency\n");
    break;
  }
  fc_text_printf(out,
                 "systematic: step time known to %.0f %% (decode), %.0f %% (prompts), one standard deviation "
                 "(%s);\n            the intervals above do not contain it\n",
                 100 * expm1(a->decode_log_sd), 100 * expm1(a->prefill_log_sd),
                 a->view && a->view->measured ? "docs/validate.md" : "of the profile");
  fc_text_add(
      out, "TTFT: first token - arrival; TPOT: (last - first token) / (output - 1); ITL: each gap between "
           "tokens;\nE2E: last token - arrival; as vLLM's and SGLang's benchmark clients; docs/serve.md\n");
}

fc_status fc_report_serve_page(fc_text *out, const fc_serve_answer *answer) {
  add_head(out, answer);
  add_load(out, answer);
  add_latency(out, answer);
  add_rates(out, answer);
  add_goodput(out, answer);
  add_instances(out, answer);
  add_parts(out, answer);
  add_verdict(out, answer);
  return fc_text_status(out);
}
