/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_answer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* 1,000 requests, one a second; the even ones of class `fast`.  TTFT 0.1 s, TPOT 10 ms, 11 tokens. */
static void fill_study(fake *f) {
  fc_study_def def = {.warm_up = 0.1, .n_classes = 2, .classes = f->classes};
  cr_assert_eq(fc_study_new(&f->study, &def), FC_OK);
  for (uint64_t i = 0; i < 1000; i++) {
    fc_time at = (fc_time)i * FC_SECOND, step = FC_SECOND / 100;
    fc_cluster_record q = {.request = {.number = i,
                                       .arrival = at,
                                       .admitted = at,
                                       .first_token = at + 10 * step,
                                       .finish = at + 20 * step,
                                       .input_tokens = 100,
                                       .output_tokens = 11,
                                       .slo_class = i % 2}};
    fc_digest_add(&f->result->itl, 1e7, 10);
    (void)fc_study_add(f->study, &q, f->answer.prefill || f->answer.cluster ? NULL : &f->result->itl);
  }
  fc_study_end(f->study, &f->result->itl);
}

static void fill_result(fc_replica_result *r) {
  r->in = r->done = 1000;
  r->refused[FC_REFUSED_PROMPT] = 3;
  r->iterations = 10000;
  r->span_s = 1000;
  r->busy_s = 500;
  r->parts = (fc_step_parts){
      .attention_s = 200, .dense_s = 100, .experts_s = 100, .comm_s = 50, .launch_s = 25, .host_s = 25};
  r->energy_j = 4e5; /* 400 W together */
  r->batch_mean = 2;
  r->batch_peak = 5;
  r->kv_mean = 100;
  r->kv_peak = 250;
  r->preemptions = 1;
  r->cache_lookups = 10;
  r->cache_hits = 5;
}

/* Two replicas of two devices, one of them down for half of the time. */
static void fill_cluster(fake *f) {
  for (int i = 0; i < 2; i++)
    f->replica[i] = (fc_cluster_replica){
        .in = 500, .done = 500, .starts = 1, .seconds = {[FC_REPLICA_UP] = i ? 500 : 1000}, .kv_peak = 250};
  f->replica[1].seconds[FC_REPLICA_DOWN] = 500;
  f->router = (fc_serve_cluster){.replicas = 2, .route = FC_ROUTE_LEAST_REQUESTS};
  f->cluster = (fc_cluster_result){.in = 1003,
                                   .done = 1000,
                                   .lost = 1,
                                   .retries = 4,
                                   .failures = 1,
                                   .span_s = 1000,
                                   .device_s = {[FC_REPLICA_UP] = 3000, [FC_REPLICA_DOWN] = 1000},
                                   .availability = 0.75,
                                   .n_replicas = 2,
                                   .by_replica = f->replica};
  f->def.cluster = &f->router;
  f->answer.cluster = &f->cluster;
  f->answer.devices = 4;
  f->answer.replicas = 2;
}

void fake_answer(fake *f, fake_kind kind) {
  memset(f, 0, sizeof *f);
  f->model = (fc_model){.name = "some-model"};
  f->profile = (fc_profile){.name = "gold", .device_name = "gold"};
  f->classes[0] = (fc_serve_class){.name = "fast", .share = 1, .ttft_s = 1, .tpot_s = 0.02};
  f->classes[1] = (fc_serve_class){.name = "slow", .share = 1, .e2e_s = 0.1};
  f->def = (fc_serve_def){.name = "fake",
                          .question = "how fast?",
                          .model = &f->model,
                          .profile = &f->profile,
                          .plan = {.devices = 2, .tp = 2, .attention_dp = 1, .ep = 1},
                          .engine = {.scheduler = {.name = "vllm", .max_batch = 8, .token_budget = 64}},
                          .n_classes = 2,
                          .classes = f->classes,
                          .stop = {.width = 0.05, .warm_up = 0.1}};
  f->apart = (fc_serve_apart){
      .plan = f->def.plan, .scheduler = f->def.engine.scheduler, .prefill_replicas = 1, .decode_replicas = 1};
  f->result = calloc(1, sizeof *f->result);
  f->prefill = calloc(1, sizeof *f->prefill);
  cr_assert(f->result && f->prefill);
  fill_result(f->result);
  fill_result(f->prefill);
  f->view = (fc_serve_view){.profile = &f->profile, .why = "no tables"};
  cr_assert(fc_engine_named(&f->view.engine, "vllm"));
  f->answer = (fc_serve_answer){.def = &f->def,
                                .view = &f->view,
                                .seed = 7,
                                .verdict = FC_VERDICT_END,
                                .result = f->result,
                                .devices = 2,
                                .replicas = 1,
                                .kv_blocks = 500,
                                .decode_log_sd = 0.2,
                                .prefill_log_sd = 0.1,
                                .price_usd_per_s = 2.0 / 3600,
                                .load = {.requests = 1003, .rate_per_s = 1, .gap_cv = 1, .cut = 4},
                                .trace = "some.csv",
                                .trace_sha256 = "00",
                                .trace_info = {.requests = 1003, .malformed = 2}};
  if (kind == FAKE_CLUSTER) fill_cluster(f);
  if (kind == FAKE_APART) {
    f->def.apart = &f->apart;
    f->answer.prefill = f->prefill;
    f->answer.devices = 4;
    f->answer.prefill_devices = 2;
    f->answer.prefill_kv_blocks = 500;
  }
  fill_study(f);
  f->answer.study = f->study;
}

void fake_free(fake *f) {
  fc_study_free(f->study);
  free(f->result);
  free(f->prefill);
}
