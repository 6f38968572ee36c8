/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_BUSIEST_H
#define FC_COST_BUSIEST_H

/** Rows of the busiest of `ep` ranks when `tokens` tokens choose `topk` of `experts` experts whose popularity
 * follows a power law with exponent `skew` (0: perfectly balanced), and how many of its experts get any.
 *  @source loads are drawn by inverse transform between 1 and 0.8 tokens (0.01 and 2 when there are fewer
 * choices than experts) and rounded: the generator of the aiconfigurator tables; here at the quantiles (i +
 * 1/2)/E, with the most popular expert on the busiest rank */
void fc_moe_busiest(double *rows, double *experts_hit, double tokens, double topk, double experts, double ep,
                    double skew);

/** Share of all choices that each of the experts gets, most popular first, under the same law; no expert gets
 * more than one choice a token.  @pre share [experts], tokens >= 1 */
void fc_moe_popularity(double *share, int experts, double tokens, double topk, double skew);

#endif
