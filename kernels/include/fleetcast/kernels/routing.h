/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_ROUTING_H
#define FC_KERNELS_ROUTING_H

#include <fleetcast/kernels/problem.h>

/** Which tokens go to which experts: the one generator behind every grouped and routed operator.  Pure
 * functions of the case and the seed (fc_fill_bits draws), the same on every machine; so declare() may ask
 * for counts before any tensor exists.  C; nothing is kept.
 *
 *  G = c->groups local experts.  Loads of experts, c->routing:
 *   - BALANCED: rows/G each, the remainder to the first;
 *   - POWER: probability of the i-th expert ~ (i+1)^-skew, experts shuffled, each row drawn independently
 * (skew 0: uniform random routing, which is not balanced);
 *   - CAPTURED: probabilities sampled from a captured load of 64 experts (routing.c has it and its source),
 * experts shuffled, rows drawn. */

/** Rows of a group are padded to multiples of this. @source the 128 rows of a tile of the grouped products,
 * as in DeepGEMM's contiguous layout */
enum { FC_ROUTING_ALIGN = 128, FC_ROUTING_GROUPS_MAX = 1024 };

/** counts[g]: rows of expert g; they sum to `rows` exactly.  1 <= G <= FC_ROUTING_GROUPS_MAX, rows >= 0. */
void fc_routing_counts(const fc_bench_case *c, uint64_t seed, int64_t rows, int32_t *counts);

/** The counts of a case in which no expert has more than `tokens` rows, as where a token goes to distinct
 *  experts: fc_routing_counts of c->m rows, the excess of full experts moved to the others, in proportion to
 * their space.  What fc_routing_choose realises. */
void fc_routing_counts_distinct(const fc_bench_case *c, uint64_t seed, int64_t tokens, int32_t *counts);

/** Can `tokens` tokens have c->m pairs with distinct local experts, at most c->top_k each? */
bool fc_routing_possible(const fc_bench_case *c, int64_t tokens);

/** idx [tokens, c->top_k]: distinct local experts of each token in no order, -1 where a pair's expert lives
 *  elsewhere.  Exactly c->m entries are local; expert g has fc_routing_counts_distinct's number of them.
 * Which tokens they are is random, as is how many local experts a token has.  Needs fc_routing_possible. */
void fc_routing_choose(const fc_bench_case *c, uint64_t seed, int64_t tokens, int32_t *idx);

/** offsets [groups + 1]: where each group's rows start, multiples of FC_ROUTING_ALIGN.  Nullable.
 *  @return offsets[groups], the padded rows P */
int64_t fc_routing_padded(const int32_t *counts, int64_t groups, int32_t *offsets);

#endif
