/* SPDX-License-Identifier: Apache-2.0 */
#include "reader.h"
#include "tables_serve.h"

/* What is asked of a deployment: kind serve's load, classes and stopping rule. */

enum { TOKENS_MAX = 1 << 30 };

/* --- the rate over time --- */

#define AT(member) .offset = offsetof(fc_serve_demand, member)

static const fc_field demand_fields[] = {
    {.key = "rate",
     .kind = FC_FIELD_SERIES,
     AT(rate_per_s),
     .dim = DIM_PER_S,
     .min = 0,
     .max = 1e9,
     .required = true,
     .example = "3 /s",
     .help = "Requests or sessions by time."},
    {.key = "shape",
     .kind = FC_FIELD_REF,
     AT(shape),
     .refers = FC_INPUT_SHAPE,
     .help = "How the rate breathes by the hour of the week; absent: flat."},
    {.key = "burst",
     .kind = FC_FIELD_NUMBER,
     AT(burst_sigma),
     .min = 0,
     .max = 10,
     .def = "0",
     .example = "0.2",
     .help = "Standard deviation of the logarithm of a random factor of mean 1."},
    {.key = "burst_time",
     .kind = FC_FIELD_NUMBER,
     AT(burst_time_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = FC_YEAR_S,
     .def = "0 s",
     .example = "5 min",
     .help = "Correlation time of that factor."},
    {.key = "start",
     .kind = FC_FIELD_DATE,
     AT(start),
     .help = "Date of the first instant; absent: 1970-01-01, a Thursday."},
    {.key = "epoch",
     .kind = FC_FIELD_NUMBER,
     AT(epoch_s),
     .dim = DIM_SECONDS,
     .min = 0.01,
     .max = 1e7,
     .def = "1 min",
     .example = "1 min",
     .help = "Within one the rate is constant."},
};
static const fc_schema demand = {
    "rate over time",        "A rate that changes: a series, a weekly shape, bursts.",
    sizeof(fc_serve_demand), FC_COUNT_OF(demand_fields),
    demand_fields,           NULL};

/* --- prefixes and sessions --- */

#undef AT
#define AT(member) .offset = offsetof(fc_serve_prefix, member)

static const fc_field prefix_fields[] = {
    {.key = "share",
     .kind = FC_FIELD_NUMBER,
     AT(share),
     .min = 0,
     .max = 1,
     .def = "0",
     .example = "60 %",
     .help = "Share of the requests or sessions that begin with a shared prefix."},
    {.key = "groups",
     .kind = FC_FIELD_COUNT,
     AT(groups),
     .min = 1,
     .max = 1 << 20,
     .def = "1",
     .example = "100",
     .help = "Different prefixes."},
    {.key = "zipf",
     .kind = FC_FIELD_NUMBER,
     AT(zipf),
     .min = 0,
     .max = 20,
     .def = "0",
     .example = "1",
     .help = "Group g is chosen in proportion to g^-zipf; 0: evenly."},
    {.key = "tokens",
     .kind = FC_FIELD_DIST,
     AT(tokens),
     .dim = DIM_TOKENS,
     .min = 0,
     .max = TOKENS_MAX,
     .def = "0",
     .example = "2048 tokens",
     .help = "Length of a group's prefix, drawn once a group."},
    {.key = "adds",
     .kind = FC_FIELD_BOOL,
     AT(adds),
     .help = "The prefix comes on top of the drawn input; else it is part of it."},
};
static const fc_schema prefix = {"prefix",
                                 "Beginnings that prompts have in common.",
                                 sizeof(fc_serve_prefix),
                                 FC_COUNT_OF(prefix_fields),
                                 prefix_fields,
                                 NULL};

#undef AT
#define AT(member) .offset = offsetof(fc_serve_session, member)
#define DELAY(name, member, words)                                                                           \
  {                                                                                                          \
    .key = (name), .kind = FC_FIELD_DIST, AT(member), .dim = DIM_SECONDS, .min = 0, .max = 1e8,              \
    .def = "0 s", .example = "20 s", .help = (words)                                                         \
  }
#define LENGTH(name, member, words)                                                                          \
  {                                                                                                          \
    .key = (name), .kind = FC_FIELD_DIST, AT(member), .dim = DIM_TOKENS, .min = 1, .max = TOKENS_MAX,        \
    .def = "1", .example = "100 tokens", .help = (words)                                                     \
  }

static const fc_field session_fields[] = {
    {.key = "turns",
     .kind = FC_FIELD_DIST,
     AT(turns),
     .min = 1,
     .max = 65535,
     .def = "1",
     .example = "5",
     .help = "Requests of a session, each with all that was said before in its prompt."},
    DELAY("think", think_s, "Delay before a person's turn."),
    LENGTH("new_tokens", new_tokens, "Tokens that a person adds."),
    {.key = "tool_share",
     .kind = FC_FIELD_NUMBER,
     AT(tool_share),
     .min = 0,
     .max = 1,
     .def = "0",
     .example = "80 %",
     .help = "Share of the later turns that a tool's answer begins."},
    DELAY("tool", tool_s, "Delay before a tool's turn."),
    LENGTH("tool_tokens", tool_tokens, "Tokens that a tool's answer adds."),
};
static const fc_schema session = {"session",
                                  "Conversations and agents: several requests, one after the other.",
                                  sizeof(fc_serve_session),
                                  FC_COUNT_OF(session_fields),
                                  session_fields,
                                  NULL};

/* --- the load --- */

#undef AT
#define AT(member) .offset = offsetof(fc_serve_traffic, member)
#define TOKEN_LIMIT(name, low, high, otherwise, words)                                                       \
  {                                                                                                          \
    .key = #name, .kind = FC_FIELD_COUNT, AT(name), .dim = DIM_TOKENS, .min = (low), .max = (high),          \
    .def = (otherwise), .example = "131072 tokens", .help = (words)                                          \
  }

static const char *const arrive_words[] = {"auto",   "poisson", "gamma", "weibull",
                                           "evenly", "at_once", "trace"};

static const fc_field traffic_fields[] = {
    {.key = "trace",
     .kind = FC_FIELD_TEXT,
     AT(trace),
     .help = "Recorded requests: Azure CSV, Mooncake JSONL or own CSV, perhaps gzip; a path relative to this "
             "file."},
    {.key = "arrive",
     .kind = FC_FIELD_ENUM,
     AT(arrive),
     .words = arrive_words,
     .n_words = FC_COUNT_OF(arrive_words),
     .def = "auto",
     .help = "How requests or sessions come; auto: as recorded where there is a trace, at once where there "
             "is a concurrency and no rate, else poisson."},
    {.key = "rate",
     .kind = FC_FIELD_NUMBER,
     AT(rate_per_s),
     .dim = DIM_PER_S,
     .min = 1e-9,
     .max = 1e9,
     .example = "3 /s",
     .help = "Requests or sessions by time; of a replayed trace, what its time is compressed to."},
    {.key = "rate_scale",
     .kind = FC_FIELD_NUMBER,
     AT(rate_scale),
     .min = 1e-6,
     .max = 1e6,
     .def = "1",
     .example = "2x",
     .help = "A factor on all rates, recorded ones too."},
    {.key = "cv",
     .kind = FC_FIELD_NUMBER,
     AT(arrival_cv),
     .min = 0.05,
     .max = 20,
     .def = "1",
     .example = "2",
     .help = "Coefficient of variation of the gaps; gamma and weibull alone."},
    {.key = "demand", .kind = FC_FIELD_OWN, AT(demand), .sub = &demand, .help = "A rate that changes."},
    {.key = "requests",
     .kind = FC_FIELD_COUNT,
     AT(requests),
     .min = 1,
     .max = 1e12,
     .example = "20000",
     .help = "At most so many; absent: 10 million, or as many as the trace has."},
    {.key = "duration",
     .kind = FC_FIELD_NUMBER,
     AT(duration_s),
     .dim = DIM_SECONDS,
     .min = 1e-3,
     .max = 3e9,
     .example = "1 h",
     .help = "Nothing arrives at or after it; absent: no limit."},
    {.key = "repeat", .kind = FC_FIELD_BOOL, AT(repeat), .help = "A trace is begun anew at its end."},
    {.key = "in_order",
     .kind = FC_FIELD_BOOL,
     AT(in_order),
     .help = "With arrivals of another kind: a trace's lengths one after the other, not drawn."},
    {.key = "concurrency",
     .kind = FC_FIELD_COUNT,
     AT(concurrency),
     .min = 1,
     .max = 1 << 24,
     .example = "64",
     .help = "Requests or sessions under way at most; absent: an open loop."},
    {.key = "ramp",
     .kind = FC_FIELD_NUMBER,
     AT(ramp_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 1e8,
     .def = "0 s",
     .example = "10 s",
     .help = "The first ones of a closed loop come evenly over it."},
    DELAY("pause", pause_s, "From one's end to the start of the one that waited for it, in a closed loop."),
    {.key = "from",
     .kind = FC_FIELD_NUMBER,
     AT(from_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 3e9,
     .def = "0 s",
     .example = "10 min",
     .help = "The trace's requests from then on alone."},
    {.key = "until",
     .kind = FC_FIELD_NUMBER,
     AT(until_s),
     .dim = DIM_SECONDS,
     .min = 1e-3,
     .max = 3e9,
     .example = "1 h",
     .help = "The trace's requests before then alone; absent: to its end."},
    {.key = "input",
     .kind = FC_FIELD_DIST,
     AT(input),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = TOKENS_MAX,
     .def = "1024",
     .example = "1024 tokens",
     .help = "Prompt (default: vLLM's bench serve)."},
    {.key = "output",
     .kind = FC_FIELD_DIST,
     AT(output),
     .dim = DIM_TOKENS,
     .min = 0,
     .max = TOKENS_MAX,
     .def = "128",
     .example = "128 tokens",
     .help = "Tokens generated (default: vLLM's bench serve)."},
    {.key = "correlation",
     .kind = FC_FIELD_NUMBER,
     AT(correlation),
     .min = -0.999,
     .max = 0.999,
     .def = "0",
     .example = "0.3",
     .help = "Of input and output, as normal scores."},
    TOKEN_LIMIT(input_max, 1, TOKENS_MAX, "1048576", "Longer prompts are cut."),
    TOKEN_LIMIT(output_max, 0, TOKENS_MAX, "1048576", "Longer outputs are cut."),
    TOKEN_LIMIT(context_max, 1, TOKENS_MAX, "131072",
                "Prompt and output of a turn; a session that would pass it ends."),
    TOKEN_LIMIT(block_tokens, 0, 1 << 20, "512",
                "Of a named block of a prompt (default: Mooncake's); 0: none."),
    {.key = "prefix",
     .kind = FC_FIELD_STRUCT,
     AT(prefix),
     .sub = &prefix,
     .help = "Beginnings that prompts have in common."},
    {.key = "session",
     .kind = FC_FIELD_STRUCT,
     AT(session),
     .sub = &session,
     .help = "Conversations and agents; not of replayed requests."},
};

static void check_traffic(fc_reader *r, void *object, const fc_node *map) {
  const fc_serve_traffic *t = object;
  if (t->demand && t->rate_per_s > 0)
    (void)fc_reader_key_error(r, fc_node_find(map, "rate"), "'rate' and 'demand' say the same; keep one");
  if (t->until_s > 0 && t->until_s <= t->from_s)
    (void)fc_reader_error(r, fc_node_find(map, "until"), "'until' is not after 'from'");
  bool gaps = t->arrive == FC_SERVE_ARRIVE_GAMMA || t->arrive == FC_SERVE_ARRIVE_WEIBULL;
  if (fc_node_find(map, "cv") && !gaps && (t->arrival_cv < 1 || t->arrival_cv > 1))
    (void)fc_reader_key_error(r, fc_node_find(map, "cv"), "'cv' belongs to 'arrive' gamma or weibull");
}

const fc_schema fc_schema_traffic = {"load",
                                     "The requests that are sent.",
                                     sizeof(fc_serve_traffic),
                                     FC_COUNT_OF(traffic_fields),
                                     traffic_fields,
                                     check_traffic};

/* --- promises --- */

#undef AT
#define AT(member) .offset = offsetof(fc_serve_class, member)
#define LIMIT(name, words)                                                                                   \
  {                                                                                                          \
    .key = #name, .kind = FC_FIELD_NUMBER, AT(name##_s), .dim = DIM_SECONDS, .min = 1e-6, .max = 1e6,        \
    .example = "50 ms", .help = (words)                                                                      \
  }

static const fc_field class_fields[] = {
    {.key = "name",
     .kind = FC_FIELD_TEXT,
     AT(name),
     .required = true,
     .help = "Name, unique among classes; a trace's column `class` names them."},
    {.key = "share",
     .kind = FC_FIELD_NUMBER,
     AT(share),
     .min = 0,
     .max = 1e9,
     .def = "1",
     .example = "80 %",
     .help = "Share of the requests that no trace gives a class, of any sum."},
    LIMIT(ttft, "Time to first token at most; absent: no promise."),
    LIMIT(tpot, "Time per output token after the first at most; absent: no promise."),
    LIMIT(e2e, "Time to the last token at most; absent: no promise."),
};
const fc_schema fc_schema_class = {"class",
                                   "Requests that are promised the same.",
                                   sizeof(fc_serve_class),
                                   FC_COUNT_OF(class_fields),
                                   class_fields,
                                   NULL};

#undef AT
#define AT(member) .offset = offsetof(fc_serve_stop, member)

static const fc_field stop_fields[] = {
    {.key = "width",
     .kind = FC_FIELD_NUMBER,
     AT(width),
     .min = 0,
     .max = 1,
     .def = "5 %",
     .example = "5 %",
     .help = "Half the 95 % interval of every percentile over its value, at which the run may stop; 0: the "
             "load runs to its end, as a replayed trace always does."},
    {.key = "warm_up",
     .kind = FC_FIELD_NUMBER,
     AT(warm_up),
     .min = 0,
     .max = 0.9,
     .def = "10 %",
     .example = "10 %",
     .help = "Share of the requests, the first ones, that is left out; benchmark clients leave out none."},
};
const fc_schema fc_schema_stop = {"stopping rule",       "When the answer is good enough.",
                                  sizeof(fc_serve_stop), FC_COUNT_OF(stop_fields),
                                  stop_fields,           NULL};
