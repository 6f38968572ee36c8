/* SPDX-License-Identifier: Apache-2.0 */
/* The prefix cache: against a plain list, and by hand in a replica. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

#include "prefix.h"
#include "test_replica_load.h"

/* --- against a list --- */

enum { HASHES = 300 };
typedef struct {
  uint32_t users, weight;
  bool held;
  uint64_t since; /* of being idle */
} plain;

Test(replica_prefix, does_what_a_plain_list_does) {
  static plain list[HASHES];
  memset(list, 0, sizeof list);
  fc_prefix p = {0};
  fc_rng rng = fc_rng_keyed(1, FC_STREAM_TEST, 0, 0);
  int64_t evictions = 0;
  for (uint64_t step = 1; step < 200000; step++) {
    uint64_t h = (uint64_t)(fc_rng_uniform(&rng) * HASHES);
    plain *a = &list[h];
    double u = fc_rng_uniform(&rng);
    if (u < 0.3) {
      bool held;
      uint32_t weight = 1 + (uint32_t)(h % 5);
      cr_assert_eq(fc_prefix_add(&p, h, weight, &held), FC_OK);
      cr_assert_eq(held, a->held);
      if (!a->held) *a = (plain){.weight = weight, .held = true};
      a->users++;
    } else if (u < 0.4 && a->held) {
      fc_prefix_use(&p, h);
      a->users++;
    } else if (u < 0.85 && a->users > 0) {
      fc_prefix_leave(&p, h);
      if (--a->users == 0) a->since = step;
    } else if (u > 0.97) {
      plain *oldest = NULL;
      for (size_t i = 0; i < HASHES; i++)
        if (list[i].held && !list[i].users && (!oldest || list[i].since < oldest->since)) oldest = &list[i];
      int64_t freed = fc_prefix_evict(&p);
      cr_assert_eq(freed, oldest ? oldest->weight : 0);
      if (oldest) {
        oldest->held = false;
        evictions++;
      }
    }
    int64_t idle = 0, live = 0, found_idle;
    uint32_t run = 0;
    uint64_t probe[4];
    for (size_t i = 0; i < 4; i++) probe[i] = (h + i) % HASHES;
    while (run < 4 && list[probe[run]].held) run++;
    cr_assert_eq(fc_prefix_find(&p, probe, 4, &found_idle), run);
    if (step % 97) continue;
    for (size_t i = 0; i < HASHES; i++)
      if (list[i].held) *(list[i].users ? &live : &idle) += list[i].weight;
    cr_assert_eq(p.idle_blocks, idle);
    cr_assert_eq(p.live_blocks, live);
  }
  cr_assert_gt(evictions, 1000);
  fc_prefix_fini(&p);
}

/* --- in a replica --- */

static fc_replica_result r;

static fc_replica_def cached(const fc_step_table *steps) {
  fc_replica_def d = fc_replica_default_def();
  d.steps = steps;
  d.policy.max_batch = 16;
  d.kv_blocks = 40;
  d.prefix_cache = true;
  return d;
}

static const uint64_t conversation[] = {11, 12, 13, 14, 15};

static void turn(fc_request *q, double at_s, uint32_t input, const uint64_t *block) {
  *q = (fc_request){.arrival = fc_time_from_s(at_s),
                    .number = q->number,
                    .input_tokens = input,
                    .output_tokens = 4,
                    .block_tokens = 64,
                    .n_blocks = (input + 63) / 64,
                    .block = block};
}

Test(replica_prefix, later_turns_find_what_earlier_ones_left) {
  fc_step_coefficients c = {.base_s = 1e-3, .prefill_token_s = 1e-5};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = cached(t);
  replica_load l = replica_load_new(4);
  turn(&l.request[0], 0, 100, conversation); /* one whole block */
  turn(&l.request[1], 1, 200, conversation); /* finds it; three whole blocks */
  turn(&l.request[2], 2, 192, conversation); /* all three are there, but the last token is computed */
  turn(&l.request[3], 3, 320, conversation); /* finds three of five */
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  static const uint32_t want[] = {0, 64, 128, 192};
  for (size_t i = 0; i < 4; i++) {
    cr_assert_eq(l.record[i].cached_tokens, want[i], "turn %zu: %u", i, l.record[i].cached_tokens);
    double prefill_s = 1e-3 + 1e-5 * (double)(l.request[i].input_tokens - want[i]);
    cr_assert_leq(llabs(l.record[i].first_token - l.record[i].arrival - fc_time_from_s(prefill_s)), 1);
  }
  cr_assert_eq(r.cached_tokens, 64 + 128 + 192);
  cr_assert_eq(r.cache_hits, 1 + 2 + 3);
  cr_assert_eq(r.cache_evicted, 0);
  cr_assert_eq(r.kv_resident, 5 * 4); /* kept for the next */
  d.prefix_cache = false;
  replica_load_run(&r, &d, &l, 1);
  cr_assert_eq(r.cached_tokens, 0);
  cr_assert_eq(r.kv_resident, 0);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_prefix, the_least_recently_used_goes_first) {
  static const uint64_t a[] = {1, 2, 3, 4}, b[] = {21, 22, 23, 24}, big[] = {31, 32, 33, 34, 35, 36};
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = cached(t); /* 40 blocks: ten of a request's */
  replica_load l = replica_load_new(6);
  turn(&l.request[0], 0, 193, a);
  turn(&l.request[1], 1, 193, b);
  turn(&l.request[2], 2, 193, a);   /* a is the more recent */
  turn(&l.request[3], 3, 384, big); /* 25 blocks with its output; 16 are free */
  turn(&l.request[4], 4, 193, a);
  turn(&l.request[5], 5, 193, b);
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  cr_assert_eq(l.record[2].cached_tokens, 192);
  cr_assert_eq(l.record[4].cached_tokens, 192, "a was kept");
  cr_assert_eq(l.record[5].cached_tokens, 0, "b was evicted from its end");
  cr_assert_gt(r.cache_evicted, 0);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_prefix, users_of_a_block_at_the_same_time_share_it) {
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = cached(t);
  replica_load l = replica_load_new(8);
  for (size_t i = 0; i < 8; i++) {
    turn(&l.request[i], i ? 0.01 : 0, 260, conversation); /* 17 blocks, 16 of them shared */
    l.request[i].output_tokens = 40;
  }
  replica_load_run(&r, &d, &l, 1);
  cr_assert_eq(r.batch_peak, 8);
  cr_assert_eq(r.preemptions, 0);
  cr_assert_eq(r.kv_peak, 16 + 8 * 3);
  d.prefix_cache = false;
  replica_load_run(&r, &d, &l, 1);
  cr_assert_lt(r.batch_peak, 3);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_prefix, blocks_that_do_not_divide_are_told) {
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = cached(t);
  replica_load l = replica_load_new(1);
  turn(&l.request[0], 0, 100, conversation);
  l.request[0].block_tokens = 50;
  char why[256] = "";
  fc_request_source source = replica_load_source(&l);
  cr_assert_eq(fc_replica_run(&r, &d, &source, 1, why), FC_E_DOMAIN);
  cr_assert(strstr(why, "50 tokens"), "%s", why);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_prefix, a_router_may_ask_first) {
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = cached(t);
  fc_replica *one;
  cr_assert_eq(fc_replica_new(&one, &d, 1, 0), FC_OK);
  fc_request q = {0};
  turn(&q, 0, 200, conversation);
  cr_assert_eq(fc_replica_would_hit(one, &q), 0);
  cr_assert_eq(fc_replica_offer(one, &q), FC_OK);
  cr_assert_eq(fc_replica_advance(one, FC_TIME_MAX), FC_OK);
  cr_assert_eq(fc_replica_would_hit(one, &q), 192);
  q.input_tokens = 192;
  cr_assert_eq(fc_replica_would_hit(one, &q), 128);
  fc_replica_free(one);
  fc_step_table_free(t);
}
