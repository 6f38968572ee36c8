/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include <fleetcast/base/stop.h>
#include <fleetcast/serve/capacity.h>
#include <fleetcast/serve/view.h>
#include <fleetcast/report/plan.h>

#include "plan.h"
#include "results.h"
#include "terminal.h"

enum { CHOICES = 32, DEVICES = 64 };

/* From a file's definition to what the search takes. */
typedef struct {
  const fc_plan_def *def;
  fc_search_def search;
  fc_search_device device[DEVICES];
  fc_engine engine;
  fc_serve_view view[DEVICES];
  int64_t max_batch[CHOICES], token_budget[CHOICES];
  progress bar;
} plan;

static int view_of(plan *p, size_t i) {
  const fc_plan_def *def = p->def;
  const fc_profile *profile = def->devices[i].profile;
  fc_search_device *d = &p->device[i];
  fc_serve_plan wish = fc_serve_plan_complete(def->model, &d->wish);
  fc_engine engine = p->engine;
  fc_serve_formats_of(&engine, &wish, def->model, profile->device);
  fc_serve_view *view = &p->view[i];
  fc_status status =
      fc_serve_view_make(view, &engine, def->model, profile, def->operators == FC_OPERATORS_MEASURED);
  if (status != FC_OK) {
    (void)fprintf(stderr, "fleetcast: %s: %s\n", def->name, fc_status_text(status));
    return EXIT_FAILED;
  }
  fc_serve_plan stepped = fc_serve_view_plan(view, &wish);
  d->profile = view->profile;
  d->stored = wish.gemm;
  d->wish.gemm = stepped.gemm;
  d->wish.kv = stepped.kv;
  return EXIT_OK;
}

int cli_plan_price(double *usd_per_s, const fc_profile *profile, fc_time date, const char *name) {
  if (!(*usd_per_s > 0)) *usd_per_s = cli_price_at(&profile->device->rent_usd_per_s, date);
  if (*usd_per_s > 0) return EXIT_OK;
  (void)fprintf(stderr, "fleetcast: %s: no market price of '%s' is known: state 'price'\n", name,
                profile->device_name);
  return EXIT_INPUT;
}

static int put_device(plan *p, size_t i) {
  const fc_plan_device *from = &p->def->devices[i];
  fc_search_device *d = &p->device[i];
  *d = (fc_search_device){.name = from->profile->device_name,
                          .profile = from->profile,
                          .usd_per_s = from->price_usd_per_s,
                          .wish = from->wish,
                          .devices_max = from->devices_max,
                          .stages_max = from->stages_max};
  int code = cli_plan_price(&d->usd_per_s, from->profile, p->def->date, p->def->name);
  return code == EXIT_OK ? view_of(p, i) : code;
}

/* --- the search --- */

static void put_choices(int64_t *to, const int64_t **out, size_t *n_out, const double *from, size_t n) {
  if (!n) return;
  for (size_t i = 0; i < n && i < CHOICES; i++) to[i] = (int64_t)(from[i] + 0.5);
  *out = to;
  *n_out = n < CHOICES ? n : CHOICES;
}

static void show(void *context, size_t simulated, size_t most) {
  char text[48];
  (void)snprintf(text, sizeof text, "%zu candidates simulated", simulated);
  cli_progress_tell(context, (double)simulated / (double)most, text);
}

static int put_all(plan *p, const fc_plan_def *def, const settings *s) {
  *p = (plan){.def = def, .search = fc_search_default_def()};
  fc_search_def *d = &p->search;
  d->model = def->model;
  d->n_devices = def->n_devices < DEVICES ? def->n_devices : DEVICES;
  d->devices = p->device;
  (void)fc_serve_policy_named(&d->policy, def->policy);
  p->engine = fc_serve_host_engine(&def->host, def->engine);
  d->engine = &p->engine;
  d->token_s = def->host.token_s;
  put_choices(p->max_batch, &d->max_batch, &d->n_batches, def->search.max_batch, def->search.n_batches);
  put_choices(p->token_budget, &d->token_budget, &d->n_budgets, def->search.token_budget,
              def->search.n_budgets);
  d->load.arrive = def->load.arrival_cv == 1 ? FC_ARRIVE_POISSON : FC_ARRIVE_GAMMA;
  d->load.arrival_cv = def->load.arrival_cv;
  d->load.input = def->load.input;
  d->load.output = def->load.output;
  d->load.input_max = (uint32_t)def->load.input_max;
  d->load.output_max = (uint32_t)def->load.output_max;
  d->rate_per_s = def->load.rate_per_s;
  d->slo = (fc_search_slo){def->slo.ttft_s, def->slo.tpot_s, def->slo.percentile};
  d->devices_max = def->devices_max;
  d->margin = def->search.margin;
  d->keep = (size_t)def->search.keep;
  d->front = (size_t)def->search.front;
  d->requests = (uint64_t)def->search.requests;
  d->apart = def->search.apart;
  d->seed = s->has_seed ? s->seed : (uint64_t)def->seed;
  d->threads = s->jobs;
  d->cancel = fc_stop_flag();
  d->context = &p->bar;
  d->progress = show;
  int code = EXIT_OK;
  for (size_t i = 0; i < d->n_devices && code == EXIT_OK; i++) code = put_device(p, i);
  return code;
}

static int write_results(const fc_plan_answer *a, const fc_input *input, const data_dirs *data,
                         const settings *s) {
  results r;
  fc_status status = cli_results_begin(&r, "plan", a->def->name, a->seed, data, s);
  if (status == FC_OK) status = fc_report_plan_write(r.folder.bytes, a, input, &r.options, r.why);
  if (status == FC_OK) status = fc_report_plan_page(&r.page, a);
  int code = cli_results_end(&r, status, s);
  return code == EXIT_OK && !a->result->n_met ? EXIT_FAILED : code;
}

static int search(const fc_input *input, const data_dirs *data, const settings *s) {
  char why[256] = "";
  plan *p = malloc(sizeof *p);
  if (!p) return cli_complain(FC_E_NOMEM, "plan", "");
  fc_stop_catch();
  fc_search_result result = {0};
  int code = put_all(p, fc_input_plan(input), s);
  if (code == EXIT_OK) {
    p->bar = cli_progress(s->quiet);
    fc_status status = fc_search_run(&result, &p->search, why);
    cli_progress_clear(&p->bar);
    if (status != FC_OK) code = cli_complain(status, p->def->name, why);
  }
  fc_plan_answer answer = {
      .def = p->def, .search = &p->search, .result = &result, .views = p->view, .seed = p->search.seed};
  if (code == EXIT_OK) code = write_results(&answer, input, data, s);
  fc_search_result_fini(&result);
  for (size_t i = 0; i < DEVICES; i++) fc_serve_view_free(&p->view[i]);
  free(p);
  return code;
}

int cli_plan(const settings *s) {
  int code = cli_refuse_stdout(s, "plan");
  if (code != EXIT_OK) return code;
  const char *path = s->operand.item[0];
  data_dirs data = cli_data(path, s);
  fc_input *input;
  code = cli_load(&input, path, FC_INPUT_PLAN, &data, s);
  bool train = code == EXIT_OK && fc_input_kind_of(input) == FC_INPUT_TRAIN_PLAN;
  if (train) code = cli_plan_train(input, &data, s);
  if (code == EXIT_OK && !train) code = search(input, &data, s);
  fc_input_free(input);
  cli_data_free(&data);
  return code;
}
