/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/fit.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fit_family.h"

/* OpenBLAS, which stands in for GSL's slow own routines: families are the parallelism, not its threads, whose
 * number would change the last digits.  With OpenMP the setting is the calling thread's own. */
extern void openblas_set_num_threads(int n);

/* Families are independent: workers take the next largest; each result has a place of its own, so that their
 * number changes nothing. */
typedef struct {
  const fc_table *table;
  const fc_device *device;
  const fc_fit_options *options;
  fc_fit_result *out;
  size_t *order; /* families, largest first */
  fc_family_work **work;
  fc_kernel_fit *joint; /* with what kindred families lent; NULL: the families are being fitted alone */
  atomic_size_t next;
  atomic_int status;
  pthread_mutex_t lock;
  size_t done; /* under the lock */
} pool;

static bool cancelled(const pool *p) {
  return (p->options->cancel && *p->options->cancel) || atomic_load(&p->status) != FC_OK;
}

static void *worker(void *context) {
  pool *p = context;
  openblas_set_num_threads(1);
  for (;;) {
    size_t turn = atomic_fetch_add(&p->next, 1);
    if (turn >= p->table->n_families || cancelled(p)) return NULL;
    size_t i = p->order[turn];
    const fc_family *family = &p->table->family[i];
    fc_fit_result *out = p->out;
    fc_status status = p->joint ? fc_family_borrow(&p->joint[i], &out->report[i], i, out->n, out->fit,
                                                   p->work, p->device, &out->arena[i])
                                : fc_family_fit(&out->fit[i], &out->report[i], &p->work[i], p->table, family,
                                                p->device, p->options, &out->arena[i]);
    if (status) atomic_store(&p->status, (int)status);
    if (!p->options->progress) continue;
    (void)pthread_mutex_lock(&p->lock);
    p->done += family->n;
    p->options->progress(p->options->context, 0.5 * (double)p->done / (double)p->table->n_points,
                         fc_kernel_text(family->kernel));
    (void)pthread_mutex_unlock(&p->lock);
  }
}

static size_t n_threads(const pool *p) {
  enum { MOST = 64 };
  size_t n = p->options->threads;
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  if (!n) n = online > 0 ? (size_t)online : 1;
  if (n > p->table->n_families) n = p->table->n_families;
  return n < MOST ? n : MOST;
}

static fc_status run(pool *p) {
  pthread_t thread[64];
  size_t n = n_threads(p), started = 0;
  for (; started + 1 < n; started++)
    if (pthread_create(&thread[started], NULL, worker, p)) break; /* fewer hands, same work */
  (void)worker(p);
  for (size_t i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
  if (p->options->cancel && *p->options->cancel) return FC_E_CANCELLED;
  return (fc_status)atomic_load(&p->status);
}

/* First each family alone, then with what the others can lend. */
static fc_status run_both(pool *p) {
  fc_fit_result *out = p->out;
  fc_status status = run(p);
  if (status || p->options->no_local) return status;
  p->joint = calloc(out->n + 1, sizeof *p->joint);
  if (!p->joint) return FC_E_NOMEM;
  memcpy(p->joint, out->fit, out->n * sizeof *p->joint);
  atomic_store(&p->next, 0);
  status = run(p);
  memcpy(out->fit, p->joint, out->n * sizeof *p->joint);
  free(p->joint);
  return status;
}

static void sort_largest_first(size_t *order, const fc_table *table) {
  for (size_t i = 0; i < table->n_families; i++) {
    size_t j = i;
    for (; j > 0 && table->family[order[j - 1]].n < table->family[i].n; j--) order[j] = order[j - 1];
    order[j] = i;
  }
}

fc_status fc_fit_table(fc_fit_result *out, const fc_table *table, const fc_device *device,
                       const fc_fit_options *options) {
  static const fc_fit_options none = {0};
  size_t n = table->n_families;
  *out = (fc_fit_result){.n = n};
  out->fit = calloc(n + 1, sizeof *out->fit);
  out->report = calloc(n + 1, sizeof *out->report);
  out->arena = calloc(n + 1, sizeof *out->arena);
  pool p = {.table = table, .device = device, .options = options ? options : &none, .out = out};
  p.order = calloc(n + 1, sizeof *p.order);
  p.work = calloc(n + 1, sizeof(fc_family_work *));
  fc_status status = FC_E_NOMEM;
  if (out->fit && out->report && out->arena && p.order && p.work && pthread_mutex_init(&p.lock, NULL) == 0) {
    sort_largest_first(p.order, table);
    status = run_both(&p);
    (void)pthread_mutex_destroy(&p.lock);
  }
  free(p.order);
  free(p.work);
  if (status) fc_fit_result_fini(out);
  return status;
}

void fc_fit_result_fini(fc_fit_result *result) {
  for (size_t i = 0; result->arena && i < result->n; i++) fc_arena_fini(&result->arena[i]);
  free(result->fit);
  free(result->report);
  free(result->arena);
  *result = (fc_fit_result){0};
}
