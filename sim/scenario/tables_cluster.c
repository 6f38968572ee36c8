/* SPDX-License-Identifier: Apache-2.0 */
#include "reader.h"
#include "tables_serve.h"

/* Several instances behind a router: kind serve's cluster.  Defaults and their sources: serve/cluster.h. */

#define AT(member) .offset = offsetof(fc_serve_cluster, member)
#define SECONDS(name, at, high, otherwise, words)                                                            \
  {                                                                                                          \
    .key = (name), .kind = FC_FIELD_NUMBER, AT(at), .dim = DIM_SECONDS, .min = 0, .max = (high),             \
    .def = (otherwise), .example = "1 min", .help = (words)                                                  \
  }
#define COUNT(name, at, low, high, otherwise, words)                                                         \
  {                                                                                                          \
    .key = (name), .kind = FC_FIELD_COUNT, AT(at), .min = (low), .max = (high), .def = (otherwise),          \
    .help = (words)                                                                                          \
  }
#define NUMBER(name, at, low, high, otherwise, words)                                                        \
  {                                                                                                          \
    .key = (name), .kind = FC_FIELD_NUMBER, AT(at), .min = (low), .max = (high), .def = (otherwise),         \
    .example = (otherwise), .help = (words)                                                                  \
  }
#define DURATION(name, at, words)                                                                            \
  {                                                                                                          \
    .key = (name), .kind = FC_FIELD_DIST, AT(at), .dim = DIM_SECONDS, .min = 0, .max = FC_YEAR_S,            \
    .def = "0 s", .example = "2 min", .help = (words)                                                        \
  }

/* --- scaling --- */

static const char *const scale_words[] = {"none", "requests", "waiting", "tokens", "memory", "busy"};

static const fc_field scale_fields[] = {
    {.key = "on",
     .kind = FC_FIELD_ENUM,
     AT(scale.on),
     .words = scale_words,
     .n_words = FC_SCALES,
     .required = true,
     .help =
         "What is looked at, a replica: requests that wait or run, that wait, prompt tokens to come, share "
         "of the cache in use, share of time with requests."},
    NUMBER("target", scale.target, 1e-9, 1e12, "1", "What it should be, a replica."),
    COUNT("min", scale.replicas_min, 0, 1e5, "1", "Replicas at least."),
    COUNT("max", scale.replicas_max, 1, 1e5, "1", "Replicas at most."),
    SECONDS("interval", scale.interval_s, 1e6, "15 s", "Between looks (default: Kubernetes)."),
    NUMBER("tolerance", scale.tolerance, 0, 10, "10 %", "No change within it (default: Kubernetes)."),
    SECONDS("up_wait", scale.up_wait_s, 1e6, "0 s", "After a change none up for as long."),
    SECONDS("down_wait", scale.down_wait_s, 1e6, "300 s",
            "After a change none down for as long (default: Kubernetes)."),
    COUNT("up_most", scale.up_most, 0, 1e5, "0", "Replicas that a change adds at most; 0: no limit."),
    COUNT("down_most", scale.down_most, 0, 1e5, "0", "Replicas that a change takes at most; 0: no limit."),
    DURATION("provision", scale.provision_s, "From the wish to a machine; its cold start follows."),
};

static bool has_scale(const void *object) {
  return ((const fc_serve_cluster *)object)->scale.on != FC_SCALE_NONE;
}

static const fc_schema scaling = {
    "scaling", "How many replicas there are, as the load goes.", 0, FC_COUNT_OF(scale_fields), scale_fields,
    NULL};

/* --- failures --- */

static const fc_field failure_fields[] = {
    {.key = "mtbf",
     .kind = FC_FIELD_NUMBER,
     AT(failure.mean_s),
     .dim = DIM_SECONDS,
     .min = 1e-3,
     .max = 1e12,
     .example = "30 d",
     .help = "Mean time from coming up to failing, of a whole replica; absent: it never does."},
    NUMBER("shape", failure.shape, 0.1, 10, "1", "Weibull's; 1: exponential."),
    DURATION("repair", failure.repair_s, "Until its weights are loaded again."),
    COUNT("retries", retries, 0, 1e6, "5",
          "Of a request by its client, beyond which it is lost (default: SGLang's gateway)."),
    SECONDS("retry_after", failure.retry_after_s, 1e6, "50 ms",
            "From a failure until the client tries again (default: SGLang's gateway)."),
};

static bool has_failures(const void *object) {
  return ((const fc_serve_cluster *)object)->failure.mean_s > 0;
}

static const fc_schema failures = {"replica failures",
                                   "Replicas that break down with all they hold.",
                                   0,
                                   FC_COUNT_OF(failure_fields),
                                   failure_fields,
                                   NULL};

/* --- the cluster --- */

static const char *const route_words[] = {"round_robin", "random", "least_requests", "least_tokens",
                                          "two_choices", "prefix", "length",         "least_work"};

static const fc_field fields[] = {
    COUNT("replicas", replicas, 0, 1e5, "1", "At first, all up."),
    {.key = "route",
     .kind = FC_FIELD_ENUM,
     AT(route),
     .words = route_words,
     .n_words = FC_ROUTES,
     .def = "round_robin",
     .help = "Who gets a request."},
    NUMBER("prefix_share", prefix_share, 0, 1, "0.3",
           "Route by prefix: share of a prompt that a cache must hold (default: SGLang's gateway)."),
    NUMBER("guard_ratio", guard_ratio, 0, 1e6, "1.5",
           "Route by prefix: fewest requests where the fullest replica has so many times what the emptiest "
           "has."),
    COUNT("guard_requests", guard_requests, 0, 1e9, "64", "And more requests than this."),
    {.key = "length_below",
     .kind = FC_FIELD_NUMBERS,
     AT(length_below),
     .count_offset = offsetof(fc_serve_cluster, n_length_below),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1 << 30,
     .max_items = FC_LENGTHS_MAX - 1,
     .help = "Route by length: prompts shorter than each have replicas of their own."},
    {.key = "length_share",
     .kind = FC_FIELD_NUMBERS,
     AT(length_share),
     .count_offset = offsetof(fc_serve_cluster, n_length_share),
     .min = 1e-9,
     .max = 1e9,
     .max_items = FC_LENGTHS_MAX,
     .help = "Their shares of the replicas, the last of all longer prompts; absent: alike."},
    {.key = "output_known",
     .kind = FC_FIELD_BOOL,
     AT(output_known),
     .help = "Route by least work: outputs are known before; else their mean so far."},
    {.key = "scaling",
     .kind = FC_FIELD_STRUCT,
     .offset = 0,
     .sub = &scaling,
     .is_set = has_scale,
     .help = "Replicas that come and go with the load; absent: none do."},
    {.key = "failures",
     .kind = FC_FIELD_STRUCT,
     .offset = 0,
     .sub = &failures,
     .is_set = has_failures,
     .help = "Replicas that break down; absent: none do."},
    {.key = "load_rate",
     .kind = FC_FIELD_NUMBER,
     AT(load_bytes_per_s),
     .dim = DIM_BYTES_PER_S,
     .min = 1,
     .max = 1e18,
     .example = "10 GB/s",
     .help = "At which all weights of an instance are loaded at a cold start; absent: at once."},
    SECONDS("load_extra", load_extra_s, 1e6, "0 s", "Of a cold start, beside: process, graphs, warm-up."),
    COUNT("router_queue", router_queue, 0, 1e15, "1e15",
          "Requests that may wait for a replica to be up; more are refused."),
    {.key = "sample",
     .kind = FC_FIELD_NUMBER,
     AT(sample_s),
     .dim = DIM_SECONDS,
     .min = 1e-3,
     .max = 1e6,
     .def = "10 s",
     .example = "10 s",
     .help = "Between rows of cluster.csv, written where a timeline is asked for."},
};

static void check(fc_reader *r, void *object, const fc_node *map) {
  const fc_serve_cluster *c = object;
  const fc_node *scale = fc_node_find(map, "scaling"), *share = fc_node_find(map, "length_share");
  if (c->scale.on == FC_SCALE_NONE && c->replicas < 1)
    (void)fc_reader_error(r, map, "'replicas' = 0 without 'scaling'");
  if (scale && c->scale.on != FC_SCALE_NONE &&
      (c->scale.replicas_max < c->replicas || c->scale.replicas_max < c->scale.replicas_min))
    (void)fc_reader_error(r, scale, "'max' = %lld is below 'min' or 'replicas'",
                          (long long)c->scale.replicas_max);
  if (share && c->n_length_share != c->n_length_below + 1)
    (void)fc_reader_error(r, share, "'length_share' wants one number more than 'length_below': %zu",
                          c->n_length_below + 1);
  for (size_t i = 1; i < c->n_length_below; i++)
    if (!(c->length_below[i] > c->length_below[i - 1]))
      (void)fc_reader_error(r, fc_node_find(map, "length_below"), "'length_below' does not increase");
}

const fc_schema fc_schema_cluster = {
    "cluster", "Several instances behind a router.", sizeof(fc_serve_cluster), FC_COUNT_OF(fields), fields,
    check};
