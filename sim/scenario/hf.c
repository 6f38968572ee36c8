/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"

/* A Hugging Face config.json as a model file: JSON is a subset of YAML, so the tree is there; its keys become
 * ours, with the positions of theirs, and the table of models does the rest. */

typedef struct {
  fc_arena *arena;
  const fc_node *from;
  bool failed; /* out of memory */
} converter;

static fc_node *put(converter *c, fc_node *to, const char *key, fc_node_kind kind, const char *text,
                    const fc_node *at) {
  fc_node *node = fc_arena_alloc(c->arena, sizeof *node);
  if (!node) {
    c->failed = true;
    return NULL;
  }
  *node = (fc_node){
      .kind = kind, .plain = true, .source = c->from->source, .at = at->at, .key = key, .key_at = at->at};
  if (text) {
    node->text = fc_arena_text(c->arena, text, strlen(text));
    node->length = strlen(text);
    c->failed = c->failed || !node->text;
  }
  if (!c->failed) fc_node_append(to, node);
  return c->failed ? NULL : node;
}

/* A value of theirs, NULL if absent or null. */
static const fc_node *theirs(const converter *c, const char *key) {
  const fc_node *node = fc_node_find(c->from, key);
  return node && !(node->plain && strcmp(node->text, "null") == 0) ? node : NULL;
}

/* What is not a plain value keeps its kind, so that the model's table tells it. */
static bool copy(converter *c, fc_node *to, const char *key, const char *their_key) {
  const fc_node *node = theirs(c, their_key);
  if (!node || !to) return false;
  fc_node *mine = put(c, to, key, node->kind, node->text, node);
  if (mine && node->kind != FC_NODE_SCALAR) {
    mine->first = node->first;
    mine->last = node->last;
    mine->n = node->n;
  }
  return true;
}

static long long whole(const converter *c, const char *key) {
  const fc_node *node = theirs(c, key);
  /* what is no number becomes 0, which the table of models tells */
  return node && node->kind == FC_NODE_SCALAR ? strtoll(node->text, NULL, 10) : 0;
}

static void convert_mla(converter *c, fc_node *root) {
  fc_node *a = put(c, root, "attention", FC_NODE_MAP, NULL, c->from);
  if (!a) return;
  (void)put(c, a, "kind", FC_NODE_SCALAR, "mla", c->from);
  (void)copy(c, a, "heads", "num_attention_heads");
  (void)copy(c, a, "q_lora", "q_lora_rank");
  (void)copy(c, a, "kv_lora", "kv_lora_rank");
  (void)copy(c, a, "nope", "qk_nope_head_dim");
  (void)copy(c, a, "rope", "qk_rope_head_dim");
  (void)copy(c, a, "v", "v_head_dim");
}

/* Layers of a "layer_types" list that are windowed. */
static size_t windowed_layers(const converter *c) {
  const fc_node *types = theirs(c, "layer_types");
  size_t n = 0;
  for (const fc_node *t = types ? types->first : NULL; t; t = t->next)
    n += t->kind == FC_NODE_SCALAR && strcmp(t->text, "sliding_attention") == 0;
  return n;
}

static void convert_gqa(converter *c, fc_node *root) {
  fc_node *a = put(c, root, "attention", FC_NODE_MAP, NULL, c->from);
  if (!a) return;
  char text[32];
  (void)put(c, a, "kind", FC_NODE_SCALAR, "gqa", c->from);
  (void)copy(c, a, "heads", "num_attention_heads");
  if (!copy(c, a, "kv_heads", "num_key_value_heads")) (void)copy(c, a, "kv_heads", "num_attention_heads");
  long long heads = whole(c, "num_attention_heads");
  if (!copy(c, a, "head_dim", "head_dim") && heads > 0) {
    (void)snprintf(text, sizeof text, "%lld", whole(c, "hidden_size") / heads);
    (void)put(c, a, "head_dim", FC_NODE_SCALAR, text, c->from);
  }
  size_t windowed = windowed_layers(c);
  if (windowed > 0 && copy(c, a, "window", "sliding_window")) {
    (void)snprintf(text, sizeof text, "%zu", windowed);
    (void)put(c, a, "window_layers", FC_NODE_SCALAR, text, theirs(c, "layer_types"));
  }
}

static void convert_moe(converter *c, fc_node *root, const char *experts, const char *inter) {
  fc_node *m = put(c, root, "moe", FC_NODE_MAP, NULL, c->from);
  if (!m) return;
  (void)copy(c, m, "experts", experts);
  (void)copy(c, m, "active", "num_experts_per_tok");
  (void)copy(c, m, "shared", "n_shared_experts");
  (void)copy(c, m, "inter", inter);
  (void)copy(c, m, "groups", "n_group");
  (void)copy(c, m, "top_groups", "topk_group");
}

static const char *weights_of(const converter *c) {
  const fc_node *quantization = theirs(c, "quantization_config");
  const fc_node *method = quantization ? fc_node_find(quantization, "quant_method") : NULL;
  if (!method || method->kind != FC_NODE_SCALAR) return "bf16";
  return strcmp(method->text, "fp8") == 0 ? "fp8" : strcmp(method->text, "mxfp4") == 0 ? "fp4" : "bf16";
}

static const struct family {
  const char *type;
  bool mla, dense;
  const char *experts, *inter;
} families[] = {
    {"deepseek_v3", true, false, "n_routed_experts", "moe_intermediate_size"},
    {"kimi_k2", true, false, "n_routed_experts", "moe_intermediate_size"},
    {"llama", false, true, NULL, NULL},
    {"mistral", false, true, NULL, NULL},
    {"qwen2", false, true, NULL, NULL},
    {"qwen3", false, true, NULL, NULL},
    {"qwen3_moe", false, false, "num_experts", "moe_intermediate_size"},
    {"gpt_oss", false, false, "num_local_experts", "intermediate_size"},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

static const struct family *family_of(const fc_input *input, const fc_node *type) {
  const char *names[N_FAMILIES];
  for (size_t i = 0; i < N_FAMILIES; i++) {
    names[i] = families[i].type;
    if (type->kind == FC_NODE_SCALAR && strcmp(type->text, names[i]) == 0) return &families[i];
  }
  const char *word = type->kind == FC_NODE_SCALAR ? type->text : "";
  const char *near = fc_diag_nearest(word, names, N_FAMILIES);
  if (near)
    (void)fc_diag_error(input->diags, type->source, type->at, "'model_type' = '%.40s'; did you mean '%s'?",
                        word, near);
  else
    (void)fc_diag_error(
        input->diags, type->source, type->at,
        "a config.json of model_type '%.40s' cannot be read; write a model file (deepseek_v3, kimi_k2, "
        "llama, mistral, qwen2, qwen3, qwen3_moe, gpt_oss can)",
        word);
  return NULL;
}

fc_status fc_input_convert_config(fc_input *input, fc_node *root) {
  const fc_node *type = fc_node_find(root, "model_type");
  if (!type || fc_node_find(root, "kind")) return FC_OK;
  const struct family *f = family_of(input, type);
  if (!f) return FC_E_INPUT;
  const fc_node from = *root;
  converter c = {.arena = &input->arena, .from = &from};
  root->first = root->last = NULL;
  root->n = 0;
  (void)put(&c, root, "kind", FC_NODE_SCALAR, "model", type);
  (void)put(&c, root, "name", FC_NODE_SCALAR, f->type, type);
  (void)put(&c, root, "weights", FC_NODE_SCALAR, weights_of(&c), type);
  (void)copy(&c, root, "layers", "num_hidden_layers");
  (void)copy(&c, root, "hidden", "hidden_size");
  (void)copy(&c, root, "vocab", "vocab_size");
  (void)copy(&c, root, "tied_embeddings", "tie_word_embeddings");
  if (f->dense || f->mla) (void)copy(&c, root, "ffn", "intermediate_size");
  if (f->mla) {
    (void)copy(&c, root, "dense_layers", "first_k_dense_replace");
    (void)copy(&c, root, "mtp_layers", "num_nextn_predict_layers");
    convert_mla(&c, root);
  } else {
    convert_gqa(&c, root);
  }
  if (f->experts) convert_moe(&c, root, f->experts, f->inter);
  return c.failed ? FC_E_NOMEM : FC_OK;
}
