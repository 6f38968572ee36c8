/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "pass.h"

/* Before an implementation is timed it must be right on every odd shape that it takes, random and exact. */

static void note_failure(fc_session *s, fc_vetted *v, const fc_problem *p, const char *text) {
  s->checks.failed++;
  v->refused = true;
  (void)snprintf(v->why, sizeof v->why, "%s%s, m %lld n %lld k %lld s %lld: %s", fc_dtype_text(p->c.dtype),
                 p->exact ? ", exact data" : "", (long long)p->c.m, (long long)p->c.n, (long long)p->c.k,
                 (long long)p->c.s, text);
  if (*s->checks.first_failure) return;
  (void)snprintf(s->checks.first_failure, sizeof s->checks.first_failure, "%s by %s, %s",
                 fc_bench_op_text(p->c.op), v->impl->name, v->why);
}

/* On data that is there.  @return FC_OK | FC_E_NOMEM | FC_E_IO: the device is lost */
static fc_status check_data(fc_session *s, fc_vetted *v, const fc_data *d) {
  char why[FC_WHY] = "";
  void **states;
  if (fc_data_prepare(&states, d, v->impl, &s->machine, why)) {
    note_failure(s, v, &d->problem, why);
    return fc_session_alive(s);
  }
  fc_check check;
  fc_status status = fc_data_check(&check, d, v->impl, states[0], FC_VET_BUDGET_S, why);
  fc_data_release(states, d, v->impl);
  if (status == FC_E_NOMEM) return status;
  if (status || !check.passed) {
    note_failure(s, v, &d->problem, status ? why : check.text);
    return fc_session_alive(s);
  }
  s->checks.passed++;
  v->n_passed++;
  if (check.worst > s->worst_ratio) s->worst_ratio = check.worst;
  return FC_OK;
}

static fc_status check_case(fc_session *s, fc_vetted *v, const fc_bench_case *c, bool exact) {
  char why[FC_WHY] = "";
  fc_problem shape;
  if (fc_problem_init(&shape, c, s->options.seed, exact)) return FC_E_DOMAIN;
  if (v->impl->supports && !v->impl->supports(&shape, &s->machine, why)) return FC_OK;
  fc_data d;
  fc_status status = fc_data_new(&d, s->options.device, &s->machine, c, s->options.seed, exact, 1, s->why);
  if (status) return status;
  status = check_data(s, v, &d);
  fc_data_free(&d);
  return status;
}

static fc_vetted *find(fc_session *s, const fc_implementation *impl) {
  for (size_t i = 0; i < s->n_vetted; i++)
    if (s->vetted[i].impl == impl) return &s->vetted[i];
  return NULL;
}

fc_vetted *fc_session_vetted(fc_session *s, const fc_implementation *impl) {
  fc_vetted *v = find(s, impl);
  if (v || s->n_vetted == FC_VETTED_MAX) return v;
  v = &s->vetted[s->n_vetted++];
  *v = (fc_vetted){.impl = impl};
  return v;
}

fc_status fc_session_vet(fc_session *s, const fc_implementation *impl, const fc_vetted **out) {
  fc_vetted *v = fc_session_vetted(s, impl);
  if (!v) return FC_E_NOMEM;
  *out = v;
  if (v->done || v->refused) return FC_OK;
  fc_cases cases;
  fc_status status = fc_cases_build(&cases, FC_SCALE_TINY, false);
  if (status) return status;
  for (size_t i = 0; !status && !v->refused && i < cases.n; i++) {
    const fc_bench_case *c = &cases.item[i];
    if (c->op != impl->op) continue;
    if (fc_session_cancelled(s)) status = FC_E_CANCELLED;
    if (!status) status = check_case(s, v, c, false);
    if (!status && !v->refused && fc_operator_of(c->op)->exact) status = check_case(s, v, c, true);
  }
  v->done = !status;
  if (!status && !v->refused && v->n_passed == 0) s->checks.skipped++;
  fc_cases_free(&cases);
  return status;
}

fc_status fc_session_check(fc_session *s) {
  fc_status status = FC_OK;
  for (int op = 0; !status && op < FC_BENCH_OP_COUNT; op++) {
    fc_cursor at = {0};
    if (!fc_session_wants(s, (fc_bench_op)op)) continue;
    for (const fc_implementation *impl;
         !status && (impl = fc_session_next(s, (fc_bench_op)op, &at)) != NULL;) {
      char text[96];
      (void)snprintf(text, sizeof text, "checking %s by %s", fc_bench_op_text((fc_bench_op)op), impl->name);
      fc_session_tell(s, (size_t)op, FC_BENCH_OP_COUNT, text);
      fc_session_guard(s, NULL, NULL, text);
      const fc_vetted *v;
      status = fc_session_vet(s, impl, &v);
      fc_session_guard(s, NULL, NULL, NULL);
    }
  }
  return status;
}
