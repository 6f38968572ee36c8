/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pass.h"

/* A layer as one recording, and its calls one by one: do the parts sum to the whole?  Every call has its own
 * data: what is compared is time, not a result that flows. */

typedef struct {
  size_t n;
  fc_data *data;
  const fc_implementation **impl;
  void ***states;
  fc_bench_launch *launch;
  fc_journal *journal;
  fc_row hung; /* what the journal gets if a call never comes back */
} chain;

static void free_chain(chain *c) {
  for (size_t i = 0; c->data && i < c->n; i++) {
    if (c->states && c->states[i]) fc_data_release(c->states[i], &c->data[i], c->impl[i]);
    fc_data_free(&c->data[i]);
  }
  free(c->data);
  free(c->impl);
  free(c->states);
  free(c->launch);
  fc_row_fini(&c->hung);
  *c = (chain){0};
}

/* The best implementation that can and that is right.  @return FC_OK | FC_E_INFEASIBLE (there is none, the
 * reason in `why`) | as fc_session_vet */
static fc_status best(const fc_implementation **out, fc_session *s, const fc_problem *p, char *why) {
  fc_cursor at = {0};
  (void)snprintf(why, FC_WHY, "no %s", fc_bench_op_text(p->c.op));
  for (const fc_implementation *impl; (impl = fc_session_next(s, p->c.op, &at)) != NULL;) {
    const fc_vetted *v = NULL;
    if (impl->supports && !impl->supports(p, &s->machine, why)) continue;
    fc_status status = fc_session_vet(s, impl, &v);
    *out = impl;
    if (status || !v->refused) return status;
    (void)snprintf(why, FC_WHY, "%s by %s is wrong", fc_bench_op_text(p->c.op), impl->name);
  }
  return FC_E_INFEASIBLE;
}

/* A chain's row as long as nothing is known of it. */
static bool entitle(fc_row *row, const fc_session *s, fc_chain_kind kind) {
  return fc_row_set(row, FC_COLUMN_kernel, "%s", fc_chain_text(kind)) &&
         fc_row_set(row, FC_COLUMN_gpu, "%s", s->machine.gpu) &&
         fc_row_set(row, FC_COLUMN_driver, "%s", s->machine.driver);
}

/* Data, state and launch of each call.  A call that cannot be made is told into `why`. */
static fc_status assemble(chain *c, fc_session *s, const fc_cases *cases, char *why) {
  size_t n = cases->n;
  c->data = calloc(n, sizeof *c->data);
  c->impl = calloc(n, sizeof(const fc_implementation *));
  c->states = calloc(n, sizeof *c->states);
  c->launch = calloc(n, sizeof *c->launch);
  if (!c->data || !c->impl || !c->states || !c->launch) return FC_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    fc_status status = fc_data_new(&c->data[i], s->options.device, &s->machine, &cases->item[i],
                                   s->options.seed + i, false, 1, why);
    if (status) return status;
    c->n = i + 1;
    fc_session_guard(s, c->journal, &c->hung, fc_bench_op_text(cases->item[i].op));
    status = best(&c->impl[i], s, &c->data[i].problem, why);
    if (status) return status;
    status = fc_data_prepare(&c->states[i], &c->data[i], c->impl[i], &s->machine, why);
    if (status) return status;
    c->launch[i] = (fc_bench_launch){c->impl[i], &c->data[i].problem, &c->data[i].args[0], c->states[i][0]};
  }
  return FC_OK;
}

static fc_status keep(fc_session *s, fc_journal *journal, fc_row *row) {
  fc_status status = fc_journal_add(journal, row);
  return status ? status : fc_rows_add(&s->rows, row);
}

/* FLOP and bytes of the whole. */
static bool describe(fc_row *row, const chain *c, const fc_session *s, fc_chain_kind kind, const char *impl) {
  double flop = 0, bytes = 0;
  for (size_t i = 0; i < c->n; i++) {
    fc_op op;
    fc_problem_cost(&c->data[i].problem, &op);
    flop += fc_op_flop(&op);
    bytes += fc_op_bytes(&op);
  }
  fc_problem first = c->data[0].problem;
  first.c.site = kind == FC_CHAIN_DECODE ? "decode layer"
                                         : (kind == FC_CHAIN_PREFILL ? "prefill layer" : "training layer");
  return fc_row_describe(row, &first, fc_chain_text(kind), impl, &s->machine) &&
         fc_row_set(row, FC_COLUMN_dtype, "%s", "") && /* several */
         fc_row_set(row, FC_COLUMN_flop, "%.17g", flop) &&
         fc_row_set(row, FC_COLUMN_bytes_moved, "%.17g", bytes);
}

static fc_status write_row(fc_session *s, fc_journal *journal, const chain *c, fc_chain_kind kind, bool whole,
                           const fc_timing *t, size_t order) {
  fc_row row = {.order = order};
  if (describe(&row, c, s, kind, whole ? (s->options.device->is_gpu ? "graph" : "sequence") : "parts") &&
      fc_row_result(&row, t, "hot"))
    return keep(s, journal, &row);
  fc_row_fini(&row);
  return FC_E_NOMEM;
}

/* What a recording takes that holds nothing.  The whole pays it once; the sum of its calls must not pay it
 * for each. */
static fc_status time_nothing(fc_session *s, fc_timing *out, char *why) {
  fc_status status = fc_measure_list(out, s->options.device, NULL, 0, &s->protocol, s->options.cancel, why);
  if (status != FC_E_IO) return status;
  *out = (fc_timing){0}; /* a device that cannot record nothing */
  return fc_session_alive(s);
}

static fc_status time_parts(fc_session *s, const chain *c, fc_timing *sum, char *why) {
  fc_timing nothing, one;
  fc_status status = time_nothing(s, &nothing, why);
  *sum = (fc_timing){0};
  for (size_t i = 0; !status && i < c->n; i++) {
    fc_session_guard(s, c->journal, &c->hung, c->impl[i]->name);
    status = fc_measure_list(&one, s->options.device, &c->launch[i], 1, &s->protocol, s->options.cancel, why);
    if (status) break;
    sum->median_us += one.median_us - nothing.median_us;
    sum->min_us += one.min_us - nothing.min_us;
    sum->p90_us += one.p90_us - nothing.median_us;
    sum->iqr_us += one.iqr_us;
    sum->samples += one.samples;
    sum->dropped += one.dropped;
    sum->clock_mhz = one.clock_mhz;
    sum->timed_out = sum->timed_out || one.timed_out;
  }
  return status;
}

static fc_status time_chain(fc_session *s, const chain *c, fc_chain_kind kind, size_t order, char *why) {
  fc_timing whole, sum;
  fc_session_guard(s, c->journal, &c->hung, fc_chain_text(kind));
  fc_status status =
      fc_measure_list(&whole, s->options.device, c->launch, c->n, &s->protocol, s->options.cancel, why);
  if (!status) status = time_parts(s, c, &sum, why);
  fc_session_guard(s, NULL, NULL, NULL);
  if (!status) status = write_row(s, c->journal, c, kind, true, &whole, order);
  if (!status) status = write_row(s, c->journal, c, kind, false, &sum, order + 1);
  return status;
}

static fc_status skip(fc_session *s, fc_journal *journal, fc_chain_kind kind, const char *why, size_t order) {
  fc_row row = {.order = order};
  if (entitle(&row, s, kind) && fc_row_set(&row, FC_COLUMN_status, "skipped: %s", why))
    return keep(s, journal, &row);
  fc_row_fini(&row);
  return FC_E_NOMEM;
}

static bool is_done(const fc_session *s, fc_chain_kind kind) {
  for (size_t i = 0; i < s->rows.n; i++)
    if (s->rows.item[i].field[FC_COLUMN_kernel] &&
        strcmp(s->rows.item[i].field[FC_COLUMN_kernel], fc_chain_text(kind)) == 0)
      return true;
  return false;
}

fc_status fc_session_chains(fc_session *s, fc_journal *journal, size_t order) {
  fc_status status = FC_OK;
  for (int k = 0; !status && k < FC_CHAIN_COUNT; k++) {
    fc_chain_kind kind = (fc_chain_kind)k;
    if (is_done(s, kind)) continue;
    fc_session_tell(s, 1, 1, fc_chain_text(kind));
    fc_cases cases;
    char why[FC_WHY] = "";
    chain c = {.journal = journal};
    status = fc_chain_build(&cases, fc_session_scale(s), kind);
    if (status) break;
    if (!entitle(&c.hung, s, kind)) status = FC_E_NOMEM;
    if (!status) status = assemble(&c, s, &cases, why);
    fc_session_guard(s, NULL, NULL, NULL);
    if (!status) status = time_chain(s, &c, kind, order + 2 * (size_t)k, why);
    if (status && status != FC_E_CANCELLED) status = skip(s, journal, kind, why, order + 2 * (size_t)k);
    free_chain(&c);
    fc_cases_free(&cases);
  }
  return status;
}
