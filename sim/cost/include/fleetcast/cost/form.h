/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_FORM_H
#define FC_COST_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/cost/profile.h>

/** The functional forms of kernel time: geometry and coefficients -> seconds.  The one place where they are
 *  written: the simulator evaluates them, calibrate/ fits them.  Pure; no roofline clamp (operator.h does
 * that). Model and evidence: docs/model.md#kernels. */

/** What a form may look at.  A form ignores what it does not need; unused members are 0. */
typedef struct fc_geometry {
  double flop, bytes;       /* F; B, smallest possible traffic */
  double groups;            /* matrices multiplied in one launch, >= 1 */
  double rows, n, k;        /* GEMM: rows of all groups together, columns, inner size */
  bool ragged;              /* rows per group vary (random routing): a group ends in half a tile on average;
                               else every group has rows/groups of them */
  double inner;             /* moe: inner size of an expert on this device */
  double length;            /* attention: queries of a sequence (prefill, backward), context (decode) */
  double units;             /* S: compute units in use */
  double all_units;         /* of the device: P is the rate with all of them */
  double ranks, domain;     /* collective: members; members inside one scale-up domain */
  double wire_in, wire_net; /* collective: bytes a rank sends inside the domain, and over the network */
} fc_geometry;

/** (a^q + b^q)^(1/q); q = 0: max(a, b).  @pre a, b >= 0, q = 0 or q >= 1 */
double fc_form_smooth_max(double a, double b, double q);

/** t = t0 + smooth_max_q(C, B/W),
 *      C = min over tiles (bm, bn) of  waves (2 bm bn K (1 + c (128/bm + 128/bn)/2) / (P/S0) + te),
 *      waves = ceil(sum_g ceil(m_g/bm) ceil(N/bn) / S),  bm in {64,128,256}, bn in {64,128,192,256}
 *  @source NeuSight arXiv:2407.13853 (tiles and waves); evidence in docs/model.md#kernels */
double fc_form_gemm_s(const fc_coef *coef, const fc_geometry *g);
/** C alone. */
double fc_form_tiles_s(const fc_coef *coef, const fc_geometry *g);
/** t = t0 + max(F / (P (S/S0) s/(s+s0)), B/W) */
double fc_form_attention_s(const fc_coef *coef, const fc_geometry *g);
/** t = t0 + (B + b0)/W */
double fc_form_memory_s(const fc_coef *coef, const fc_geometry *g);
/** t = t0 + smooth_max_q(C_up + C_down, B/W): gate and up [rows, 2 inner, n], down [rows, n, inner], over
 * `groups` experts, C as above. */
double fc_form_moe_s(const fc_coef *coef, const fc_geometry *g);
/** Inside one domain (ranks <= domain):  t = t0 + hop log2(ranks) + (w_in + b0)/W
 *  Beyond it:  t = net_t0 + hop log2(ranks) + max((w_in + b0)/W, (w_net + net_b0)/net_W): the two tiers are
 *  pipelined.  One rank: 0.
 *  @source NCCL and DeepEP both forward chunks between tiers; the larger tier shows (DeepEP README: EP16 is
 *          bound by NVLink and RDMA about equally, EP32 by RDMA) */
double fc_form_collective_s(const fc_coef *coef, const fc_geometry *g);

/** By `form`. */
double fc_form_s(fc_form form, const fc_coef *coef, const fc_geometry *g);
/** Terms over the whole, by fc_regime: fixed, traffic, compute.  Their smooth maximum makes the sum differ
 * from 1. */
void fc_form_shares(double share[FC_REGIME_COUNT], fc_form form, const fc_coef *coef, const fc_geometry *g);
/** What bounds the shape: by its shares; or these first. */
fc_regime fc_form_largest(const double share[FC_REGIME_COUNT]);
fc_regime fc_form_regime(fc_form form, const fc_coef *coef, const fc_geometry *g);

/** Time and shares, as above. */
typedef struct fc_form_answer {
  double seconds, share[FC_REGIME_COUNT];
} fc_form_answer;

/** Those of n shapes, with the bits that one by one gives, sooner. */
void fc_form_answers(fc_form_answer *out, fc_form form, const fc_coef *coef, const fc_geometry *g, size_t n);

#endif
