/* SPDX-License-Identifier: Apache-2.0 */
#include "tables_plan.h"

/* --- requests and objectives --- */

#define AT(member) .offset = offsetof(fc_request_shape, member)
#define CACHE_HIT                                                                                            \
  {                                                                                                          \
    .key = "cache_hit", .kind = FC_FIELD_NUMBER, AT(cache_hit), .min = 0, .max = 0.999999, .def = "0",       \
    .example = "56.3 %", .help = "Share of the input tokens that the prefix cache holds."                    \
  }

static const fc_field request_fields[] = {
    {.key = "input",
     .kind = FC_FIELD_NUMBER,
     AT(input_tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e8,
     .required = true,
     .example = "4383 tokens",
     .help = "Mean prompt, its cached part included."},
    {.key = "output",
     .kind = FC_FIELD_NUMBER,
     AT(output_tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e8,
     .required = true,
     .example = "1211 tokens",
     .help = "Mean number of tokens generated, reasoning included."},
    CACHE_HIT,
    {.key = "input_cv",
     .kind = FC_FIELD_NUMBER,
     AT(input_cv),
     .min = 0,
     .max = 4,
     .def = "0.96",
     .example = "0.96",
     .help = "Standard deviation over mean of the prompt, log-normal; 0: all alike (default: Azure's "
             "conversation trace)."},
    {.key = "output_cv",
     .kind = FC_FIELD_NUMBER,
     AT(output_cv),
     .min = 0,
     .max = 4,
     .def = "0.77",
     .example = "0.77",
     .help = "The same of the tokens generated."},
};
const fc_schema fc_schema_request = {"request",
                                     "Mean lengths of a request.",
                                     sizeof(fc_request_shape),
                                     FC_COUNT_OF(request_fields),
                                     request_fields,
                                     NULL};

static const fc_field rollout_fields[] = {
    {.key = "input",
     .kind = FC_FIELD_NUMBER,
     AT(input_tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e8,
     .def = "1000",
     .example = "1000 tokens",
     .help = "Mean prompt of a rollout."},
    {.key = "output",
     .kind = FC_FIELD_NUMBER,
     AT(output_tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e8,
     .def = "4000",
     .example = "4000 tokens",
     .help = "Mean number of tokens generated in a rollout."},
    CACHE_HIT,
};
const fc_schema fc_schema_rollout = {"rollout",
                                     "Mean lengths of a rollout.",
                                     sizeof(fc_request_shape),
                                     FC_COUNT_OF(rollout_fields),
                                     rollout_fields,
                                     NULL};

#undef AT
#define AT(member) .offset = offsetof(fc_slo, member)

static const fc_field slo_fields[] = {
    {.key = "ttft",
     .kind = FC_FIELD_NUMBER,
     AT(ttft_s),
     .dim = DIM_SECONDS,
     .min = 1e-4,
     .max = 86400,
     .def = "2 s",
     .example = "2 s",
     .help = "Mean time to the first token, queueing included."},
    {.key = "tpot",
     .kind = FC_FIELD_NUMBER,
     AT(tpot_s),
     .dim = DIM_SECONDS,
     .min = 1e-5,
     .max = 100,
     .def = "50 ms",
     .example = "50 ms",
     .help = "Time per output token after the first."},
};
const fc_schema fc_schema_slo = {
    "slo", "Service-level objective.", sizeof(fc_slo), FC_COUNT_OF(slo_fields), slo_fields, NULL};

/* --- serving plans --- */

#undef AT
#define AT(member) .offset = offsetof(fc_serve_plan, member)

static const fc_field serve_plan_fields[] = {
    {.key = "devices",
     .kind = FC_FIELD_COUNT,
     AT(devices),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e6,
     .example = "32",
     .help = "Devices of one instance, tp times attention_dp times pp; absent: that product."},
    {.key = "tp",
     .kind = FC_FIELD_COUNT,
     AT(tp),
     .min = 1,
     .max = 1e5,
     .example = "8",
     .help = "Tensor parallelism of attention; absent: devices / attention_dp, else 1."},
    {.key = "attention_dp",
     .kind = FC_FIELD_COUNT,
     AT(attention_dp),
     .min = 1,
     .max = 1e6,
     .example = "32",
     .help = "Data-parallel attention groups; absent: devices / tp."},
    {.key = "ep",
     .kind = FC_FIELD_COUNT,
     AT(ep),
     .min = 1,
     .max = 1e6,
     .example = "32",
     .help = "Expert parallelism, 1: experts are split by tp; absent: all devices where attention is "
             "data-parallel, else 1."},
    {.key = "pp",
     .kind = FC_FIELD_COUNT,
     AT(pp),
     .min = 1,
     .max = 1024,
     .example = "2",
     .help = "Pipeline stages, each with a share of the layers; kinds serve and plan alone; absent: 1."},
    {.key = "gemm",
     .kind = FC_FIELD_ENUM,
     AT(gemm),
     .words = fc_dtype_words,
     .n_words = FC_DTYPE_WORDS,
     .help = "Number format of the linear layers; absent (or fp32): as the weights were released."},
    {.key = "kv",
     .kind = FC_FIELD_ENUM,
     AT(kv),
     .words = fc_dtype_words,
     .n_words = FC_DTYPE_WORDS,
     .help = "Number format of the cache; absent (or fp32): bf16."},
    {.key = "expert_imbalance",
     .kind = FC_FIELD_NUMBER,
     AT(expert_imbalance),
     .min = 1,
     .max = 100,
     .example = "1.2",
     .help = "Rows of the busiest rank over the mean; absent: 1.2."},
    {.key = "two_batch_overlap",
     .kind = FC_FIELD_BOOL,
     AT(two_batch_overlap),
     .help = "Hide expert-parallel communication behind the other half of the batch."},
    {.key = "memory_fraction",
     .kind = FC_FIELD_NUMBER,
     AT(memory_fraction),
     .min = 0.01,
     .max = 1,
     .example = "90 %",
     .help = "Share of the device memory that weights and cache may use; absent: 90 %."},
};

static void check_serve_plan(fc_reader *r, void *object, const fc_node *map) {
  const fc_serve_plan *p = object;
  int64_t product = p->tp * p->attention_dp * fc_serve_stages(p);
  if (p->devices && p->tp && p->attention_dp && p->devices != product)
    (void)fc_reader_error(r, fc_node_find(map, "devices"),
                          "'devices' = %lld is not tp x attention_dp%s = %lld", (long long)p->devices,
                          p->pp > 1 ? " x pp" : "", (long long)product);
  if (p->devices && p->ep > p->devices)
    (void)fc_reader_error(r, fc_node_find(map, "ep"), "'ep' = %lld is above 'devices' = %lld",
                          (long long)p->ep, (long long)p->devices);
}

const fc_schema fc_schema_serve_plan = {
    "serving plan",        "How a model is laid over the devices of one instance.",
    sizeof(fc_serve_plan), FC_COUNT_OF(serve_plan_fields),
    serve_plan_fields,     check_serve_plan};

#undef AT
#define AT(member) .offset = offsetof(fc_deployment, member)

/* 0 is "chosen" in every field: a plan that says nothing is as good as none. */
static bool says_something(const fc_serve_plan *p) {
  return p->devices || p->tp || p->attention_dp || p->ep || p->gemm || p->kv || p->expert_imbalance > 0 ||
         p->two_batch_overlap || p->memory_fraction > 0 || p->pp;
}

static bool has_prefill(const void *object) {
  return says_something(&((const fc_deployment *)object)->prefill);
}

static bool has_decode(const void *object) {
  return says_something(&((const fc_deployment *)object)->decode);
}

static const fc_field deployment_fields[] = {
    {.key = "disaggregated",
     .kind = FC_FIELD_BOOL,
     AT(disaggregated),
     .help = "With plans: prefill and decode on instances of their own; else the plan 'decode' does both. "
             "Without: chosen."},
    {.key = "prefill",
     .kind = FC_FIELD_STRUCT,
     AT(prefill),
     .sub = &fc_schema_serve_plan,
     .is_set = has_prefill,
     .help = "Plan of a prefill instance."},
    {.key = "decode",
     .kind = FC_FIELD_STRUCT,
     AT(decode),
     .sub = &fc_schema_serve_plan,
     .is_set = has_decode,
     .help = "Plan of a decode instance; absent: both plans are searched for. Stating any of its keys ends "
             "the search."},
    {.key = "speculative_tokens",
     .kind = FC_FIELD_NUMBER,
     AT(speculative_tokens),
     .min = 1,
     .max = 16,
     .def = "1",
     .example = "1.8",
     .help = "Tokens that one decode iteration yields per request: 1 without speculation."},
};
const fc_schema fc_schema_deployment = {"deployment",          "How a service is deployed.",
                                        sizeof(fc_deployment), FC_COUNT_OF(deployment_fields),
                                        deployment_fields,     NULL};

void fc_check_deployment(fc_reader *r, fc_deployment *d, const fc_node *map) {
  d->automatic = !has_decode(d);
  if (!map) return;
  if (d->disaggregated && !has_decode(d) && !has_prefill(d))
    (void)fc_reader_error(r, fc_node_find(map, "disaggregated"),
                          "'disaggregated' wants plans: without them it is chosen");
  if (has_prefill(d) && !d->disaggregated)
    (void)fc_reader_error(r, fc_node_find(map, "prefill"), "a 'prefill' plan wants 'disaggregated: true'");
  if (has_prefill(d) && !has_decode(d))
    (void)fc_reader_error(r, map, "a 'prefill' plan wants a 'decode' plan");
  if (d->disaggregated && has_decode(d) && !has_prefill(d))
    (void)fc_reader_error(r, map, "a disaggregated deployment with a 'decode' plan wants a 'prefill' plan");
}

/* --- training --- */

#undef AT
#define AT(member) .offset = offsetof(fc_train_plan, member)
#define DEGREE(name, high, words)                                                                            \
  { .key = #name, .kind = FC_FIELD_COUNT, AT(name), .min = 1, .max = (high), .example = "8", .help = (words) }

#define FLAG(name, words)                                                                                    \
  { .key = #name, .kind = FC_FIELD_BOOL, AT(name), .def = "false", .help = (words) }

static const char *const schedule_words[] = {"1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev"};
static const char *const launch_words[] = {"graph", "partial", "eager", "whole"};
static const char *const moment_words[] = {"as-products", "fp32", "bf16"};
static const char *const recompute_words[] = {"none", "selective", "full"};

static const fc_field train_plan_fields[] = {
    DEGREE(tp, 1e5, "Tensor parallelism; absent: chosen."),
    DEGREE(pp, 1e5, "Pipeline stages; absent: chosen."),
    DEGREE(cp, 1e5, "Context parallelism; absent: chosen."),
    DEGREE(ep, 1e6, "Expert parallelism; absent: chosen."),
    DEGREE(virtual_stages, 1000, "Chunks a rank of the interleaved schedule."),
    DEGREE(micro_batch, 1e6, "Sequences of one micro-batch; absent: chosen."),
    DEGREE(global_batch, 1e8, "Sequences of one step; absent: 16 M tokens (Llama 3 405B)."),
    {.key = "sequence",
     .kind = FC_FIELD_COUNT,
     AT(sequence),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e8,
     .example = "4096 tokens",
     .help = "Tokens of one sequence; absent: chosen."},
    {.key = "zero",
     .kind = FC_FIELD_COUNT,
     AT(zero),
     .min = 0,
     .max = 3,
     .example = "1",
     .help = "ZeRO stage over the data-parallel ranks."},
    {.key = "schedule",
     .kind = FC_FIELD_ENUM,
     AT(schedule),
     .words = schedule_words,
     .n_words = 5,
     .def = "1f1b",
     .help = "Pipeline schedule."},
    {.key = "recompute",
     .kind = FC_FIELD_ENUM,
     AT(recompute),
     .words = recompute_words,
     .n_words = 3,
     .def = "none",
     .help = "Recomputation of activations."},
    {.key = "gemm",
     .kind = FC_FIELD_ENUM,
     AT(gemm),
     .words = fc_dtype_words,
     .n_words = FC_DTYPE_WORDS,
     .help =
         "Number format of the linear layers; absent (or fp32): fp8 for a model released in it, else bf16."},
    {.key = "expert_imbalance",
     .kind = FC_FIELD_NUMBER,
     AT(expert_imbalance),
     .min = 1,
     .max = 100,
     .example = "1.2",
     .help = "Rows of the busiest rank over the mean; absent: 1."},
    {.key = "overlap",
     .kind = FC_FIELD_NUMBER,
     AT(overlap),
     .min = 0,
     .max = 1,
     .example = "0.8",
     .help = "Share of communication hidden behind compute where the schedule allows; absent or 0: 0.8."},
    {.key = "launch",
     .kind = FC_FIELD_ENUM,
     AT(launch),
     .words = launch_words,
     .n_words = 4,
     .def = "graph",
     .help = "Kernels captured in graphs; attention and router captured; one by one from the host; the whole "
             "step as one graph."},
    FLAG(tensor_scales, "8-bit operands carry one scale a tensor, not one a block."),
    FLAG(bf16_dispatch, "Tokens travel to their experts in BF16 also where these compute in 8 bits."),
    FLAG(bf16_gradients, "Gradients are kept and reduced in BF16, not FP32."),
    {.key = "moments",
     .kind = FC_FIELD_ENUM,
     AT(moments),
     .words = moment_words,
     .n_words = 3,
     .def = "as-products",
     .help = "Adam's moments: BF16 where products take 8 bits, else FP32; or as stated."},
    FLAG(narrow_weights, "8-bit weights are the only copy that products use, with no BF16 one beside."),
    FLAG(async_tp, "Products take the sequence that tensor parallelism gathers piece by piece."),
    FLAG(dropout, "Dropout after attention and feed-forward; its masks are kept for backward."),
    FLAG(serial_data, "The data-parallel exchange starts when the last backward has ended."),
    FLAG(unfused_attention, "Attention scores are written to memory, as before FlashAttention."),
};
const fc_schema fc_schema_train_plan = {"training plan",       "How a training run is laid over its devices.",
                                        sizeof(fc_train_plan), FC_COUNT_OF(train_plan_fields),
                                        train_plan_fields,     NULL};

#undef AT
#define AT(member) .offset = offsetof(fc_failure, member)

static const fc_field failure_fields[] = {
    {.key = "mtbf",
     .kind = FC_FIELD_NUMBER,
     AT(device_mtbf_s),
     .dim = DIM_SECONDS,
     .min = 60,
     .max = 1e12,
     .never = true,
     .example = "50700 h",
     .help = "Mean time between interruptions per device, or never; absent: the pool's."},
    {.key = "restart",
     .kind = FC_FIELD_NUMBER,
     AT(restart_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 1e6,
     .def = "10 min",
     .example = "10 min",
     .help = "Detection, replacement, reload, warm-up (default: an assumption)."},
    {.key = "checkpoint",
     .kind = FC_FIELD_NUMBER,
     AT(checkpoint_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 1e7,
     .def = "0 s",
     .example = "30 min",
     .help = "Interval; 0: the Young/Daly optimum."},
    {.key = "checkpoint_write",
     .kind = FC_FIELD_NUMBER,
     AT(checkpoint_write_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 1e5,
     .def = "5 s",
     .example = "5 s",
     .help = "Time the job stands still for one checkpoint (default: an assumption)."},
};
const fc_schema fc_schema_failure = {"failure",          "Interruptions and what they cost.",
                                     sizeof(fc_failure), FC_COUNT_OF(failure_fields),
                                     failure_fields,     NULL};
