/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/stop.h>
#include <fleetcast/report/serve.h>

#include "results.h"
#include "terminal.h"

/* A run: the load's requests go through here, and back as records. */
typedef struct {
  const fc_serve_def *def;
  deployment d;
  traffic t;
  fc_study *study;
  fc_serve_files *files;
  fc_request_source inner;
  bool stopped; /* no more requests are taken */
  fc_replica_result *result;
  fc_disagg_result *apart;
  fc_cluster_result *cluster;
  fc_gaps gaps;      /* of several replicas */
  fc_digest *so_far; /* their sum */
  fc_verdict verdict;
  uint64_t most; /* requests of a cluster under way at a time */
  double pile;   /* requests under way and waiting, at the last look */
  int growing;   /* looks in a row that found more */
  progress bar;
} run;

/* --- between load and engine --- */

static bool peek(void *context, fc_time *arrival) {
  run *r = context;
  if (*fc_stop_flag()) r->stopped = true;
  return !r->stopped && r->inner.peek(r->inner.context, arrival);
}

static void take(void *context, fc_request *out) {
  run *r = context;
  r->inner.take(r->inner.context, out);
}

static void done(void *context, uint64_t number, fc_time at) {
  run *r = context;
  r->inner.done(r->inner.context, number, at);
}

/* Do ever more requests pile up?  A quarter more from look to look, each at half as many again: three times
 * in a row, to more than a tenth of all that ever came; or six times.  In heavy traffic a pile grows as the
 * root of the time at most, 1.22.  Engines take a request when they can, so those that wait are known by how
 * long ago the next one came. */
static bool piles_up(run *r, const fc_cluster_record *q) {
  enum { FEW = 3, MANY = 6 };
  fc_load_summary l = fc_load_so_far(r->t.load);
  fc_time next, now = q->request.finish;
  double late_s = 0;
  if (r->cluster) { /* takes them as they come; what is drawn may be ahead */
    l.requests = q->come;
    l.under_way = q->under_way;
  } else if (r->inner.peek(r->inner.context, &next) && next < now) {
    late_s = fc_time_to_s(now - next);
  }
  double waiting = late_s * l.rate_per_s, pile = (double)l.under_way + waiting;
  r->growing = pile > 1.25 * r->pile ? r->growing + 1 : 0;
  r->pile = pile;
  bool heavy = pile > 0.1 * ((double)l.requests + waiting);
  return r->t.open && r->growing >= (heavy ? FEW : MANY);
}

static void look(run *r, const fc_cluster_record *q) {
  if (fc_study_is_enough(r->study)) {
    r->verdict = FC_VERDICT_ENOUGH;
    r->stopped = true;
  } else if (!r->t.to_the_end && piles_up(r, q)) {
    r->verdict = FC_VERDICT_OVERLOADED;
    r->stopped = true;
  } else {
    fc_study_go_on(r->study);
  }
}

/* All gaps between tokens so far, where they are wanted now. */
static const fc_digest *gaps_of(run *r) {
  if (!fc_study_wants_gaps(r->study)) return NULL;
  if (!r->so_far) return &r->result->itl;
  r->gaps.sum(r->gaps.run, r->so_far);
  return r->so_far;
}

static void cluster_record(void *context, const fc_cluster_record *q) {
  enum { SHOW = 1024 };
  run *r = context;
  if (q->under_way > r->most) r->most = q->under_way;
  fc_serve_files_request(r->files, r->def, q);
  bool enough = r->verdict == FC_VERDICT_ENOUGH || r->verdict == FC_VERDICT_OVERLOADED;
  if (enough) return; /* the rest leaves under another load than it came */
  if (fc_study_add(r->study, q, gaps_of(r))) look(r, q);
  fc_study_state s;
  if (q->request.number % SHOW != 0) return;
  s = fc_study_now(r->study);
  uint64_t whole = r->t.to_the_end && r->t.limit ? r->t.limit : s.next_look;
  char text[40];
  (void)snprintf(text, sizeof text, "%" PRIu64 " requests", s.over);
  cli_progress_tell(&r->bar, (double)s.over / (double)whole, text);
}

static void record(void *context, const fc_replica_record *q) {
  fc_cluster_record one = {.request = *q, .attempts = 1};
  one.outcome = q->refused == FC_REFUSED_NOT ? FC_OUTCOME_DONE : FC_OUTCOME_REFUSED;
  cluster_record(context, &one);
}

static void sample(void *context, const fc_cluster_sample *s) {
  run *r = context;
  fc_serve_files_sample(r->files, s);
}

static void stretch(void *context, const fc_replica_stretch *s) {
  run *r = context;
  fc_serve_files_stretch(r->files, s);
}

/* --- running --- */

static fc_status simulate(run *r, uint64_t seed, size_t threads, bool timeline, char *why) {
  fc_request_source source = {.context = r, .peek = peek, .take = take, .done = done};
  r->inner = fc_load_source(r->t.load);
  r->verdict = r->t.to_the_end ? FC_VERDICT_END : FC_VERDICT_LIMIT;
  fc_replica_def *target = r->def->apart ? &r->d.apart.decode : &r->d.replica;
  target->context = r->d.cluster.context = r;
  target->record = record;
  r->d.cluster.record = cluster_record;
  r->d.cluster.sample = sample;
  r->d.cluster.gaps = r->d.apart.gaps = &r->gaps;
  r->d.cluster.open_loop = r->t.alone;
  r->d.cluster.threads = (int)threads;
  if (timeline) target->stretch = stretch;
  if (timeline && r->cluster) r->d.cluster.timeline_s = r->def->cluster->sample_s;
  fc_status status;
  if (r->apart) {
    status = fc_disagg_run(r->apart, &r->d.apart, &source, seed, why);
    r->result = &r->apart->decode;
  } else if (r->cluster) {
    status = fc_cluster_run(r->cluster, &r->d.cluster, &source, seed, why);
    r->result = &r->cluster->total;
  } else {
    status = fc_replica_run(r->result, &r->d.replica, &source, seed, why);
  }
  if (status == FC_OK) status = fc_load_status(r->t.load);
  if (r->verdict == FC_VERDICT_END || r->verdict == FC_VERDICT_LIMIT) fc_study_end(r->study, &r->result->itl);
  return status;
}

static fc_serve_answer answer_of(const run *r, uint64_t seed) {
  fc_serve_answer a = {.def = r->def,
                       .seed = seed,
                       .verdict = r->verdict,
                       .study = r->study,
                       .view = &r->d.view,
                       .prefill_view = r->apart ? &r->d.prefill_view : NULL,
                       .result = r->result,
                       .devices = (double)r->d.devices,
                       .replicas = 1,
                       .prefill_devices = r->d.prefill_devices,
                       .kv_blocks = r->d.replica.kv_blocks,
                       .price_usd_per_s = cli_deployment_price(r->def),
                       .load = fc_load_so_far(r->t.load)};
  if (r->apart) {
    a.prefill = &r->apart->prefill;
    a.transfer_mean_s = r->apart->transfer_mean_s;
    a.link_utilisation = r->apart->link_utilisation;
    a.replicas = (double)r->def->apart->decode_replicas;
    a.prefill_kv_blocks = r->d.apart.prefill.kv_blocks;
  }
  if (r->cluster) {
    a.load.under_way_max = r->most;
    const fc_cluster_result *c = a.cluster = r->cluster;
    double held = 0;
    for (int i = FC_REPLICA_LOADING; i < FC_REPLICA_CONDITIONS; i++) held += c->device_s[i];
    a.devices = c->span_s > 0 ? held / c->span_s : (double)r->d.devices;
    a.replicas = a.devices / (double)r->def->plan.devices;
  }
  cli_deployment_log_sd(&r->d, r->result, a.load.input.mean, &a.decode_log_sd, &a.prefill_log_sd);
  if (r->t.trace) {
    a.trace = r->t.trace_name;
    a.trace_sha256 = r->t.trace_sha256;
    a.trace_info = *fc_trace_about(r->t.trace);
  }
  return a;
}

static int complain(fc_status status, const char *name, const char *why) {
  if (status == FC_E_CANCELLED) return cli_die_of_signal();
  if (status == FC_E_IO) {
    (void)fprintf(stderr, "fleetcast: cannot write %s: %s\n", why, strerror(errno));
    return EXIT_IO;
  }
  (void)fprintf(stderr, "fleetcast: %s: %s%s%s\n", name, fc_status_text(status), *why ? ": " : "", why);
  return EXIT_FAILED;
}

static int write_results(run *r, const fc_input *input, const data_dirs *data, uint64_t seed,
                         const char *folder, const char *command, const settings *s, char *why) {
  fc_serve_answer answer = answer_of(r, seed);
  fc_report_options options = cli_report_options(command, seed, data, s);
  fc_status status = fc_serve_files_commit(r->files, &answer, input, &options);
  r->files = NULL;
  if (status != FC_OK) return complain(status, r->def->name, why);
  fc_text page = {0};
  status = fc_report_serve_page(&page, &answer);
  int code = status == FC_OK ? cli_print(page.bytes) : complain(status, r->def->name, "");
  fc_text_fini(&page);
  if (!s->quiet) (void)fprintf(stderr, "fleetcast: results in %s/\n", folder);
  return code;
}

/* For the result; only one of three. */
static bool make_room(run *r) {
  if (!r->def->apart && !r->def->cluster) return (r->result = calloc(1, sizeof *r->result)) != NULL;
  r->so_far = calloc(1, sizeof *r->so_far);
  if (r->def->apart) return (r->apart = calloc(1, sizeof *r->apart)) != NULL && r->so_far;
  return (r->cluster = calloc(1, sizeof *r->cluster)) != NULL && r->so_far;
}

static size_t threads_of(const settings *s) {
  enum { MOST = 256 };
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  size_t n = s->jobs ? s->jobs : online > 0 ? (size_t)online : 1;
  return n < MOST ? n : MOST;
}

/* Files are opened before anything runs: a folder that cannot be written is told at once. */
static int make(run *r, uint64_t seed, const char *folder, const settings *s, char *why) {
  const fc_serve_def *def = r->def;
  fc_study_def study = {.width = def->stop.width,
                        .warm_up = def->stop.warm_up,
                        .n_classes = def->n_classes,
                        .classes = def->classes};
  if (r->t.to_the_end) study.width = 0;
  fc_status status = cli_deployment_make(&r->d, def, r->t.context, why);
  if (status == FC_OK) status = fc_study_new(&r->study, &study);
  if (status == FC_OK && !make_room(r)) status = FC_E_NOMEM;
  if (status != FC_OK) return complain(status, def->name, why);
  bool timeline = s->timeline || def->timeline;
  size_t threads = threads_of(s);
  fc_serve_files_def files = {.requests = s->requests || def->requests,
                              .timeline = timeline,
                              .cluster = def->cluster != NULL,
                              .threads = threads};
  status = fc_serve_files_open(&r->files, folder, &files, why);
  if (status != FC_OK) return complain(status, def->name, why);
  char broken[256] = "";
  r->bar = cli_progress(s->quiet);
  status = simulate(r, seed, threads, timeline, broken);
  cli_progress_clear(&r->bar);
  if (*fc_stop_flag()) status = FC_E_CANCELLED;
  if (status == FC_OK) return EXIT_OK;
  fc_serve_files_abandon(r->files); /* an interrupted program does not come back */
  r->files = NULL;
  return complain(status, def->name, broken);
}

static void free_run(run *r) {
  fc_serve_files_abandon(r->files);
  fc_study_free(r->study);
  if (!r->apart && !r->cluster) free(r->result);
  free(r->apart);
  if (r->cluster) fc_cluster_result_fini(r->cluster);
  free(r->cluster);
  free(r->so_far);
  cli_deployment_free(&r->d);
  cli_traffic_free(&r->t);
}

static void add_command(fc_text *out, const settings *s) {
  cli_add_command(out, "serve", s);
  if (s->trace) {
    const char *slash = strrchr(s->trace, '/');
    fc_text_add(out, " --trace");
    cli_add_word(out, slash ? slash + 1 : s->trace);
  }
  if (s->requests) fc_text_add(out, " --requests");
  if (s->timeline) fc_text_add(out, " --timeline");
}

/* The engine tells nothing of stretches where prefill and decode are apart. */
static int refuse_timeline(const fc_serve_def *def, const settings *s) {
  if (!def->apart || !(s->timeline || def->timeline)) return EXIT_OK;
  (void)fprintf(stderr, "fleetcast: %s: no timeline where prefill and decode are apart\n", def->name);
  return EXIT_USAGE;
}

static int serve(const fc_input *input, const data_dirs *data, const char *path, const settings *s) {
  char why[FC_REPORT_WHY] = "";
  run r = {.def = fc_input_serve(input)};
  uint64_t seed = s->has_seed ? s->seed : (uint64_t)r.def->seed;
  fc_text folder = {0}, command = {0};
  cli_add_folder(&folder, s, r.def->name);
  add_command(&command, s);
  int code = fc_text_status(&folder) || fc_text_status(&command) ? EXIT_FAILED : EXIT_OK;
  if (code == EXIT_OK) code = refuse_timeline(r.def, s);
  fc_stop_catch();
  if (code == EXIT_OK) code = cli_traffic_make(&r.t, r.def, seed, path, s);
  if (code == EXIT_OK) code = make(&r, seed, folder.bytes, s, why);
  if (code == EXIT_OK) code = write_results(&r, input, data, seed, folder.bytes, command.bytes, s, why);
  free_run(&r);
  fc_text_fini(&folder);
  fc_text_fini(&command);
  return code;
}

int cli_serve(const settings *s) {
  int code = cli_refuse_stdout(s, "serve");
  if (code != EXIT_OK) return code;
  const char *path = s->operand.item[0];
  data_dirs data = cli_data(path, s);
  fc_input *input;
  code = cli_load(&input, path, FC_INPUT_SERVE, &data, s);
  if (code == EXIT_OK) code = serve(input, &data, path, s);
  fc_input_free(input);
  cli_data_free(&data);
  return code;
}
