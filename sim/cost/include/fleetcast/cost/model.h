/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_MODEL_H
#define FC_COST_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/time.h>
#include <fleetcast/hw/device.h>

/** A transformer as its config.json states it: dense or mixture of experts; GQA or MLA attention.
 *  Loaded from scenarios/models/NAME.yaml.  Letters: L layers, H hidden, V vocabulary, h heads, E experts,
 *  K active experts a token, I inner size of one expert. */

typedef enum { FC_ATTENTION_GQA, FC_ATTENTION_MLA } fc_attention_kind;

typedef struct fc_attention {
  fc_attention_kind kind;
  int64_t heads;
  int64_t kv_heads, head_dim;             /* GQA */
  int64_t q_lora, kv_lora, nope, rope, v; /* MLA: ranks and per-head sizes; q_lora 0: full-rank queries */
  int64_t window;                         /* sliding window in tokens of windowed layers; 0: none */
  int64_t window_layers;                  /* how many of the L layers are windowed */
  bool qk_norm; /* GQA: queries and keys are each normalised over all heads together, which tensor parallelism
                   pays with an all-reduce of the sums of squares (MiniMax-M2).  A norm a head is free */
} fc_attention;

typedef struct fc_moe {
  int64_t experts, active, shared; /* E, K, always-on experts; E = 0: a dense model */
  int64_t inter;                   /* I, of routed and of each shared expert */
  int64_t groups, top_groups;      /* group-limited routing; 0: none */
} fc_moe;

typedef struct fc_model {
  const char *name, *title;
  fc_time release;
  int64_t layers;       /* L, all */
  int64_t dense_layers; /* leading layers with a dense FFN in an MoE model */
  int64_t hidden;       /* H */
  int64_t vocab;        /* V */
  bool tied_embeddings;
  int64_t ffn;    /* inner size of dense FFNs (gated: three matrices) */
  bool plain_ffn; /* dense FFNs have no gate: two matrices, as GPT-3 */
  fc_attention attention;
  fc_moe moe;
  int64_t mtp_layers;            /* extra multi-token-prediction layers, trained and used for speculation */
  fc_dtype weights;              /* format in which the release is served */
  double published_total_params; /* as the authors state, MTP not counted; checked by a test against the
                                    derived counts; 0: not stated */
  double published_active_params;
} fc_model;

/** Derived parameter counts: all, and those that touch one token (embedding lookup not counted as active
 *  compute but counted here, as publishers do).  MTP layers are not counted. */
double fc_model_params(const fc_model *model);
double fc_model_active_params(const fc_model *model);
/** KV-cache bytes a token over all layers (windowed layers at full length) at `dtype`.
 *  MLA: L * (kv_lora + rope); DeepSeek-V3 in BF16: 70,272. */
double fc_model_kv_bytes_per_token(const fc_model *model, fc_dtype dtype);
/** FLOP of one forward pass a token at mean context `context` (causal attention: pass half the sequence
 *  length); matrix multiplications and attention only, 2 FLOP a multiply-add, LM head included. */
double fc_model_forward_flop_per_token(const fc_model *model, double context);
/** Forward + backward (3x forward) a token for causal training on sequences of `sequence` tokens, MTP layers
 *  included when `with_mtp`.  @source DeepSeek-V3: 250 GFLOP at 4,096 (arXiv:2505.09343, table 2) */
double fc_model_train_flop_per_token(const fc_model *model, double sequence, bool with_mtp);

#endif
