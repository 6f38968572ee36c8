/* SPDX-License-Identifier: Apache-2.0 */
/* What every service gets out of a device of every pool that it may use. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/serve/surface.h>

#include "parts.h"
#include "result.h"

/* Of the surface's random numbers, whatever the run's: the seed is of what happens, not of what is known. */
enum { SURFACE_SEED = 1, THREADS_MAX = 64 };
/* Whose kernels and gaps fleets are taken to run: the most widespread engine's that runs every shipped model.
 */
static const char ENGINE[] = "vllm";

typedef struct {
  fc_fleet *fleet;
  atomic_size_t next;
  atomic_int status;
  pthread_mutex_t telling;
} pool;

/* One row under way. */
typedef struct {
  pool *all;
  const fc_capacity_row *row;
  size_t simulations;
} task;

static void told(void *context) {
  task *t = context;
  const fc_fleet *f = t->all->fleet;
  t->simulations++;
  if (!f->options.planned) return;
  const char *service = f->def->services[t->row->service].name, *where = f->def->pools[t->row->pool].name;
  (void)pthread_mutex_lock(&t->all->telling);
  f->options.planned(f->options.context, service ? service : "", where ? where : "", t->simulations);
  (void)pthread_mutex_unlock(&t->all->telling);
}

static void note(void *context, const char *text) {
  task *t = context;
  const fc_fleet_options *o = &t->all->fleet->options;
  if (!o->note) return;
  (void)pthread_mutex_lock(&t->all->telling);
  o->note(o->context, text);
  (void)pthread_mutex_unlock(&t->all->telling);
}

fc_status fc_fleet_view(fc_serve_view *view, const fc_profile **out, const fc_fleet *f, const fc_model *model,
                        const fc_profile *profile, const fc_deployment *deployment) {
  fc_engine engine;
  bool known = fc_engine_named(&engine, ENGINE);
  FC_ASSERT(known);
  fc_serve_plan plan = fc_serve_plan_complete(model, &deployment->decode);
  fc_serve_formats_of(&engine, &plan, model, profile->device);
  fc_status status =
      fc_serve_view_make(view, &engine, model, profile, f->def->operators == FC_FLEET_MEASURED);
  *out = view->measured ? view->profile : profile; /* forms keep the profile's own host time */
  return status;
}

static fc_status solve_on(pool *all, fc_capacity_row *r, const fc_profile *profile) {
  const fc_fleet *f = all->fleet;
  const fc_service_def *def = &f->def->services[r->service];
  fc_deployment deployment = def->deployment;
  deployment.device_limit = f->pool[r->pool].supply.peak;
  if (f->def->serving == FC_SERVING_CLOSED_FORM)
    return fc_serve_capacity_solve(&r->capacity, def->model, profile, &deployment, &def->request, &def->slo,
                                   r->why);
  task t = {.all = all, .row = r};
  fc_surface_options o = {.seed = SURFACE_SEED,
                          .cache = f->options.cache,
                          .cancel = f->options.cancel,
                          .context = &t,
                          .simulated = told,
                          .note = note};
  return fc_surface_capacity(&r->capacity, def->model, profile, &deployment, &def->request, &def->slo, &o,
                             r->why);
}

static fc_status solve(pool *all, fc_capacity_row *r) {
  const fc_service_def *def = &all->fleet->def->services[r->service];
  fc_serve_view view;
  const fc_profile *profile = all->fleet->def->pools[r->pool].profile;
  fc_status status = fc_fleet_view(&view, &profile, all->fleet, def->model, profile, &def->deployment);
  if (!status) status = solve_on(all, r, profile);
  fc_serve_view_free(&view);
  return status;
}

static void *worker(void *context) {
  pool *all = context;
  fc_fleet_result *result = all->fleet->result;
  for (;;) {
    size_t i = atomic_fetch_add(&all->next, 1);
    if (i >= result->n_capacities || atomic_load(&all->status) != FC_OK) return NULL;
    fc_capacity_row *r = &result->capacity[i];
    fc_status status = solve(all, r);
    r->feasible = status == FC_OK;
    if (status == FC_OK) continue;
    if (status != FC_E_INFEASIBLE && status != FC_E_DOMAIN) atomic_store(&all->status, (int)status);
    if (r->why[0] == '\0') (void)snprintf(r->why, sizeof r->why, "%s", fc_status_text(status));
  }
}

static size_t hands_of(const fc_fleet *f) {
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  size_t hands = f->options.threads, n = f->result->n_capacities;
  if (!hands) hands = online > 0 ? (size_t)online : 1;
  if (hands > n) hands = n;
  if (f->def->serving == FC_SERVING_CLOSED_FORM) hands = 1; /* milliseconds */
  return hands < THREADS_MAX ? hands : THREADS_MAX;
}

fc_status fc_fleet_solve_capacities(fc_fleet *f) {
  pthread_t thread[THREADS_MAX];
  pool all = {.fleet = f};
  size_t hands = hands_of(f), started = 0;
  if (pthread_mutex_init(&all.telling, NULL)) return FC_E_NOMEM;
  for (; started + 1 < hands; started++)
    if (pthread_create(&thread[started], NULL, worker, &all)) break; /* fewer hands, same work */
  (void)worker(&all);
  for (size_t i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
  (void)pthread_mutex_destroy(&all.telling);
  return (fc_status)atomic_load(&all.status);
}
