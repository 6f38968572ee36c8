/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <fleetcast/scenario/plan.h>
#include <fleetcast/serve/policy.h>

#include "input.h"
#include "reader.h"
#include "tables_file.h"
#include "tables_plan.h"
#include "tables_serve.h"

/* Kind plan: which deployment is the cheapest. */

enum { DEVICES_MAX = 64, CHOICES_MAX = 32, TOKENS_MOST = 1 << 30 };

/* --- a device --- */

#define AT(member) .offset = offsetof(fc_plan_device, member)

static const char *device_of(const void *object) {
  const fc_profile *profile = ((const fc_plan_device *)object)->profile;
  return profile ? profile->device_name : NULL;
}

static const fc_field device_fields[] = {
    FC_KEY_DEVICE(true, device_of, "The device."),
    FC_KEY_PROFILE,
    FC_KEY_PRICE,
    {.key = "instance",
     .kind = FC_FIELD_COUNT,
     AT(devices_max),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1024,
     .example = "8",
     .help = "Devices of an instance at most; absent: a scale-up domain, but 16 at least."},
    {.key = "stages",
     .kind = FC_FIELD_COUNT,
     AT(stages_max),
     .min = 1,
     .max = 64,
     .def = "1",
     .example = "4",
     .help = "Pipeline stages at most, tried by powers of two."},
    {.key = "plan",
     .kind = FC_FIELD_STRUCT,
     AT(wish),
     .sub = &fc_schema_serve_plan,
     .help = "Formats, imbalance, overlap and memory fraction of its plans; the degrees are searched."},
};

static void check_device(fc_reader *r, void *object, const fc_node *map) {
  fc_plan_device *d = object;
  const fc_node *plan = fc_node_find(map, "plan");
  static const char *const degrees[] = {"devices", "tp", "attention_dp", "ep", "pp"};
  for (size_t i = 0; plan && i < FC_COUNT_OF(degrees); i++) {
    const fc_node *node = fc_node_find(plan, degrees[i]);
    if (node) (void)fc_reader_key_error(r, node, "'%s' is searched: not to be given here", degrees[i]);
  }
  fc_default_profile(r, &d->profile, map);
}

static const fc_schema candidate = {"candidate device",     "A device that may be chosen.",
                                    sizeof(fc_plan_device), FC_COUNT_OF(device_fields),
                                    device_fields,          check_device};

/* --- what is asked --- */

#undef AT
#define AT(member) .offset = offsetof(fc_plan_load, member)

static const fc_field load_fields[] = {
    {.key = "rate",
     .kind = FC_FIELD_NUMBER,
     AT(rate_per_s),
     .dim = DIM_PER_S,
     .min = 1e-6,
     .max = 1e9,
     .example = "40 /s",
     .help = "Requests of the whole deployment; absent: as many as an instance can serve."},
    {.key = "arrival_cv",
     .kind = FC_FIELD_NUMBER,
     AT(arrival_cv),
     .min = 0.05,
     .max = 20,
     .def = "1",
     .example = "1.5",
     .help = "Coefficient of variation of the gaps between requests; 1: Poisson."},
    {.key = "input",
     .kind = FC_FIELD_DIST,
     AT(input),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = TOKENS_MOST,
     .required = true,
     .example = "2000 tokens",
     .help = "Tokens of a prompt."},
    {.key = "output",
     .kind = FC_FIELD_DIST,
     AT(output),
     .dim = DIM_TOKENS,
     .min = 0,
     .max = TOKENS_MOST,
     .required = true,
     .example = "300 tokens",
     .help = "Tokens generated."},
    {.key = "input_max",
     .kind = FC_FIELD_COUNT,
     AT(input_max),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = TOKENS_MOST,
     .def = "32768",
     .example = "8192 tokens",
     .help = "Longer prompts are cut."},
    {.key = "output_max",
     .kind = FC_FIELD_COUNT,
     AT(output_max),
     .dim = DIM_TOKENS,
     .min = 2,
     .max = TOKENS_MOST,
     .def = "8192",
     .example = "2048 tokens",
     .help = "Longer outputs are cut."},
};
static const fc_schema load = {"planned load",       "The requests that must be served: an open loop.",
                               sizeof(fc_plan_load), FC_COUNT_OF(load_fields),
                               load_fields,          NULL};

#undef AT
#define AT(member) .offset = offsetof(fc_plan_slo, member)

static const fc_field slo_fields[] = {
    {.key = "ttft",
     .kind = FC_FIELD_NUMBER,
     AT(ttft_s),
     .dim = DIM_SECONDS,
     .min = 1e-4,
     .max = 86400,
     .def = "2 s",
     .example = "2 s",
     .help = "Time to the first token, queueing included, at most."},
    {.key = "tpot",
     .kind = FC_FIELD_NUMBER,
     AT(tpot_s),
     .dim = DIM_SECONDS,
     .min = 1e-5,
     .max = 100,
     .def = "50 ms",
     .example = "50 ms",
     .help = "Time per output token after the first, at most."},
    {.key = "percentile",
     .kind = FC_FIELD_NUMBER,
     AT(percentile),
     .min = 0.5,
     .max = 0.999,
     .example = "90 %",
     .help = "Share of requests within each of the two; absent: their means are."},
};
static const fc_schema slo = {"planned slo",           "What must be met.", sizeof(fc_plan_slo),
                              FC_COUNT_OF(slo_fields), slo_fields,          NULL};

/* --- how it is searched --- */

#undef AT
#define AT(member) .offset = offsetof(fc_plan_search, member)

static const fc_field search_fields[] = {
    {.key = "margin",
     .kind = FC_FIELD_NUMBER,
     AT(margin),
     .min = 0,
     .max = 1,
     .def = "10 %",
     .example = "10 %",
     .help = "What the closed form may promise too little: a candidate is dropped beyond it; 1: none is."},
    {.key = "keep",
     .kind = FC_FIELD_COUNT,
     AT(keep),
     .min = 1,
     .max = 1e6,
     .def = "96",
     .example = "96",
     .help = "Candidates simulated at most."},
    {.key = "front",
     .kind = FC_FIELD_COUNT,
     AT(front),
     .min = 0,
     .max = 1e6,
     .def = "12",
     .example = "12",
     .help = "Of these, kept for the Pareto front."},
    {.key = "requests",
     .kind = FC_FIELD_COUNT,
     AT(requests),
     .min = 100,
     .max = 1e7,
     .def = "2000",
     .example = "2000",
     .help = "Requests of a simulation at least."},
    {.key = "max_batch",
     .kind = FC_FIELD_NUMBERS,
     AT(max_batch),
     .count_offset = offsetof(fc_plan_search, n_batches),
     .min = 1,
     .max = 1e6,
     .max_items = CHOICES_MAX,
     .example = "128",
     .help = "Batch limits to try, ascending; absent: 8 to 1,024, powers of two."},
    {.key = "token_budget",
     .kind = FC_FIELD_NUMBERS,
     AT(token_budget),
     .count_offset = offsetof(fc_plan_search, n_budgets),
     .min = 1,
     .max = 1e7,
     .max_items = CHOICES_MAX,
     .example = "2048",
     .help = "Token budgets of an iteration to try; absent: 2,048 and 8,192."},
    {.key = "disaggregation",
     .kind = FC_FIELD_BOOL,
     AT(apart),
     .def = "true",
     .example = "false",
     .help = "Deployments too whose prompts and decoding are on instances of their own."},
};
static const fc_schema searching = {
    "search", "How hard is looked.", sizeof(fc_plan_search), FC_COUNT_OF(search_fields), search_fields, NULL};

/* --- the file --- */

#undef AT
#define AT(member) .offset = offsetof(fc_plan_def, member)

static const fc_field fields[] = {
    FC_KEY_FILE_NAME,
    FC_KEY_QUESTION,
    FC_KEY_SEED("Seed of all random numbers."),
    FC_KEY_MODEL("The model that is served."),
    {.key = "engine",
     .kind = FC_FIELD_ENUM,
     AT(engine),
     .words = fc_engine_words,
     .n_words = FC_ENGINES,
     .def = "vllm",
     .help = "Serving engine whose operators and overheads count; none: the profile's forms, nothing on the "
             "host."},
    {.key = "operators",
     .kind = FC_FIELD_ENUM,
     AT(operators),
     .words = fc_operators_words,
     .n_words = 2,
     .help =
         "Of iterations: as measured for this engine, where a profile has tables, or the profiles' forms."},
    {.key = "host",
     .kind = FC_FIELD_STRUCT,
     AT(host),
     .sub = &fc_schema_host,
     .help = "Overheads beside the kernels."},
    {.key = "policy",
     .kind = FC_FIELD_TEXT,
     AT(policy),
     .example = "vllm",
     .help = "Of the scheduler: vllm, sglang, trtllm, ...; absent: the engine's, else vllm."},
    {.key = "devices",
     .kind = FC_FIELD_LIST,
     AT(devices),
     .count_offset = offsetof(fc_plan_def, n_devices),
     .required = true,
     .min_items = 1,
     .max_items = DEVICES_MAX,
     .sub = &candidate,
     .help = "Devices to choose from."},
    {.key = "load",
     .kind = FC_FIELD_STRUCT,
     AT(load),
     .sub = &load,
     .required = true,
     .help = "The requests that must be served."},
    {.key = "slo", .kind = FC_FIELD_STRUCT, AT(slo), .sub = &slo, .help = "What must be met."},
    {.key = "devices_max",
     .kind = FC_FIELD_COUNT,
     AT(devices_max),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e7,
     .example = "64",
     .help = "Devices of the deployment at most; absent: any number."},
    {.key = "search", .kind = FC_FIELD_STRUCT, AT(search), .sub = &searching, .help = "How hard is looked."},
    FC_KEY_MARKET_DATE,
};

static void check(fc_reader *r, void *object, const fc_node *map) {
  fc_plan_def *def = object;
  fc_serve_policy policy;
  const fc_node *word = fc_node_find(map, "policy");
  if (!def->policy) def->policy = def->engine == FC_ENGINE_NONE ? "vllm" : fc_engine_words[def->engine];
  fc_fill_host(&def->host, def->engine, fc_node_find(map, "host"));
  if (!fc_serve_policy_named(&policy, def->policy))
    (void)fc_reader_error(r, word ? word : map,
                          "no policy '%.40s': vllm, sglang, trtllm or trtllm_max_utilisation", def->policy);
}

const fc_schema fc_schema_plan = {"plan",
                                  "Which deployment of a model is the cheapest that meets an objective.",
                                  sizeof(fc_plan_def),
                                  FC_COUNT_OF(fields),
                                  fields,
                                  check};
