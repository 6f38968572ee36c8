/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/load.h>

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

static const char FIVE[] = "arrival_s,input_tokens,output_tokens,class\n"
                           "0,10,1,chat\n1,20,2,batch\n2,30,3,\n6,40,4,chat\n8,50,5,batch\n";

static fc_load_def refused(size_t i, const char **why, const fc_trace *t) {
  static const double shares[] = {1, -1}, zeros[] = {0, 0};
  static const char *const names[] = {"chats", "batch"};
  static const fc_demand_def no_rate = {0};
  static const fc_series_point backwards[] = {{1, 1}, {0, 1}};
  static const fc_series series = {.n = 2, .point = backwards};
  static const fc_demand_def unordered = {.rate = &series};
  fc_load_def def = fc_load_default_def();
  def.rate_per_s = 5;
  def.requests = 10;
#define REFUSE(number, text, ...)                                                                            \
  case number:                                                                                               \
    __VA_ARGS__;                                                                                             \
    *why = (text);                                                                                           \
    break
  *why = NULL;
  switch (i) {
    REFUSE(0, "rate_per_s = 0 is outside [1e-09, 1e+09]", def.rate_per_s = 0);
    REFUSE(1, "rate_per_s = nan is outside [1e-09, 1e+09]", def.rate_per_s = nan(""));
    REFUSE(2, "requests or duration_s must be set: the load would not end", def.requests = 0);
    REFUSE(3, "arrival_cv = 0 is outside [0.05, 20]", def.arrive = FC_ARRIVE_GAMMA; def.arrival_cv = 0);
    REFUSE(4, "input is no valid distribution", def.input = (fc_dist){0});
    REFUSE(5, "correlation = 1 is outside (-1, 1)", def.correlation = 1);
    REFUSE(6, "class_share[1] = -1 is negative", def.n_classes = 2; def.class_share = shares);
    REFUSE(7, "class_share adds up to 0", def.n_classes = 2; def.class_share = zeros);
    REFUSE(8, "trace must be set to be replayed", def.arrive = FC_ARRIVE_TRACE; def.rate_per_s = 0);
    REFUSE(9, "no request of the trace is in [from_s, until_s) = [9, inf)", def.trace = t; def.from_s = 9);
    REFUSE(10, "until_s = 2 is not after from_s = 2", def.trace = t; def.from_s = def.until_s = 2);
    REFUSE(11, "session.turns: replayed requests cannot be sessions", def.trace = t; def.in_order = true;
           def.session.turns = fc_dist_point(2));
    REFUSE(12, "class 'chat' of the trace is not among the 2 classes; did you mean 'chats'?", def.trace = t;
           def.in_order = true; def.n_classes = 2; def.class_name = names);
    REFUSE(13, "class 'batch' of the trace is not among the 1 classes", def.trace = t; def.in_order = true;
           def.n_classes = 1);
    REFUSE(14, "prefix.share = 1.5 is outside [0, 1]", def.prefix.share = 1.5);
    REFUSE(15, "entity is not below 2^48", def.entity = UINT64_C(1) << 48);
    REFUSE(16, "requests must be set: all of them come at once", def.requests = 0; def.duration_s = 5;
           def.arrive = FC_ARRIVE_AT_ONCE);
    REFUSE(17, "requests must be set: the trace, repeated, would stay at its one point of time",
           def.trace = t;
           def.arrive = FC_ARRIVE_TRACE; def.rate_per_s = 0; def.repeat = true; def.requests = 0;
           def.duration_s = 5; def.from_s = 7);
    REFUSE(19, "arrive = 9 is no kind of arrival", def.arrive = (fc_arrive)9);
    REFUSE(20, "the rate of demand is no valid series", def.demand = &unordered);
    REFUSE(21, "concurrency = 16777217 is above 16777216", def.concurrency = (1 << 24) + 1);
    REFUSE(22, "n_classes = 65537 is above 65536", def.n_classes = (1 << 16) + 1);
    REFUSE(18, "demand cannot shape arrivals that come at once or as recorded",
           def.arrive = FC_ARRIVE_AT_ONCE;
           def.demand = &no_rate);
  }
  return def;
}

Test(load_check, bad_definitions_are_told) {
  fc_trace *t;
  size_t n = 0;
  cr_assert_eq(fc_trace_parse(&t, "t", FIVE, strlen(FIVE), NULL), FC_OK);
  for (;; n++) {
    const char *why;
    fc_load_def def = refused(n, &why, t);
    if (!why) break;
    fc_diags d;
    fc_diags_init(&d);
    fc_load *l;
    cr_assert_eq(fc_load_new(&l, &def, "x.yaml", &d), FC_E_INPUT, "%s", why);
    bool told = false;
    for (size_t k = 0; k < d.n; k++) told = told || strcmp(d.item[k].text, why) == 0;
    cr_assert(!l && told && strcmp(d.item[0].source, "x.yaml") == 0, "%s; not: %s", why, d.item[0].text);
    cr_assert_eq(fc_load_new(&l, &def, "x.yaml", NULL), FC_E_INPUT);
  }
  cr_assert_eq(n, 23);
  fc_trace_free(t);
}

Test(load_check, the_default_lacks_a_rate_and_a_limit_alone) {
  fc_load_def def = fc_load_default_def();
  fc_diags d;
  fc_diags_init(&d);
  cr_assert_eq(fc_load_check(&def, "x", &d), FC_E_INPUT);
  cr_assert_eq(d.n, 2);
  def.rate_per_s = 1;
  def.duration_s = 1;
  cr_assert_eq(fc_load_check(&def, "x", NULL), FC_OK);
}
