/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_tables.h"

#include <stdio.h>

uint64_t fc_serve_refused(const fc_serve_answer *a, fc_refusal refusal) {
  return a->result->refused[refusal] + (a->prefill ? a->prefill->refused[refusal] : 0);
}

const char *fc_serve_condition_text(fc_replica_condition condition) {
  static const char *const text[FC_REPLICA_CONDITIONS] = {
      [FC_REPLICA_OFF] = "off", [FC_REPLICA_PROVISIONING] = "provisioning", [FC_REPLICA_LOADING] = "loading",
      [FC_REPLICA_UP] = "up",   [FC_REPLICA_DRAINING] = "draining",         [FC_REPLICA_DOWN] = "down"};
  return text[condition];
}

const char *fc_serve_refusal_text(fc_refusal refusal) {
  static const char *const text[FC_REFUSED_REASONS] = {[FC_REFUSED_NOT] = "",
                                                       [FC_REFUSED_PROMPT] = "prompt",
                                                       [FC_REFUSED_OUTPUT] = "output",
                                                       [FC_REFUSED_EMPTY] = "empty"};
  return text[refusal];
}

const char *fc_serve_verdict_text(fc_verdict verdict) {
  static const char *const text[] = {[FC_VERDICT_ENOUGH] = "enough",
                                     [FC_VERDICT_END] = "end",
                                     [FC_VERDICT_LIMIT] = "limit",
                                     [FC_VERDICT_OVERLOADED] = "overloaded"};
  return text[verdict];
}

const char *fc_serve_part(const fc_step_parts *p, int i, double *seconds) {
  static const char *const name[SERVE_PARTS] = {"attention", "dense", "experts", "glue",
                                                "head",      "comm",  "launch",  "host"};
  const double value[SERVE_PARTS] = {p->attention_s, p->dense_s, p->experts_s, p->glue_s,
                                     p->head_s,      p->comm_s,  p->launch_s,  p->host_s};
  *seconds = value[i];
  return name[i];
}

double fc_serve_watts(const fc_serve_answer *a) {
  double joules = a->result->energy_j + (a->prefill ? a->prefill->energy_j : 0), span = a->result->span_s;
  return span > 0 ? joules / span / a->devices : 0;
}

fc_interval fc_serve_price(const fc_serve_answer *a, fc_interval v) {
  double usd = 1e6 * a->price_usd_per_s * a->devices;
  fc_interval out = {.value = usd / v.value, .known = v.known, .closed = v.low > 0};
  out.low = usd / v.high;
  out.high = usd / (v.low > 0 ? v.low : v.value);
  return out;
}

/* --- requests.csv, timeline.csv --- */

void fc_serve_requests_header(table *t) {
  fc_table_header(t, "number,class,session,turn,arrival_s,admitted_s,first_token_s,finish_s,input_tokens,"
                     "output_tokens,cached_tokens,preemptions,replica,attempts,refused,ttft_s,tpot_s,e2e_s");
}

void fc_serve_timeline_header(table *t) {
  fc_table_header(t, "start_s,end_s,iterations,decoding,prefill_tokens,context_tokens,kv_blocks");
}

void fc_serve_timeline_row(table *t, const fc_replica_stretch *s) {
  fc_table_number(t, fc_time_to_s(s->start));
  fc_table_number(t, fc_time_to_s(s->end));
  fc_table_int(t, s->iterations);
  fc_table_int(t, s->decoding);
  fc_table_int(t, s->prefill_tokens);
  fc_table_int(t, s->context_tokens);
  fc_table_int(t, s->kv_blocks);
  fc_table_end_row(t);
}

/* --- cluster.csv, replicas.csv --- */

void fc_serve_cluster_header(table *t) {
  fc_table_header(t, "time_s,off,provisioning,loading,up,draining,down,at_router,retrying,waiting,running,"
                     "waiting_tokens,kv_blocks,in,done,refused,lost");
}

void fc_serve_cluster_row(table *t, const fc_cluster_sample *s) {
  fc_table_number(t, fc_time_to_s(s->at));
  for (int i = 0; i < FC_REPLICA_CONDITIONS; i++) fc_table_int(t, s->replicas[i]);
  fc_table_int(t, s->at_router);
  fc_table_int(t, s->retrying);
  fc_table_int(t, s->waiting);
  fc_table_int(t, s->running);
  fc_table_int(t, s->waiting_tokens);
  fc_table_int(t, s->kv_used);
  fc_table_int(t, (long long)s->in);
  fc_table_int(t, (long long)s->done);
  fc_table_int(t, (long long)s->refused);
  fc_table_int(t, (long long)s->lost);
  fc_table_end_row(t);
}

void fc_serve_replicas_table(table *t, const fc_serve_answer *a) {
  fc_table_header(t, "replica,in,done,refused,lost,starts,failures,input_tokens,output_tokens,cached_tokens,"
                     "preemptions,iterations,off_s,provisioning_s,loading_s,up_s,draining_s,down_s,busy_s,"
                     "energy_kwh,batch_mean,kv_peak_share");
  for (size_t i = 0; a->cluster && i < a->cluster->n_replicas; i++) {
    const fc_cluster_replica *r = &a->cluster->by_replica[i];
    fc_table_int(t, (long long)i);
    const uint64_t count[] = {
        r->in,           r->done,          r->refused,       r->lost,        r->starts,    r->failures,
        r->input_tokens, r->output_tokens, r->cached_tokens, r->preemptions, r->iterations};
    for (size_t k = 0; k < sizeof count / sizeof *count; k++) fc_table_int(t, (long long)count[k]);
    for (int k = 0; k < FC_REPLICA_CONDITIONS; k++) fc_table_number(t, r->seconds[k]);
    fc_table_number(t, r->busy_s);
    fc_table_number(t, r->energy_j / 3.6e6);
    fc_table_number(t, r->batch_mean);
    fc_table_number(t, r->kv_peak / (double)a->kv_blocks);
    fc_table_end_row(t);
  }
}

/* --- latency.csv --- */

static void put_interval(table *t, const fc_interval *v) {
  if (v->value < 0)
    fc_table_text(t, "");
  else
    fc_table_number(t, v->value);
  if (v->known)
    fc_table_number(t, v->low);
  else
    fc_table_text(t, "");
  if (v->known && v->closed)
    fc_table_number(t, v->high);
  else
    fc_table_text(t, "");
}

void fc_serve_latency_table(table *t, const fc_serve_answer *a) {
  static const struct {
    const char *text;
    double p;
  } rows[] = {{"mean", 0}, {"0.5", 0.5}, {"0.9", 0.9}, {"0.99", 0.99}};
  fc_table_header(t, "metric,quantile,value,low,high,unit");
  for (int k = 0; k < FC_LATENCIES; k++)
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      fc_interval v = rows[i].p > 0 ? fc_study_quantile(a->study, (fc_latency)k, rows[i].p)
                                    : fc_study_mean(a->study, (fc_latency)k);
      fc_table_text(t, fc_latency_text((fc_latency)k));
      fc_table_text(t, rows[i].text);
      put_interval(t, &v);
      fc_table_text(t, "s");
      fc_table_end_row(t);
    }
}

/* --- summary.csv --- */

static void put_row(table *t, const char *metric, const char *of, const fc_interval *v, const char *unit) {
  fc_table_text(t, metric);
  fc_table_text(t, of);
  put_interval(t, v);
  fc_table_text(t, unit);
  fc_table_end_row(t);
}

static void put(table *t, const char *metric, const char *of, double value, const char *unit) {
  put_row(t, metric, of, &(fc_interval){.value = value}, unit);
}

static void put_rates(table *t, const fc_serve_answer *a) {
  static const struct {
    const char *name, *unit;
  } rate[FC_RATES] = {[FC_RATE_REQUESTS] = {"requests_rate", "1/s"},
                      [FC_RATE_INPUT_TOKENS] = {"input_tokens_rate", "tokens/s"},
                      [FC_RATE_OUTPUT_TOKENS] = {"output_tokens_rate", "tokens/s"},
                      [FC_RATE_GOOD] = {"goodput", "1/s"},
                      [FC_RATE_GOOD_SHARE] = {"good_share", ""}};
  for (int i = 0; i < FC_RATES; i++) {
    fc_interval v = fc_study_rate(a->study, (fc_rate)i);
    if (v.value >= 0 && (a->def->n_classes || i < FC_RATE_GOOD))
      put_row(t, rate[i].name, "", &v, rate[i].unit);
  }
  for (size_t i = 0; i < a->def->n_classes; i++) {
    fc_interval v = fc_study_class_good(a->study, i);
    if (v.value >= 0) put_row(t, "good_share", a->def->classes[i].name, &v, "");
  }
  fc_interval out = fc_study_rate(a->study, FC_RATE_OUTPUT_TOKENS);
  if (out.value >= 0) {
    double n = a->devices;
    put_row(t, "output_tokens_rate_device", "",
            &(fc_interval){out.value / n, out.low / n, out.high / n, out.known, out.closed}, "tokens/s");
  }
  if (out.value > 0 && a->price_usd_per_s > 0) {
    fc_interval usd = fc_serve_price(a, out);
    put_row(t, "price_output", "", &usd, "USD/Mtoken");
  }
}

static void put_requests(table *t, const fc_serve_answer *a) {
  const fc_replica_result *first = a->prefill ? a->prefill : a->result;
  fc_study_state s = fc_study_now(a->study);
  put(t, "requests_taken", "", (double)a->load.requests, "requests");
  put(t, "requests_over", "", (double)s.over, "requests");
  put(t, "requests_looked_at", "", (double)s.looked_at, "requests");
  put(t, "requests_left_out", "", (double)s.left_out, "requests");
  for (int i = FC_REFUSED_NOT + 1; i < FC_REFUSED_REASONS; i++) {
    double n = (double)fc_serve_refused(a, (fc_refusal)i);
    put(t, "requests_refused", fc_serve_refusal_text((fc_refusal)i), n, "requests");
  }
  put(t, "load_rate", "", a->load.rate_per_s, "1/s");
  put(t, "load_gap_cv", "", a->load.gap_cv, "");
  put(t, "input_tokens_mean", "", a->load.input.mean, "tokens");
  put(t, "output_tokens_mean", "", a->load.output.mean, "tokens");
  put(t, "requests_cut", "", (double)a->load.cut, "requests");
  put(t, "cached_tokens", "", (double)first->cached_tokens, "tokens");
  put(t, "prefilled_tokens", "", (double)first->prefilled_tokens, "tokens");
  put(t, "preemptions", "", (double)(a->result->preemptions + (a->prefill ? a->prefill->preemptions : 0)),
      "");
  put(t, "recomputed_tokens", "", (double)a->result->recomputed_tokens, "tokens");
}

static void put_instance(table *t, const char *of, const fc_replica_result *r, int64_t kv_blocks, double n) {
  double all = n * (double)kv_blocks; /* sums are of all instances, peaks of the fullest */
  put(t, "iterations", of, (double)r->iterations, "");
  put(t, "busy_share", of, r->span_s > 0 ? r->busy_s / r->span_s / n : 0, "");
  put(t, "batch_mean", of, r->batch_mean, "requests");
  put(t, "batch_peak", of, r->batch_peak, "requests");
  put(t, "queue_mean", of, r->queue_mean, "requests");
  put(t, "kv_capacity", of, all, "blocks");
  put(t, "kv_mean_share", of, r->kv_mean / all, "");
  put(t, "kv_peak_share", of, r->kv_peak / (double)kv_blocks, "");
  put(t, "step_table_error", of, r->table_error, "");
}

static void put_cluster(table *t, const fc_serve_answer *a) {
  const fc_cluster_result *c = a->cluster;
  double each = c->span_s * (double)a->def->plan.devices;
  for (int i = FC_REPLICA_PROVISIONING; i < FC_REPLICA_CONDITIONS; i++)
    put(t, "replicas", fc_serve_condition_text((fc_replica_condition)i), each > 0 ? c->device_s[i] / each : 0,
        "replicas");
  put(t, "availability", "", c->availability, "");
  put(t, "requests_refused", "router", (double)c->router_refused, "requests");
  put(t, "requests_lost", "", (double)c->lost, "requests");
  put(t, "retries", "", (double)c->retries, "");
  put(t, "replica_failures", "", (double)c->failures, "");
  put(t, "scaled_up", "", (double)c->scaled_up, "");
  put(t, "scaled_down", "", (double)c->scaled_down, "");
  put(t, "router_wait_mean", "", c->in ? c->router_wait_s / (double)c->in : 0, "s");
}

void fc_serve_summary_table(table *t, const fc_serve_answer *a) {
  fc_table_header(t, "metric,of,value,low,high,unit");
  put_requests(t, a);
  put_rates(t, a);
  put(t, "span", "", a->result->span_s, "s");
  put(t, "devices", "", a->devices, "devices");
  if (a->prefill) {
    put(t, "devices", "prefill", (double)a->prefill_devices, "devices");
    put_instance(t, "prefill", a->prefill, a->prefill_kv_blocks, (double)a->def->apart->prefill_replicas);
    put_instance(t, "decode", a->result, a->kv_blocks, a->replicas);
    put(t, "transfer_mean", "", a->transfer_mean_s, "s");
    put(t, "link_utilisation", "", a->link_utilisation, "");
  } else {
    put_instance(t, "whole", a->result, a->kv_blocks, a->replicas);
  }
  if (a->cluster) put_cluster(t, a);
  put(t, "device_power", "", fc_serve_watts(a), "W");
  if (a->price_usd_per_s > 0) put(t, "device_price", "", 3600 * a->price_usd_per_s, "USD/h");
  put(t, "step_log_sd", "decode", a->decode_log_sd, "");
  put(t, "step_log_sd", "prefill", a->prefill_log_sd, "");
}

/* --- breakdown.csv --- */

static void put_breakdown(table *t, const char *of, const fc_replica_result *r) {
  for (int i = 0; i < SERVE_PARTS; i++) {
    double seconds;
    fc_table_text(t, of);
    fc_table_text(t, fc_serve_part(&r->parts, i, &seconds));
    fc_table_number(t, seconds);
    fc_table_number(t, r->busy_s > 0 ? seconds / r->busy_s : 0);
    fc_table_end_row(t);
  }
}

void fc_serve_breakdown_table(table *t, const fc_serve_answer *a) {
  fc_table_header(t, "instance,part,seconds,share");
  if (a->prefill) put_breakdown(t, "prefill", a->prefill);
  put_breakdown(t, a->prefill ? "decode" : "whole", a->result);
}
