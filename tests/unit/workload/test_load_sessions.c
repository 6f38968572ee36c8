/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/load.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "load_server.h"

/* --- sessions --- */

static fc_load_def agents(void) {
  fc_load_def def = base();
  def.rate_per_s = 2;
  def.requests = 30000;
  def.input = fc_dist_lognormal_p90(300, 1500);
  def.output = fc_dist_lognormal_p90(100, 500);
  def.prefix = (fc_prefix_def){.share = 0.5, .groups = 3, .tokens = fc_dist_point(256)};
  def.block_tokens = 16;
  def.context_max = 20000;
  def.n_classes = 2;
  def.session = (fc_session_def){
      .turns = {.kind = FC_DIST_UNIFORM, .a = 0.5, .b = 8.5, .min = -HUGE_VAL, .max = HUGE_VAL},
      .think_s = fc_dist_lognormal_cv(30, 1),
      .new_tokens = fc_dist_lognormal_cv(60, 1),
      .tool_share = 0.7,
      .tool_s = fc_dist_point(1.5),
      .tool_tokens = fc_dist_point(500)};
  return def;
}

/* Of each request the one before it in its session; N: none. */
static size_t *link_turns(const history *h) {
  size_t *last = malloc((h->n + 2) * sizeof *last), *before = malloc(h->n * sizeof *before);
  cr_assert(last && before);
  for (size_t i = 0; i < h->n + 2; i++) last[i] = h->n;
  for (size_t i = 0; i < h->n; i++) {
    uint32_t session = h->request[i].session;
    cr_assert(session >= 1 && session <= h->n);
    before[i] = last[session];
    last[session] = i;
  }
  free(last);
  return before;
}

Test(sessions, turns_follow_one_another) {
  fc_load_def def = agents();
  history h = run(&def, by_length);
  size_t *before = link_turns(&h);
  double tools = 0, turns = 0, thought = 0, thinks = 0, added = 0;
  for (size_t i = 0; i < h.n; i++) {
    const fc_request *r = &h.request[i], *b = &h.request[before[i]];
    if (before[i] == h.n) {
      cr_assert_eq(r->turn, 0);
      continue;
    }
    fc_time delay = r->arrival - h.done[before[i]];
    cr_assert(delay >= 0, "a turn comes after the one before is done");
    cr_assert(r->turn == b->turn + 1 && r->slo_class == b->slo_class);
    cr_assert(r->input_tokens > b->input_tokens + b->output_tokens, "the context grows");
    cr_assert_leq(r->input_tokens + r->output_tokens, def.context_max);
    uint32_t grown = r->input_tokens - b->input_tokens - b->output_tokens;
    bool tool = delay == 1500000000 && grown == 500;
    turns++;
    tools += tool;
    if (tool) continue;
    thinks++;
    thought += fc_time_to_s(delay);
    added += grown;
  }
  within("turns by tools", tools / turns, 0.7, sqrt(0.21 / turns));
  within("thinking", thought / thinks, 30, 30 / sqrt(thinks));
  within("new tokens", added / thinks, 60, 60 / sqrt(thinks) + 0.02);
  free(before);
  forget(&h);
}

Test(sessions, each_prompt_begins_with_the_one_before) {
  fc_load_def def = agents();
  def.requests = 3000;
  def.concurrency = 1; /* one session after the other */
  def.arrive = FC_ARRIVE_AT_ONCE;
  fc_load *l = make(&def);
  fc_request_source s = fc_load_source(l);
  enum { ROOM = 20000 / 16 + 1 };
  static uint64_t kept[ROOM];
  uint32_t n_kept = 0, session = 0, compared = 0;
  fc_time at;
  fc_request r;
  while (s.peek(s.context, &at)) {
    s.take(s.context, &r);
    cr_assert(r.n_blocks == r.input_tokens / 16 && r.n_blocks <= ROOM);
    if (r.session == session) {
      cr_assert(r.n_blocks >= n_kept && memcmp(kept, r.block, n_kept * sizeof *kept) == 0);
      compared += n_kept;
    } else if (n_kept > 0) {
      cr_assert(r.n_blocks < 17 || n_kept < 17 || kept[16] != r.block[16],
                "past a prefix of 256 tokens all differ");
    }
    session = r.session;
    n_kept = r.n_blocks;
    memcpy(kept, r.block, n_kept * sizeof *kept);
    s.done(s.context, r.number, at + FC_SECOND);
  }
  cr_assert_gt(compared, 10000);
  fc_load_free(l);
}

Test(sessions, have_their_number_of_turns) {
  fc_load_def def = agents();
  def.context_max = 1 << 30;
  def.requests = 0;
  def.duration_s = 5000;
  def.session.think_s = def.session.tool_s = fc_dist_point(0);
  fc_load *l = make(&def);
  history h = serve(l, at_once);
  fc_load_summary sum = fc_load_so_far(l);
  cr_assert_eq(sum.sessions_short, 0);
  double count[8] = {0}, expected[8];
  for (size_t i = 0; i < h.n; i++) count[h.request[i].turn]++;
  cr_assert_eq((uint64_t)count[0], sum.entries);
  for (int k = 0; k < 7; k++) count[k] -= count[k + 1]; /* sessions of k + 1 turns */
  for (int k = 0; k < 8; k++) expected[k] = (double)sum.entries / 8;
  chi_square("turns", count, expected, 8);
  fc_load_free(l);
  forget(&h);
  def.context_max = 3000;
  l = make(&def);
  h = serve(l, at_once);
  cr_assert_gt(fc_load_so_far(l).sessions_short, 0);
  for (size_t i = 0; i < h.n; i++)
    cr_assert(h.request[i].turn == 0 || h.request[i].input_tokens + h.request[i].output_tokens <= 3000);
  fc_load_free(l);
  forget(&h);
}

Test(sessions, a_late_word_does_not_turn_time_back) {
  fc_load_def def = agents();
  def.session.turns = fc_dist_point(2);
  def.session.think_s = def.session.tool_s = fc_dist_point(0);
  def.requests = 3;
  fc_load *l = make(&def);
  fc_request_source s = fc_load_source(l);
  fc_time at;
  fc_request r[3];
  for (int i = 0; i < 2; i++) {
    cr_assert(s.peek(s.context, &at));
    s.take(s.context, &r[i]);
  }
  s.done(s.context, 0, r[0].arrival); /* before the arrival that was already taken */
  cr_assert(s.peek(s.context, &at) && at == r[1].arrival);
  s.take(s.context, &r[2]);
  cr_assert(r[2].turn == 1 && r[2].session == r[0].session);
  fc_load_free(l);
}

/* Turns of one time come in the order of their sessions, whatever the order of the ends. */
Test(sessions, equal_times_are_in_order) {
  fc_load_def def = agents();
  def.arrive = FC_ARRIVE_AT_ONCE;
  def.concurrency = 5;
  def.requests = 10;
  def.session.turns = fc_dist_point(2);
  def.session.think_s = def.session.tool_s = fc_dist_point(1);
  fc_load *l = make(&def);
  fc_request_source s = fc_load_source(l);
  fc_time at;
  fc_request r;
  for (int i = 0; i < 5; i++) {
    cr_assert(s.peek(s.context, &at) && at == 0);
    s.take(s.context, &r);
  }
  cr_assert_not(s.peek(s.context, &at), "all five wait for an end");
  static const uint64_t ends[] = {3, 0, 4, 2, 1};
  for (int i = 0; i < 5; i++) s.done(s.context, ends[i], FC_SECOND);
  for (uint32_t i = 0; i < 5; i++) {
    cr_assert(s.peek(s.context, &at) && at == 2 * FC_SECOND);
    s.take(s.context, &r);
    cr_assert(r.session == i + 1 && r.turn == 1, "session %u", r.session);
  }
  fc_load_free(l);
}

/* --- closed loop --- */

/* Requests under way just after each arrival, at most. */
static size_t most_under_way(const history *h) {
  fc_time *done = malloc(h->n * sizeof *done);
  cr_assert_not_null(done);
  size_t most = 0, n = 0;
  for (size_t i = 0; i < h->n; i++) {
    size_t kept = 0;
    for (size_t k = 0; k < n; k++)
      if (done[k] > h->request[i].arrival) done[kept++] = done[k];
    n = kept;
    done[n++] = h->done[i];
    if (n > most) most = n;
  }
  free(done);
  return most;
}

static fc_time some_seconds(const fc_request *r) {
  return FC_SECOND + (fc_time)(r->number * 7919 % 1000) * 1000000;
}

Test(closed_loop, population_is_the_concurrency) {
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_AT_ONCE;
  def.concurrency = 32;
  def.requests = 5000;
  fc_load *l = make(&def);
  history h = serve(l, some_seconds);
  cr_assert(most_under_way(&h) == 32 && fc_load_so_far(l).under_way_max == 32);
  for (size_t i = 0; i < 32; i++) cr_assert_eq(h.request[i].arrival, 0);
  /* each later arrival is the end of another: the i-th of the sorted ends */
  double *ends = malloc(h.n * sizeof *ends);
  cr_assert_not_null(ends);
  for (size_t i = 0; i < h.n; i++) ends[i] = (double)h.done[i];
  qsort(ends, h.n, sizeof *ends, ascending);
  for (size_t i = 32; i < h.n; i++) cr_assert_eq((double)h.request[i].arrival, ends[i - 32]);
  free(ends);
  fc_load_free(l);
  forget(&h);
}

Test(closed_loop, ramps_and_pauses) {
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_AT_ONCE;
  def.concurrency = 4;
  def.ramp_s = 1;
  def.requests = 8;
  def.pause_s = fc_dist_point(0.25);
  history h = run(&def, some_seconds);
  for (size_t i = 0; i < 4; i++) {
    cr_assert_eq(h.request[i].arrival, (fc_time)i * FC_SECOND / 4);
    cr_assert_eq(h.request[4].arrival, h.done[0] + FC_SECOND / 4);
  }
  forget(&h);
}

Test(closed_loop, pauses_have_their_mean) {
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_AT_ONCE;
  def.concurrency = 1;
  def.requests = 20000;
  def.pause_s = fc_dist_lognormal_cv(2, 0.5);
  history h = run(&def, at_once);
  within("pause", fc_time_to_s(h.request[h.n - 1].arrival) / (double)(h.n - 1), 2, 1 / sqrt((double)h.n));
  forget(&h);
}

Test(closed_loop, caps_an_open_load) {
  fc_load_def def = base(), open;
  def.requests = 3000;
  def.rate_per_s = 10;
  open = def;
  def.concurrency = 12;
  history h = run(&def, some_seconds), o = run(&open, some_seconds);
  cr_assert_eq(most_under_way(&h), 12);
  cr_assert_gt(most_under_way(&o), 12);
  for (size_t i = 0; i < h.n; i++) {
    cr_assert_geq(h.request[i].arrival, o.request[i].arrival, "an entry waits, it never comes early");
    cr_assert_eq(h.request[i].input_tokens, o.request[i].input_tokens);
  }
  forget(&h);
  forget(&o);
}

Test(closed_loop, counts_sessions_as_long_as_they_live) {
  fc_load_def def = agents();
  def.arrive = FC_ARRIVE_AT_ONCE;
  def.concurrency = 5;
  def.requests = 2000;
  history h = run(&def, some_seconds);
  cr_assert_leq(most_under_way(&h), 5);
  size_t *before = link_turns(&h), alive = 0;
  for (size_t i = 0; i < h.n; i++) alive = h.request[i].session > alive ? h.request[i].session : alive;
  fc_time *end = calloc(alive + 1, sizeof *end), *begin = calloc(alive + 1, sizeof *begin);
  cr_assert(end && begin);
  for (size_t i = 0; i < h.n; i++) {
    if (before[i] == h.n) begin[h.request[i].session] = h.request[i].arrival;
    end[h.request[i].session] = h.done[i];
  }
  for (size_t i = 1; i <= alive; i++) {
    size_t others = 0;
    for (size_t k = 1; k <= alive; k++) others += k != i && begin[k] <= begin[i] && end[k] > begin[i];
    cr_assert_leq(others, 4, "session %zu began beside %zu others", i, others);
  }
  free(begin);
  free(end);
  free(before);
  forget(&h);
}

/* --- common random numbers --- */

static void same_lengths(const fc_load_def *a, const fc_load_def *b, const char *what) {
  history x = run(a, at_once), y = run(b, at_once);
  cr_assert_eq(x.n, y.n);
  for (size_t i = 0; i < x.n; i++)
    cr_assert(x.request[i].input_tokens == y.request[i].input_tokens &&
                  x.request[i].output_tokens == y.request[i].output_tokens,
              "%s shifts the lengths of request %zu", what, i);
  forget(&x);
  forget(&y);
}

static void same_arrivals(const fc_load_def *a, const fc_load_def *b, const char *what) {
  history x = run(a, at_once), y = run(b, at_once);
  cr_assert_eq(x.n, y.n);
  for (size_t i = 0; i < x.n; i++)
    cr_assert_eq(x.request[i].arrival, y.request[i].arrival, "%s shifts arrival %zu", what, i);
  forget(&x);
  forget(&y);
}

Test(streams, one_input_shifts_no_other) {
  fc_load_def a = base(), b;
  a.requests = 2000;
  a.input = fc_dist_lognormal_p90(300, 1500);
  a.output = fc_dist_lognormal_p90(100, 500);
  b = a;
  b.arrive = FC_ARRIVE_GAMMA;
  b.arrival_cv = 3;
  same_lengths(&a, &b, "another kind of arrival");
  b = a;
  b.n_classes = 3;
  same_lengths(&a, &b, "a class");
  same_arrivals(&a, &b, "a class");
  b = a;
  b.prefix.share = 0.5;
  b.prefix.groups = 9;
  b.prefix.tokens = fc_dist_point(1);
  same_lengths(&a, &b, "a prefix");
  b = a;
  b.output = fc_dist_point(1);
  same_arrivals(&a, &b, "another length");
  b = a;
  b.rate_scale = 2;
  history x = run(&a, at_once), y = run(&b, at_once);
  for (size_t i = 0; i < x.n; i++)
    cr_assert_leq(llabs(x.request[i].arrival - 2 * y.request[i].arrival), 3, "arrival %zu", i);
  forget(&x);
  forget(&y);
}

Test(streams, sessions_do_not_depend_on_the_service) {
  fc_load_def def = agents();
  def.duration_s = 200;
  def.requests = 0;
  history x = run(&def, at_once), y = run(&def, by_length);
  /* the first turns, which do not wait, are the same; and so is turn 1 of each session that got to it in both
   */
  size_t i = 0, k = 0, n = 0;
  for (;; i++, k++) {
    while (i < x.n && x.request[i].turn > 0) i++;
    while (k < y.n && y.request[k].turn > 0) k++;
    if (i == x.n || k == y.n) break;
    cr_assert(x.request[i].arrival == y.request[k].arrival && x.request[i].session == y.request[k].session);
    n++;
  }
  cr_assert(n > 300 && i == x.n && k == y.n);
  for (i = 0; i < x.n; i++)
    for (k = 0; k < y.n; k++)
      if (x.request[i].session == y.request[k].session && x.request[i].turn == y.request[k].turn)
        cr_assert(x.request[i].input_tokens == y.request[k].input_tokens && x.tail[i] == y.tail[k]);
  forget(&x);
  forget(&y);
}

Test(streams, seed_and_entity_make_another_load) {
  fc_load_def a = agents(), b = a, c = a, again = a;
  a.requests = b.requests = c.requests = again.requests = 500;
  b.seed++;
  c.entity = 1;
  history h[] = {run(&a, by_length), run(&b, by_length), run(&c, by_length), run(&again, by_length)};
  for (size_t i = 0; i < 500; i++) {
    cr_assert(memcmp(&h[0].request[i], &h[3].request[i], offsetof(fc_request, block)) == 0);
    cr_assert_eq(h[0].tail[i], h[3].tail[i]);
    for (int k = 1; k < 3; k++) {
      cr_assert_neq(h[0].request[i].arrival, h[k].request[i].arrival);
      cr_assert(h[0].tail[i] == 0 || h[0].tail[i] != h[k].tail[i]);
    }
  }
  for (int k = 0; k < 4; k++) forget(&h[k]);
}
