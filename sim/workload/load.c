/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/load.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

#include "load_parts.h"
#include "trace_build.h"

struct fc_load {
  fc_load_def def;
  fc_status status;
  fc_pacer pacer;
  fc_asker asker;
  fc_time end;        /* nothing arrives at or after it */
  uint64_t entries;   /* begun */
  bool more;          /* entry `entries` comes, at `next` if it may */
  fc_time next, last; /* last: of the requests taken */
  fc_waiters free_at; /* [concurrency] when a waiting entry may begin */
  fc_sessions sessions;
  uint64_t *block; /* of the last request */
  /* what was taken */
  uint64_t requests, cut, sessions_short, under_way, under_way_max;
  fc_time first_at;
  double gap_squares; /* of the gaps between requests [s^2] */
  fc_length_counts input, output;
};

/* --- making --- */

/* Index of the first row at or after `at`. */
static size_t first_row(const fc_trace *trace, fc_time at) {
  size_t low = 0, high = fc_trace_about(trace)->requests;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (fc_trace_at(trace, middle).arrival < at)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static fc_status find_window(const fc_load_def *def, size_t *first, size_t *n, const char *source,
                             fc_diags *d) {
  *first = *n = 0;
  if (!def->trace) return FC_OK;
  *first = first_row(def->trace, fc_time_from_s(def->from_s));
  *n = first_row(def->trace, fc_time_from_s(def->until_s)) - *first;
  if (*n > 0) return FC_OK;
  return fc_diag_error(d, source, ((fc_pos){0, 0}),
                       "no request of the trace is in [from_s, until_s) = [%g, %g)", def->from_s,
                       def->until_s);
}

/* The longest prompt that a load can ask. */
static size_t longest_input(const fc_load *l) {
  uint32_t most = l->def.input_max;
  if (l->asker.sessions && l->def.context_max > most) most = l->def.context_max;
  return most;
}

static fc_status make_room(fc_load *l) {
  const fc_load_def *def = &l->def;
  size_t blocks = 0;
  if (l->asker.made_tokens > 0) blocks = longest_input(l) / l->asker.made_tokens + 1;
  if (l->asker.whole) /* later laps have other hashes */
    for (size_t i = 0; i < l->asker.n; i++) {
      size_t n = fc_trace_at(def->trace, l->asker.first + i).n_blocks;
      if (n > blocks) blocks = n;
    }
  if (blocks > 0) {
    l->block = malloc(blocks * sizeof *l->block);
    if (!l->block) return FC_E_NOMEM;
  }
  if (def->concurrency == 0) return FC_OK;
  l->free_at.item = malloc(def->concurrency * sizeof *l->free_at.item);
  if (!l->free_at.item) return FC_E_NOMEM;
  double each_s = def->ramp_s / (double)def->concurrency;
  for (size_t i = 0; i < def->concurrency; i++)
    fc_waiters_push(&l->free_at, (fc_waiting){.at = fc_time_from_s((double)i * each_s)});
  return FC_OK;
}

static fc_status fill(fc_load *l, const char *source, fc_diags *d) {
  const fc_load_def *def = &l->def;
  size_t first, n;
  fc_status status = find_window(def, &first, &n, source, d);
  if (!status) status = fc_asker_init(&l->asker, def, first, n, source, d);
  if (!status) status = make_room(l);
  if (status) return status;
  fc_pacer_init(&l->pacer, def, first, n);
  if (def->arrive == FC_ARRIVE_TRACE && def->repeat && def->requests == 0 && l->pacer.period == 0)
    return fc_diag_error(d, source, ((fc_pos){0, 0}),
                         "requests must be set: the trace, repeated, would stay at its one point of time");
  l->end = def->duration_s > 0 ? fc_time_from_s(def->duration_s) : FC_TIME_MAX;
  l->more = fc_pacer_next(&l->pacer, 0, &l->next);
  return FC_OK;
}

fc_status fc_load_new(fc_load **out, const fc_load_def *def, const char *source, fc_diags *d) {
  *out = NULL;
  fc_status status = fc_load_check(def, source, d);
  if (status) return status;
  fc_load *l = calloc(1, sizeof *l);
  if (!l) return FC_E_NOMEM;
  l->def = *def;
  status = fill(l, source, d);
  if (status)
    fc_load_free(l);
  else
    *out = l;
  return status;
}

void fc_load_free(fc_load *l) {
  if (!l) return;
  fc_asker_fini(&l->asker);
  fc_sessions_fini(&l->sessions);
  free(l->free_at.item);
  free(l->block);
  free(l);
}

fc_status fc_load_status(const fc_load *load) {
  return load->status;
}

/* --- what comes next --- */

typedef enum { NOTHING, ENTRY, TURN } what;

/* A turn comes before a new entry of the same time. */
static what choose(const fc_load *l, fc_time *at) {
  const fc_waiters *turns = &l->sessions.waiting;
  what next = NOTHING;
  if (l->def.requests > 0 && l->requests == l->def.requests) return NOTHING;
  if (l->more && (l->def.concurrency == 0 || l->free_at.n > 0)) {
    next = ENTRY;
    *at = l->next;
    if (l->def.concurrency > 0 && l->free_at.item[0].at > *at) *at = l->free_at.item[0].at;
  }
  if (turns->n > 0 && (next == NOTHING || turns->item[0].at <= *at)) {
    next = TURN;
    *at = turns->item[0].at;
  }
  if (next != NOTHING && *at < l->last) *at = l->last;
  return next != NOTHING && *at < l->end ? next : NOTHING;
}

static bool peek(void *context, fc_time *arrival) {
  fc_load *l = context;
  if (l->status) return false;
  /* room for a session before it is promised: take() cannot fail */
  if (l->asker.sessions && l->more) l->status = fc_sessions_reserve(&l->sessions);
  return !l->status && choose(l, arrival) != NOTHING;
}

static void record(fc_load *l, const fc_request *r) {
  if (l->requests == 0) {
    l->first_at = r->arrival;
  } else {
    double gap = fc_time_to_s(r->arrival - l->last);
    l->gap_squares += gap * gap;
  }
  l->requests++;
  l->last = r->arrival;
  if (++l->under_way > l->under_way_max) l->under_way_max = l->under_way;
  fc_counts_add(&l->input, r->input_tokens);
  fc_counts_add(&l->output, r->output_tokens);
}

/* Recorded blocks: as they are in the first lap, others in later ones. */
static void give_recorded(fc_load *l, const fc_entry *e, fc_request *out) {
  out->block_tokens = FC_TRACE_BLOCK_TOKENS;
  out->n_blocks = e->n_blocks;
  out->block = e->block;
  if (e->cut && out->n_blocks > e->input / FC_TRACE_BLOCK_TOKENS)
    out->n_blocks = e->input / FC_TRACE_BLOCK_TOKENS;
  if (e->lap == 0) return;
  uint64_t salt = fc_mix64(e->lap);
  for (uint32_t i = 0; i < out->n_blocks; i++) l->block[i] = fc_mix64(e->block[i] ^ salt);
  out->block = l->block;
}

static void give_made(fc_load *l, uint64_t entry, uint32_t group, uint32_t shared, fc_request *out) {
  out->block_tokens = l->asker.made_tokens;
  out->n_blocks = fc_asker_blocks(&l->asker, entry, group, shared, out->input_tokens, l->block);
  out->block = l->block;
}

static void begin_session(fc_load *l, const fc_entry *e, fc_request *out) {
  uint32_t slot = fc_sessions_begin(&l->sessions);
  l->sessions.session[slot] = (fc_session){.entry = e->number,
                                           .request = out->number,
                                           .turns = fc_asker_turns(&l->asker, e->number),
                                           .slo_class = e->slo_class,
                                           .group = e->group,
                                           .shared = e->shared,
                                           .input = e->input,
                                           .output = e->output};
  fc_sessions_enter(&l->sessions, slot);
  out->session = (uint32_t)(e->number + 1);
}

static void take_entry(fc_load *l, fc_request *out) {
  fc_entry e;
  fc_asker_entry(&l->asker, l->entries, &e);
  if (l->def.concurrency > 0) (void)fc_waiters_pop(&l->free_at);
  l->cut += e.cut;
  out->input_tokens = e.input;
  out->output_tokens = e.output;
  out->slo_class = e.slo_class;
  if (l->asker.sessions) begin_session(l, &e, out);
  if (e.n_blocks > 0)
    give_recorded(l, &e, out);
  else if (l->asker.made_tokens > 0)
    give_made(l, e.number, e.group, e.shared, out);
  l->entries++;
  l->more = fc_pacer_next(&l->pacer, l->entries, &l->next);
}

static void take_turn(fc_load *l, fc_request *out) {
  uint32_t slot = fc_waiters_pop(&l->sessions.waiting).slot;
  fc_session *s = &l->sessions.session[slot];
  s->request = out->number;
  fc_sessions_enter(&l->sessions, slot);
  out->input_tokens = s->input;
  out->output_tokens = s->output;
  out->slo_class = s->slo_class;
  out->session = (uint32_t)(s->entry + 1);
  out->turn = s->turn;
  if (l->asker.made_tokens > 0) give_made(l, s->entry, s->group, s->shared, out);
}

static void take(void *context, fc_request *out) {
  fc_load *l = context;
  *out = (fc_request){.number = l->requests};
  what next = choose(l, &out->arrival);
  FC_ASSERT(next != NOTHING);
  if (next == ENTRY)
    take_entry(l, out);
  else
    take_turn(l, out);
  record(l, out);
}

/* --- what became of them --- */

static fc_time after(fc_time at, fc_time delay) {
  return at < FC_TIME_MAX - delay ? at + delay : FC_TIME_MAX;
}

static void end_entry(fc_load *l, uint64_t entry, fc_time at) {
  if (l->def.concurrency == 0) return;
  fc_waiters_push(&l->free_at, (fc_waiting){.at = after(at, fc_asker_pause(&l->asker, entry))});
}

/* The next turn of a session, if there is one and the context has room. */
static bool go_on(fc_load *l, uint32_t slot, fc_time at) {
  fc_session *s = &l->sessions.session[slot];
  if (s->turn + 1 >= s->turns) return false;
  fc_turn turn = fc_asker_turn(&l->asker, s->entry, s->turn + 1);
  uint64_t input = (uint64_t)s->input + s->output + turn.new_tokens;
  if (input + turn.output > l->def.context_max) {
    l->sessions_short++;
    return false;
  }
  s->turn++;
  s->input = (uint32_t)input;
  s->output = turn.output;
  fc_waiters_push(&l->sessions.waiting,
                  (fc_waiting){.at = after(at, turn.delay), .order = s->entry, .slot = slot});
  return true;
}

static void done(void *context, uint64_t number, fc_time at) {
  fc_load *l = context;
  FC_ASSERT(l->under_way > 0 && number < l->requests);
  l->under_way--;
  if (!l->asker.sessions) {
    end_entry(l, number, at); /* each entry is one request: they have the same numbers */
    return;
  }
  uint32_t slot = fc_sessions_leave(&l->sessions, number);
  if (go_on(l, slot, at)) return;
  uint64_t entry = l->sessions.session[slot].entry;
  fc_sessions_end(&l->sessions, slot);
  end_entry(l, entry, at);
}

fc_request_source fc_load_source(fc_load *load) {
  return (fc_request_source){.context = load, .peek = peek, .take = take, .done = done};
}

fc_load_summary fc_load_so_far(const fc_load *l) {
  fc_load_summary s = {.requests = l->requests,
                       .entries = l->entries,
                       .cut = l->cut,
                       .sessions_short = l->sessions_short,
                       .input_tokens = (uint64_t)l->input.sum,
                       .output_tokens = (uint64_t)l->output.sum,
                       .span_s = fc_time_to_s(l->last),
                       .input = fc_counts_of(&l->input, l->requests),
                       .output = fc_counts_of(&l->output, l->requests),
                       .under_way = l->under_way,
                       .under_way_max = l->under_way_max};
  if (s.span_s > 0) s.rate_per_s = (double)s.requests / s.span_s;
  if (l->requests > 2) {
    double n = (double)(l->requests - 1), mean = fc_time_to_s(l->last - l->first_at) / n;
    double variance = (l->gap_squares - n * mean * mean) / (n - 1);
    if (mean > 0 && variance > 0) s.gap_cv = sqrt(variance) / mean;
  }
  return s;
}
