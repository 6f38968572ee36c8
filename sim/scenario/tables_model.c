/* SPDX-License-Identifier: Apache-2.0 */
#include "field.h"
#include "reader.h"

#define AT(member)               .offset = offsetof(fc_model, member)
#define WHOLE(member, low, high) .kind = FC_FIELD_COUNT, AT(member), .min = (low), .max = (high)

static const char *const attention_words[] = {"gqa", "mla"};

static const fc_field attention_fields[] = {
    {.key = "kind",
     .kind = FC_FIELD_ENUM,
     AT(attention.kind),
     .words = attention_words,
     .n_words = 2,
     .required = true,
     .help = "Grouped-query (multi-head and multi-query too) or multi-head latent attention."},
    {.key = "heads", WHOLE(attention.heads, 1, 1e5), .required = true, .help = "Query heads."},
    {.key = "kv_heads", WHOLE(attention.kv_heads, 0, 1e5), .help = "GQA: heads of keys and values."},
    {.key = "head_dim", WHOLE(attention.head_dim, 0, 1e5), .help = "GQA: size of one head."},
    {.key = "q_lora", WHOLE(attention.q_lora, 0, 1e6), .help = "MLA: rank of the queries; 0: full rank."},
    {.key = "kv_lora",
     WHOLE(attention.kv_lora, 0, 1e6),
     .help = "MLA: rank of keys and values, the cached part."},
    {.key = "nope", WHOLE(attention.nope, 0, 1e5), .help = "MLA: size of a head without position."},
    {.key = "rope",
     WHOLE(attention.rope, 0, 1e5),
     .help = "MLA: size of the shared part with rotary position."},
    {.key = "v", WHOLE(attention.v, 0, 1e5), .help = "MLA: size of a value head."},
    {.key = "window",
     WHOLE(attention.window, 0, 1e8),
     .dim = DIM_TOKENS,
     .help = "Sliding window of windowed layers; 0: none."},
    {.key = "window_layers",
     WHOLE(attention.window_layers, 0, 1e4),
     .help = "How many of the layers are windowed."},
    {.key = "qk_norm",
     .kind = FC_FIELD_BOOL,
     AT(attention.qk_norm),
     .help = "Queries and keys are normalised over all heads together (MiniMax-M2), not head by head."},
};
static const fc_schema attention = {
    "attention", "Attention: its kind and sizes.", 0, FC_COUNT_OF(attention_fields), attention_fields, NULL};

static const fc_field moe_fields[] = {
    {.key = "experts", WHOLE(moe.experts, 1, 1e6), .required = true, .help = "Routed experts of one layer."},
    {.key = "active",
     WHOLE(moe.active, 1, 1e6),
     .required = true,
     .help = "Routed experts that one token visits."},
    {.key = "shared", WHOLE(moe.shared, 0, 1e4), .help = "Experts that every token visits."},
    {.key = "inter",
     WHOLE(moe.inter, 1, 1e7),
     .required = true,
     .help = "Inner size of one expert, shared ones too (gated: three matrices)."},
    {.key = "groups",
     WHOLE(moe.groups, 0, 1e6),
     .help = "Group-limited routing: groups of experts; 0: none."},
    {.key = "top_groups",
     WHOLE(moe.top_groups, 0, 1e6),
     .help = "Group-limited routing: groups that one token may use."},
};
static const fc_schema moe = {
    "moe", "Mixture of experts; absent: a dense model.", 0, FC_COUNT_OF(moe_fields), moe_fields, NULL};

static const fc_field published_fields[] = {
    {.key = "total",
     .kind = FC_FIELD_NUMBER,
     AT(published_total_params),
     .min = 0,
     .max = 1e15,
     .example = "671 B",
     .help = "Parameters in all, as the authors state, MTP layers not counted."},
    {.key = "active",
     .kind = FC_FIELD_NUMBER,
     AT(published_active_params),
     .min = 0,
     .max = 1e15,
     .example = "37 B",
     .help = "Parameters active per token, as the authors state."},
};
static const fc_schema published = {"published",
                                    "Parameter counts as published, to check the derived ones.",
                                    0,
                                    FC_COUNT_OF(published_fields),
                                    published_fields,
                                    NULL};

static bool has_experts(const void *object) {
  return ((const fc_model *)object)->moe.experts > 0;
}

static const fc_field fields[] = {
    {.key = "name",
     .kind = FC_FIELD_TEXT,
     AT(name),
     .help = "Short name; default the file's name without .yaml."},
    {.key = "title", .kind = FC_FIELD_TEXT, AT(title), .help = "Name for people, such as 'DeepSeek-V3'."},
    {.key = "release", .kind = FC_FIELD_DATE, AT(release), .help = "First release."},
    {.key = "layers",
     WHOLE(layers, 1, 1e4),
     .required = true,
     .example = "61",
     .help = "Transformer layers, all."},
    {.key = "dense_layers",
     WHOLE(dense_layers, 0, 1e4),
     .help = "Leading layers with a dense FFN in a mixture-of-experts model."},
    {.key = "hidden",
     WHOLE(hidden, 1, 1e6),
     .required = true,
     .example = "7168",
     .help = "Width of the residual stream."},
    {.key = "vocab", WHOLE(vocab, 1, 1e7), .required = true, .example = "129280", .help = "Vocabulary."},
    {.key = "tied_embeddings",
     .kind = FC_FIELD_BOOL,
     AT(tied_embeddings),
     .help = "Input embedding and output head share one matrix."},
    {.key = "ffn",
     WHOLE(ffn, 0, 1e7),
     .example = "18432",
     .help = "Inner size of dense FFNs (gated: three matrices)."},
    {.key = "attention",
     .kind = FC_FIELD_STRUCT,
     .sub = &attention,
     .required = true,
     .help = "Attention: its kind and sizes."},
    {.key = "moe",
     .kind = FC_FIELD_STRUCT,
     .sub = &moe,
     .is_set = has_experts,
     .help = "Mixture of experts; absent: a dense model."},
    {.key = "mtp_layers",
     WHOLE(mtp_layers, 0, 100),
     .help = "Extra multi-token-prediction layers, trained and used for speculation."},
    {.key = "weights",
     .kind = FC_FIELD_ENUM,
     AT(weights),
     .words = fc_dtype_words,
     .n_words = FC_DTYPE_WORDS,
     .def = "bf16",
     .help = "Number format in which the release is served."},
    {.key = "published",
     .kind = FC_FIELD_STRUCT,
     .sub = &published,
     .help = "Parameter counts as published, to check the derived ones."},
};

static void check_attention(fc_reader *r, const fc_model *m, const fc_node *map) {
  const fc_node *node = fc_node_find(map, "attention");
  const fc_attention *a = &m->attention;
  if (a->kind == FC_ATTENTION_GQA) {
    if (!a->kv_heads || !a->head_dim)
      (void)fc_reader_error(r, node, "attention 'gqa' wants 'heads', 'kv_heads' and 'head_dim'");
    else if (a->heads % a->kv_heads)
      (void)fc_reader_error(r, node, "'heads' = %lld is no multiple of 'kv_heads' = %lld",
                            (long long)a->heads, (long long)a->kv_heads);
  } else if (!a->kv_lora || !a->nope || !a->v) {
    (void)fc_reader_error(r, node, "attention 'mla' wants 'kv_lora', 'nope', 'rope' and 'v'");
  }
  if (a->window_layers > m->layers)
    (void)fc_reader_error(r, node, "'window_layers' = %lld is above 'layers' = %lld",
                          (long long)a->window_layers, (long long)m->layers);
  if (!a->window != !a->window_layers)
    (void)fc_reader_error(r, node, "'window' and 'window_layers' go together");
}

static void check_moe(fc_reader *r, const fc_model *m, const fc_node *map) {
  const fc_node *node = fc_node_find(map, "moe");
  const fc_moe *e = &m->moe;
  if (e->active > e->experts)
    (void)fc_reader_error(r, node, "'active' = %lld is above 'experts' = %lld", (long long)e->active,
                          (long long)e->experts);
  if (e->groups && (e->experts % e->groups || e->top_groups < 1 || e->top_groups > e->groups))
    (void)fc_reader_error(r, node, "'groups' must divide 'experts', and 'top_groups' be from 1 to 'groups'");
  if (m->dense_layers > m->layers)
    (void)fc_reader_error(r, fc_node_find(map, "dense_layers"),
                          "'dense_layers' = %lld is above 'layers' = %lld", (long long)m->dense_layers,
                          (long long)m->layers);
}

static void check(fc_reader *r, void *object, const fc_node *map) {
  const fc_model *m = object;
  check_attention(r, m, map);
  if (m->moe.experts)
    check_moe(r, m, map);
  else if (m->dense_layers)
    (void)fc_reader_error(r, fc_node_find(map, "dense_layers"),
                          "'dense_layers' belongs to a model with 'moe'");
  if (!m->ffn && (!m->moe.experts || m->dense_layers))
    (void)fc_reader_error(r, map, "a model with dense layers wants 'ffn'");
}

const fc_schema fc_schema_model = {"model",          "A transformer as its config.json states it.",
                                   sizeof(fc_model), FC_COUNT_OF(fields),
                                   fields,           check};
