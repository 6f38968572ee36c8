/* SPDX-License-Identifier: Apache-2.0 */
/* `plan` of a file of kind train_plan. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <fleetcast/base/stop.h>
#include <fleetcast/report/train_plan.h>

#include "plan.h"
#include "results.h"

enum { CHOICES = 64, DEVICES = 32, LISTS = 11 };

/* From a file's definition to what the search takes. */
typedef struct {
  const fc_train_plan_def *def;
  fc_train_search_def search;
  fc_train_search_device device[DEVICES];
  int64_t count[DEVICES][CHOICES];
  int64_t choice[LISTS][CHOICES];
  size_t lists;
} planning;

/* --- from the file --- */

/* Whole nodes: 1, 2, 3, 4, 6, 8, 12, ... of them. */
static size_t put_nodes(int64_t *to, const fc_device *device, int64_t most) {
  size_t n = 0;
  int64_t node = device->node_devices > 0 ? device->node_devices : 1;
  for (int64_t nodes = 1; nodes * node <= most && n + 1 < CHOICES; nodes *= 2) {
    to[n++] = nodes * node;
    if (nodes > 1 && nodes / 2 * 3 * node <= most) to[n++] = nodes / 2 * 3 * node;
  }
  return n;
}

static int put_device(planning *p, size_t i) {
  const fc_train_plan_device *from = &p->def->devices[i];
  const fc_device *device = from->profile->device;
  fc_train_search_device *d = &p->device[i];
  *d = (fc_train_search_device){.name = from->profile->device_name,
                                .profile = from->profile,
                                .usd_per_s = from->price_usd_per_s,
                                .counts = p->count[i]};
  int code = cli_plan_price(&d->usd_per_s, from->profile, p->def->date, p->def->name);
  if (code != EXIT_OK) return code;
  for (; d->n_counts < from->n_counts && d->n_counts < CHOICES; d->n_counts++)
    p->count[i][d->n_counts] = (int64_t)from->counts[d->n_counts];
  if (from->n_counts == 0) d->n_counts = put_nodes(p->count[i], device, from->devices_max);
  if (d->n_counts > 0) return EXIT_OK;
  (void)fprintf(stderr, "fleetcast: %s: a node of '%s' has more than %lld devices\n", p->def->name, d->name,
                (long long)from->devices_max);
  return EXIT_INPUT;
}

static fc_train_choices number_choices(planning *p, const double *from, size_t n) {
  int64_t *to = p->choice[p->lists++];
  if (n > CHOICES) n = CHOICES;
  for (size_t i = 0; i < n; i++) to[i] = (int64_t)from[i];
  return (fc_train_choices){n, to};
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Each once, in the order of the words. */
static fc_train_choices word_choices(planning *p, const char *const *from, size_t n,
                                     int (*of)(const char *)) {
  int64_t *to = p->choice[p->lists++];
  if (n > CHOICES) n = CHOICES;
  for (size_t i = 0; i < n; i++) to[i] = of(from[i]);
  qsort(to, n, sizeof *to, ascending);
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (kept == 0 || to[i] != to[kept - 1]) to[kept++] = to[i];
  return (fc_train_choices){kept, to};
}

static void put_choices(planning *p) {
  const fc_train_plan_choices *c = &p->def->plan;
  fc_train_search_def *d = &p->search;
  d->tp = number_choices(p, c->tp, c->n_tp);
  d->pp = number_choices(p, c->pp, c->n_pp);
  d->cp = number_choices(p, c->cp, c->n_cp);
  d->ep = number_choices(p, c->ep, c->n_ep);
  d->virtual_stages = number_choices(p, c->virtual_stages, c->n_virtual_stages);
  d->micro_batch = number_choices(p, c->micro_batch, c->n_micro_batch);
  d->global_batch = number_choices(p, c->global_batch, c->n_global_batch);
  d->zero = number_choices(p, c->zero, c->n_zero);
  d->schedule = word_choices(p, c->schedule, c->n_schedule, fc_train_plan_schedule);
  d->recompute = word_choices(p, c->recompute, c->n_recompute, fc_train_plan_recompute);
  d->gemm = word_choices(p, c->gemm, c->n_gemm, fc_train_plan_gemm);
}

static int put_all(planning *p, const fc_train_plan_def *def, const settings *s) {
  *p = (planning){.def = def};
  fc_train_search_def *d = &p->search;
  d->model = def->model;
  d->n_devices = def->n_devices < DEVICES ? def->n_devices : DEVICES;
  d->devices = p->device;
  d->tokens = def->tokens;
  d->base = def->plan.base;
  d->base.sequence = def->sequence;
  d->batch_tokens = def->batch_tokens;
  d->objective = def->objective;
  d->devices_max = def->limits.devices;
  d->wall_s = def->limits.days_s;
  d->usd = def->limits.cost_usd;
  d->memory = def->limits.memory;
  d->failure = def->failure;
  if (!(d->failure.device_mtbf_s > 0)) d->failure.device_mtbf_s = (double)INFINITY;
  d->margin = def->margin;
  d->threads = s->jobs;
  d->cancel = fc_stop_flag();
  put_choices(p);
  int code = EXIT_OK;
  for (size_t i = 0; i < d->n_devices && code == EXIT_OK; i++) code = put_device(p, i);
  return code;
}

/* --- to the results --- */

static int write_results(const fc_train_plan_answer *a, const fc_input *input, const data_dirs *data,
                         const settings *s) {
  results r;
  fc_status status =
      cli_results_begin(&r, "plan", a->def->name, s->has_seed ? s->seed : (uint64_t)a->def->seed, data, s);
  if (status == FC_OK) status = fc_report_train_plan_write(r.folder.bytes, a, input, &r.options, r.why);
  if (status == FC_OK) status = fc_report_train_plan_page(&r.page, a);
  int code = cli_results_end(&r, status, s);
  return code == EXIT_OK && !a->result->n_feasible_groups ? EXIT_FAILED : code;
}

static int answer(planning *p, fc_train_search_result *result, const fc_input *input, const data_dirs *data,
                  const settings *s) {
  char why[256] = "";
  int code = put_all(p, fc_input_train_plan(input), s);
  if (code != EXIT_OK) return code;
  fc_status status = fc_train_search_run(result, &p->search, why);
  if (status != FC_OK) return cli_complain(status, p->def->name, why);
  fc_train_plan_answer a = {.def = p->def, .search = &p->search, .result = result};
  code = write_results(&a, input, data, s);
  fc_train_search_result_fini(result);
  return code;
}

int cli_plan_train(const fc_input *input, const data_dirs *data, const settings *s) {
  planning *p = malloc(sizeof *p);
  fc_train_search_result *result = malloc(sizeof *result);
  fc_stop_catch();
  int code = p && result ? answer(p, result, input, data, s) : cli_complain(FC_E_NOMEM, "plan", "");
  free(result);
  free(p);
  return code;
}
