/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_DRAWN_H
#define FC_COST_DRAWN_H

/** Share of a layer's `experts` that at least one of `tokens` tokens chooses, `topk` each, independently of
 * one another: those whose weights an iteration reads.  Popularity follows a power law with exponent `skew`
 * (0: all alike), the same for a few tokens as for many.
 *
 *  @source range of the law, 1 to 0.8 experts / topk: that of the generator of the aiconfigurator tables
 * where there is a choice for each expert.  The generator itself takes another range below and a growing one
 * above, so that one token more or less changes the experts in use by 40 % (256 experts, 8 a token, 32
 * tokens); routers do not know how many tokens come.
 *  @pre tokens > 0, experts >= topk >= 1, skew >= 0
 *  @return in (0, 1] */
double fc_moe_drawn(double tokens, double topk, double experts, double skew);

#endif
