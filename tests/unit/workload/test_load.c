/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/load.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <gsl/gsl_cdf.h>

#include "load_server.h"

/* --- arrivals --- */

static const struct gaps {
  fc_arrive arrive;
  double cv;
} kinds[] = {{FC_ARRIVE_POISSON, 1},  {FC_ARRIVE_GAMMA, 0.3},   {FC_ARRIVE_GAMMA, 1},
             {FC_ARRIVE_GAMMA, 2.5},  {FC_ARRIVE_WEIBULL, 0.3}, {FC_ARRIVE_WEIBULL, 1},
             {FC_ARRIVE_WEIBULL, 2.5}};

/* Weibull shape of this cv by Newton's method on the closed form, apart from the library's bisection. */
static double weibull_shape(double cv) {
  double k = pow(cv, -1.086);
  for (int i = 0; i < 100; i++) {
    double h = 1e-6 * k, f[2];
    for (int j = 0; j < 2; j++) {
      double x = k + j * h;
      f[j] = tgamma(1 + 2 / x) / (tgamma(1 + 1 / x) * tgamma(1 + 1 / x)) - 1 - cv * cv;
    }
    k -= f[0] * h / (f[1] - f[0]);
  }
  return k;
}

static double gap_below(const struct gaps *k, double x) {
  if (k->arrive == FC_ARRIVE_GAMMA) return gsl_cdf_gamma_P(x, 1 / (k->cv * k->cv), k->cv * k->cv);
  double shape = k->arrive == FC_ARRIVE_WEIBULL ? weibull_shape(k->cv) : 1;
  return 1 - exp(-pow(x * tgamma(1 + 1 / shape), shape));
}

Test(load, gaps_have_their_distribution) {
  enum { N = 100000 };
  double *gap = malloc(N * sizeof *gap);
  cr_assert_not_null(gap);
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    fc_load_def def = base();
    def.arrive = kinds[k].arrive;
    def.arrival_cv = kinds[k].cv;
    def.requests = N;
    history h = run(&def, at_once);
    double sum = 0, lag = 0;
    for (size_t i = 0; i < N; i++) {
      gap[i] = fc_time_to_s(h.request[i].arrival - (i ? h.request[i - 1].arrival : 0)) * 5;
      sum += gap[i];
      if (i) lag += (gap[i] - 1) * (gap[i - 1] - 1);
    }
    within("mean gap", sum / N, 1, kinds[k].cv / sqrt(N));
    within("lag-1 covariance", lag / N, 0, kinds[k].cv * kinds[k].cv / sqrt(N));
    qsort(gap, N, sizeof *gap, ascending);
    double distance = 0;
    for (size_t i = 0; i < N; i++) {
      if (gap[i] < 1e-6) continue; /* steps of a nanosecond are seen there */
      double p = gap_below(&kinds[k], gap[i]);
      distance = fmax(distance, fmax((double)(i + 1) / N - p, p - (double)i / N));
    }
    cr_assert(distance <= KOLMOGOROV / sqrt(N), "kind %zu: distance %g", k, distance);
    forget(&h);
  }
  free(gap);
}

Test(load, even_gaps_are_even_and_limits_hold) {
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_EVENLY;
  def.rate_per_s = 3;
  def.rate_scale = 2;
  def.duration_s = 10;
  history h = run(&def, at_once);
  cr_assert_eq(h.n, 59, "the sixtieth would come at the end");
  for (size_t i = 0; i < h.n; i++)
    cr_assert_leq(llabs(h.request[i].arrival - (fc_time)(i + 1) * FC_SECOND / 6), 1, "no drift");
  forget(&h);
  def.requests = 7;
  h = run(&def, at_once);
  cr_assert_eq(h.n, 7);
  forget(&h);
}

/* Poisson of the integrated rate: a series, a weekly shape and a factor. */
Test(load, arrivals_follow_demand) {
  fc_shape shape = {.name = "saw"};
  for (int i = 0; i < 168; i++) shape.factor[i] = i % 24 / 11.5;
  fc_series_point p[] = {{0, 0.5}, {7 * FC_DAY, 1.5}};
  fc_series rate = {.interp = FC_SERIES_LINEAR, .n = 2, .point = p};
  fc_factor holiday = {2 * FC_DAY, 3 * FC_DAY, 0.25};
  fc_demand_def demand = {.rate = &rate, .shape = &shape, .n_factors = 1, .factors = &holiday};
  fc_load_def def = base();
  def.demand = &demand;
  def.demand_start = FC_DAY;
  def.duration_s = 5 * 86400;
  def.rate_scale = 0.5;
  history h = run(&def, at_once);
  enum { CELLS = 120 };
  double count[CELLS] = {0}, expected[CELLS];
  for (size_t i = 0; i < h.n; i++) count[h.request[i].arrival / FC_HOUR]++;
  size_t used = 0;
  for (int i = 0; i < CELLS; i++) {
    fc_time from = FC_DAY + i * FC_HOUR, to = from + FC_HOUR;
    double mean = 0.5 * 3600 * fc_series_mean(&rate, from, to) * fc_shape_mean(&shape, from, to) *
                  fc_factors_mean(&holiday, 1, from, to);
    if (mean == 0) cr_assert_eq(count[i], 0);
    count[used] = count[i];
    expected[used] = mean;
    used += mean > 0;
  }
  chi_square("arrivals by hour", count, expected, used);
  forget(&h);
}

/* Doubly stochastic counts: variance = mean + mean^2 (exp(sigma^2) - 1) when epochs are independent. */
Test(load, bursts_spread_the_counts) {
  enum { EPOCHS = 20000 };
  fc_series_point p = {0, 0.5};
  fc_series rate = {.n = 1, .point = &p};
  fc_demand_def demand = {.rate = &rate, .burst_sigma = 0.6};
  fc_load_def def = base();
  def.demand = &demand;
  def.duration_s = EPOCHS * 60.0;
  history h = run(&def, at_once);
  double *count = calloc(EPOCHS, sizeof *count), squares = 0;
  cr_assert_not_null(count);
  for (size_t i = 0; i < h.n; i++) count[h.request[i].arrival / FC_MINUTE]++;
  for (int i = 0; i < EPOCHS; i++) squares += (count[i] - 30) * (count[i] - 30);
  double variance = 30 + 900 * expm1(0.36);
  within("mean count", (double)h.n / EPOCHS, 30, sqrt(variance / EPOCHS));
  /* fourth moment of the lognormal burst: kurtosis e^4s + 2e^3s + 3e^2s - 3, s = sigma^2 */
  double kurtosis = exp(4 * 0.36) + 2 * exp(3 * 0.36) + 3 * exp(2 * 0.36) - 3;
  within("variance", squares / EPOCHS, variance, variance * sqrt((kurtosis - 1) / EPOCHS));
  forget(&h);
  free(count);
}

Test(load, silence_ends_the_load) {
  fc_series_point p[] = {{0, 1}, {100 * FC_SECOND, 0}};
  fc_series rate = {.n = 2, .point = p};
  fc_demand_def demand = {.rate = &rate};
  fc_load_def def = base();
  def.demand = &demand;
  def.epoch_s = 1;
  def.requests = 1000000;
  history h = run(&def, at_once);
  cr_assert(h.n > 50 && h.n < 150 && h.request[h.n - 1].arrival < 100 * FC_SECOND, "%zu", h.n);
  forget(&h);
}

/* --- lengths --- */

Test(load, lengths_have_their_moments) {
  enum { N = 200000 };
  fc_load_def def = base();
  def.requests = N;
  def.input = fc_dist_lognormal_cv(1000, 1.5);
  def.output = (fc_dist){.kind = FC_DIST_UNIFORM, .a = 100.5, .b = 300.5, .min = -HUGE_VAL, .max = HUGE_VAL};
  fc_load *l = make(&def);
  history h = serve(l, at_once);
  fc_load_summary s = fc_load_so_far(l);
  within("mean input", s.input.mean, 1000, 1500 / sqrt(N));
  within("mean output", s.output.mean, 200.5, 57.7 / sqrt(N));
  within("sd of output", s.output.sd, sqrt(200.0 * 200 / 12), 57.7 / sqrt(2.0 * N));
  cr_assert(s.output.max == 300 || s.output.max == 301);
  double sigma = sqrt(log(3.25)), median = 1000 / sqrt(3.25);
  for (int q = 0; q < 3; q++) { /* standard error of a quantile: sqrt(p (1-p) / n) / density */
    double p = (double[]){0.5, 0.9, 0.99}[q], z = (double[]){0, 1.2815515655446004, 2.3263478740408408}[q];
    double x = median * exp(sigma * z), density = exp(-z * z / 2) / (2.5066282746310002 * sigma * x);
    uint32_t got = (uint32_t[]){s.input.p50, s.input.p90, s.input.p99}[q];
    within("quantile", got, x, sqrt(p * (1 - p) / N) / density + 0.004 * x / SIGMAS);
  }
  fc_load_free(l);
  forget(&h);
}

Test(load, truncated_lengths_stay_inside_and_keep_their_mean) {
  enum { N = 100000 };
  fc_load_def def = base();
  def.requests = N;
  def.input = fc_dist_lognormal_p90(500, 4000);
  def.input.min = 100;
  def.input.max = 5000;
  double exact = 0, squares = 0;
  for (int i = 0; i < 10000; i++) {
    double x = fc_dist_quantile(&def.input, (i + 0.5) / 10000);
    exact += x / 10000;
    squares += x * x / 10000;
  }
  history h = run(&def, at_once);
  double sum = 0;
  for (size_t i = 0; i < N; i++) {
    cr_assert(h.request[i].input_tokens >= 100 && h.request[i].input_tokens <= 5000);
    sum += h.request[i].input_tokens;
  }
  within("mean", sum / N, exact, sqrt((squares - exact * exact) / N));
  forget(&h);
}

/* Spearman's rank correlation of a Gaussian copula is 6/pi asin(rho/2). */
Test(load, lengths_may_be_correlated) {
  enum { N = 40000 };
  fc_load_def def = base();
  def.requests = N;
  def.correlation = -0.6;
  fc_dist wide = {.kind = FC_DIST_UNIFORM, .a = 1, .b = 1e6, .min = -HUGE_VAL, .max = HUGE_VAL};
  def.input = def.output = wide; /* so that a length is its rank */
  history h = run(&def, at_once);
  double sum = 0;
  for (size_t i = 0; i < N; i++)
    sum += (h.request[i].input_tokens / 1e6 - 0.5) * (h.request[i].output_tokens / 1e6 - 0.5);
  within("rank correlation", 12 * sum / N, -6 / 3.14159265358979 * asin(0.3), 1 / sqrt(N));
  forget(&h);
}

Test(load, long_requests_are_cut_and_counted) {
  fc_load_def def = base();
  def.requests = 1000;
  def.input = (fc_dist){.kind = FC_DIST_UNIFORM, .a = 0.5, .b = 100.5, .min = -HUGE_VAL, .max = HUGE_VAL};
  def.input_max = 60;
  fc_load *l = make(&def);
  history h = serve(l, at_once);
  fc_load_summary s = fc_load_so_far(l);
  cr_assert_eq(s.input.max, 60);
  within("cut", (double)s.cut, 400, sqrt(1000 * 0.4 * 0.6));
  fc_load_free(l);
  forget(&h);
}

/* --- traces --- */

static fc_trace *trace(const char *text) {
  fc_trace *t;
  cr_assert_eq(fc_trace_parse(&t, "t", text, strlen(text), NULL), FC_OK);
  return t;
}

static const char FIVE[] = "arrival_s,input_tokens,output_tokens,prefix_group,class\n"
                           "0,10,1,,chat\n1,20,2,g,batch\n2,30,3,g,\n6,40,4,h,chat\n8,50,5,,batch\n";

Test(load, a_trace_is_replayed_as_it_is) {
  fc_trace *t = trace(FIVE);
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_TRACE;
  def.rate_per_s = 0;
  def.trace = t;
  def.n_classes = 3;
  def.class_name = (const char *[]){"batch", "x", "chat"};
  def.class_share = (double[]){0, 1, 0};
  history h = run(&def, by_length);
  cr_assert_eq(h.n, 5);
  static const uint32_t class[] = {2, 0, 1, 2, 0};
  for (size_t i = 0; i < 5; i++) {
    fc_trace_row row = fc_trace_at(t, i);
    const fc_request *r = &h.request[i];
    cr_assert(r->arrival == row.arrival && r->input_tokens == row.input_tokens);
    cr_assert(r->output_tokens == row.output_tokens && r->slo_class == class[i] && r->session == 0);
  }
  forget(&h);
  fc_trace_free(t);
}

Test(load, a_trace_is_cut_stretched_and_repeated) {
  fc_trace *t = trace(FIVE);
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_TRACE;
  def.rate_per_s = 0;
  def.trace = t;
  def.from_s = 1;
  def.until_s = 7;
  def.rate_scale = 2;
  def.repeat = true;
  def.requests = 8;
  history h = run(&def, at_once);
  static const double at[] = {0, 0.5, 2.5, 3, 3.5, 5.5, 6, 6.5};
  for (size_t i = 0; i < 8; i++) {
    cr_assert_eq(h.request[i].arrival, fc_time_from_s(at[i]), "request %zu: %lld", i,
                 (long long)h.request[i].arrival);
    cr_assert_eq(h.request[i].input_tokens, 20 + 10 * (i % 3));
  }
  forget(&h);
  def.rate_scale = 1;
  def.rate_per_s = 0.25; /* three in 6 s become three in 12 s */
  h = run(&def, at_once);
  cr_assert_eq(h.request[4].arrival, 14 * FC_SECOND);
  forget(&h);
  def.from_s = 0;
  def.until_s = HUGE_VAL;
  def.rate_per_s = 0;
  h = run(&def, at_once);
  cr_assert_eq(h.request[5].arrival, 10 * FC_SECOND, "a mean gap of 2 s after the last");
  forget(&h);
  fc_trace_free(t);
}

static const char HASHED[] =
    "{\"timestamp\": 0, \"input_length\": 1100, \"output_length\": 5, \"hash_ids\": [0, 1, 2]}\n"
    "{\"timestamp\": 9, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [0, 3]}\n";

Test(load, recorded_blocks_are_others_in_each_lap) {
  fc_trace *t = trace(HASHED);
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_AT_ONCE;
  def.in_order = def.repeat = true;
  def.trace = t;
  def.requests = 6;
  def.concurrency = 1;
  fc_load *l = make(&def);
  fc_request_source s = fc_load_source(l);
  uint64_t seen[6];
  fc_time at = 0;
  for (int i = 0; i < 6; i++) {
    fc_request r;
    cr_assert(s.peek(s.context, &at));
    s.take(s.context, &r);
    cr_assert(r.block_tokens == 512 && r.n_blocks == (i % 2 ? 1 : 2));
    seen[i] = r.block[0];
    if (i % 2) cr_assert_eq(seen[i], seen[i - 1], "within a lap the prefix is shared");
    if (i == 0) cr_assert_eq(seen[0], fc_trace_at(t, 0).block[0]);
    for (int k = 0; k < i - 1; k += 2) cr_assert_neq(seen[k], seen[i - i % 2]);
    s.done(s.context, r.number, at + FC_SECOND);
  }
  cr_assert_not(s.peek(s.context, &at));
  fc_load_free(l);
  def.input_max = 700;
  history h = run(&def, at_once);
  cr_assert(h.request[0].input_tokens == 700 && h.request[0].n_blocks == 1);
  forget(&h);
  fc_trace_free(t);
}

Test(load, pairs_are_drawn_together) {
  fc_trace *t = trace(FIVE);
  fc_load_def def = base();
  def.trace = t;
  def.requests = 50000;
  history h = run(&def, at_once);
  double count[5] = {0}, expected[5] = {10000, 10000, 10000, 10000, 10000};
  for (size_t i = 0; i < h.n; i++) {
    const fc_request *r = &h.request[i];
    cr_assert_eq(r->input_tokens, 10 * r->output_tokens, "request %zu", i);
    count[r->output_tokens - 1]++;
  }
  chi_square("rows drawn", count, expected, 5);
  forget(&h);
  fc_trace_free(t);
}

/* --- prefixes and classes --- */

typedef struct {
  uint64_t first, fifth, sixth;
} blocks;

static int by_first(const void *a, const void *b) {
  uint64_t x = ((const blocks *)a)->first, y = ((const blocks *)b)->first;
  return (x > y) - (x < y);
}

static int by_sixth(const void *a, const void *b) {
  uint64_t x = ((const blocks *)a)->sixth, y = ((const blocks *)b)->sixth;
  return (x > y) - (x < y);
}

Test(load, prefixes_are_shared_as_often_as_they_should) {
  enum { N = 60000, GROUPS = 8 };
  fc_load_def def = base();
  def.requests = N;
  def.input = fc_dist_point(1000);
  def.prefix = (fc_prefix_def){.share = 0.3, .groups = GROUPS, .zipf = 1, .tokens = fc_dist_point(640)};
  def.block_tokens = 128;
  fc_load *l = make(&def);
  fc_request_source s = fc_load_source(l);
  blocks *all = malloc(N * sizeof *all);
  cr_assert_not_null(all);
  fc_time at;
  fc_request r;
  for (size_t i = 0; i < N; i++) {
    cr_assert(s.peek(s.context, &at));
    s.take(s.context, &r);
    cr_assert(r.n_blocks == 7 && r.block_tokens == 128);
    all[i] = (blocks){r.block[0], r.block[4], r.block[5]};
    s.done(s.context, r.number, at);
  }
  fc_load_free(l);
  double count[GROUPS + 1] = {0}, expected[GROUPS + 1] = {0}, harmonic = 0;
  size_t groups = 0;
  qsort(all, N, sizeof *all, by_first);
  for (size_t i = 0, end; i < N; i = end) {
    for (end = i + 1; end < N && all[end].first == all[i].first; end++)
      cr_assert_eq(all[end].fifth, all[i].fifth, "640 tokens are five blocks");
    if (end - i > 1) {
      cr_assert_lt(groups, GROUPS);
      count[groups++] = -(double)(end - i);
    } else {
      count[GROUPS]++;
    }
  }
  cr_assert_eq(groups, GROUPS);
  qsort(count, GROUPS, sizeof *count, ascending); /* negative: the largest group first */
  for (int g = 1; g <= GROUPS; g++) harmonic += 1.0 / g;
  for (int g = 0; g < GROUPS; g++) {
    count[g] = -count[g];
    expected[g] = 0.3 * N / harmonic / (g + 1);
  }
  expected[GROUPS] = 0.7 * N;
  chi_square("requests by group", count, expected, GROUPS + 1);
  qsort(all, N, sizeof *all, by_sixth);
  for (size_t i = 1; i < N; i++) cr_assert_neq(all[i].sixth, all[i - 1].sixth, "past the prefix all differ");
  free(all);
}

static uint64_t first_block(const fc_load_def *def) {
  fc_load *l = make(def);
  fc_request_source s = fc_load_source(l);
  fc_time at;
  fc_request r;
  cr_assert(s.peek(s.context, &at));
  s.take(s.context, &r);
  cr_assert_gt(r.n_blocks, 0);
  uint64_t block = r.block[0];
  fc_load_free(l);
  return block;
}

Test(load, a_group_is_no_entry_of_its_number) {
  fc_load_def def = base();
  def.requests = 1;
  def.prefix.tokens = fc_dist_point(512);
  def.prefix.share = 1;
  uint64_t group = first_block(&def);
  def.prefix.share = 1e-9;
  cr_assert_neq(first_block(&def), group);
}

Test(load, a_prefix_is_part_of_the_prompt_or_on_top_of_it) {
  fc_load_def def = base();
  def.requests = 100;
  def.input = fc_dist_point(1000);
  def.prefix.share = 1;
  static const struct {
    double tokens;
    bool adds;
    uint32_t input;
  } cases[] = {
      {600, false, 1000}, {1000, false, 1001}, {2000, false, 2001}, {600, true, 1600}, {0, true, 1000}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    def.prefix.tokens = fc_dist_point(cases[k].tokens);
    def.prefix.adds = cases[k].adds;
    history h = run(&def, at_once);
    for (size_t i = 0; i < h.n; i++) cr_assert_eq(h.request[i].input_tokens, cases[k].input, "case %zu", k);
    forget(&h);
  }
}

Test(load, a_prefix_leaves_recorded_lengths) {
  fc_trace *t = trace("arrival_s,input_tokens,output_tokens\n0,100,1\n1,2000,1\n");
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_TRACE;
  def.rate_per_s = 0;
  def.trace = t;
  def.prefix.share = 1;
  def.prefix.tokens = fc_dist_point(512);
  for (int adds = 0; adds < 2; adds++) {
    def.prefix.adds = adds;
    history h = run(&def, at_once);
    cr_assert(h.request[0].input_tokens == 100 && h.request[1].input_tokens == 2000);
    cr_assert_eq(h.request[1].n_blocks, 3);
    forget(&h);
  }
  fc_trace_free(t);
}

Test(load, recorded_groups_share_what_is_said_or_drawn) {
  fc_trace *t = trace("arrival_s,input_tokens,output_tokens,prefix_group,prefix_tokens\n"
                      "0,100,1,g,32\n1,100,1,g,\n2,40,1,h,\n3,100,1,h,\n4,20,1,g,\n5,100,1,,\n");
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_TRACE;
  def.rate_per_s = 0;
  def.trace = t;
  def.block_tokens = 16;
  def.prefix.tokens = fc_dist_point(48);
  fc_load *l = make(&def);
  fc_request_source s = fc_load_source(l);
  uint64_t b[6][6] = {{0}};
  fc_time at;
  fc_request r;
  for (int i = 0; i < 6; i++) {
    cr_assert(s.peek(s.context, &at));
    s.take(s.context, &r);
    cr_assert_eq(r.n_blocks, r.input_tokens / 16);
    memcpy(b[i], r.block, r.n_blocks * sizeof *r.block);
  }
  cr_assert(b[0][1] == b[1][1] && b[0][2] != b[1][2], "group g: 32 tokens");
  cr_assert(b[2][1] == b[3][1] && b[2][0] != b[0][0], "group h: 48 tokens, of which one prompt has 40");
  cr_assert_eq(b[4][0], b[0][0]);
  cr_assert_neq(b[5][0], b[0][0]);
  fc_load_free(l);
  fc_trace_free(t);
}

Test(load, classes_have_their_shares) {
  fc_load_def def = base();
  def.requests = 40000;
  def.n_classes = 4;
  def.class_share = (double[]){2, 0, 1, 5};
  history h = run(&def, at_once);
  double count[4] = {0}, expected[3] = {10000, 5000, 25000};
  for (size_t i = 0; i < h.n; i++) count[h.request[i].slo_class]++;
  cr_assert_eq(count[1], 0);
  chi_square("classes", (double[]){count[0], count[2], count[3]}, expected, 3);
  forget(&h);
}

/* --- hard cases --- */

Test(load, a_million_at_once) {
  fc_load_def def = base();
  def.arrive = FC_ARRIVE_AT_ONCE;
  def.requests = 1000000;
  fc_load *l = make(&def);
  fc_request_source s = fc_load_source(l);
  fc_time at;
  fc_request r;
  while (s.peek(s.context, &at)) {
    s.take(s.context, &r);
    cr_assert_eq(r.arrival, 0);
  }
  fc_load_summary sum = fc_load_so_far(l);
  cr_assert(sum.requests == 1000000 && sum.under_way == 1000000);
  cr_assert(sum.rate_per_s == 0 && sum.gap_cv == 0, "no span, no rate");
  for (uint64_t i = 0; i < 1000000; i++) s.done(s.context, i, FC_SECOND);
  cr_assert_eq(fc_load_so_far(l).under_way, 0);
  fc_load_free(l);
}

Test(load, an_untouched_load_is_empty) {
  fc_load_def def = base();
  def.requests = 1;
  fc_load *l = make(&def);
  fc_load_summary s = fc_load_so_far(l);
  cr_assert(s.requests == 0 && s.rate_per_s == 0 && s.input.mean == 0 && s.input.p99 == 0 && s.gap_cv == 0);
  fc_load_free(l);
  fc_load_free(NULL);
}

Test(load, the_summary_is_what_came) {
  fc_load_def def = base();
  def.requests = 10001;
  def.input = fc_dist_lognormal_cv(2000, 2);
  def.output = (fc_dist){.kind = FC_DIST_UNIFORM, .a = 0, .b = 255, .min = -HUGE_VAL, .max = HUGE_VAL};
  fc_load *l = make(&def);
  history h = serve(l, at_once);
  fc_load_summary s = fc_load_so_far(l);
  double *in = malloc(h.n * sizeof *in), *out = malloc(h.n * sizeof *out), sum = 0;
  cr_assert(in && out);
  for (size_t i = 0; i < h.n; i++) {
    in[i] = h.request[i].input_tokens;
    out[i] = h.request[i].output_tokens;
    sum += in[i];
  }
  qsort(in, h.n, sizeof *in, ascending);
  qsort(out, h.n, sizeof *out, ascending);
  cr_assert(s.input_tokens == (uint64_t)sum && s.input.max == (uint32_t)in[h.n - 1]);
  static const double q[] = {0.5, 0.9, 0.99};
  uint32_t got[] = {s.input.p50, s.input.p90, s.input.p99},
           exact[] = {s.output.p50, s.output.p90, s.output.p99};
  for (int k = 0; k < 3; k++) {
    size_t rank = (size_t)ceil(q[k] * (double)h.n) - 1;
    cr_assert(fabs(got[k] - in[rank]) <= 0.004 * in[rank], "%u, %g", got[k], in[rank]);
    cr_assert_eq(exact[k], (uint32_t)out[rank]);
  }
  cr_assert_float_eq(s.rate_per_s, (double)h.n / fc_time_to_s(h.request[h.n - 1].arrival), 1e-12);
  within("cv of gaps", s.gap_cv, 1, 1 / sqrt((double)h.n));
  free(in);
  free(out);
  fc_load_free(l);
  forget(&h);
}
