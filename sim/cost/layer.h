/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_INTERNAL_LAYER_H
#define FC_COST_INTERNAL_LAYER_H

#include <fleetcast/cost/model.h>

#include "meter.h"

/** The operators of one layer on one device, emitted into a meter.  Every function adds `count` layers' worth
 * to the meter's current bill; in training also the backward passes.  Operator lists: docs/model.md#layers.
 */

typedef struct fc_attention_load {
  double batch; /* sequences on this attention group; 0: none of this kind */
  double q, s;  /* queries of each, context at their end (queries included) */
} fc_attention_load;

typedef struct fc_layer {
  fc_meter *meter;
  const fc_model *model;
  bool training;
  double tp, cp;
  double ep, moe_tp; /* ranks that split the experts; ranks that split each expert */
  double domain;     /* devices of a scale-up domain */
  double imbalance;
  double
      busiest; /* serving: rows of the busiest rank over the mean's, of this very iteration; 0: not known */
  fc_dtype gemm, grouped, attention, mla; /* formats that are computed in, after fallback */
  fc_dtype storage;                       /* of the weights */
  double cache_element;                   /* bytes of a cache element */
  double tokens;                          /* T through this group's linear layers */
  double moe_tokens; /* distinct tokens that enter the layer's expert group (all its ranks) */
  fc_attention_load prefill, decode;
  bool masked;      /* decode-only: masked grouped GEMM */
  bool low_latency; /* dispatch and combine flavour */
  bool unfused;     /* attention scores go through memory */
  bool bf16_dispatch;
  bool tensor_scales;   /* 8-bit weight gradients as any other product */
  bool again;           /* not training: a training step's forward, recomputed */
  bool whole_norms;     /* tp ranks norm every token, not their share */
  bool recompute_light; /* norms, activations, up-projections again in backward */
} fc_layer;

/** Resolves formats for `gemm`; the rest of `layer` is the caller's. */
void fc_layer_formats(fc_layer *layer, fc_dtype gemm, fc_dtype kv);
void fc_layer_attention(const fc_layer *layer, double count);
void fc_layer_dense(const fc_layer *layer, double count);
void fc_layer_moe(const fc_layer *layer, double count);
/** Final norm and LM head over `rows` tokens; sampling (inference) or cross-entropy (training). */
void fc_layer_head(const fc_layer *layer, double rows, double count);
void fc_layer_embedding(const fc_layer *layer, double count);
/** MTP module's own projection of [hidden; embedding] to hidden. */
void fc_layer_mtp_projection(const fc_layer *layer, double count);

#endif
