/* SPDX-License-Identifier: Apache-2.0 */
/* The same decode iteration without any of the sums that are kept: everything counted anew, one iteration. */
#include "replica_private.h"

#include <math.h>
#include <stdio.h>

typedef struct {
  int64_t decoding, held, blocks, growth, final, to_come;
} count;

static count count_all(const fc_replica *r) {
  count c = {0};
  int64_t ticks = fc_tick_at(r, r->k + 1) - r->tick;
  for (uint32_t i = 0; i < r->slots; i++) {
    const fc_slot *s = &r->slot[i];
    if (s->state != SLOT_DECODE && s->state != SLOT_PREFILL) continue;
    int64_t shared = (int64_t)s->n_held * s->weight;
    int64_t held = s->state == SLOT_DECODE ? s->kappa + r->tick : s->target;
    c.blocks += (held + r->def.block_tokens - 1) / r->def.block_tokens - shared;
    c.final += fc_kv_blocks_of(r, (int64_t)s->input + s->output) - shared;
    if (s->state != SLOT_DECODE) continue;
    c.decoding++;
    c.held += held;
    c.growth += fc_kv_blocks_of(r, held + ticks) - fc_kv_blocks_of(r, held);
    c.to_come += s->ends - r->tick;
  }
  return c;
}

fc_status fc_reference_step(fc_replica *r) {
  count c = count_all(r);
  int64_t growth = fc_kv_need(r, fc_tick_at(r, r->k + 1) - r->tick);
  if (c.decoding != r->decoding || c.held != r->kappa_sum + r->decoding * r->tick || c.growth != growth ||
      c.blocks != r->own_blocks || c.final != r->final_blocks ||
      c.to_come != r->ends_sum - r->decoding * r->tick) {
    int64_t kept = r->kappa_sum + r->decoding * r->tick;
    if (r->why)
      (void)snprintf(r->why, 256,
                     "counts of decoding requests differ from those kept: tokens %lld and %lld, "
                     "blocks %lld and %lld",
                     (long long)c.held, (long long)kept, (long long)c.blocks, (long long)r->own_blocks);
    return FC_E_LAW;
  }
  double b = (double)c.decoding, theta = r->unit ? 0 : (double)r->k * r->yield - (double)r->tick;
  fc_step_work w = {.decode = b, .decode_context = (double)c.held + b * (1 + theta)};
  double host = fc_host_ns(r, b, b * r->yield), ns = 1e9 * fc_step_table_seconds(r->table, &w) + host;
  double x = w.decode_context / r->groups;
  fc_between rows = r->table->padded[(int64_t)ceil(b / r->groups)];
  int i = fc_log_grid_find(&r->table->x, x);
  double u = (x - r->table->x.at[i]) / (r->table->x.at[i + 1] - r->table->x.at[i]);
  for (int k = 0; k < 2; k++) {
    double share = k ? rows.w : 1 - rows.w;
    double *weight = &r->decode_weight[(size_t)(k ? rows.hi : rows.lo) * (size_t)r->table->x.n + (size_t)i];
    weight[0] += share * (1 - u);
    weight[1] += share * u;
  }
  if (fc_is_noisy(r)) {
    double cv = fc_imbalance_cv(r, b * r->queries / r->groups);
    double noise = fmax(-0.9 * ns, fc_imbalance_ns(r, cv, fc_experts_ns(r, rows, x), 1));
    ns += noise;
    r->experts_ns += noise;
  }
  double before = (double)(r->def.kv_blocks - fc_kv_available(r));
  fc_kv_take(r, c.growth);
  r->kv_integral += 0.5 * (before + (double)(r->def.kv_blocks - fc_kv_available(r))) * ns;
  r->host_ns += host;
  bool paused = fc_paused(r);
  if (!paused) fc_digest_add(&r->result->itl, ns, (uint64_t)c.decoding);
  r->step = (fc_under_way){.kind = STEP_DECODE, .n = 1, .ns = ns, .paused = paused};
  return FC_OK;
}
