/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include <fleetcast/scenario/train_plan.h>

#include "input.h"
#include "reader.h"
#include "tables_file.h"
#include "tables_plan.h"
#include "tables_serve.h"

/* Kind train_plan: how to train a model on what. */

enum { DEVICES_MAX = 32, COUNTS_MAX = 64, CHOICES_MAX = 64 };

/* --- words --- */

static const char *const schedule_words[] = {"1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev"};
static const char *const recompute_words[] = {"none", "selective", "full"};
static const char *const launch_words[] = {"graph", "partial", "eager", "whole"};
static const char *const moment_words[] = {"as-products", "fp32", "bf16"};
static const char *const objective_words[] = {"cheapest", "fastest"};

static int index_of(const char *const *words, size_t n, const char *word) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(words[i], word) == 0) return (int)i;
  return -1;
}

int fc_train_plan_schedule(const char *word) {
  return index_of(schedule_words, FC_COUNT_OF(schedule_words), word);
}

int fc_train_plan_recompute(const char *word) {
  return index_of(recompute_words, FC_COUNT_OF(recompute_words), word);
}

int fc_train_plan_gemm(const char *word) {
  return index_of(fc_dtype_words, FC_DTYPE_WORDS, word);
}

/* --- a device --- */

#define AT(member) .offset = offsetof(fc_train_plan_device, member)

static const char *device_of(const void *object) {
  const fc_profile *profile = ((const fc_train_plan_device *)object)->profile;
  return profile ? profile->device_name : NULL;
}

static const fc_field device_fields[] = {
    FC_KEY_DEVICE(true, device_of, "The device."),
    FC_KEY_PROFILE,
    FC_KEY_PRICE,
    {.key = "counts",
     .kind = FC_FIELD_NUMBERS,
     AT(counts),
     .count_offset = offsetof(fc_train_plan_device, n_counts),
     .min = 1,
     .max = 1e7,
     .max_items = COUNTS_MAX,
     .example = "2048",
     .help = "Devices of the run that are considered."},
    {.key = "devices_max",
     .kind = FC_FIELD_COUNT,
     AT(devices_max),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e7,
     .example = "4096",
     .help = "Instead of counts: whole nodes, 1, 2, 3, 4, 6, 8, 12, ... of them, up to so many devices."},
};

/* Every number of a list must be whole. */
static void check_whole(fc_reader *r, const fc_node *map, const char *key, const double *value, size_t n) {
  const fc_node *list = fc_node_find(map, key);
  for (size_t i = 0; i < n; i++)
    if (value[i] != floor(value[i])) {
      (void)fc_reader_error(r, list ? list : map, "'%s' wants whole numbers, not %g", key, value[i]);
      return;
    }
}

static void check_device(fc_reader *r, void *object, const fc_node *map) {
  fc_train_plan_device *d = object;
  check_whole(r, map, "counts", d->counts, d->n_counts);
  if ((d->n_counts > 0) == (d->devices_max > 0))
    (void)fc_reader_error(r, map, "a device wants either 'counts' or 'devices_max'");
  fc_default_profile(r, &d->profile, map);
}

static const fc_schema candidate = {"device to train on",
                                    "A device that may be chosen.",
                                    sizeof(fc_train_plan_device),
                                    FC_COUNT_OF(device_fields),
                                    device_fields,
                                    check_device};

/* --- what a plan may be --- */

#undef AT
#define AT(member) .offset = offsetof(fc_train_plan_choices, member)
#define CHOICES(name, low, high, like, words)                                                                \
  {                                                                                                          \
    .key = #name, .kind = FC_FIELD_NUMBERS, AT(name),                                                        \
    .count_offset = offsetof(fc_train_plan_choices, n_##name), .min = (low), .max = (high),                  \
    .max_items = CHOICES_MAX, .example = (like), .help = (words)                                             \
  }
#define WORDS(name, words)                                                                                   \
  {                                                                                                          \
    .key = #name, .kind = FC_FIELD_TEXTS, AT(name),                                                          \
    .count_offset = offsetof(fc_train_plan_choices, n_##name), .max_items = CHOICES_MAX, .help = (words)     \
  }
#define FLAG(name, words)                                                                                    \
  { .key = #name, .kind = FC_FIELD_BOOL, AT(base.name), .def = "false", .help = (words) }

static const fc_field choice_fields[] = {
    CHOICES(tp, 1, 1e5, "8",
            "Tensor parallelism; absent: powers of two within a scale-up domain, at most 8."),
    CHOICES(pp, 1, 1e5, "16", "Pipeline stages; absent: what divides, at most 64 and the layers."),
    CHOICES(cp, 1, 1e5, "2",
            "Context parallelism; absent: powers of two up to 16 that leave a rank 4,096 tokens."),
    CHOICES(ep, 1, 1e6, "64", "Expert parallelism; absent: powers of two up to 256 and the experts."),
    CHOICES(virtual_stages, 1, 1000, "2", "Chunks a rank of the interleaved schedule; absent: 2 to 6 and 8."),
    CHOICES(micro_batch, 1, 1e6, "1", "Sequences of one micro-batch; absent: 1, 2, 4."),
    CHOICES(global_batch, 1, 1e8, "15360", "Sequences of one step; absent: of 'batch_tokens'."),
    CHOICES(zero, 0, 3, "1", "ZeRO stages; absent: 0 to 3."),
    WORDS(schedule, "Pipeline schedules: 1f1b, interleaved, zb1p, dualpipe, dualpipev; absent: all."),
    WORDS(recompute, "Recomputation of activations: none, selective, full; absent: the least that fits."),
    WORDS(gemm,
          "Number formats of the linear layers: bf16, fp8, fp4; absent: fp8 for a model released in it, "
          "else bf16."),
    {.key = "expert_imbalance",
     .kind = FC_FIELD_NUMBER,
     AT(base.expert_imbalance),
     .min = 1,
     .max = 100,
     .example = "1.2",
     .help = "Rows of the busiest rank over the mean; absent: 1."},
    {.key = "overlap",
     .kind = FC_FIELD_NUMBER,
     AT(base.overlap),
     .min = 0,
     .max = 1,
     .example = "0.8",
     .help = "Share of communication hidden behind compute where the schedule allows; absent or 0: 0.8."},
    {.key = "launch",
     .kind = FC_FIELD_ENUM,
     AT(base.launch),
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
     AT(base.moments),
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

static void check_words(fc_reader *r, const fc_node *map, const char *key, const char *const *words, size_t n,
                        const char *const *known, size_t n_known) {
  const fc_node *list = fc_node_find(map, key);
  const fc_node *item = list ? list->first : NULL;
  for (size_t i = 0; i < n; i++, item = item ? item->next : NULL) {
    if (index_of(known, n_known, words[i]) >= 0) continue;
    const fc_node *at = item ? item : list ? list : map;
    const char *near = fc_diag_nearest(words[i], known, n_known);
    if (near)
      (void)fc_reader_error(r, at, "no %s '%.40s'; did you mean '%s'?", key, words[i], near);
    else
      (void)fc_reader_error(r, at, "no %s '%.40s': the first of its words is '%s'", key, words[i], known[0]);
  }
}

static void check_choices(fc_reader *r, void *object, const fc_node *map) {
  const fc_train_plan_choices *c = object;
  check_whole(r, map, "tp", c->tp, c->n_tp);
  check_whole(r, map, "pp", c->pp, c->n_pp);
  check_whole(r, map, "cp", c->cp, c->n_cp);
  check_whole(r, map, "ep", c->ep, c->n_ep);
  check_whole(r, map, "virtual_stages", c->virtual_stages, c->n_virtual_stages);
  check_whole(r, map, "micro_batch", c->micro_batch, c->n_micro_batch);
  check_whole(r, map, "global_batch", c->global_batch, c->n_global_batch);
  check_whole(r, map, "zero", c->zero, c->n_zero);
  check_words(r, map, "schedule", c->schedule, c->n_schedule, schedule_words, FC_COUNT_OF(schedule_words));
  check_words(r, map, "recompute", c->recompute, c->n_recompute, recompute_words,
              FC_COUNT_OF(recompute_words));
  check_words(r, map, "gemm", c->gemm, c->n_gemm, fc_dtype_words, FC_DTYPE_WORDS);
}

static const fc_schema choosing = {"plans to train by",
                                   "What a plan may be; what is absent is searched.",
                                   sizeof(fc_train_plan_choices),
                                   FC_COUNT_OF(choice_fields),
                                   choice_fields,
                                   check_choices};

/* --- limits --- */

#undef AT
#define AT(member) .offset = offsetof(fc_train_plan_limits, member)

static const fc_field limit_fields[] = {
    {.key = "devices",
     .kind = FC_FIELD_COUNT,
     AT(devices),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e7,
     .example = "4096",
     .help = "At most; absent: any number."},
    {.key = "days",
     .kind = FC_FIELD_NUMBER,
     AT(days_s),
     .dim = DIM_SECONDS,
     .min = 1,
     .max = 1e10,
     .example = "60 d",
     .help = "From the first step to the last, failures included, at most; absent: any."},
    {.key = "cost",
     .kind = FC_FIELD_NUMBER,
     AT(cost_usd),
     .dim = DIM_USD,
     .min = 1,
     .max = 1e15,
     .example = "6 M USD",
     .help = "Device-hours at their price, at most; absent: any."},
    {.key = "memory",
     .kind = FC_FIELD_NUMBER,
     AT(memory),
     .min = 0.01,
     .max = 1,
     .def = "100 %",
     .example = "95 %",
     .help = "Share of a device's memory that a plan may need."},
};
static const fc_schema limits = {"limits of training",
                                 "What must not be exceeded.",
                                 sizeof(fc_train_plan_limits),
                                 FC_COUNT_OF(limit_fields),
                                 limit_fields,
                                 NULL};

/* --- the file --- */

#undef AT
#define AT(member) .offset = offsetof(fc_train_plan_def, member)

static const fc_field fields[] = {
    FC_KEY_FILE_NAME,
    FC_KEY_QUESTION,
    FC_KEY_SEED("For the manifest: nothing is drawn."),
    FC_KEY_MODEL("The model that is trained."),
    {.key = "devices",
     .kind = FC_FIELD_LIST,
     AT(devices),
     .count_offset = offsetof(fc_train_plan_def, n_devices),
     .required = true,
     .min_items = 1,
     .max_items = DEVICES_MAX,
     .sub = &candidate,
     .help = "Devices to choose from."},
    {.key = "tokens",
     .kind = FC_FIELD_NUMBER,
     AT(tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e18,
     .required = true,
     .example = "14.8 T tokens",
     .help = "Trained on."},
    {.key = "sequence",
     .kind = FC_FIELD_COUNT,
     AT(sequence),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e8,
     .def = "4096",
     .example = "4096 tokens",
     .help = "Tokens of one sequence."},
    {.key = "batch_tokens",
     .kind = FC_FIELD_NUMBER,
     AT(batch_tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e12,
     .def = "16 M tokens",
     .example = "16 M tokens",
     .help =
         "Of one step, rounded to whole micro-batches of each plan, where 'plan.global_batch' is absent."},
    {.key = "plan",
     .kind = FC_FIELD_STRUCT,
     AT(plan),
     .sub = &choosing,
     .help = "What a plan may be; what is absent is searched."},
    {.key = "objective",
     .kind = FC_FIELD_ENUM,
     AT(objective),
     .words = objective_words,
     .n_words = 2,
     .def = "cheapest",
     .help = "What is best within the limits."},
    {.key = "limits",
     .kind = FC_FIELD_STRUCT,
     AT(limits),
     .sub = &limits,
     .help = "What must not be exceeded."},
    {.key = "failure",
     .kind = FC_FIELD_STRUCT,
     AT(failure),
     .sub = &fc_schema_failure,
     .help = "Interruptions; mtbf absent: never."},
    {.key = "margin",
     .kind = FC_FIELD_NUMBER,
     AT(margin),
     .min = 0,
     .max = 1,
     .def = "5 %",
     .example = "5 %",
     .help = "That the graph of a schedule may be faster than its closed form; 1: all graphs are played."},
    FC_KEY_MARKET_DATE,
};

const fc_schema fc_schema_train_search = {"train_plan",
                                          "On what, and laid out how, a model is trained best.",
                                          sizeof(fc_train_plan_def),
                                          FC_COUNT_OF(fields),
                                          fields,
                                          NULL};
