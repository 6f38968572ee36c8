/* SPDX-License-Identifier: Apache-2.0 */
#include "data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETS_MAX = 256 };
#define COLD_FACTOR  3 /* copies of the weights exceed the cache so many times (docs/kernels.md#protocol) */
#define MEMORY_SHARE 0.85 /* of the free device memory that a problem may take */

/* Bytes behind every tensor: no allocation is empty, wide loads have room, and a store there is found. */
enum { GUARD = 256, GUARD_BYTE = 0xa5 };

static size_t bytes_of(const fc_tensor *t) {
  return t->count * fc_elem_size(t->elem);
}

static bool is_weight(const fc_tensor *t) {
  return t->role == FC_ROLE_WEIGHT;
}

static bool is_checked(const fc_tensor *t) {
  return t->role == FC_ROLE_OUTPUT || t->role == FC_ROLE_INOUT || t->role == FC_ROLE_PARTIAL;
}

static bool is_input(const fc_tensor *t) {
  return t->role == FC_ROLE_INPUT || t->role == FC_ROLE_INOUT || t->role == FC_ROLE_WEIGHT;
}

static fc_status device_failed(const fc_data *d, int error, const char *doing, char *why) {
  (void)snprintf(why, FC_WHY, "%s: %s", doing, d->device->text(error));
  return FC_E_IO;
}

/* How many copies of the weights, and what that makes of the caches. */
static void choose_sets(fc_data *d, const fc_machine *machine, size_t most, double weights, double rest) {
  double second_level = 4e6; /* larger than that of any current core */
  double cache = d->device->is_gpu ? machine->cache_bytes : second_level;
  double want = weights > 0 ? 1 + COLD_FACTOR * cache / weights : 1;
  double fit = weights > 0 ? (MEMORY_SHARE * machine->free_bytes - rest) / weights : 1;
  if (want > SETS_MAX) want = SETS_MAX;
  if (want > (double)most) want = (double)most;
  if (want > fit) want = fit;
  d->sets = want > 1 ? (size_t)want : 1;
  bool cold = weights > 0 && (double)d->sets * weights >= COLD_FACTOR * cache;
  d->cache = !cold ? "hot" : (d->device->is_gpu ? "cold_w" : "cold_l2");
}

static fc_status allocate(fc_data *d, char *why) {
  d->args = calloc(d->sets, sizeof *d->args);
  if (!d->args) {
    (void)snprintf(why, FC_WHY, "out of memory");
    return FC_E_NOMEM;
  }
  for (size_t i = 0; i < d->problem.n_tensors; i++) {
    const fc_tensor *t = &d->problem.tensor[i];
    for (size_t s = 0; s < d->sets; s++) {
      if (s > 0 && !is_weight(t)) {
        d->args[s].at[i] = d->args[0].at[i];
        continue;
      }
      int error = d->device->alloc(&d->args[s].at[i], bytes_of(t) + GUARD);
      if (error) return device_failed(d, error, "allocating", why), FC_E_NOMEM;
    }
  }
  return FC_OK;
}

static fc_status fill(fc_data *d, char *why) {
  for (size_t i = 0; i < d->problem.n_tensors; i++) {
    const fc_tensor *t = &d->problem.tensor[i];
    for (size_t s = 0; s < (is_weight(t) ? d->sets : 1); s++) {
      void *at = d->args[s].at[i];
      int error = 0;
      if (t->fill == FC_FILL_NONE)
        error = d->device->set(at, fc_check_poison(t->elem), bytes_of(t));
      else if (t->fill != FC_FILL_HOST)
        error = d->device->fill(at, t, d->problem.seed + s, (int)i, d->problem.exact);
      if (error) return device_failed(d, error, "filling", why);
    }
  }
  return FC_OK;
}

/* Host copies of the inputs; the operator then writes its tables, which go to the device. */
static fc_status bring_to_host(fc_data *d, char *why) {
  fc_problem *p = &d->problem;
  for (size_t i = 0; i < p->n_tensors; i++) {
    fc_tensor *t = &p->tensor[i];
    if (!is_input(t)) continue;
    t->host = malloc(bytes_of(t) + 1);
    if (!t->host) {
      (void)snprintf(why, FC_WHY, "out of memory");
      return FC_E_NOMEM;
    }
    if (t->fill == FC_FILL_HOST) continue;
    int error = d->device->download(t->host, d->args[0].at[i], bytes_of(t));
    if (error) return device_failed(d, error, "reading back", why);
  }
  const fc_operator *o = fc_operator_of(p->c.op);
  if (!o->prepare) return FC_OK;
  o->prepare(p);
  for (size_t i = 0; i < p->n_tensors; i++) {
    const fc_tensor *t = &p->tensor[i];
    if (!is_input(t) || (is_weight(t) && t->fill != FC_FILL_HOST)) continue;
    for (size_t s = 0; s < (is_weight(t) ? d->sets : 1); s++) {
      int error = d->device->upload(d->args[s].at[i], t->host, bytes_of(t));
      if (error) return device_failed(d, error, "writing", why);
    }
  }
  return FC_OK;
}

fc_status fc_data_new(fc_data *out, const fc_bench_device *device, const fc_machine *machine,
                      const fc_bench_case *c, uint64_t seed, bool exact, size_t most_sets, char *why) {
  *out = (fc_data){.device = device, .cache = "hot"};
  if (fc_problem_init(&out->problem, c, seed, exact)) {
    (void)snprintf(why, FC_WHY, "no such shape");
    return FC_E_DOMAIN;
  }
  double weights = 0, rest = 0;
  for (size_t i = 0; i < out->problem.n_tensors; i++) {
    const fc_tensor *t = &out->problem.tensor[i];
    *(is_weight(t) ? &weights : &rest) += (double)bytes_of(t);
  }
  if (weights + rest > MEMORY_SHARE * machine->free_bytes) {
    (void)snprintf(why, FC_WHY, "needs %.1f GB of %.1f GB free", (weights + rest) / 1e9,
                   machine->free_bytes / 1e9);
    return FC_E_NOMEM;
  }
  choose_sets(out, machine, most_sets, weights, rest);
  fc_status status = allocate(out, why);
  if (!status) status = fill(out, why);
  if (!status) status = bring_to_host(out, why);
  if (status) fc_data_free(out);
  return status;
}

void fc_data_free(fc_data *d) {
  for (size_t i = 0; i < d->problem.n_tensors; i++) {
    free(d->problem.tensor[i].host);
    d->problem.tensor[i].host = NULL;
    for (size_t s = 0; d->args && s < (is_weight(&d->problem.tensor[i]) ? d->sets : 1); s++)
      if (d->args[s].at[i]) d->device->free(d->args[s].at[i]);
  }
  free(d->args);
  d->args = NULL;
}

/* --- states --- */

fc_status fc_data_prepare(void ***states, const fc_data *d, const fc_implementation *impl,
                          const fc_machine *machine, char *why) {
  *states = calloc(d->sets, sizeof **states);
  if (!*states) {
    (void)snprintf(why, FC_WHY, "out of memory");
    return FC_E_NOMEM;
  }
  for (size_t s = 0; impl->prepare && s < d->sets; s++) {
    (*states)[s] = s > 0 ? (*states)[0] : NULL; /* to share, or to replace */
    if (impl->prepare(&d->problem, &d->args[s], machine, &(*states)[s], why) == 0) continue;
    if (s > 0 && (*states)[s] == (*states)[0]) (*states)[s] = NULL;
    fc_data_release(*states, d, impl);
    *states = NULL;
    return FC_E_IO;
  }
  return FC_OK;
}

void fc_data_release(void **states, const fc_data *d, const fc_implementation *impl) {
  for (size_t s = 0; states && s < d->sets; s++)
    if (impl->release && states[s] && (s == 0 || states[s] != states[0])) impl->release(states[s]);
  free(states);
}

/* --- the check --- */

static fc_status reset(const fc_data *d, char *why) {
  for (size_t i = 0; i < d->problem.n_tensors; i++) {
    const fc_tensor *t = &d->problem.tensor[i];
    if (!is_checked(t)) continue;
    int error = t->role == FC_ROLE_INOUT
                    ? d->device->upload(d->args[0].at[i], t->host, bytes_of(t))
                    : d->device->set(d->args[0].at[i], fc_check_poison(t->elem), bytes_of(t));
    if (error) return device_failed(d, error, "poisoning", why);
  }
  return FC_OK;
}

/* --- what a call must leave alone --- */

/* Inputs up to so many bytes are read back: those of all odd shapes, and not a model's weights. */
#define INPUT_READ_BACK ((size_t)16 << 20)

static bool is_guard_intact(const unsigned char *guard) {
  for (int i = 0; i < GUARD; i++)
    if (guard[i] != GUARD_BYTE) return false;
  return true;
}

static int set_guards(const fc_data *d) {
  int error = 0;
  for (size_t i = 0; !error && i < d->problem.n_tensors; i++)
    error = d->device->set((char *)d->args[0].at[i] + bytes_of(&d->problem.tensor[i]), GUARD_BYTE, GUARD);
  return error;
}

/* Was tensor i's guard, or an input, written?  Told into `text` [FC_CHECK_TEXT]. */
static fc_status look_for_damage(const fc_data *d, size_t i, char *text, char *why) {
  const fc_tensor *t = &d->problem.tensor[i];
  bool whole = is_input(t) && t->role != FC_ROLE_INOUT && bytes_of(t) <= INPUT_READ_BACK;
  size_t from = whole ? 0 : bytes_of(t), size = bytes_of(t) - from + GUARD;
  unsigned char *got = malloc(size);
  if (!got) {
    (void)snprintf(why, FC_WHY, "out of memory");
    return FC_E_NOMEM;
  }
  int error = d->device->download(got, (const char *)d->args[0].at[i] + from, size);
  if (!error && !is_guard_intact(got + size - GUARD))
    (void)snprintf(text, FC_CHECK_TEXT, "bytes behind the end of %s were written", t->name);
  if (!error && whole && size > GUARD && memcmp(got, t->host, size - GUARD) != 0)
    (void)snprintf(text, FC_CHECK_TEXT, "%s, an input, was written", t->name);
  free(got);
  return error ? device_failed(d, error, "reading back", why) : FC_OK;
}

/* A right result does not excuse a write elsewhere. */
static fc_status check_surroundings(fc_check *out, const fc_data *d, char *why) {
  fc_status status = FC_OK;
  char text[FC_CHECK_TEXT] = "";
  for (size_t i = 0; !status && !*text && i < d->problem.n_tensors; i++)
    status = look_for_damage(d, i, text, why);
  if (status || !*text || !out->passed) return status;
  out->passed = false;
  memcpy(out->text, text, sizeof text);
  return FC_OK;
}

fc_status fc_data_check(fc_check *out, const fc_data *d, const fc_implementation *impl, void *state,
                        double budget_s, char *why) {
  void *got[FC_TENSORS_MAX] = {0};
  fc_status status = reset(d, why);
  fc_bench_launch launch = {impl, &d->problem, &d->args[0], state};
  int error = status ? 0 : set_guards(d);
  if (!error && !status) error = d->device->run(&launch);
  if (error) status = device_failed(d, error, "running", why);
  for (size_t i = 0; !status && i < d->problem.n_tensors; i++) {
    const fc_tensor *t = &d->problem.tensor[i];
    if (!is_checked(t)) continue;
    got[i] = malloc(bytes_of(t) + 1);
    if (!got[i]) {
      (void)snprintf(why, FC_WHY, "out of memory");
      status = FC_E_NOMEM;
      break;
    }
    error = d->device->download(got[i], d->args[0].at[i], bytes_of(t));
    if (error) status = device_failed(d, error, "reading back", why);
  }
  if (!status) fc_check_run(out, &d->problem, got, budget_s);
  if (!status) status = check_surroundings(out, d, why);
  for (size_t i = 0; i < d->problem.n_tensors; i++) free(got[i]);
  return status;
}
