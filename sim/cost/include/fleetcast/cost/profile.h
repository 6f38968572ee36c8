/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_PROFILE_H
#define FC_COST_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/cost/local.h>
#include <fleetcast/hw/device.h>

/** A device profile: what each family of kernels achieves on one device, as fitted forms with uncertainty and
 *  provenance.  Loaded from scenarios/profiles/NAME.yaml, written by calibrate/.
 *  Forms and evidence: docs/model.md#kernels. */

/** Families: name, the `kernel` column of measurement files where one exists, the form that fits it. */
#define FC_KERNEL_MAP(X)                                                                                     \
  X(GEMM, "gemm", GEMM)                               /* dense, batched */                                   \
  X(GEMM_WGRAD, "gemm_wgrad", GEMM)                   /* weight gradients: FP32 accumulation in memory */    \
  X(GROUPED_GEMM, "grouped_gemm", GEMM)               /* contiguous: prefill and training */                 \
  X(GROUPED_GEMM_MASKED, "grouped_gemm_masked", GEMM) /* decode */                                           \
  X(ATTENTION_PREFILL, "attention_prefill", ATTENTION)                                                       \
  X(ATTENTION_DECODE, "attention_decode", ATTENTION)                                                         \
  X(ATTENTION_BACKWARD, "attention_backward", ATTENTION)                                                     \
  X(MLA_PREFILL, "mla_prefill", ATTENTION)                                                                   \
  X(MLA_DECODE, "mla_decode", ATTENTION)                                                                     \
  X(MLA_BACKWARD, "mla_backward", ATTENTION)                                                                 \
  X(MEMORY, "memory", MEMORY)           /* element-wise and normalisation: streams */                        \
  X(GATHER, "gather", MEMORY)           /* embedding, permute, combine: rows by index */                     \
  X(MOE_FFN, "moe_ffn", MOE)            /* routed experts of a layer as one call, permute to combine */      \
  X(MLA_ABSORB_K, "mla_absorb_k", GEMM) /* the two batched projections of MLA decode */                      \
  X(MLA_ABSORB_V, "mla_absorb_v", GEMM)                                                                      \
  X(ALL_REDUCE, "all_reduce", COLLECTIVE)                                                                    \
  X(ALL_GATHER, "all_gather", COLLECTIVE)                                                                    \
  X(REDUCE_SCATTER, "reduce_scatter", COLLECTIVE)                                                            \
  X(ALL_TO_ALL, "all_to_all", COLLECTIVE)                                                                    \
  X(SEND_RECV, "send_recv", COLLECTIVE)                                                                      \
  X(EP_DISPATCH, "ep_dispatch", COLLECTIVE) /* normal: high throughput */                                    \
  X(EP_COMBINE, "ep_combine", COLLECTIVE)                                                                    \
  X(EP_DISPATCH_LL, "ep_dispatch_ll", COLLECTIVE) /* low latency */                                          \
  X(EP_COMBINE_LL, "ep_combine_ll", COLLECTIVE)

typedef enum fc_kernel {
#define FC_KERNEL_ENUM(name, text, form) FC_KERNEL_##name,
  FC_KERNEL_MAP(FC_KERNEL_ENUM)
#undef FC_KERNEL_ENUM
      FC_KERNEL_COUNT
} fc_kernel;

const char *fc_kernel_text(fc_kernel kernel);

/** Functional forms (docs/model.md#kernels); F FLOP, B bytes, S compute units in use.
 *   gemm        t = t0 + [C^q + (B/W)^q]^(1/q),  C = min over tiles of waves * (tile work / (P/S) + te)
 *   attention   t = t0 + max(F / (P * s/(s+s0)), B/W),  s = sequence length (queries for prefill)
 *   memory      t = t0 + (B + b0) / W
 *   moe         t = t0 + [(C_up + C_down)^q + (B/W)^q]^(1/q), C as gemm
 *   collective  t = a + a_hop*(hops) + wire bytes / (W * bytes/(bytes+b0)), one set of coefficients a tier */
typedef enum { FC_FORM_GEMM, FC_FORM_ATTENTION, FC_FORM_MEMORY, FC_FORM_COLLECTIVE, FC_FORM_MOE } fc_form;

/** Coefficients.  A form reads those it needs; 0 means "not used", except that sharpness 0 means max(). */
typedef struct fc_coef {
  double t0_s;            /* fixed time: launch, prologue; collective: alpha */
  double flop_per_s;      /* P: asymptotic rate with all compute units */
  double bytes_per_s;     /* W: asymptotic bandwidth; collective: per rank and direction inside a domain */
  double tile_s;          /* te: fixed time of a wave */
  double tile_traffic;    /* c: on-chip traffic penalty of small tiles */
  double sharpness;       /* q of the smooth maximum; 0: max() */
  double half_length;     /* s0: sequence length at half the asymptotic rate [tokens] */
  double half_bytes;      /* b0: bytes at half the asymptotic bandwidth */
  double hop_s;           /* collective: added latency per doubling of ranks (tree) or per step (ring) */
  double net_t0_s;        /* collective: alpha once the group leaves a scale-up domain */
  double net_bytes_per_s; /* collective: W of a rank's share of the network */
  double net_half_bytes;
} fc_coef;

enum { FC_COEF_COUNT = sizeof(fc_coef) / sizeof(double) };

typedef enum { FC_PROVENANCE_MEASURED, FC_PROVENANCE_PUBLISHED, FC_PROVENANCE_TRANSFERRED } fc_provenance;

/** What bounds a shape's time: the fixed time (more than half), traffic, or compute. */
typedef enum { FC_REGIME_LAUNCH, FC_REGIME_MEMORY, FC_REGIME_COMPUTE, FC_REGIME_COUNT } fc_regime;

/** One fitted kernel.  Relative errors are standard deviations of ln(time). */
typedef struct fc_kernel_fit {
  fc_kernel kernel;
  fc_dtype dtype;     /* of the matrix operands; payload of collectives does not matter: BF16 */
  const char *format; /* number format as measurement files name it ("fp8_block"); NULL: the dtype's name */
  const char *kv_format; /* of the key/value cache; NULL: none, or not told */
  const char *impl;      /* "deepgemm", "flashmla", "nccl": free text, shown in results */
  fc_form form;
  fc_coef coef;
  const double *covariance; /* of ln(coefficients) that are non-zero, in fc_coef order: lower triangle, row by
                               row; NULL when n_covariance is 0 (none known) */
  size_t n_covariance;
  double
      spread_systematic; /* error common to all shapes: one draw per (device, kernel) and ensemble member */
  double spread_shape;   /* error of a single shape around that, local correction included */
  double noise;          /* repeats of one shape: no model can err less; 0: not known */
  double spread_regime[FC_REGIME_COUNT];           /* shape error by what bounds the shape; 0: not known */
  double min_flop, max_flop, min_bytes, max_bytes; /* range of validity; 0, 0: not stated */
  double sustained;                                /* as the profile's, of this kernel; 0: the profile's */
  double points;                                   /* rows fitted; 0: not told */
  double lent;           /* anchors of the local correction that kindred families lent */
  const fc_local *local; /* what the form leaves, by shape; NULL: none */
  fc_provenance provenance;
  const char *source;
} fc_kernel_fit;

typedef struct fc_profile {
  const char *name;
  const char *device_name;
  const fc_device *device;
  fc_provenance provenance; /* the weakest of its kernels' */
  const char *source;
  const char *measurements_sha256; /* NULL: none */
  size_t n_kernels;
  const fc_kernel_fit *kernels;

  /* Named overheads outside kernels; each with its source in the file. */
  double launch_s;         /* gap between two dependent kernels inside a graph */
  double iteration_host_s; /* scheduler and sampling on the host, per serving iteration, not overlapped */
  double step_host_s;      /* per training step: data, optimizer bookkeeping */
  double contention;       /* in-situ over isolated time of dispatch and combine, >= 1 */
  double sustained; /* tensor-core kernels of a training step over the forms, >= 1: power pulls the clock down
                       when they run back to back; 0 counts as 1 */
  double loaded; /* share of the time that tensor cores were busy in when that was measured; 0 counts as 1 */
  double comm_compute_units;     /* compute units reserved for communication while it overlaps */
  double power_compute_fraction; /* share of (tdp - idle) drawn at full compute rate */
  double power_memory_fraction;  /* share of (tdp - idle) drawn at full memory bandwidth */

  const struct fc_engine *engine; /* NULL: as files are; else a view of one (cost/engine.h) */
} fc_profile;

/** The fit for (kernel, dtype): exact dtype, else the nearest wider format that the profile has (fp4 -> fp8
 * -> bf16 -> fp32; int8 -> bf16), whose own rate then counts.  The first of several; fits with a local
 * correction only where the family has no others.  NULL when the profile has no such kernel. */
const fc_kernel_fit *fc_profile_find(const fc_profile *profile, fc_kernel kernel, fc_dtype dtype);

#endif
