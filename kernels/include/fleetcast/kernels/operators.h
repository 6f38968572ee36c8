/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_OPERATORS_H
#define FC_KERNELS_OPERATORS_H

#include <fleetcast/kernels/problem.h>

/** The tensors of each operator, by index: what declare() adds and implementations read.  C and CUDA C++.
 *
 *  Letters: T tokens, H hidden, R rows (token, expert) pairs, G experts here, E experts, k experts a token.
 *  Shapes are row-major.  X is the problem's operand format: f32, bf16 or e4m3.  blk(n) = ceil(n/128).
 *
 *  Scales of e4m3 operands are f32, value = code * scale:
 *   - "1x128" of a matrix [r, c]: one for 128 neighbours of a row, stored [blk(c), r] (rows contiguous; what
 *     TMA and cuBLASLt's VEC128_32F want);
 *   - "128x128" of a matrix [r, c]: [blk(r), pad4(blk(c))], the inner size rounded up to 4 (cuBLASLt's
 *     BLK128x128_32F).
 *  In problems without e4m3 operands the scale tensors are there with no elements.
 *  Quantisers: scale = max(amax, 1e-4) / 448, code = e4m3(x / scale), as DeepSeek-V3 (arXiv:2412.19437, 3.3).
 */

static inline int64_t fc_blocks(int64_t n) {
  return (n + 127) / 128;
}
/** Inner size of 128x128 scales. */
static inline int64_t fc_pad4(int64_t n) {
  return (n + 3) / 4 * 4;
}

/* --- matrix products: c = a b^T, "TN": both operands have their inner size contiguous --- */

/* GEMM: A [m,k] X input; AS 1x128 of A; B [n,k] X weight; BS 128x128 of B; C [m,n] output, bf16 (f32 when X
 * is f32). */
enum { FC_GEMM_A, FC_GEMM_AS, FC_GEMM_B, FC_GEMM_BS, FC_GEMM_C };

/* GEMM_WGRAD: as GEMM, but both operands 1x128 (BS too: 1x128 of B), A input, B input, C [m,n] f32 INOUT:
 * c += a b^T.  m outputs, n inputs, k tokens. */

/* ABSORB_K, ABSORB_V: for each head i of T tokens  y[t,i,:] = x[t,i,:] w[i]^T.  A [T,h,k] X input; AS none;
 * B [h,n,k] X weight; BS none; C [T,h,n] output (bf16; f32 when X is f32).  T = batch * q of the case. */

/* GROUPED: as GEMM with B [G,n,k], BS [G,blk(n),pad4(blk(k))].  Rows of group g are OFFSETS[g] ..
 * OFFSETS[g]+COUNTS[g]; offsets are multiples of 128, OFFSETS[G] = padded rows P = p->rows[0].  A [P,k],
 * AS [blk(k),P], C [P,n] PARTIAL: padding rows need not be written.
 * GROUPED_MASKED: A [G,max_rows,k], AS [G,blk(k),max_rows], C [G,max_rows,n] PARTIAL: the first COUNTS[g]
 * rows of each slab count; OFFSETS none.  The counts are read on the device: the call must not depend on the
 * host knowing them. GROUPED_WGRAD: c[g] += a_g b_g^T over the tokens of group g.  A [m,P] X, AS 1x128 of A,
 * B [n,P] X, BS 1x128 of B, C [G,m,n] f32 INOUT; tokens of group g are columns OFFSETS[g] .. OFFSETS[g+1]
 * (multiples of 128; padding columns hold zeros).  m outputs, n inputs, k = all tokens. */
enum {
  FC_GROUPED_A,
  FC_GROUPED_AS,
  FC_GROUPED_B,
  FC_GROUPED_BS,
  FC_GROUPED_C,
  FC_GROUPED_COUNTS,
  FC_GROUPED_OFFSETS
};

/* --- attention; softmax scale 1/sqrt(dk); causal: query i of q sees keys 0 .. s-q+i --- */

/* ATTENTION_PREFILL, MLA_PREFILL: Q [b,q,h,dk] X; K [b,s,g,dk] X; V [b,s,g,dv] X; O [b,q,h,dv] X output;
 * LSE [b,h,q] f32 output: ln sum exp(scale * score).  Head i reads kv head i / (h/g).  X: bf16 or f32.
 * ATTENTION_BACKWARD, MLA_BACKWARD: also DO [b,q,h,dv] X input; DQ [b,q,h,dk], DK [b,s,g,dk], DV [b,s,g,dv] X
 * outputs; O and LSE are WORK: the implementation's prepare() fills them by its forward pass. */
enum {
  FC_ATTN_Q,
  FC_ATTN_K,
  FC_ATTN_V,
  FC_ATTN_O,
  FC_ATTN_LSE,
  FC_ATTN_DO,
  FC_ATTN_DQ,
  FC_ATTN_DK,
  FC_ATTN_DV
};

/* ATTENTION_DECODE: Q [b,q,h,dk] X; K pages [pages,64,g,dk] X weight; V pages [pages,64,g,dv] X weight;
 * O [b,q,h,dv] X output; LSE [b,h,q] f32 output; TABLE [b,max_pages] i32: page of each 64 tokens;
 * LENGTHS [b] i32: context of each sequence, its q new tokens included (causal among them).
 * p->rows[0] = max_pages, p->rows[1] = pages.
 * MLA_DECODE: the same with g = 1, dk = rank + rope, dv = rank: K pages [pages,64,dk]; values are the first
 * dv elements of a key; V none.  scale 1/sqrt(dk_prefill) is irrelevant to time: 1/sqrt(dk) here too. */
enum {
  FC_DECODE_Q,
  FC_DECODE_K,
  FC_DECODE_V,
  FC_DECODE_O,
  FC_DECODE_LSE,
  FC_DECODE_TABLE,
  FC_DECODE_LENGTHS
};

/* --- element-wise and row-wise; m rows, n wide --- */

/* EMBED: TABLE [k,n] bf16 weight (k: vocabulary); IDS [m] i32; Y [m,n] bf16 output. */
enum { FC_EMBED_TABLE, FC_EMBED_IDS, FC_EMBED_Y };

/* NORM: y = quantise(x / rms(x) * gamma), eps 1e-6.  X [m,n] bf16; GAMMA [n] bf16; Y [m,n] e4m3 output; YS
 * 1x128 of Y, output; RESIDUAL, SUM none.  NORM_RESIDUAL: sum = x + residual first, RESIDUAL [m,n] bf16, SUM
 * [m,n] bf16 output (y is made from the unrounded sum). */
enum { FC_NORM_X, FC_NORM_GAMMA, FC_NORM_Y, FC_NORM_YS, FC_NORM_RESIDUAL, FC_NORM_SUM };
/* NORM_B: X, DY [m,n] bf16; GAMMA [n] bf16; DX [m,n] bf16 output; DGAMMA [n] f32 output; WORK: f32 partial
 * sums [1024,n]. */
enum { FC_NORM_B_X, FC_NORM_B_DY, FC_NORM_B_GAMMA, FC_NORM_B_DX, FC_NORM_B_DGAMMA, FC_NORM_B_WORK };

/* QUANT: X [m,n] bf16; Y [m,n] e4m3; YS 1x128 of Y; YT, YTS none.  QUANT_TRANSPOSED: also YT [n,m] e4m3, the
 * transpose quantised by itself: YTS 1x128 of YT, [blk(m), n].  QUANT_WEIGHT: YS is 128x128 of Y, YT [n,m] is
 * the transpose of Y, YTS 128x128 of YT (the same scales, transposed).  All outputs (padding of 128x128
 * scales: PARTIAL). */
enum { FC_QUANT_X, FC_QUANT_Y, FC_QUANT_YS, FC_QUANT_YT, FC_QUANT_YTS };

/* SWIGLU: y = quantise(silu(x[:, :n]) * x[:, n:] * w).  X [m,2n] bf16; W [m] f32: router weight of the row;
 * Y [m,n] e4m3 output; YS 1x128 of Y, output.
 * SWIGLU_B: also DY [m,n] bf16 input; DX [m,2n] bf16 output; DW [m] f32 output (sum over n of dy * silu(gate)
 * * up); Y, YS: the activation, recomputed. */
enum { FC_SWIGLU_X, FC_SWIGLU_W, FC_SWIGLU_Y, FC_SWIGLU_YS, FC_SWIGLU_DY, FC_SWIGLU_DX, FC_SWIGLU_DW };

/* ROPE_KV: rotates T rows of query parts and key parts, and writes the cache.  m = T, heads h, dk the rotated
 * width (64), dv the latent width (512); the cost's n = (h+1) dk, k = dk + dv. Q [T,h,dk] bf16 INOUT, rotated
 * in place; KPE [T,dk] bf16; LATENT [T,dv] bf16; COSSIN [positions,dk] f32: dk/2 cosines, then dk/2 sines of
 * a position, positions = p->rows[0]; POSITIONS [T] i32; SLOTS [T] i32: row of the cache; CACHE [slots,dv+dk]
 * bf16 PARTIAL: latent, then rotated key; slots = p->rows[1] >= T, distinct. Pairs are neighbours: (x0,x1) ->
 * (x0 c - x1 s, x0 s + x1 c), DeepSeek-V3's convention. ROPE_B: inverse rotation of Q [T,h,dk] in place
 * (INOUT; h counts the key's row too); KPE, LATENT, SLOTS, CACHE none. */
enum {
  FC_ROPE_Q,
  FC_ROPE_KPE,
  FC_ROPE_LATENT,
  FC_ROPE_COSSIN,
  FC_ROPE_POSITIONS,
  FC_ROPE_SLOTS,
  FC_ROPE_CACHE
};

/* CROSS_ENTROPY: LOGITS [m,n] bf16; LABELS [m] i32; DLOGITS [m,n] bf16 output: softmax - onehot; LOSS [m] f32
 * output. */
enum { FC_CE_LOGITS, FC_CE_LABELS, FC_CE_DLOGITS, FC_CE_LOSS };

/* ADAMW, m parameters: P f32 INOUT; G f32; M1, M2 f32 or bf16 (dtype) INOUT; W bf16 output: P rounded.  Step
 * 100, lr 2.2e-4, betas 0.9 0.95, eps 1e-8, weight decay 0.1 (DeepSeek-V3, arXiv:2412.19437, 4.2). m1 = b1 m1
 * + (1-b1) g;  m2 = b2 m2 + (1-b2) g^2  (in f32, stored rounded); p -= lr (m1/(1-b1^100) /
 * (sqrt(m2/(1-b2^100)) + eps) + wd p)     with m1, m2 before rounding */
enum { FC_ADAMW_P, FC_ADAMW_G, FC_ADAMW_M1, FC_ADAMW_M2, FC_ADAMW_W };

/* GRAD_NORM: G [m] f32; NORM [1] f32 output: sqrt of the sum of squares; WORK [4096] f32. */
enum { FC_GNORM_G, FC_GNORM_NORM, FC_GNORM_WORK };

/* --- routing and sampling --- */

/* TOPK, DeepSeek-V3's router: s = sigmoid(logit); choice by s + bias; score of a group: sum of its two best
 * choices; route_top groups kept; the top_k best of them; ties go to the lower index; weights s / sum s
 * * 2.5. m = T, n = E.  LOGITS [T,E] f32; BIAS [E] f32; IDX [T,k] i32 output, best choice first; W [T,k] f32
 * output. TOPK_B: IDX, W inputs (IDX made by prepare()); DW [T,k] f32 input; DLOGITS [T,E] f32 output, zero
 * off the chosen; with s' = chosen scores, S = their sum:  dlogit_i = 2.5/S (dw_i - sum_j dw_j s'_j/S) s'_i
 * (1 - s'_i). */
enum { FC_TOPK_LOGITS, FC_TOPK_BIAS, FC_TOPK_IDX, FC_TOPK_W, FC_TOPK_DW, FC_TOPK_DLOGITS };

/* PERMUTE: expands tokens to rows grouped by expert.  k = T tokens, m = R rows (pairs whose expert is here),
 * n = H, groups G. X [T,H] e4m3; XS 1x128 of X; IDX [T,top_k] i32: local expert or -1; Y [P,H] e4m3 PARTIAL;
 * YS 1x128 of Y, PARTIAL; ROW [T,top_k] i32 output: row of each pair, -1 where IDX is; COUNTS [G], OFFSETS
 * [G+1] i32 outputs: as GROUPED; within an expert rows are ordered by token; P = p->rows[0].  WORK i32
 * [65536]. */
enum {
  FC_PERMUTE_X,
  FC_PERMUTE_XS,
  FC_PERMUTE_IDX,
  FC_PERMUTE_Y,
  FC_PERMUTE_YS,
  FC_PERMUTE_ROW,
  FC_PERMUTE_COUNTS,
  FC_PERMUTE_OFFSETS,
  FC_PERMUTE_WORK
};

/* COMBINE: out[t] = sum over the token's pairs here of w[t,j] y[ROW[t,j]].  Letters as PERMUTE.  Y [P,H] bf16
 * input; ROW [T,top_k] i32 (by prepare()); W [T,top_k] f32; OUT [T,H] bf16 output.  PERMUTE_B: the same with
 * all weights 1 (W none). COMBINE_B: DOUT [T,H] bf16 input; Y, ROW, W inputs; DY [P,H] bf16 PARTIAL: w[t,j]
 * dout[t]; DW [T,top_k] f32 output: dot(y[ROW], dout[t]), 0 where ROW is -1. */
enum {
  FC_COMBINE_Y,
  FC_COMBINE_ROW,
  FC_COMBINE_W,
  FC_COMBINE_OUT,
  FC_COMBINE_DOUT,
  FC_COMBINE_DY,
  FC_COMBINE_DW
};

/* SAMPLE: one token of each of m rows of n logits: keep the 50 largest (ties: lower index), softmax over them
 * at temperature 1, of these in descending order the shortest prefix whose mass reaches 0.95, renormalised;
 * the first whose cumulative mass exceeds u.  LOGITS [m,n] f32; U [m] f32 in (0,1); ID [m] i32 output; WORK
 * i32 [m,2048]. */
enum { FC_SAMPLE_LOGITS, FC_SAMPLE_U, FC_SAMPLE_ID, FC_SAMPLE_WORK };

/* --- ceilings --- */

/* COPY, READ, WRITE: m elements of f32.  X [m] (WRITE: none); Y [m] output: x, or i mod 1,024 (READ: Y [1024]
 * WORK, partial sums, which must not be optimised away).  LAUNCH: nothing; k = 0: queued one by one, 1: in a
 * recorded graph. */
enum { FC_STREAM_X, FC_STREAM_Y };

#endif
