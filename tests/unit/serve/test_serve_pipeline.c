/* SPDX-License-Identifier: Apache-2.0 */
/* Pipeline stages within an instance. */
#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/serve/replica.h>

#include "fixture_models.h"

static fc_serve_plan plan_of(int64_t tp, int64_t pp) {
  return (fc_serve_plan){.devices = tp * (pp ? pp : 1),
                         .tp = tp,
                         .attention_dp = 1,
                         .ep = 1,
                         .pp = pp,
                         .gemm = FC_DTYPE_FP8,
                         .kv = FC_DTYPE_BF16,
                         .memory_fraction = 0.9};
}

static fc_serve_iteration iterate(const fc_model *model, const fc_profile *profile, const fc_serve_plan *plan,
                                  double decode, double prefill) {
  fc_serve_iteration it;
  fc_serve_load load = {.decode_requests = decode, .decode_context = 1000, .prefill_tokens = prefill};
  cr_assert_eq(fc_cost_serve_iteration(&it, model, profile, plan, &load), FC_OK);
  return it;
}

/* The fixture without time between devices. */
typedef struct {
  fc_profile profile;
  fc_kernel_fit fit[64];
} free_links;

static void cut_links(free_links *f) {
  f->profile = fixture_h100_profile;
  cr_assert_leq(f->profile.n_kernels, 64);
  memcpy(f->fit, f->profile.kernels, f->profile.n_kernels * sizeof *f->fit);
  static fc_device device;
  device = fixture_h100;
  device.scaleup_bytes_per_s = device.scaleout_bytes_per_s = 0; /* no roofline */
  f->profile.device = &device;
  for (size_t i = 0; i < f->profile.n_kernels; i++)
    if (f->fit[i].form == FC_FORM_COLLECTIVE)
      f->fit[i].coef = (fc_coef){.bytes_per_s = 1e30, .net_bytes_per_s = 1e30};
  f->profile.kernels = f->fit;
}

Test(serve_pipeline, one_stage_is_none) {
  for (int prefill = 0; prefill < 3000; prefill += 2048) {
    fc_serve_plan none = plan_of(4, 0), one = plan_of(4, 1);
    fc_serve_iteration a = iterate(&fixture_llama_70b, &fixture_h100_profile, &none, 64, prefill),
                       b = iterate(&fixture_llama_70b, &fixture_h100_profile, &one, 64, prefill);
    cr_assert(a.seconds == b.seconds && a.comm_s == b.comm_s && a.flop == b.flop && a.watts == b.watts);
    fc_serve_memory m, n;
    fc_cost_serve_memory(&m, &fixture_llama_70b, &fixture_h100, &none, 1000);
    fc_cost_serve_stage_memory(&n, &fixture_llama_70b, &fixture_h100, &one, 1000);
    cr_assert(m.weight_bytes == n.weight_bytes && m.room_bytes == n.room_bytes &&
              m.kv_bytes_per_request == n.kv_bytes_per_request);
  }
}

/* 80 layers over two stages: a token passes all layers, while each stage is there for it half of the time. */
Test(serve_pipeline, two_stages_halve_a_stage_and_not_the_way) {
  static free_links f;
  cut_links(&f);
  fc_serve_plan one = plan_of(4, 1), two = plan_of(4, 2);
  fc_serve_iteration a = iterate(&fixture_llama_70b, &f.profile, &one, 32, 0),
                     b = iterate(&fixture_llama_70b, &f.profile, &two, 64, 0); /* micro-batches of 32 */
  double gaps = b.launch_s - a.launch_s;                                       /* a hand-over is a kernel */
  double head = a.head_s, layers = a.seconds - a.host_s - head + gaps;
  /* the last stage has the head beside its half of the layers; the other one waits for it */
  double round = 2 * (0.5 * layers + head) + b.host_s;
  cr_assert(fabs(b.seconds - round) <= 1e-9 * round, "%.9g s, %.9g expected", b.seconds, round);
  cr_assert(b.seconds >= a.seconds &&
            b.seconds <= a.seconds + head + gaps + 1e-12); /* not faster for a token */
  cr_assert(64 / b.seconds > 1.8 * 32 / a.seconds);        /* but twice as many of them */
}

Test(serve_pipeline, work_and_weights_are_conserved) {
  fc_serve_plan one = plan_of(4, 1), two = plan_of(4, 2), four = plan_of(4, 4);
  fc_serve_iteration a = iterate(&fixture_llama_70b, &fixture_h100_profile, &one, 32, 0),
                     b = iterate(&fixture_llama_70b, &fixture_h100_profile, &two, 64, 0),
                     c = iterate(&fixture_llama_70b, &fixture_h100_profile, &four, 128, 0);
  /* a round of the pipeline: every device computes its stage for every micro-batch */
  cr_assert(fabs(b.flop - a.flop) <= 1e-9 * a.flop && fabs(c.flop - a.flop) <= 1e-9 * a.flop);
  cr_assert_gt(b.comm_s, a.comm_s); /* hand-overs */
  fc_serve_memory m, n;
  fc_cost_serve_stage_memory(&m, &fixture_llama_70b, &fixture_h100, &one, 1000);
  fc_cost_serve_stage_memory(&n, &fixture_llama_70b, &fixture_h100, &two, 1000);
  cr_assert(n.weight_bytes >= 0.5 * m.weight_bytes && n.weight_bytes < 0.55 * m.weight_bytes);
  cr_assert(fabs(2 * n.kv_bytes_per_request - m.kv_bytes_per_request) <= 1);
  cr_assert_gt(n.room_bytes, m.room_bytes);
}

Test(serve_pipeline, a_plan_must_divide) {
  char why[256];
  fc_serve_plan p = plan_of(4, 2);
  cr_assert_eq(fc_serve_plan_check(&fixture_llama_70b, &p, why), FC_OK);
  p.devices = 4;
  cr_assert_eq(fc_serve_plan_check(&fixture_llama_70b, &p, why), FC_E_DOMAIN);
  cr_assert(strstr(why, "pp"));
  p = plan_of(1, 81);
  cr_assert_eq(fc_serve_plan_check(&fixture_llama_70b, &p, why), FC_E_DOMAIN);
  p = plan_of(4, -1);
  cr_assert_eq(fc_serve_plan_check(&fixture_llama_70b, &p, NULL), FC_E_DOMAIN);
}

static fc_step_table *table_of(const fc_serve_plan *plan) {
  fc_step_table_def d = fc_step_table_default_def();
  d.max_batch = 32;
  d.max_tokens = 2048;
  d.max_context = 4096;
  fc_step_table *t;
  cr_assert_eq(
      fc_step_table_of_model(&t, &d, &(fc_step_source){&fixture_llama_70b, &fixture_h100_profile, plan}),
      FC_OK);
  return t;
}

Test(serve_pipeline, the_table_is_of_micro_batches) {
  fc_serve_plan two = plan_of(4, 2);
  fc_step_table *t = table_of(&two);
  cr_assert_eq(fc_step_table_groups(t), 2);
  cr_assert_eq(fc_step_table_devices(t), 8);
  for (int batch = 2; batch <= 64; batch *= 2) {
    fc_step_work w = {.decode = batch, .decode_context = batch * 1000};
    fc_serve_iteration it;
    cr_assert_eq(fc_step_table_direct(t, &it, &w), FC_OK);
    double table = fc_step_table_seconds(t, &w);
    cr_assert(fabs(table - it.seconds) <= 0.02 * it.seconds, "batch %d: %g and %g", batch, table, it.seconds);
  }
  fc_step_table_free(t);
}
