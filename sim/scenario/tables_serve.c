/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <fleetcast/cost/serve_step.h>
#include <fleetcast/serve/capacity.h>

#include "input.h"
#include "tables_file.h"
#include "tables_plan.h"
#include "tables_serve.h"

/* Kind serve: a deployment. */

enum { POLICIES_MAX = 16, CLASSES_MAX = 32, ACCEPTANCES_MAX = 8, TOKENS_MOST = 1 << 30 };

/* --- the scheduler: a policy by name, values overridden --- */

#define AT(member)      .offset = offsetof(fc_serve_policy, member)
#define OF_POLICY(text) text "; absent: the policy's."
#define SHARE(name, words)                                                                                   \
  {                                                                                                          \
    .key = #name, .kind = FC_FIELD_NUMBER, AT(name), .min = 0, .max = 1, .example = "0.7",                   \
    .help = OF_POLICY(words)                                                                                 \
  }

#define STEPS(name, words)                                                                                   \
  {                                                                                                          \
    .key = #name, .kind = FC_FIELD_COUNT, AT(name), .min = 0, .max = 1e6, .example = "30",                   \
    .help = OF_POLICY(words)                                                                                 \
  }

static const char *const reserve_words[] = {"none", "expected", "full"};

static const fc_field scheduler_fields[] = {
    {.key = "policy",
     .kind = FC_FIELD_TEXT,
     AT(name),
     .def = "vllm",
     .help = "vllm, sglang, trtllm (= trtllm_no_evict) or trtllm_max_utilisation."},
    {.key = "max_batch",
     .kind = FC_FIELD_COUNT,
     AT(max_batch),
     .min = 1,
     .max = 1e6,
     .example = "128",
     .help = OF_POLICY("Requests running at a time in an attention group")},
    {.key = "token_budget",
     .kind = FC_FIELD_COUNT,
     AT(token_budget),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e7,
     .example = "512 tokens",
     .help = OF_POLICY("Tokens of one iteration and attention group")},
    {.key = "mixed",
     .kind = FC_FIELD_BOOL,
     AT(mixed),
     .help = OF_POLICY("Prompt chunks ride along with decodes; else prompts first, on their own")},
    {.key = "chunked",
     .kind = FC_FIELD_BOOL,
     AT(chunked),
     .help = OF_POLICY("A prompt may be cut; else it goes whole")},
    {.key = "reserve",
     .kind = FC_FIELD_ENUM,
     AT(reserve),
     .words = reserve_words,
     .n_words = FC_COUNT_OF(reserve_words),
     .help = OF_POLICY("Memory set aside at admission for tokens still to come")},
    {.key = "watermark",
     .kind = FC_FIELD_NUMBER,
     AT(watermark),
     .min = 0,
     .max = 0.99,
     .example = "1 %",
     .help = OF_POLICY("Share of the cache kept free at admission")},
    SHARE(reserve_start, "Expected reserve: the share of the tokens to come"),
    SHARE(reserve_floor, "Expected reserve: its least"),
    SHARE(reserve_fall, "Expected reserve: its fall in a decode step"),
    {.key = "preempted_steps",
     .kind = FC_FIELD_COUNT,
     AT(preempted_steps),
     .min = 0,
     .max = 1e6,
     .example = "20",
     .help = OF_POLICY("Expected reserve: what a preemption adds, in tokens of each running request")},
    {.key = "reserve_clip",
     .kind = FC_FIELD_COUNT,
     AT(reserve_clip),
     .dim = DIM_TOKENS,
     .min = 0,
     .max = TOKENS_MOST,
     .example = "4096 tokens",
     .help = OF_POLICY("Expected reserve: tokens to come that count at most")},
    STEPS(look_steps, "Decode iterations from one look at newcomers to the next"),
    STEPS(wait_steps, "Decode iterations that newcomers wait for company at most"),
    SHARE(wait_share, "Share of the budget that ends that wait"),
    STEPS(balance_steps,
          "Attention split by data: decode iterations between prompts where not every group has one"),
};

static void put_value(const fc_field *f, fc_serve_policy *to, const fc_serve_policy *from) {
  static const size_t size[] = {[FC_FIELD_NUMBER] = sizeof(double),
                                [FC_FIELD_COUNT] = sizeof(int64_t),
                                [FC_FIELD_BOOL] = sizeof(bool),
                                [FC_FIELD_ENUM] = sizeof(int),
                                [FC_FIELD_TEXT] = sizeof(char *)};
  memcpy((char *)to + f->offset, (const char *)from + f->offset, size[f->kind]);
}

/* Fills in what the file does not say; `map` NULL: nothing. */
static void fill_scheduler(fc_reader *r, fc_serve_policy *p, const fc_node *map) {
  fc_serve_policy named;
  const fc_node *word = map ? fc_node_find(map, "policy") : NULL;
  if (!fc_serve_policy_named(&named, p->name ? p->name : "vllm")) {
    const char *names[POLICIES_MAX];
    size_t n = 0;
    while (n < POLICIES_MAX && (names[n] = fc_serve_policy_name(n))) n++;
    const char *near = fc_diag_nearest(p->name, names, n);
    (void)fc_reader_error(r, word ? word : r->root, "no policy '%.40s'%s%s%s", p->name,
                          near ? "; did you mean '" : "",
                          near ? near : ": vllm, sglang, trtllm or trtllm_max_utilisation", near ? "'?" : "");
    return;
  }
  for (size_t i = 0; i < FC_COUNT_OF(scheduler_fields); i++)
    if (!map || !fc_node_find(map, scheduler_fields[i].key)) put_value(&scheduler_fields[i], p, &named);
  p->name = named.name;
  const char *fault = fc_serve_policy_fault(p);
  if (fault && map) (void)fc_reader_error(r, map, "%s", fault);
}

static void check_scheduler(fc_reader *r, void *object, const fc_node *map) {
  fill_scheduler(r, object, map);
}

static const fc_schema scheduler = {"scheduler",
                                    "Who is admitted, and what an iteration holds.",
                                    sizeof(fc_serve_policy),
                                    FC_COUNT_OF(scheduler_fields),
                                    scheduler_fields,
                                    check_scheduler};

/* --- the engine --- */

#undef AT
#define AT(member) .offset = offsetof(fc_serve_experts, member)

static const fc_field experts_fields[] = {
    {.key = "skew",
     .kind = FC_FIELD_NUMBER,
     AT(skew),
     .min = 0,
     .max = 10,
     .def = "1.2",
     .example = "1.2",
     .help = "Exponent of the power law of their popularity, 0: all alike (default: as operator tables are "
             "drawn)."},
    {.key = "eplb",
     .kind = FC_FIELD_BOOL,
     AT(eplb),
     .help = "Placed by popularity, heaviest to the emptiest rank, with redundant copies; else at random."},
    {.key = "redundant",
     .kind = FC_FIELD_COUNT,
     AT(redundant),
     .min = 0,
     .max = 4096,
     .def = "0",
     .example = "32",
     .help = "Copies of popular experts beside all of them, in a layer; with eplb."},
};

static void check_experts(fc_reader *r, void *object, const fc_node *map) {
  const fc_serve_experts *e = object;
  const fc_node *node = fc_node_find(map, "redundant");
  if (node && e->redundant > 0 && !e->eplb) (void)fc_reader_error(r, node, "'redundant' wants 'eplb'");
}

static const fc_schema experts = {"experts",
                                  "How unevenly tokens load the ranks that experts are spread over.",
                                  sizeof(fc_serve_experts),
                                  FC_COUNT_OF(experts_fields),
                                  experts_fields,
                                  check_experts};

#undef AT
#define AT(member) .offset = offsetof(fc_serve_engine, member)
#define KV_TOKENS                                                                                            \
  {                                                                                                          \
    .key = "kv_tokens", .kind = FC_FIELD_COUNT, AT(kv_tokens), .dim = DIM_TOKENS, .min = 1, .max = 1e15,     \
    .example = "500 k tokens",                                                                               \
    .help = "Tokens that the cache of an instance holds; absent: what fits beside the weights."              \
  }

static const fc_field engine_fields[] = {
    {.key = "name",
     .kind = FC_FIELD_ENUM,
     AT(engine),
     .words = fc_engine_words,
     .n_words = FC_ENGINES,
     .help =
         "Whose operators and overheads count; none: the profile's forms, nothing on the host; absent: the "
         "scheduler's."},
    {.key = "operators",
     .kind = FC_FIELD_ENUM,
     AT(operators),
     .words = fc_operators_words,
     .n_words = 2,
     .help =
         "Of iterations: as measured for this engine, where the profile has tables, or the profile's forms."},
    {.key = "scheduler",
     .kind = FC_FIELD_STRUCT,
     AT(scheduler),
     .sub = &scheduler,
     .help = "Who is admitted, and what an iteration holds."},
    {.key = "block_tokens",
     .kind = FC_FIELD_COUNT,
     AT(block_tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e6,
     .def = "16",
     .example = "16 tokens",
     .help = "Of one block of the cache (default: vLLM's)."},
    KV_TOKENS,
    {.key = "max_context",
     .kind = FC_FIELD_COUNT,
     AT(max_context),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = TOKENS_MOST,
     .example = "32768 tokens",
     .help =
         "Prompt and output of a request at most, longer ones are refused; absent: what the cache holds."},
    {.key = "prefix_cache",
     .kind = FC_FIELD_BOOL,
     AT(prefix_cache),
     .help = "Keep blocks that requests name, least recently used out first."},
    {.key = "acceptance",
     .kind = FC_FIELD_NUMBERS,
     AT(acceptance),
     .count_offset = offsetof(fc_serve_engine, n_acceptance),
     .min = 0,
     .max = 1,
     .max_items = ACCEPTANCES_MAX,
     .help = "Speculation: the chance that draft k holds where all before it did; absent: none."},
    {.key = "sample_acceptance",
     .kind = FC_FIELD_BOOL,
     AT(sample_acceptance),
     .help = "Draw the iterations that a request needs; else the mean yield counts."},
    {.key = "imbalance_cv",
     .kind = FC_FIELD_NUMBER,
     AT(imbalance_cv),
     .min = 0,
     .max = 10,
     .def = "0",
     .example = "0.1",
     .help = "Coefficient of variation, from step to step, of the busiest expert rank's time."},
    {.key = "experts",
     .kind = FC_FIELD_OWN,
     AT(experts),
     .sub = &experts,
     .help = "Load of expert-parallel ranks by a law, drawn every iteration; absent: expert_imbalance, "
             "imbalance_cv."},
    {.key = "graph_padding",
     .kind = FC_FIELD_BOOL,
     AT(graph_padding),
     .def = "true",
     .help = "Batches are padded to captured graphs."},
    {.key = "table_tolerance",
     .kind = FC_FIELD_NUMBER,
     AT(table_tolerance),
     .min = 1e-4,
     .max = 0.2,
     .def = "1 %",
     .example = "1 %",
     .help = "Largest error of the tabulated step time against the model."},
    {.key = "host",
     .kind = FC_FIELD_STRUCT,
     AT(host),
     .sub = &fc_schema_host,
     .help = "Overheads beside the kernels."},
};
static const fc_schema engine = {"engine",
                                 "How the serving engine behaves.",
                                 sizeof(fc_serve_engine),
                                 FC_COUNT_OF(engine_fields),
                                 engine_fields,
                                 NULL};

/* --- prefill and decode apart --- */

#undef AT
#define AT(member) .offset = offsetof(fc_serve_apart, member)
#define REPLICAS(name, words)                                                                                \
  { .key = #name, .kind = FC_FIELD_COUNT, AT(name), .min = 1, .max = 1e5, .def = "1", .help = (words) }

static const fc_field apart_fields[] = {
    {.key = "plan",
     .kind = FC_FIELD_STRUCT,
     AT(plan),
     .sub = &fc_schema_serve_plan,
     .required = true,
     .help = "Plan of a prefill instance; the file's own `plan` is then a decode instance's."},
    {.key = "scheduler",
     .kind = FC_FIELD_STRUCT,
     AT(scheduler),
     .sub = &scheduler,
     .help = "Of a prefill instance."},
    KV_TOKENS,
    REPLICAS(prefill_replicas, "Prefill instances."),
    REPLICAS(decode_replicas, "Decode instances."),
    {.key = "link",
     .kind = FC_FIELD_NUMBER,
     AT(link_bytes_per_s),
     .dim = DIM_BYTES_PER_S,
     .min = 1,
     .max = 1e18,
     .example = "400 GB/s",
     .help = "Bandwidth that all transfers share; absent: the network ports of the smaller side."},
    {.key = "link_latency",
     .kind = FC_FIELD_NUMBER,
     AT(link_latency_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 10,
     .def = "0 s",
     .example = "1 ms",
     .help = "After the last byte has left."},
    {.key = "link_shared",
     .kind = FC_FIELD_BOOL,
     AT(link_shared),
     .def = "true",
     .help = "Transfers share it equally; else one after another."},
};
static const fc_schema apart = {
    "disaggregation",       "Prompts on instances of their own, the cache sent over a link.",
    sizeof(fc_serve_apart), FC_COUNT_OF(apart_fields),
    apart_fields,           NULL};

/* --- the file --- */

#undef AT
#define AT(member) .offset = offsetof(fc_serve_def, member)

static const char *serve_device(const void *object) {
  const fc_profile *profile = ((const fc_serve_def *)object)->profile;
  return profile ? profile->device_name : NULL;
}

static const fc_field fields[] = {
    FC_KEY_FILE_NAME,
    FC_KEY_QUESTION,
    FC_KEY_SEED("Seed of all random numbers."),
    FC_KEY_MODEL("The model that is served."),
    FC_KEY_DEVICE(true, serve_device, "The device that it is served on."),
    FC_KEY_PROFILE,
    {.key = "plan",
     .kind = FC_FIELD_STRUCT,
     AT(plan),
     .sub = &fc_schema_serve_plan,
     .help = "How the model is laid over the devices of an instance; absent: one device."},
    {.key = "engine",
     .kind = FC_FIELD_STRUCT,
     AT(engine),
     .sub = &engine,
     .help = "How the serving engine behaves."},
    {.key = "disaggregation",
     .kind = FC_FIELD_OWN,
     AT(apart),
     .sub = &apart,
     .help = "Prompts on instances of their own; absent: an instance does both."},
    {.key = "cluster",
     .kind = FC_FIELD_OWN,
     AT(cluster),
     .sub = &fc_schema_cluster,
     .help = "Several instances behind a router; absent: one."},
    {.key = "load",
     .kind = FC_FIELD_STRUCT,
     AT(load),
     .sub = &fc_schema_traffic,
     .required = true,
     .help = "The requests that are sent."},
    {.key = "classes",
     .kind = FC_FIELD_LIST,
     AT(classes),
     .count_offset = offsetof(fc_serve_def, n_classes),
     .max_items = CLASSES_MAX,
     .sub = &fc_schema_class,
     .help = "Classes of requests and what they are promised: goodput counts promises kept."},
    {.key = "stop",
     .kind = FC_FIELD_STRUCT,
     AT(stop),
     .sub = &fc_schema_stop,
     .help = "When the answer is good enough."},
    {.key = "price",
     .kind = FC_FIELD_NUMBER,
     AT(price_usd_per_s),
     .dim = DIM_USD_PER_S,
     .min = 1e-9,
     .max = 1,
     .example = "2 USD/h",
     .help = "Of a device; absent: the device's market price."},
    {.key = "date",
     .kind = FC_FIELD_DATE,
     AT(date),
     .help = "Of the market price; absent: the latest that is known."},
    {.key = "requests",
     .kind = FC_FIELD_BOOL,
     AT(requests),
     .help = "Write requests.csv, a row a request; also --requests."},
    {.key = "timeline",
     .kind = FC_FIELD_BOOL,
     AT(timeline),
     .help = "Write timeline.csv, a row a stretch of equal iterations; also --timeline."},
};

/* The scheduler's own engine; then its overheads. */
static void fill_engine(fc_serve_engine *e, const fc_node *map) {
  const char *policy = e->scheduler.name ? e->scheduler.name : "";
  if (!map || !fc_node_find(map, "name"))
    for (int i = FC_ENGINE_VLLM; i < FC_ENGINES; i++)
      if (strncmp(policy, fc_engine_words[i], strlen(fc_engine_words[i])) == 0) e->engine = (fc_engine_word)i;
  fc_fill_host(&e->host, e->engine, map ? fc_node_find(map, "host") : NULL);
}

static void complete_plan(fc_reader *r, const fc_model *model, fc_serve_plan *plan, const fc_node *at) {
  char why[256];
  if (!model) return;
  int64_t stages = fc_serve_stages(plan), stated = plan->devices;
  plan->devices = stated / stages; /* of a stage; what does not divide is told below */
  *plan = fc_serve_plan_complete(model, plan);
  plan->devices = stated > 0 ? stated : plan->devices * stages;
  if (fc_serve_plan_check(model, plan, why) != FC_OK) (void)fc_reader_error(r, at, "%s", why);
}

static void check(fc_reader *r, void *object, const fc_node *map) {
  fc_serve_def *def = object;
  fc_default_profile(r, &def->profile, map);
  const fc_node *plan = fc_node_find(map, "plan"), *given = fc_node_find(map, "engine");
  complete_plan(r, def->model, &def->plan, plan ? plan : map);
  if (!given || !fc_node_find(given, "scheduler")) fill_scheduler(r, &def->engine.scheduler, NULL);
  fill_engine(&def->engine, given);
  const fc_node *law = given ? fc_node_find(given, "experts") : NULL;
  if (law && !(def->plan.ep > 1))
    (void)fc_reader_key_error(r, law, "'experts' wants a plan with 'ep' above 1");
  const fc_node *node = fc_node_find(map, "disaggregation");
  if (node && def->cluster)
    (void)fc_reader_key_error(r, node, "'disaggregation' has replicas of its own: no 'cluster' with it");
  if (!node || !def->apart) return;
  /* the mapping is this reader's own memory, const only to the definition's users */
  fc_serve_apart *a = (fc_serve_apart *)(uintptr_t)def->apart;
  complete_plan(r, def->model, &a->plan, fc_node_find(node, "plan"));
  if (!fc_node_find(node, "scheduler")) fill_scheduler(r, &a->scheduler, NULL);
}

const fc_schema fc_schema_serve = {"serve",
                                   "A deployment of one model and the requests that it is sent.",
                                   sizeof(fc_serve_def),
                                   FC_COUNT_OF(fields),
                                   fields,
                                   check};
