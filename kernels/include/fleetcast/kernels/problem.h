/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_PROBLEM_H
#define FC_KERNELS_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/cost/operator.h>
#include <fleetcast/kernels/formats.h>

/** What is measured: an operator at a shape (a case), and the tensors that this takes (a problem).
 *  C and CUDA C++; no behaviour. */

#ifdef __cplusplus
extern "C" {
#endif

/** Measured operators: id, `kernel` column of the measurement file, operator of the cost model whose FLOP and
 *  bytes it has. */
#define FC_BENCH_OP_MAP(X)                                                                                   \
  X(GEMM, "gemm", LINEAR)                                                                                    \
  X(GEMM_WGRAD, "gemm_wgrad", WGRAD)                                                                         \
  X(GROUPED, "grouped_gemm", GROUPED)                                                                        \
  X(GROUPED_MASKED, "grouped_gemm_masked", GROUPED_MASKED)                                                   \
  X(GROUPED_WGRAD, "grouped_gemm_wgrad", WGRAD)                                                              \
  X(ABSORB_K, "mla_absorb_k", LINEAR)                                                                        \
  X(ABSORB_V, "mla_absorb_v", LINEAR)                                                                        \
  X(ATTENTION_PREFILL, "attention_prefill", ATTENTION_P)                                                     \
  X(ATTENTION_DECODE, "attention_decode", ATTENTION_D)                                                       \
  X(ATTENTION_BACKWARD, "attention_backward", ATTENTION_B)                                                   \
  X(MLA_PREFILL, "mla_prefill", MLA_P)                                                                       \
  X(MLA_DECODE, "mla_decode", MLA_D)                                                                         \
  X(MLA_BACKWARD, "mla_backward", MLA_B)                                                                     \
  X(EMBED, "embed", EMBED)                                                                                   \
  X(NORM, "norm_q", NORM)                                                                                    \
  X(NORM_RESIDUAL, "norm_q_residual", NORM_RESIDUAL)                                                         \
  X(NORM_B, "norm_b", NORM_B)                                                                                \
  X(QUANT, "quant_a", QUANT)                                                                                 \
  X(QUANT_TRANSPOSED, "quant_a_t", QUANT_TRANSPOSED)                                                         \
  X(QUANT_WEIGHT, "quant_w", QUANT_WEIGHT)                                                                   \
  X(SWIGLU, "swiglu_q", SWIGLU)                                                                              \
  X(SWIGLU_B, "swiglu_b", SWIGLU_B)                                                                          \
  X(ROPE_KV, "rope_kv", ROPE_KV)                                                                             \
  X(ROPE_B, "rope_b", ROPE_B)                                                                                \
  X(TOPK, "topk", TOPK)                                                                                      \
  X(TOPK_B, "topk_b", TOPK_B)                                                                                \
  X(PERMUTE, "perm", PERMUTE)                                                                                \
  X(PERMUTE_B, "perm_b", PERMUTE_B)                                                                          \
  X(COMBINE, "comb", COMBINE)                                                                                \
  X(COMBINE_B, "comb_b", COMBINE_B)                                                                          \
  X(SAMPLE, "sample", SAMPLE)                                                                                \
  X(CROSS_ENTROPY, "ce", CROSS_ENTROPY)                                                                      \
  X(ADAMW, "adamw", ADAMW)                                                                                   \
  X(GRAD_NORM, "gnorm", GRAD_NORM)                                                                           \
  X(COPY, "ceiling_copy", COPY)                                                                              \
  X(READ, "ceiling_read", READ)                                                                              \
  X(WRITE, "ceiling_write", WRITE)                                                                           \
  X(LAUNCH, "ceiling_launch", EMPTY)

typedef enum fc_bench_op {
#define FC_BENCH_OP_ENUM(id, text, cost) FC_BENCH_##id,
  FC_BENCH_OP_MAP(FC_BENCH_OP_ENUM)
#undef FC_BENCH_OP_ENUM
      FC_BENCH_OP_COUNT
} fc_bench_op;

/** How rows spread over experts. */
typedef enum fc_routing {
  FC_ROUTING_BALANCED, /* every expert the same number of rows */
  FC_ROUTING_POWER,    /* load of the i-th expert ~ (i+1)^-skew, experts shuffled, tokens drawn */
  FC_ROUTING_CAPTURED, /* shares of a captured load (routing.h names it) */
} fc_routing;

/** An operator at a shape.  Zero-initialise; unused members stay 0.  Letters as in cost/operator.h. */
typedef struct fc_bench_case {
  fc_bench_op op;
  const char *site;  /* where a model has this shape: "o_proj"; NULL: nowhere in particular */
  fc_dtype dtype;    /* of matrix operands; element-wise: of the narrow side; adamw: of the moments */
  fc_dtype kv_dtype; /* of a key/value cache; FC_DTYPE_BF16 or FC_DTYPE_FP8 where there is one */
  int64_t m, n, k;   /* rows, columns, inner size; grouped: m (wgrad: k) counts the rows of all groups */
  int64_t groups;    /* experts on this device */
  int64_t max_rows;  /* masked: rows that a group's slab holds */
  int64_t batch, heads, kv_heads, q, s, dk,
      dv;      /* attention: q new tokens a sequence, s context, q included */
  bool ragged; /* decode: contexts vary uniformly in [s/2, 3s/2), mean s */
  int64_t experts, top_k, route_groups, route_top; /* router: E, k, groups of experts, groups allowed */
  fc_routing routing;
  double skew;    /* exponent of FC_ROUTING_POWER */
  bool sustained; /* back to back for a second, not burst (docs/kernels.md#protocol) */
  bool in_cache;  /* bandwidth ceilings: the working set stays in the last cache */
} fc_bench_case;

typedef enum fc_elem { FC_ELEM_F32, FC_ELEM_BF16, FC_ELEM_E4M3, FC_ELEM_I32 } fc_elem;

/** Bytes of an element. */
static inline size_t fc_elem_size(fc_elem elem) {
  return elem == FC_ELEM_BF16 ? 2 : (elem == FC_ELEM_E4M3 ? 1 : 4);
}

typedef enum fc_role {
  FC_ROLE_INPUT,   /* warm, as an activation that the previous kernel wrote */
  FC_ROLE_WEIGHT,  /* cold: weights, caches; launches rotate over copies that exceed the last cache */
  FC_ROLE_OUTPUT,  /* poisoned, then checked: every element must be written */
  FC_ROLE_INOUT,   /* as an input, then checked */
  FC_ROLE_PARTIAL, /* an output of which only the elements that the reference names are written */
  FC_ROLE_WORK,    /* scratch, not checked; an implementation's prepare() may fill it */
} fc_role;

enum { FC_TENSOR_RANK = 4, FC_TENSORS_MAX = 16 };

typedef struct fc_tensor {
  const char *name;
  fc_elem elem;
  fc_role role;
  fc_fill fill;
  float spread;                /* of the fill */
  int64_t dim[FC_TENSOR_RANK]; /* row-major, last contiguous; unused leading ones are 1 */
  size_t count;                /* product of dim */
  void *host; /* host copy of the first set (inputs as they were before the call); NULL on the
                 device side where nobody needs it */
} fc_tensor;

/** A case with its tensors.  An operator's declare() adds the tensors; implementations find them at the same
 *  indices (enums beside each operator: operators.h). */
typedef struct fc_problem {
  fc_bench_case c;
  uint64_t seed;
  bool exact; /* data on which the result is exact */
  size_t n_tensors;
  fc_tensor tensor[FC_TENSORS_MAX];
  int64_t rows[2]; /* what declare() derived and others need: see each operator */
} fc_problem;

/** Device pointers of one set of tensors, by index. */
typedef struct fc_args {
  void *at[FC_TENSORS_MAX];
} fc_args;

/** A queue of launches of the device at hand (CUDA: a cudaStream_t); the CPU has none: NULL. */
typedef void *fc_queue;

#ifdef __cplusplus
}
#endif

#endif
