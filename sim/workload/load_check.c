/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/load.h>

#include <math.h>

#include <fleetcast/base/assert.h>

enum { CLASSES_MAX = 1 << 16, GROUPS_MAX = 1 << 20, CONCURRENCY_MAX = 1 << 24 };
static const double LONGEST_S = 3.2e9; /* a century: times stay far from the end of fc_time */

fc_load_def fc_load_default_def(void) {
  fc_dist none = fc_dist_point(0), one = fc_dist_point(1);
  return (fc_load_def){
      .arrive = FC_ARRIVE_POISSON,
      .rate_scale = 1,
      .arrival_cv = 1,
      .epoch_s = 60,
      .pause_s = none,
      .until_s = HUGE_VAL,
      .input = fc_dist_point(1024),
      .output = fc_dist_point(128),
      .input_max = 1 << 20,
      .output_max = 1 << 20,
      .prefix = {.groups = 1, .tokens = none},
      .session = {.turns = one, .think_s = none, .new_tokens = one, .tool_s = none, .tool_tokens = one},
      .context_max = 1 << 17,
      .block_tokens = FC_TRACE_BLOCK_TOKENS,
  };
}

fc_dist fc_dist_lognormal_cv(double mean, double cv) {
  FC_ASSERT(mean > 0 && cv >= 0);
  double sigma = sqrt(log1p(cv * cv));
  return (fc_dist){.kind = FC_DIST_LOGNORMAL,
                   .a = mean * exp(-sigma * sigma / 2),
                   .b = sigma,
                   .min = -HUGE_VAL,
                   .max = HUGE_VAL};
}

typedef struct {
  const char *source;
  fc_diags *d;
  fc_status status;
} checking;

#define FAULT(c, ...) ((c)->status = fc_diag_error((c)->d, (c)->source, ((fc_pos){0, 0}), __VA_ARGS__))

static void check_range(checking *c, const char *name, double value, double low, double high) {
  if (!(value >= low && value <= high)) FAULT(c, "%s = %g is outside [%g, %g]", name, value, low, high);
}

static void check_dist(checking *c, const char *name, const fc_dist *dist) {
  if (!fc_dist_is_valid(dist)) FAULT(c, "%s is no valid distribution", name);
}

static bool replays(const fc_load_def *def) {
  return def->arrive == FC_ARRIVE_TRACE || (def->trace && def->in_order);
}

static void check_arrivals(checking *c, const fc_load_def *def) {
  if ((unsigned)def->arrive > FC_ARRIVE_TRACE)
    FAULT(c, "arrive = %d is no kind of arrival", (int)def->arrive);
  bool renewal = def->arrive < FC_ARRIVE_AT_ONCE;
  if (renewal && !def->demand) check_range(c, "rate_per_s", def->rate_per_s, 1e-9, 1e9);
  if (def->arrive == FC_ARRIVE_TRACE && def->rate_per_s != 0)
    check_range(c, "rate_per_s", def->rate_per_s, 1e-9, 1e9);
  check_range(c, "rate_scale", def->rate_scale, 1e-6, 1e6);
  if (def->arrive == FC_ARRIVE_GAMMA || def->arrive == FC_ARRIVE_WEIBULL)
    check_range(c, "arrival_cv", def->arrival_cv, 0.05, 20);
  check_range(c, "epoch_s", def->epoch_s, 1e-2, 1e7);
  if (def->demand && !renewal) FAULT(c, "demand cannot shape arrivals that come at once or as recorded");
  if (def->demand) check_range(c, "demand_start", (double)def->demand_start, -4e18, 4e18);
  if (def->demand && !def->demand->rate) FAULT(c, "demand has no rate");
  if (def->demand && def->demand->rate && fc_series_check(def->demand->rate))
    FAULT(c, "the rate of demand is no valid series");
  if (def->demand) check_range(c, "demand's burst_sigma", def->demand->burst_sigma, 0, 10);
  if (def->demand) check_range(c, "demand's burst_s", def->demand->burst_s, 0, LONGEST_S);
}

static void check_limits(checking *c, const fc_load_def *def) {
  check_range(c, "duration_s", def->duration_s, 0, LONGEST_S);
  if (def->requests == 0 && def->duration_s == 0 && (!replays(def) || def->repeat))
    FAULT(c, "requests or duration_s must be set: the load would not end");
  if (def->requests == 0 && def->concurrency == 0 && def->arrive == FC_ARRIVE_AT_ONCE &&
      (!replays(def) || def->repeat))
    FAULT(c, "requests must be set: all of them come at once");
  if (def->concurrency > CONCURRENCY_MAX)
    FAULT(c, "concurrency = %zu is above %d", def->concurrency, (int)CONCURRENCY_MAX);
  check_range(c, "ramp_s", def->ramp_s, 0, LONGEST_S);
  check_dist(c, "pause_s", &def->pause_s);
  if (def->entity >> 48) FAULT(c, "entity is not below 2^48");
}

static void check_lengths(checking *c, const fc_load_def *def) {
  if (replays(def) && !def->trace) FAULT(c, "trace must be set to be replayed");
  check_range(c, "from_s", def->from_s, 0, LONGEST_S);
  if (!(def->until_s > def->from_s))
    FAULT(c, "until_s = %g is not after from_s = %g", def->until_s, def->from_s);
  check_dist(c, "input", &def->input);
  check_dist(c, "output", &def->output);
  if (!(fabs(def->correlation) < 1)) FAULT(c, "correlation = %g is outside (-1, 1)", def->correlation);
  check_range(c, "input_max", def->input_max, 1, FC_TRACE_TOKENS_MAX);
  check_range(c, "output_max", def->output_max, 0, FC_TRACE_TOKENS_MAX);
  check_range(c, "context_max", def->context_max, 1, FC_TRACE_TOKENS_MAX);
  check_range(c, "prefix.share", def->prefix.share, 0, 1);
  check_range(c, "prefix.groups", (double)def->prefix.groups, 1, GROUPS_MAX);
  check_range(c, "prefix.zipf", def->prefix.zipf, 0, 20);
  check_dist(c, "prefix.tokens", &def->prefix.tokens);
}

static void check_sessions(checking *c, const fc_load_def *def) {
  const fc_session_def *s = &def->session;
  check_dist(c, "session.turns", &s->turns);
  check_dist(c, "session.think_s", &s->think_s);
  check_dist(c, "session.new_tokens", &s->new_tokens);
  check_range(c, "session.tool_share", s->tool_share, 0, 1);
  check_dist(c, "session.tool_s", &s->tool_s);
  check_dist(c, "session.tool_tokens", &s->tool_tokens);
  if (replays(def) && !(s->turns.kind == FC_DIST_POINT && s->turns.a < 1.5))
    FAULT(c, "session.turns: replayed requests cannot be sessions");
}

static void check_classes(checking *c, const fc_load_def *def) {
  if (def->n_classes > CLASSES_MAX) FAULT(c, "n_classes = %zu is above %d", def->n_classes, (int)CLASSES_MAX);
  if (!def->class_share) return;
  double sum = 0;
  for (size_t i = 0; i < def->n_classes; i++) {
    if (!(def->class_share[i] >= 0)) FAULT(c, "class_share[%zu] = %g is negative", i, def->class_share[i]);
    sum += def->class_share[i];
  }
  if (def->n_classes > 0 && !(sum > 0 && isfinite(sum))) FAULT(c, "class_share adds up to %g", sum);
}

fc_status fc_load_check(const fc_load_def *def, const char *source, fc_diags *d) {
  checking c = {.source = source, .d = d, .status = FC_OK};
  check_arrivals(&c, def);
  check_limits(&c, def);
  check_lengths(&c, def);
  check_sessions(&c, def);
  check_classes(&c, def);
  return c.status;
}
