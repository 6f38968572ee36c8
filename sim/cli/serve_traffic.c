/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/report/serve.h>

#include "serve.h"
#include "terminal.h"

static bool has_error(const fc_diags *d) {
  return d->n_errors > 0;
}

/* Relative to the file that names it; --trace is as the shell has it. */
static char *path_of(const char *trace, const char *path, const settings *s) {
  const char *slash = strrchr(path, '/');
  size_t folder = s->trace || *trace == '/' || !slash ? 0 : (size_t)(slash - path) + 1;
  char *out = malloc(folder + strlen(trace) + 1);
  if (!out) return NULL;
  memcpy(out, path, folder);
  memcpy(out + folder, trace, strlen(trace) + 1);
  return out;
}

static int read_trace(traffic *t, const char *name, const char *path, const settings *s) {
  fc_diags d;
  fc_diags_init(&d);
  char *file = path_of(name, path, s);
  fc_status status = file ? fc_trace_read(&t->trace, file, &d) : FC_E_NOMEM;
  int error = errno;
  cli_show_diags(&d, cli_colored(s->color));
  if (status == FC_E_IO) (void)fprintf(stderr, "fleetcast: cannot read %s: %s\n", file, strerror(error));
  if (status == FC_E_NOMEM) (void)fprintf(stderr, "fleetcast: %s: %s\n", name, fc_status_text(status));
  if (status == FC_OK) fc_report_hash(t->trace_sha256, file);
  const char *slash = strrchr(name, '/');
  t->trace_name = slash ? slash + 1 : name;
  free(file);
  switch (status) {
  case FC_OK: return EXIT_OK;
  case FC_E_INPUT: return EXIT_INPUT;
  case FC_E_IO: return EXIT_IO;
  default: return EXIT_FAILED;
  }
}

/* --- the load --- */

static fc_arrive arrive_of(const fc_serve_traffic *l, bool trace) {
  if (l->arrive != FC_SERVE_ARRIVE_AUTO) return (fc_arrive)((int)l->arrive - 1);
  if (trace) return FC_ARRIVE_TRACE;
  return l->concurrency > 0 && !(l->rate_per_s > 0) && !l->demand ? FC_ARRIVE_AT_ONCE : FC_ARRIVE_POISSON;
}

static void put_session(fc_session_def *to, const fc_serve_session *from) {
  *to = (fc_session_def){.turns = from->turns,
                         .think_s = from->think_s,
                         .new_tokens = from->new_tokens,
                         .tool_share = from->tool_share,
                         .tool_s = from->tool_s,
                         .tool_tokens = from->tool_tokens};
}

static void put_demand(traffic *t, fc_load_def *to, const fc_serve_demand *from) {
  t->demand = (fc_demand_def){.rate = &from->rate_per_s,
                              .shape = from->shape,
                              .burst_sigma = from->burst_sigma,
                              .burst_s = from->burst_time_s};
  to->demand = &t->demand;
  to->demand_start = from->start;
  to->epoch_s = from->epoch_s;
}

static void put_classes(traffic *t, fc_load_def *to, const fc_serve_def *def) {
  if (!def->n_classes) return;
  for (size_t i = 0; i < def->n_classes; i++) {
    t->share[i] = def->classes[i].share;
    t->class_name[i] = def->classes[i].name;
  }
  to->n_classes = def->n_classes;
  to->class_share = t->share;
  to->class_name = t->class_name;
}

static fc_load_def load_of(traffic *t, const fc_serve_def *def, uint64_t seed) {
  const fc_serve_traffic *l = &def->load;
  fc_load_def to = fc_load_default_def();
  to.seed = seed;
  to.arrive = arrive_of(l, t->trace != NULL);
  to.rate_per_s = l->rate_per_s;
  to.rate_scale = l->rate_scale;
  to.arrival_cv = l->arrival_cv;
  to.requests = (uint64_t)l->requests;
  to.duration_s = l->duration_s;
  to.repeat = l->repeat;
  to.concurrency = (size_t)l->concurrency;
  to.ramp_s = l->ramp_s;
  to.pause_s = l->pause_s;
  to.trace = t->trace;
  to.in_order = l->in_order;
  to.from_s = l->from_s;
  if (l->until_s > 0) to.until_s = l->until_s;
  to.input = l->input;
  to.output = l->output;
  to.correlation = l->correlation;
  to.input_max = (uint32_t)l->input_max;
  to.output_max = (uint32_t)l->output_max;
  to.context_max = (uint32_t)l->context_max;
  to.block_tokens = (uint32_t)l->block_tokens;
  to.prefix = (fc_prefix_def){.share = l->prefix.share,
                              .groups = (size_t)l->prefix.groups,
                              .zipf = l->prefix.zipf,
                              .tokens = l->prefix.tokens,
                              .adds = l->prefix.adds};
  put_session(&to.session, &l->session);
  if (l->demand) put_demand(t, &to, l->demand);
  put_classes(t, &to, def);
  return to;
}

/* Mean tokens that a request holds: prompt and half its output. */
static double mean_context(const fc_load_def *l) {
  if (!l->trace) return fc_dist_mean(&l->input) + 0.5 * fc_dist_mean(&l->output);
  double sum = 0;
  size_t n = fc_trace_about(l->trace)->requests;
  for (size_t i = 0; i < n; i++) {
    fc_trace_row row = fc_trace_at(l->trace, i);
    sum += (double)row.input_tokens + 0.5 * (double)row.output_tokens;
  }
  return sum / (double)n;
}

static void set_limits(traffic *t, fc_load_def *l, const fc_serve_def *def) {
  bool replays = l->arrive == FC_ARRIVE_TRACE || (l->trace && l->in_order);
  t->open = l->concurrency == 0 && l->arrive != FC_ARRIVE_AT_ONCE;
  t->alone = t->open && l->session.turns.kind == FC_DIST_POINT && l->session.turns.a < 1.5;
  t->to_the_end = (replays && !l->repeat) || !(def->stop.width > 0);
  bool endless = l->requests == 0 && !(l->duration_s > 0) && (!replays || l->repeat);
  if (endless && (t->open || l->concurrency > 0)) l->requests = FC_SERVE_REQUESTS_MAX;
  t->limit = l->requests;
  if (!t->limit && replays && !l->repeat && l->trace) t->limit = fc_trace_about(l->trace)->requests;
}

int cli_traffic_make(traffic *t, const fc_serve_def *def, uint64_t seed, const char *path,
                     const settings *s) {
  *t = (traffic){0};
  const char *trace = s->trace ? s->trace : def->load.trace;
  if (trace) {
    int code = read_trace(t, trace, path, s);
    if (code != EXIT_OK) return code;
  }
  fc_load_def l = load_of(t, def, seed);
  if (l.arrive < FC_ARRIVE_AT_ONCE && !(l.rate_per_s > 0) && !l.demand) {
    (void)fprintf(stderr,
                  "fleetcast: %s: the load wants one of 'rate', 'demand', 'concurrency' and 'trace'\n", path);
    return EXIT_INPUT;
  }
  set_limits(t, &l, def);
  t->context = mean_context(&l);
  fc_diags d;
  fc_diags_init(&d);
  fc_status status = fc_load_new(&t->load, &l, path, &d);
  cli_show_diags(&d, cli_colored(s->color));
  if (status == FC_OK) return EXIT_OK;
  if (!has_error(&d)) (void)fprintf(stderr, "fleetcast: %s: %s\n", path, fc_status_text(status));
  return status == FC_E_INPUT ? EXIT_INPUT : EXIT_FAILED;
}

void cli_traffic_free(traffic *t) {
  fc_load_free(t->load);
  fc_trace_free(t->trace);
}
