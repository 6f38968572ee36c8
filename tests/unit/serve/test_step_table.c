/* SPDX-License-Identifier: Apache-2.0 */
/* The table against the function that it stands for. */
#include <fleetcast/serve/step_table.h>

#include <math.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

#include "fixture_models.h"

static double log_between(fc_rng *rng, double low, double high) {
  return floor(low * exp(fc_rng_uniform(rng) * log(high / low)));
}

#define PLAN(n, t, dp, e, format, split)                                                                     \
  {                                                                                                          \
    .devices = (n), .tp = (t), .attention_dp = (dp), .ep = (e), .gemm = (format), .kv = FC_DTYPE_BF16,       \
    .expert_imbalance = 1.2, .two_batch_overlap = (split), .memory_fraction = 0.9                            \
  }

static const struct table_case {
  const char *label;
  const fc_model *model;
  fc_serve_plan plan;
  double queries;
  bool graph_padding;
  double tolerance; /* of the worst iteration; 1 % but where two half batches overlap: the jumps of both */
} cases[] = {
    {"dense", &fixture_llama_8b, PLAN(1, 1, 1, 1, FC_DTYPE_BF16, false), 1, true, 0.01},
    {"dense, no padding", &fixture_llama_8b, PLAN(1, 1, 1, 1, FC_DTYPE_BF16, false), 1, false, 0.01},
    {"dense, tensor parallel", &fixture_llama_70b, PLAN(4, 4, 1, 1, FC_DTYPE_FP8, false), 1, true, 0.01},
    {"windowed MoE", &fixture_gpt_oss_120b, PLAN(1, 1, 1, 1, FC_DTYPE_BF16, false), 1, true, 0.01},
    {"MLA MoE, tensor parallel", &fixture_deepseek_v3, PLAN(8, 8, 1, 8, FC_DTYPE_FP8, false), 1, true, 0.01},
    {"MLA MoE, data parallel", &fixture_deepseek_v3, PLAN(8, 1, 8, 8, FC_DTYPE_FP8, false), 1, true, 0.01},
    {"MLA MoE, drafts", &fixture_deepseek_v3, PLAN(8, 1, 8, 8, FC_DTYPE_FP8, false), 2, true, 0.012},
    {"two-batch overlap", &fixture_deepseek_v3, PLAN(32, 1, 32, 32, FC_DTYPE_FP8, true), 1, true, 0.02},
    {"two-batch overlap, drafts", &fixture_deepseek_v3, PLAN(32, 1, 32, 32, FC_DTYPE_FP8, true), 2, true,
     0.025},
};
enum { CASES = sizeof cases / sizeof *cases };

static fc_step_table *make(const struct table_case *c, fc_step_source *source) {
  *source = (fc_step_source){c->model, &fixture_h100_profile, &c->plan};
  fc_step_table_def d = fc_step_table_default_def();
  d.query_tokens = c->queries;
  d.graph_padding = c->graph_padding;
  fc_step_table *t;
  cr_assert_eq(fc_step_table_of_model(&t, &d, source), FC_OK);
  return t;
}

/* Another seed than the table's own probes. */
static double worst(const fc_step_table *t, double groups, double *mean) {
  fc_rng rng = fc_rng_keyed(77, FC_STREAM_TEST, 0, 0);
  double most = 0;
  enum { PROBES = 1500 };
  *mean = 0;
  for (int i = 0; i < PROBES; i++) {
    fc_step_work w = {0};
    if (i % 3 < 2) {
      w.decode = groups * log_between(&rng, 1, 257);
      w.decode_context = w.decode * log_between(&rng, 16, 131073);
    }
    if (i % 3 > 0) {
      double p = log_between(&rng, 1, 8193), cached = log_between(&rng, 1, 131073) - 1;
      w.prefill = groups * p;
      w.prompts = groups;
      w.pairs = w.prefill * (cached + 0.5 * (p + 1));
    }
    fc_serve_iteration it;
    cr_assert_eq(fc_step_table_direct(t, &it, &w), FC_OK);
    double e = fabs(fc_step_table_seconds(t, &w) / it.seconds - 1);
    cr_assert(isfinite(e));
    most = fmax(most, e);
    *mean += e / PROBES;
  }
  return most;
}

Test(step_table, is_the_function_within_its_tolerance) {
  for (size_t i = 0; i < CASES; i++) {
    fc_step_source source;
    fc_step_table *t = make(&cases[i], &source);
    fc_step_table_error e = fc_step_table_measured_error(t);
    cr_assert(e.max <= cases[i].tolerance, "%s: own probes %.4f", cases[i].label, e.max);
    double mean, most = worst(t, (double)cases[i].plan.attention_dp, &mean);
    cr_assert(most <= 1.5 * cases[i].tolerance, "%s: %.4f at worst", cases[i].label, most);
    cr_assert(mean <= 0.003, "%s: %.4f in the mean", cases[i].label, mean);
    cr_log_info("%s: own %.4f, others %.4f, mean %.5f, %lld calls, %lld bytes", cases[i].label, e.max, most,
                mean, (long long)e.calls, (long long)e.bytes);
    fc_step_table_free(t);
  }
}

Test(step_table, a_linear_function_is_exact) {
  static const fc_step_coefficients c = {.base_s = 1e-3,
                                         .decode_request_s = 2e-5,
                                         .decode_context_s = 3e-8,
                                         .prefill_token_s = 4e-5,
                                         .prefill_pair_s = 5e-9};
  fc_step_table_def d = fc_step_table_default_def();
  d.step = fc_step_linear;
  d.context = &c;
  d.graph_padding = false;
  fc_step_table *t;
  cr_assert_eq(fc_step_table_new(&t, &d), FC_OK);
  cr_assert_lt(fc_step_table_measured_error(t).max, 1e-9);
  double mean;
  cr_assert_lt(worst(t, 1, &mean), 1e-9);
  fc_step_work w = {.decode = 7, .decode_context = 7000, .prefill = 100, .prompts = 2, .pairs = 100 * 400.5};
  double want = 1e-3 + 7 * 2e-5 + 7000 * 3e-8 + 100 * (4e-5 + 400.5 * 5e-9);
  cr_assert(fabs(fc_step_table_seconds(t, &w) / want - 1) < 1e-9);
  fc_step_table_free(t);
}

/* Batches of 9 to 16 run as 16 do: the same time for the same context. */
Test(step_table, batches_are_padded) {
  fc_step_source source;
  fc_step_table *t = make(&cases[0], &source);
  for (int b = 9; b <= 16; b++) {
    double x = fc_step_table_seconds(t, &(fc_step_work){.decode = b, .decode_context = 40000});
    double y = fc_step_table_seconds(t, &(fc_step_work){.decode = 16, .decode_context = 40000});
    cr_assert(fabs(x / y - 1) < 1e-12);
  }
  double three = fc_step_table_seconds(t, &(fc_step_work){.decode = 3, .decode_context = 400});
  double four = fc_step_table_seconds(t, &(fc_step_work){.decode = 4, .decode_context = 400});
  cr_assert(fabs(three / four - 1) < 1e-12);
  fc_step_table_free(t);
}

Test(step_table, more_work_takes_no_less_time) {
  fc_step_source source;
  fc_step_table *t = make(&cases[0], &source);
  double before = 0;
  for (int i = 0; i < 150; i++) {
    double x = 256 * pow(1.07, i),
           s = fc_step_table_seconds(t, &(fc_step_work){.decode = 200, .decode_context = x});
    cr_assert(s >= before);
    before = s;
  }
  before = 0;
  for (int i = 0; i < 170; i++) {
    double x = pow(1.07, i);
    fc_step_work w = {.decode = 64, .decode_context = 64000, .prefill = 512, .prompts = 1};
    w.pairs = 512 * (x + 256.5);
    double s = fc_step_table_seconds(t, &w);
    cr_assert(s >= before);
    before = s;
  }
  fc_step_table_free(t);
}

static fc_status negative(const void *context, fc_serve_iteration *out, const fc_serve_load *load) {
  (void)context;
  *out = (fc_serve_iteration){.seconds = load->decode_requests > 100 ? -1 : 1};
  return FC_OK;
}

static fc_status unknown(const void *context, fc_serve_iteration *out, const fc_serve_load *load) {
  (void)context;
  *out = (fc_serve_iteration){.seconds = load->prefill_tokens > 500 ? (double)NAN : 1};
  return FC_OK;
}

Test(step_table, bad_arguments_are_told) {
  static const fc_step_coefficients c = {.base_s = 1};
  fc_step_table_def good = fc_step_table_default_def(), d;
  good.step = fc_step_linear;
  good.context = &c;
  fc_step_table *t;
#define BAD(field, value)                                                                                    \
  d = good;                                                                                                  \
  d.field = (value);                                                                                         \
  cr_assert_eq(fc_step_table_new(&t, &d), FC_E_DOMAIN, #field);                                              \
  cr_assert_null(t)
  BAD(step, NULL);
  BAD(groups, 0);
  BAD(max_batch, 0);
  BAD(max_tokens, 0);
  BAD(max_context, 0);
  BAD(query_tokens, 0.5);
  BAD(tolerance, (double)NAN);
  BAD(idle_w, -1);
  BAD(step, negative);
  BAD(step, unknown);
#undef BAD
  fc_step_table_free(NULL);
}

Test(step_table, smallest_limits_work) {
  static const fc_step_coefficients c = {.base_s = 1, .prefill_token_s = 1};
  fc_step_table_def d = fc_step_table_default_def();
  d.step = fc_step_linear;
  d.context = &c;
  d.max_batch = d.max_tokens = d.max_context = 1;
  fc_step_table *t;
  cr_assert_eq(fc_step_table_new(&t, &d), FC_OK);
  cr_assert(fabs(fc_step_table_seconds(t, &(fc_step_work){.decode = 1, .decode_context = 1}) - 1) < 1e-12);
  cr_assert(fabs(fc_step_table_seconds(t, &(fc_step_work){.prefill = 1, .prompts = 1, .pairs = 1}) - 2) <
            1e-12);
  fc_step_table_free(t);
}
