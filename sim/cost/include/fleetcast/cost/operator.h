/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_OPERATOR_H
#define FC_COST_OPERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/form.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/hw/device.h>

/** L0: every operator of a transformer's inference and training, its FLOP and its smallest possible traffic.
 *  The only place where these formulas are written: the simulator predicts with them and the microbenchmarks
 *  report with them.  Model: docs/model.md#operators.
 *
 *  Letters of the formulas, all members of fc_op:
 *    M rows, N columns, K inner size, G matrices in one launch (M counts the rows of all);
 *    E bytes of an element of the narrow format (`dtype`), top experts a token, W bytes of a weight element;
 *    b sequences, h query heads, g key/value heads, q queries and s context of a sequence, P (query, key)
 * pairs of a head, dk and dv sizes of a head's keys and values, c bytes of one token's cache entry in one
 * layer; Z payload bytes.  Element-wise operators: M rows of N elements.  BF16 activations: 2 bytes.
 *
 *    id, name, kernel family, FLOP, bytes */
#define FC_OP_MAP(X)                                                                                         \
  /* --- forward --- */                                                                                      \
  X(EMBED, "embed", GATHER, 0, 4 * M * N)                                                                    \
  X(NORM, "norm_q", MEMORY, 8 * M * N, M * N * (2 + E))                   /* RMSNorm + 1x128 quantisation */ \
  X(NORM_RESIDUAL, "norm_q_residual", MEMORY, 8 * M * N, M * N * (6 + E)) /* + residual read and written */  \
  X(QUANT, "quant_a", MEMORY, 0, M *N *(2 + E))                                                              \
  X(QUANT_TRANSPOSED, "quant_a_t", MEMORY, 0, M *N *(2 + 2 * E)) /* both layouts, for dgrad and wgrad */     \
  X(QUANT_WEIGHT, "quant_w", MEMORY, 0, M *N *(2 + 2 * E))       /* once a step, both layouts */             \
  X(LINEAR, "linear", GEMM, 2 * M * N * K, E * M * K + scales(E) * M * K + W * G * N * K + 2 * M * N)        \
  X(ROPE_KV, "rope_kv", MEMORY, 6 * M * N,                                                                   \
    4 * M * N + 4 * M * K) /* N query elements rotated in place, K keys and values to the cache */           \
  X(ATTENTION_P, "attn_p", ATTENTION_PREFILL, 2 * b * h * P * (dk + dv),                                     \
    2 * b * (h * q + g * s) * (dk + dv))                                                                     \
  X(ATTENTION_D, "attn_d", ATTENTION_DECODE, 2 * b * h * q * s * (dk + dv),                                  \
    b * s * c + 2 * b * h * q * (dk + dv))                                                                   \
  X(MLA_P, "mla_p", MLA_PREFILL, 2 * b * h * P * (dk + dv), 2 * b * (h * q + g * s) * (dk + dv))             \
  X(MLA_D, "mla_d", MLA_DECODE, 2 * b * h * q * s * (dk + dv), b * s * c + 2 * b * h * q * (dk + dv))        \
  X(TOPK, "topk", MEMORY, 40 * M * N, 4 * M * N + 64 * M)                                                    \
  X(PERMUTE, "perm", GATHER, 0, (M + K) * N * (E + scales(E))) /* K tokens read once, M rows written */      \
  X(GROUPED, "gg", GROUPED_GEMM, 2 * M * N * K, E * M * K + scales(E) * M * K + W * G * N * K + 2 * M * N)   \
  X(GROUPED_MASKED, "gg_m", GROUPED_GEMM_MASKED, 2 * M * N * K,                                              \
    E * M * K + scales(E) * M * K + W * G * N * K + 2 * M * N)                                               \
  X(SWIGLU, "swiglu_q", MEMORY, 6 * M * N, M * N * (4 + E))    /* M rows of 2N in, N out */                  \
  X(COMBINE, "comb", GATHER, 2 * M * N, 2 * M * N + 2 * K * N) /* M rows reduced to K */                     \
  X(MOE, "moe_ffn", MOE_FFN, 6 * M * N * K,                                                                  \
    3 * W * G * N * K + M * N * (E + 2) / top) /* M rows of width N, inner size K, G experts hit */          \
  X(ABSORB_K, "mla_absorb_k", MLA_ABSORB_K, 2 * M * N * K, E * M * K + W * G * N * K + 2 * M * N)            \
  X(ABSORB_V, "mla_absorb_v", MLA_ABSORB_V, 2 * M * N * K, E * M * K + W * G * N * K + 2 * M * N)            \
  X(SAMPLE, "sample", MEMORY, 0, 4 * M * N) /* fp32 logits, read once */                                     \
  /* --- backward and optimizer --- */                                                                       \
  X(WGRAD, "wgrad", GEMM_WGRAD, 2 * M * N * K,                                                               \
    E * K * (M + N) + 8 * G * M * N) /* dW [M,N] of G experts over K tokens of all, fp32 accumulate */       \
  X(ATTENTION_B, "attn_b", ATTENTION_BACKWARD, 2 * b * h * P * (3 * dk + 2 * dv),                            \
    4 * b * (h * q + g * s) * (dk + dv)) /* q k v o do read, dq dk dv written */                             \
  X(MLA_B, "mla_b", MLA_BACKWARD, 2 * b * h * P * (3 * dk + 2 * dv), 4 * b * (h * q + g * s) * (dk + dv))    \
  X(SWIGLU_B, "swiglu_b", MEMORY, 12 * M * N, 11 * M * N)                                                    \
  X(NORM_B, "norm_b", MEMORY, 10 * M * N, 6 * M * N)                                                         \
  X(ROPE_B, "rope_b", MEMORY, 6 * M * N, 4 * M * N)                                                          \
  X(TOPK_B, "topk_b", MEMORY, 10 * M * N, 4 * M * N + 64 * M)      /* the chosen read, all written */        \
  X(CROSS_ENTROPY, "ce", MEMORY, 6 * M * N, 4 * M * N)             /* bf16 logits read, gradient written */  \
  X(PERMUTE_B, "perm_b", GATHER, 2 * M * N, 2 * M * N + 2 * K * N) /* M rows summed to K */                  \
  X(COMBINE_B, "comb_b", GATHER, 3 * M * N, 4 * M * N + 2 * K * N) /* and the router's gradient */           \
  X(ADAMW, "adamw", MEMORY, 12 * M, M * N) /* M parameters, N bytes of state traffic each */                 \
  X(GRAD_NORM, "gnorm", MEMORY, 2 * M, 4 * M)                                                                \
  /* --- ceilings, for benchmarks: Z bytes read or written once --- */                                       \
  X(COPY, "copy", MEMORY, 0, 2 * Z)                                                                          \
  X(READ, "read", MEMORY, 0, Z)                                                                              \
  X(WRITE, "write", MEMORY, 0, Z)                                                                            \
  X(EMPTY, "empty", MEMORY, 0, 0)                                                                            \
  /* --- communication; bytes: read and written in device memory --- */                                      \
  X(ALL_REDUCE, "all_reduce", ALL_REDUCE, 0, 2 * Z)                                                          \
  X(ALL_GATHER, "all_gather", ALL_GATHER, 0, 2 * Z)             /* Z: the gathered buffer */                 \
  X(REDUCE_SCATTER, "reduce_scatter", REDUCE_SCATTER, 0, 2 * Z) /* Z: the buffer before scattering */        \
  X(ALL_TO_ALL, "all_to_all", ALL_TO_ALL, 0, 2 * Z)                                                          \
  X(SEND_RECV, "send_recv", SEND_RECV, 0, 2 * Z)                                                             \
  X(DISPATCH, "ep_dispatch", EP_DISPATCH, 0, 2 * M * N * (E + scales(E)))                                    \
  X(EP_REDUCE, "ep_combine", EP_COMBINE, 0, 4 * M * N)                                                       \
  X(DISPATCH_LL, "ep_dispatch_ll", EP_DISPATCH_LL, 0, 2 * M * N * (E + scales(E)))                           \
  X(EP_REDUCE_LL, "ep_combine_ll", EP_COMBINE_LL, 0, 4 * M * N)

typedef enum fc_op_id {
#define FC_OP_ENUM(id, name, kernel, flop, bytes) FC_OP_##id,
  FC_OP_MAP(FC_OP_ENUM)
#undef FC_OP_ENUM
      FC_OP_COUNT
} fc_op_id;

/** One call.  Zero-initialise; unused members stay 0 (G and b count as 1, `units` 0 as all). */
typedef struct fc_op {
  fc_op_id id;
  fc_dtype dtype;         /* of the matrix operands, or of an element-wise operator's narrow side */
  bool ragged;            /* grouped: rows per group vary (see fc_geometry) */
  double m, n, k, groups; /* M, N, K, G */
  double weight_bytes;    /* W; 0: as dtype */
  double input_bytes;     /* E where activations are not in `dtype`; 0: as dtype */
  double batch, heads, kv_heads, q, s, dk, dv; /* attention; s includes the queries themselves */
  double window;                               /* causal attention sees so many tokens; 0: all */
  double cache_bytes;                          /* c */
  double payload_bytes;                        /* Z of a collective */
  double ranks, domain;           /* of a collective: members; members that share a scale-up domain */
  double top_k;                   /* dispatch, combine: experts a token; M: tokens that each rank sends */
  double route_groups, route_top; /* groups of experts, and how many of them a token may use; 0: any */
  double imbalance;               /* dispatch, combine, moe: busiest over mean rank; 0 counts as 1 */
  double experts;                 /* moe: held by this rank; dispatch, combine: of the whole group */
  double tokens, skew; /* moe: entering the layer on all ranks; exponent of the experts' load, 0 balanced */
  double units;        /* compute units in use; 0: all of the device */
} fc_op;

typedef struct fc_op_cost {
  double seconds;
  double flop, bytes;
  double joules;                          /* of the device while it runs, idle draw included */
  double log_sd_systematic, log_sd_shape; /* of ln(seconds); outside the fitted range the second widens */
  bool clamped;                           /* the fit beat the datasheet roofline: seconds is the roofline's */
  bool outside;                           /* outside the fit's range of validity */
  bool substituted; /* the profile has no such kernel: a sibling family stood in, spread widened */
} fc_op_cost;

const char *fc_op_text(fc_op_id id);
fc_kernel fc_op_kernel(fc_op_id id);
double fc_op_flop(const fc_op *op);
/** Smallest possible traffic to device memory. */
double fc_op_bytes(const fc_op *op);
/** Causal (query, key) pairs of one head: q queries that end a context of s, each seeing `window` (0: all).
 *  The diagonal counts half, as publishers do: s = q gives q^2/2. */
double fc_op_pairs(double q, double s, double window);
/** Bytes that one rank sends inside its scale-up domain and over the network.  Formulas per collective:
 *  docs/model.md#collectives.  A token crosses the network once per other domain (normal) or once per expert
 *  (low latency). */
void fc_op_wire(const fc_op *op, double *inside_bytes, double *network_bytes);
/** The roofline of the datasheet: nothing is faster (INV-4). */
double fc_op_roofline_s(const fc_op *op, const fc_device *device);

/** Seconds and joules of one call by the profile.
 *  @return FC_OK | FC_E_DOMAIN (the profile has neither the kernel nor a sibling, or a shape is negative or
 *          not finite) */
FC_NODISCARD
fc_status fc_op_evaluate(fc_op_cost *out, const fc_op *op, const fc_profile *profile);

/** What the forms look at, for one call on a device with `all_units` compute units. */
void fc_op_geometry(fc_geometry *out, const fc_op *op, double all_units);

/** Spread added per unit of ln(distance) outside a fit's range: an interval that widens by 10 % for each
 * factor e.  @source judgement: aiconfigurator's whole-site holdouts err 4-11 % more than its interior points
 */
#define FC_RANGE_WIDENING    0.1
/** Spread of a family that a sibling stands in for: as a standard deviation of ln(time).
 *  @source judgement: attention backward and forward rates of one device differ by up to a third */
#define FC_SUBSTITUTE_LOG_SD 0.3

#endif
