/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pass.h"

fc_status fc_session_open(fc_session *s, const fc_session_options *options) {
  *s = (fc_session){.options = *options};
  if (options->device->open(&s->machine, s->why)) return FC_E_IO;
  s->protocol = fc_protocol_default(options->device->is_gpu, options->quick);
  return FC_OK;
}

void fc_session_close(fc_session *s) {
  fc_rows_fini(&s->rows);
  s->options.device->close();
}

fc_scale fc_session_scale(const fc_session *s) {
  return s->options.device->is_gpu ? FC_SCALE_GPU : FC_SCALE_CPU;
}

bool fc_session_cancelled(const fc_session *s) {
  return s->options.cancel && *s->options.cancel;
}

void fc_session_tell(const fc_session *s, size_t done, size_t total, const char *text) {
  if (s->options.progress) s->options.progress(s->options.context, done, total, text);
}

const fc_implementation *fc_session_next(const fc_session *s, fc_bench_op op, fc_cursor *at) {
  const fc_bench_device *d = s->options.device;
  for (; at->table < d->n_tables; at->table++, at->row = 0)
    while (at->row < d->tables[at->table]->n) {
      const fc_implementation *impl = &d->tables[at->table]->item[at->row++];
      if (impl->op == op) return impl;
    }
  return NULL;
}

bool fc_session_wants(const fc_session *s, fc_bench_op op) {
  return !s->options.kernel || strcmp(s->options.kernel, fc_bench_op_text(op)) == 0;
}

/* --- the checks before --- */

static void note_failure(fc_session *s, const fc_problem *p, const char *impl, const char *text) {
  s->checks.failed++;
  if (*s->checks.first_failure) return;
  (void)snprintf(s->checks.first_failure, sizeof s->checks.first_failure, "%s by %s, %s%s: %s",
                 fc_bench_op_text(p->c.op), impl, fc_dtype_text(p->c.dtype), p->exact ? ", exact data" : "",
                 text);
}

/* One implementation on data that is there. */
static fc_status check_one(fc_session *s, const fc_data *d, const fc_implementation *impl) {
  char why[FC_WHY] = "";
  void **states;
  if (fc_data_prepare(&states, d, impl, &s->machine, why)) {
    note_failure(s, &d->problem, impl->name, why);
    return FC_OK;
  }
  fc_check check;
  fc_status status = fc_data_check(&check, d, impl, states[0], FC_CHECK_BUDGET_S, why);
  fc_data_release(states, d, impl);
  if (status == FC_E_NOMEM) return status;
  if (status || !check.passed) {
    note_failure(s, &d->problem, impl->name, status ? why : check.text);
    return FC_OK;
  }
  s->checks.passed++;
  if (check.worst > s->worst_ratio) s->worst_ratio = check.worst;
  return FC_OK;
}

static fc_status check_case(fc_session *s, const fc_bench_case *c, bool exact) {
  fc_data d;
  fc_status status = fc_data_new(&d, s->options.device, &s->machine, c, s->options.seed, exact, 1, s->why);
  if (status) return status;
  size_t ran = 0;
  fc_cursor at = {0};
  for (const fc_implementation *impl; !status && (impl = fc_session_next(s, c->op, &at)) != NULL;) {
    char why[FC_WHY] = "";
    if (impl->supports && !impl->supports(&d.problem, &s->machine, why)) continue;
    ran++;
    status = check_one(s, &d, impl);
  }
  if (ran == 0) s->checks.skipped++;
  fc_data_free(&d);
  return status;
}

fc_status fc_session_check(fc_session *s) {
  fc_cases cases;
  fc_status status = fc_cases_build(&cases, FC_SCALE_TINY, false);
  if (status) return status;
  for (size_t i = 0; !status && i < cases.n; i++) {
    const fc_bench_case *c = &cases.item[i];
    if (fc_session_cancelled(s)) status = FC_E_CANCELLED;
    if (!status && fc_session_wants(s, c->op)) {
      char text[64];
      (void)snprintf(text, sizeof text, "checking %s", fc_bench_op_text(c->op));
      fc_session_tell(s, i, cases.n, text);
      status = check_case(s, c, false);
      if (!status && fc_operator_of(c->op)->exact) status = check_case(s, c, true);
    }
  }
  fc_cases_free(&cases);
  return status;
}
