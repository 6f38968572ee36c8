/* SPDX-License-Identifier: Apache-2.0 */
#include "load_server.h"

#include <math.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <gsl/gsl_cdf.h>

void within(const char *what, double got, double expected, double standard_error) {
  cr_assert(fabs(got - expected) <= SIGMAS * standard_error, "%s: %g, expected %g +- %g", what, got, expected,
            standard_error);
}

void chi_square(const char *what, const double *count, const double *expected, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (count[i] - expected[i]) * (count[i] - expected[i]) / expected[i];
  double limit = gsl_cdf_chisq_Pinv(0.9999, (double)n);
  cr_assert(sum <= limit, "%s: chi-square %g of %zu cells is above %g", what, sum, n, limit);
}

fc_load_def base(void) {
  fc_load_def def = fc_load_default_def();
  def.seed = 20261127;
  def.rate_per_s = 5;
  return def;
}

fc_load *make(const fc_load_def *def) {
  fc_load *l;
  fc_diags d;
  fc_diags_init(&d);
  fc_status status = fc_load_new(&l, def, "t", &d);
  cr_assert_eq(status, FC_OK, "%s", d.n ? d.item[0].text : "");
  return l;
}

int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* --- a server of any number at once, each request a time of its own: returns all of them --- */

fc_time at_once(const fc_request *r) {
  (void)r;
  return 0;
}

fc_time by_length(const fc_request *r) {
  return (fc_time)r->output_tokens * FC_SECOND / 100 + (fc_time)(r->number % 7) * FC_SECOND / 50;
}

typedef struct {
  history h;
  size_t *running, n_running;
} server;

static size_t first_done(const server *s) {
  size_t best = 0;
  for (size_t i = 1; i < s->n_running; i++)
    if (s->h.done[s->running[i]] < s->h.done[s->running[best]]) best = i;
  return best;
}

static void finish(server *s, const fc_request_source *source, size_t i) {
  size_t r = s->running[i];
  s->running[i] = s->running[--s->n_running];
  source->done(source->context, s->h.request[r].number, s->h.done[r]);
}

static void start(server *s, const fc_request_source *source, fc_time expected, service *time) {
  size_t n = s->h.n++;
  if ((n & (n - 1)) == 0) {
    size_t room = n ? 2 * n : 1;
    s->h.request = realloc(s->h.request, room * sizeof *s->h.request);
    s->h.done = realloc(s->h.done, room * sizeof *s->h.done);
    s->h.tail = realloc(s->h.tail, room * sizeof *s->h.tail);
    s->running = realloc(s->running, room * sizeof *s->running);
    cr_assert(s->h.request && s->h.done && s->h.tail && s->running);
  }
  fc_request *r = &s->h.request[n];
  source->take(source->context, r);
  cr_assert_eq(r->arrival, expected, "take gives what peek told");
  cr_assert_eq(r->number, n);
  cr_assert(r->input_tokens >= 1 && (uint64_t)r->n_blocks * r->block_tokens <= r->input_tokens);
  cr_assert(n == 0 || r->arrival >= s->h.request[n - 1].arrival, "arrivals do not run back");
  s->h.tail[n] = r->n_blocks ? r->block[r->n_blocks - 1] : 0;
  s->h.done[n] = r->arrival + time(r);
  s->running[s->n_running++] = n;
}

history serve(fc_load *load, service *time) {
  server s = {0};
  fc_request_source source = fc_load_source(load);
  fc_time at;
  for (;;) {
    bool comes = source.peek(source.context, &at);
    size_t i = first_done(&s);
    if (s.n_running > 0 && (!comes || s.h.done[s.running[i]] <= at))
      finish(&s, &source, i);
    else if (comes)
      start(&s, &source, at, time);
    else
      break;
  }
  cr_assert_eq(fc_load_status(load), FC_OK);
  free(s.running);
  return s.h;
}

history run(const fc_load_def *def, service *time) {
  fc_load *l = make(def);
  history h = serve(l, time);
  fc_load_summary sum = fc_load_so_far(l);
  cr_assert(sum.requests == h.n && sum.under_way == 0);
  fc_load_free(l);
  return h;
}

void forget(history *h) {
  free(h->request);
  free(h->done);
  free(h->tail);
}
