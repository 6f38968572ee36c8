/* SPDX-License-Identifier: Apache-2.0 */
#include "reader.h"
#include "tables_file.h"
#include "tables_plan.h"

enum { MAX_ITEMS = 1000 };

static const int categories_of_runs[] = {FC_CATEGORY_PRE_TRAINING, FC_CATEGORY_POST_TRAINING,
                                         FC_CATEGORY_FINE_TUNING, FC_CATEGORY_EXPERIMENTS};
static const char *const run_categories[] = {"pre_training", "post_training", "fine_tuning", "experiments"};
static const int categories_of_streams[] = {FC_CATEGORY_EXPERIMENTS, FC_CATEGORY_FINE_TUNING,
                                            FC_CATEGORY_POST_TRAINING};
static const char *const stream_categories[] = {"experiments", "fine_tuning", "post_training"};

/* A list of pools that was left out means all of them. */
static void all_pools_if_none(fc_reader *r, size_t *n, const int32_t **pools) {
  const fc_node *list = fc_node_find(r->root, "pools");
  if (*n || !list || list->kind != FC_NODE_LIST) return;
  int32_t *index = fc_reader_alloc(r, list->n, sizeof *index);
  if (!index) return;
  for (size_t i = 0; i < list->n; i++) index[i] = (int32_t)i;
  *pools = index;
  *n = list->n;
}

/* --- services --- */

#define AT(member) .offset = offsetof(fc_service_def, member)

static const char *const scaling_words[] = {"hourly", "peak"};

static const fc_field service_fields[] = {
    {.key = "name",
     .kind = FC_FIELD_TEXT,
     AT(name),
     .required = true,
     .help = "Name, unique among services."},
    FC_KEY_MODEL("The model that is served."),
    {.key = "demand",
     .kind = FC_FIELD_SERIES,
     AT(tokens_per_s),
     .dim = DIM_TOKENS_PER_S,
     .min = 0,
     .max = 1e18,
     .required = true,
     .help = "Tokens by time, input (cached too) and output together."},
    {.key = "request",
     .kind = FC_FIELD_STRUCT,
     AT(request),
     .sub = &fc_schema_request,
     .required = true,
     .help = "Lengths of a request."},
    {.key = "shape",
     .kind = FC_FIELD_REF,
     AT(shape),
     .refers = FC_INPUT_SHAPE,
     .help = "How the load breathes by the hour of the week; absent: flat."},
    {.key = "burst",
     .kind = FC_FIELD_NUMBER,
     AT(burst_sigma),
     .min = 0,
     .max = 2,
     .def = "0",
     .example = "0.2",
     .help = "Standard deviation of the logarithm of an hourly random factor of mean 1."},
    {.key = "burst_time",
     .kind = FC_FIELD_NUMBER,
     AT(burst_time_s),
     .dim = DIM_SECONDS,
     .min = 60,
     .max = FC_YEAR_S,
     .def = "1 h",
     .example = "1 h",
     .help = "Correlation time of that factor."},
    {.key = "slo",
     .kind = FC_FIELD_STRUCT,
     AT(slo),
     .sub = &fc_schema_slo,
     .help = "Service-level objective."},
    {.key = "deployment",
     .kind = FC_FIELD_STRUCT,
     AT(deployment),
     .sub = &fc_schema_deployment,
     .help = "How one deployment is laid out; absent: chosen."},
    FC_KEY_POOLS(fc_service_def, "Pools in order of preference; default all."),
    {.key = "scaling",
     .kind = FC_FIELD_ENUM,
     AT(scaling),
     .words = scaling_words,
     .n_words = 2,
     .def = "hourly",
     .help = "Follow the load hour by hour, or hold the week's peak."},
    {.key = "headroom",
     .kind = FC_FIELD_NUMBER,
     AT(headroom),
     .min = 0,
     .max = 10,
     .def = "0.1",
     .example = "10 %",
     .help = "Capacity held above the forecast, as a share of it."},
    {.key = "patience",
     .kind = FC_FIELD_NUMBER,
     AT(patience_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = FC_YEAR_S,
     .def = "1 h",
     .example = "1 h",
     .help = "Tokens that waited longer are dropped."},
    FC_KEY_PRIORITY("0"),
    {.key = "efficiency",
     .kind = FC_FIELD_NUMBER,
     AT(efficiency_per_year),
     .min = 0.01,
     .max = 100,
     .def = "1",
     .example = "1.5x",
     .help = "Yearly factor by which software serves more tokens a device, from the start."},
};

static void check_service(fc_reader *r, void *object, const fc_node *map) {
  fc_service_def *s = object;
  all_pools_if_none(r, &s->n_pools, &s->pools);
  fc_check_deployment(r, &s->deployment, fc_node_find(map, "deployment"));
}

static const fc_schema service = {"service",
                                  "Tokens that are asked for, of one model.",
                                  sizeof(fc_service_def),
                                  FC_COUNT_OF(service_fields),
                                  service_fields,
                                  check_service};

/* --- runs --- */

#undef AT
#define AT(member) .offset = offsetof(fc_run_def, member)

static const fc_field run_fields[] = {
    {.key = "name", .kind = FC_FIELD_TEXT, AT(name), .required = true, .help = "Name, unique among runs."},
    {.key = "category",
     .kind = FC_FIELD_ENUM,
     AT(category),
     .words = run_categories,
     .n_words = 4,
     .values = categories_of_runs,
     .def = "pre_training",
     .help = "What its compute counts as."},
    {.key = "start", .kind = FC_FIELD_DATE, AT(date), .required = true, .help = "Earliest start."},
    FC_KEY_MODEL("The model that is trained, or whose kernels stand for the work."),
    {.key = "tokens",
     .kind = FC_FIELD_NUMBER,
     AT(tokens),
     .dim = DIM_TOKENS,
     .min = 0,
     .max = 1e20,
     .help = "Work as tokens; else give 'flop'."},
    {.key = "flop",
     .kind = FC_FIELD_NUMBER,
     AT(flop),
     .dim = DIM_FLOP,
     .min = 0,
     .max = 1e32,
     .help = "Work as useful FLOP; else give 'tokens'."},
    {.key = "rollout_tokens",
     .kind = FC_FIELD_NUMBER,
     AT(rollout_tokens),
     .dim = DIM_TOKENS,
     .min = 0,
     .max = 1e20,
     .def = "0",
     .help = "Tokens generated for reinforcement learning within the run."},
    {.key = "rollout",
     .kind = FC_FIELD_STRUCT,
     AT(rollout),
     .sub = &fc_schema_rollout,
     .help = "Mean lengths of a rollout."},
    {.key = "devices",
     .kind = FC_FIELD_COUNT,
     AT(devices),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e8,
     .required = true,
     .help = "Gang size: devices that the run holds at once."},
    FC_KEY_POOLS(fc_run_def, "Pools in order of preference; default all."),
    {.key = "plan",
     .kind = FC_FIELD_STRUCT,
     AT(plan),
     .sub = &fc_schema_train_plan,
     .help = "Parallel plan; what is left out is chosen."},
    {.key = "failure",
     .kind = FC_FIELD_STRUCT,
     AT(failure),
     .sub = &fc_schema_failure,
     .help = "Interruptions."},
    FC_KEY_PRIORITY("3"),
    FC_KEY_PREEMPTIBLE,
};

static void check_run(fc_reader *r, void *object, const fc_node *map) {
  fc_run_def *run = object;
  all_pools_if_none(r, &run->n_pools, &run->pools);
  if (!(run->tokens > 0) == !(run->flop > 0))
    (void)fc_reader_error(r, map, "a run wants one of 'tokens' and 'flop'");
}

static const fc_schema run = {
    "run", "One dated training run.", sizeof(fc_run_def), FC_COUNT_OF(run_fields), run_fields, check_run};

/* --- streams and other work --- */

#undef AT
#define AT(member) .offset = offsetof(fc_stream_def, member)

static const fc_field stream_fields[] = {
    {.key = "name", .kind = FC_FIELD_TEXT, AT(name), .required = true, .help = "Name, unique among streams."},
    {.key = "category",
     .kind = FC_FIELD_ENUM,
     AT(category),
     .words = stream_categories,
     .n_words = 3,
     .values = categories_of_streams,
     .def = "experiments",
     .help = "What its compute counts as."},
    FC_KEY_MODEL("The model whose kernels stand for the work."),
    {.key = "rate",
     .kind = FC_FIELD_SERIES,
     AT(rate_per_s),
     .dim = DIM_PER_S,
     .min = 0,
     .max = 1e6,
     .help = "Jobs by time; else give 'load'."},
    {.key = "load",
     .kind = FC_FIELD_SERIES,
     AT(load_devices),
     .dim = DIM_DEVICES,
     .min = 0,
     .max = 1e10,
     .example = "258 k devices",
     .help = "Mean H100-equivalents kept busy, from which the rate follows; else give 'rate'."},
    {.key = "work",
     .kind = FC_FIELD_DIST,
     AT(work_device_s),
     .dim = DIM_DEVICE_SECONDS,
     .min = 1,
     .max = 1e15,
     .required = true,
     .help = "Work of one job in H100-equivalent device-time; drawn anew for each."},
    {.key = "devices",
     .kind = FC_FIELD_DIST,
     AT(devices),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e8,
     .required = true,
     .help = "Gang size of one job, rounded to whole nodes; drawn anew for each."},
    {.key = "rollout_share",
     .kind = FC_FIELD_NUMBER,
     AT(rollout_share),
     .min = 0,
     .max = 1,
     .def = "0",
     .example = "70 %",
     .help = "Share of a job's devices that generate rollouts for reinforcement learning."},
    FC_KEY_POOLS(fc_stream_def, "Pools in order of preference; default all."),
    {.key = "failure",
     .kind = FC_FIELD_STRUCT,
     AT(failure),
     .sub = &fc_schema_failure,
     .help = "Interruptions."},
    FC_KEY_PRIORITY("6"),
    FC_KEY_PREEMPTIBLE,
};

static void check_stream(fc_reader *r, void *object, const fc_node *map) {
  fc_stream_def *s = object;
  all_pools_if_none(r, &s->n_pools, &s->pools);
  if (!s->rate_per_s.n == !s->load_devices.n)
    (void)fc_reader_error(r, map, "a stream wants one of 'rate' and 'load'");
}

static const fc_schema stream = {"stream",
                                 "Jobs that arrive at random: a marked Poisson process.",
                                 sizeof(fc_stream_def),
                                 FC_COUNT_OF(stream_fields),
                                 stream_fields,
                                 check_stream};

#undef AT
#define AT(member) .offset = offsetof(fc_other_def, member)

static const fc_field other_fields[] = {
    {.key = "name",
     .kind = FC_FIELD_TEXT,
     AT(name),
     .required = true,
     .help = "Name, unique among the others."},
    FC_KEY_POOLS(fc_other_def, "Pools that it takes from; default all."),
    {.key = "share",
     .kind = FC_FIELD_SERIES,
     AT(share),
     .min = 0,
     .max = 1,
     .required = true,
     .example = "20 %",
     .help = "Share of the running devices."},
};

static void check_other(fc_reader *r, void *object, const fc_node *map) {
  fc_other_def *o = object;
  (void)map;
  all_pools_if_none(r, &o->n_pools, &o->pools);
}

static const fc_schema other = {
    "other use",          "Exogenous use of a share of pools: recommenders, vision.",
    sizeof(fc_other_def), FC_COUNT_OF(other_fields),
    other_fields,         check_other};

/* --- policies --- */

#undef AT
#define AT(member) .offset = offsetof(fc_policy_def, member)

static const char *const policy_words[] = {"scale_deliveries", "redirect", "scale_demand",
                                           "scale_efficiency"};

static const fc_field policy_fields[] = {
    {.key = "name",
     .kind = FC_FIELD_TEXT,
     AT(name),
     .required = true,
     .help = "Name, unique among policies."},
    {.key = "kind",
     .kind = FC_FIELD_ENUM,
     AT(kind),
     .words = policy_words,
     .n_words = 4,
     .required = true,
     .help = "What it changes; 'redirect' sends the blocked share (1 - factor) to pool 'to'."},
    {.key = "date", .kind = FC_FIELD_DATE, AT(date), .required = true, .help = "From when."},
    {.key = "until", .kind = FC_FIELD_DATE, AT(until), .help = "Until when; default the scenario's end."},
    {.key = "pool", .kind = FC_FIELD_NAME, AT(pool), .target = "pools", .help = "Pool; default all."},
    {.key = "to", .kind = FC_FIELD_NAME, AT(to), .target = "pools", .help = "Pool that a redirect sends to."},
    {.key = "service",
     .kind = FC_FIELD_NAME,
     AT(service),
     .target = "services",
     .help = "Service; default all."},
    {.key = "factor",
     .kind = FC_FIELD_NUMBER,
     AT(factor),
     .min = 0,
     .max = 1e6,
     .required = true,
     .example = "0.5",
     .help = "What the quantity is multiplied by; 0: blocked."},
};

static void check_policy(fc_reader *r, void *object, const fc_node *map) {
  const fc_policy_def *p = object;
  const fc_node *to = fc_node_find(map, "to"), *service_key = fc_node_find(map, "service");
  bool moves = p->kind == FC_POLICY_REDIRECT, supplies = moves || p->kind == FC_POLICY_SCALE_DELIVERIES;
  if (moves && (!to || p->pool < 0)) (void)fc_reader_error(r, map, "policy 'redirect' wants 'pool' and 'to'");
  if (moves && to && p->to == p->pool)
    (void)fc_reader_error(r, to, "policy 'redirect' sends a pool's devices to itself");
  if (moves && p->factor > 1)
    (void)fc_reader_error(r, fc_node_find(map, "factor"),
                          "'factor' = %g of policy 'redirect' is outside [0, 1]", p->factor);
  if (!moves && to) (void)fc_reader_key_error(r, to, "'to' belongs to policy 'redirect'");
  if (supplies && service_key)
    (void)fc_reader_key_error(r, service_key, "policy '%s' is not about a service", policy_words[p->kind]);
  if (p->kind == FC_POLICY_SCALE_DEMAND && fc_node_find(map, "pool"))
    (void)fc_reader_key_error(r, fc_node_find(map, "pool"), "policy 'scale_demand' is not about a pool");
  if (fc_node_find(map, "until") && p->until <= p->date)
    (void)fc_reader_error(r, fc_node_find(map, "until"), "'until' is not after 'date'");
}

static const fc_schema policy = {
    "policy",    "A change from a date on.", sizeof(fc_policy_def), FC_COUNT_OF(policy_fields), policy_fields,
    check_policy};

/* --- the scenario --- */

#undef AT
#define AT(member) .offset = offsetof(fc_fleet_def, member)
#define ITEMS(member)                                                                                        \
  .kind = FC_FIELD_LIST, AT(member), .count_offset = offsetof(fc_fleet_def, n_##member),                     \
  .max_items = MAX_ITEMS

static const char *const bucket_words[] = {"hour", "day", "month"};
static const char *const residual_words[] = {"idle", "unexplained"};
static const char *const serving_words[] = {"closed_form", "surface"};
static const char *const operators_words[] = {"forms", "measured"};

static const fc_field fields[] = {
    FC_KEY_FILE_NAME,
    {.key = "question", .kind = FC_FIELD_TEXT, AT(question), .help = "The question that the scenario asks."},
    {.key = "scope",
     .kind = FC_FIELD_TEXT,
     AT(scope),
     .help = "Whose compute it is: one lab, world GenAI, …"},
    {.key = "start", .kind = FC_FIELD_DATE, AT(start), .required = true, .help = "First instant."},
    {.key = "end", .kind = FC_FIELD_DATE, AT(end), .required = true, .help = "First instant after the end."},
    {.key = "epoch",
     .kind = FC_FIELD_NUMBER,
     AT(epoch_s),
     .dim = DIM_SECONDS,
     .min = 60,
     .max = FC_YEAR_S,
     .def = "1 h",
     .example = "1 h",
     .help = "Serving is planned anew this often."},
    FC_KEY_SEED("Seed of all random numbers."),
    {.key = "bucket",
     .kind = FC_FIELD_ENUM,
     AT(bucket),
     .words = bucket_words,
     .n_words = 3,
     .def = "month",
     .help = "Rows of timeseries.csv."},
    {.key = "residual",
     .kind = FC_FIELD_BOOL,
     AT(residual_is_unexplained),
     .words = residual_words,
     .n_words = 2,
     .def = "idle",
     .help = "What installed devices without work count as."},
    {.key = "serving",
     .kind = FC_FIELD_ENUM,
     AT(serving),
     .words = serving_words,
     .n_words = 2,
     .def = "surface",
     .help = "Rates of services: the request-level engine's, or formulas of means."},
    {.key = "operators",
     .kind = FC_FIELD_ENUM,
     AT(operators),
     .words = operators_words,
     .n_words = 2,
     .def = "forms",
     .help = "What iterations of services and rollouts are composed of: the measured operators that vLLM "
             "would run, "
             "where a profile has tables, or the profile's forms."},
    {.key = "pools",
     ITEMS(pools),
     .sub = &fc_schema_pool,
     .min_items = 1,
     .required = true,
     .help = "Supply."},
    {.key = "services", ITEMS(services), .sub = &service, .help = "Serving."},
    {.key = "runs", ITEMS(runs), .sub = &run, .help = "Dated training runs."},
    {.key = "streams", ITEMS(streams), .sub = &stream, .help = "Random jobs: experiments, fine-tuning."},
    {.key = "other_ai",
     .kind = FC_FIELD_LIST,
     AT(others),
     .count_offset = offsetof(fc_fleet_def, n_others),
     .max_items = MAX_ITEMS,
     .sub = &other,
     .help = "Exogenous use."},
    {.key = "policies", ITEMS(policies), .sub = &policy, .help = "Changes from a date on."},
};

static void check(fc_reader *r, void *object, const fc_node *map) {
  fc_fleet_def *def = object;
  if (def->end <= def->start) {
    (void)fc_reader_error(r, fc_node_find(map, "end"), "'end' is not after 'start'");
    return;
  }
  if (def->epoch_s > fc_time_to_s(def->end - def->start))
    (void)fc_reader_error(r, fc_node_find(map, "epoch"), "'epoch' is longer than the scenario");
  /* the list is this reader's own memory, const only to the definition's users */
  for (size_t i = 0; i < def->n_policies; i++) {
    fc_policy_def *p = (fc_policy_def *)(uintptr_t)&def->policies[i];
    if (!p->until) p->until = def->end;
  }
}

const fc_schema fc_schema_scenario = {"scenario",
                                      "A fleet: supply, demand, training, policy, over years.",
                                      sizeof(fc_fleet_def),
                                      FC_COUNT_OF(fields),
                                      fields,
                                      check};
