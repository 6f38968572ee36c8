/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_result.h"

#include <fleetcast/base/assert.h>

#define NOV_2025 (INT64_C(1761955200) * FC_SECOND)

static const fc_device device[2] = {
    {.name = "h100",
     .title = "H100",
     .peak_flop_per_s = {[FC_DTYPE_BF16] = 989e12, [FC_DTYPE_FP8] = 1979e12}},
    {.name = "a100",
     .title = "A100",
     .peak_flop_per_s = {[FC_DTYPE_BF16] = 312e12, [FC_DTYPE_INT8] = 624e12}},
};
static const fc_profile profile[2] = {{.name = "h100", .device = &device[0]},
                                      {.name = "a100", .device = &device[1]}};
static const fc_model model = {.name = "deepseek-v3"};
static const fc_pool_def pool[2] = {{.name = "north", .profile = &profile[0]},
                                    {.name = "south, \"old\"", .profile = &profile[1]}};
static const fc_service_def service[2] = {{.name = "chat", .model = &model},
                                          {.name = "code", .model = &model}};
static const fc_run_def run[2] = {
    {.name = "v4", .category = FC_CATEGORY_PRE_TRAINING, .model = &model, .tokens = 14.8e12, .devices = 2048},
    {.name = "r2", .category = FC_CATEGORY_POST_TRAINING, .model = &model, .flop = 1e23, .devices = 512}};
static const fc_stream_def stream[1] = {
    {.name = "ablations", .category = FC_CATEGORY_EXPERIMENTS, .model = &model}};
static const fc_fleet_def def = {.name = "fake",
                                 .question = "does the report say what the result holds?",
                                 .scope = "a test",
                                 .start = NOV_2025,
                                 .end = NOV_2025 + 92 * FC_DAY,
                                 .bucket = FC_BUCKET_MONTH,
                                 .residual_is_unexplained = true,
                                 .n_pools = 2,
                                 .n_services = 2,
                                 .n_runs = 2,
                                 .n_streams = 1,
                                 .pools = pool,
                                 .services = service,
                                 .runs = run,
                                 .streams = stream};

static const fc_time start[FAKE_BUCKETS + 1] = {NOV_2025, NOV_2025 + 30 * FC_DAY, NOV_2025 + 61 * FC_DAY,
                                                NOV_2025 + 92 * FC_DAY};

/* Odd numbers on purpose: their sums round. */
static void fill_accounts(fc_fleet_result *r) {
  static const struct {
    fc_account account;
    double share; /* of its pool's devices */
    double flop_per_device_s;
  } a[FAKE_ACCOUNTS] = {
      {{0, FC_CATEGORY_SERVING, "chat"}, 0.31, 1.1e14},
      {{0, FC_CATEGORY_SERVING, "code"}, 0.07, 1.3e14},
      {{0, FC_CATEGORY_RL_ROLLOUTS, "r2"}, 0.05, 1.2e14},
      {{0, FC_CATEGORY_PRE_TRAINING, "v4"}, 0.23, 4.1e14},
      {{0, FC_CATEGORY_POST_TRAINING, "r2"}, 0.03, 3.3e14},
      {{0, FC_CATEGORY_EXPERIMENTS, "ablations"}, 0.11, 3e14},
      {{0, FC_CATEGORY_FAILED, "v4"}, 0.01, 0},
      {{0, FC_CATEGORY_IDLE, ""}, 0.17, 0},
      {{0, FC_CATEGORY_DOWN, ""}, 0.02, 0},
      {{1, FC_CATEGORY_SERVING, "chat"}, 0.4, 3e13},
      {{1, FC_CATEGORY_OTHER_AI, "recommenders"}, 0.25, 1e13},
      {{1, FC_CATEGORY_FINE_TUNING, "tunes"}, 0.1, 5e13},
      {{1, FC_CATEGORY_UNEXPLAINED, ""}, 0.25, 0},
  };
  static const double devices[2][FAKE_BUCKETS] = {{10007, 11003, 12011}, {5003, 5003, 4001}};
  for (int b = 0; b < FAKE_BUCKETS; b++) {
    double seconds = fc_time_to_s(start[b + 1] - start[b]);
    for (int p = 0; p < 2; p++)
      r->pool[p][b] = (fc_pool_cell){.installed_device_s = devices[p][b] * seconds,
                                     .rent_usd_per_device_s = (p ? 1.1 : 2.3 + 0.1 * b) / 3600,
                                     .owner_usd_per_device_s = (p ? 0.7 : 1.3) / 3600,
                                     .tariff_usd_per_j = 0.087 / 3.6e6};
    for (int i = 0; i < FAKE_ACCOUNTS; i++) {
      double device_s = a[i].share * devices[a[i].account.pool][b] * seconds;
      r->cell[i][b] =
          (fc_account_cell){device_s, device_s * a[i].flop_per_device_s, device_s * (700 + 13 * i)};
    }
  }
  r->accounts = FAKE_ACCOUNTS;
  for (int i = 0; i < FAKE_ACCOUNTS; i++) r->account[i] = a[i].account;
}

static void fill_work(fc_fleet_result *r) {
  for (int b = 0; b < FAKE_BUCKETS; b++) {
    r->service[0][b] = (fc_service_cell){1e13 * (b + 1), 0.97e13 * (b + 1), 1e11, 2e11, 5200 + b};
    r->service[1][b] = (fc_service_cell){1e12, 1e12, 0, 0, 900};
  }
  r->n_jobs = 4;
  r->job[0] = (fc_job_row){"v4",
                           0,
                           FC_CATEGORY_PRE_TRAINING,
                           0,
                           2048,
                           NOV_2025,
                           NOV_2025,
                           NOV_2025 + 55 * FC_DAY,
                           FC_JOB_DONE,
                           1,
                           2048 * 55 * 86400.0,
                           2048 * 86400.0,
                           3.3e24,
                           12,
                           0};
  r->job[1] = (fc_job_row){"r2",
                           0,
                           FC_CATEGORY_POST_TRAINING,
                           0,
                           512,
                           NOV_2025,
                           NOV_2025 + FC_DAY,
                           -1,
                           FC_JOB_RUNNING,
                           0.42,
                           1e9,
                           1e6,
                           4e22,
                           1,
                           2};
  r->job[2] = (fc_job_row){"ablations",
                           1,
                           FC_CATEGORY_EXPERIMENTS,
                           0,
                           64,
                           NOV_2025,
                           NOV_2025 + FC_HOUR,
                           NOV_2025 + FC_DAY,
                           FC_JOB_DONE,
                           1,
                           64 * 82800.0,
                           0,
                           1e21,
                           0,
                           0};
  r->job[3] = (fc_job_row){
      "ablations", 2, FC_CATEGORY_EXPERIMENTS, -1, 99999, NOV_2025, -1, -1, FC_JOB_IMPOSSIBLE, 0, 0, 0, 0,
      0,           0};
  r->n_events = 2;
  r->event[0] = (fc_event_row){NOV_2025 + 14 * FC_HOUR, "unmet", "chat", 12.5, "devices"};
  r->event[1] = (fc_event_row){NOV_2025 + 40 * FC_DAY, "job_impossible", "ablations", 99999, "devices"};
}

static void fill_answers(fc_fleet_result *r) {
  fc_serve_plan prefill = {.devices = 32,
                           .tp = 4,
                           .attention_dp = 8,
                           .ep = 32,
                           .gemm = FC_DTYPE_FP8,
                           .kv = FC_DTYPE_BF16,
                           .two_batch_overlap = true};
  fc_serve_plan decode = {
      .devices = 144, .tp = 1, .attention_dp = 144, .ep = 144, .gemm = FC_DTYPE_FP8, .kv = FC_DTYPE_BF16};
  fc_serve_capacity c = {.deployment = {.disaggregated = true, .prefill = prefill, .decode = decode},
                         .prefill_tokens_per_s = 7200,
                         .decode_tokens_per_s = 1850,
                         .prefill_unit = 32,
                         .decode_unit = 144,
                         .ttft_s = 1.2,
                         .tpot_s = 0.049,
                         .decode_batch = 90,
                         .kv_tokens = 449010,
                         .prefill_utilisation = 0.7,
                         .prefill_watts = 600,
                         .decode_watts = 480,
                         .prefill_log_sd = 0.1,
                         .decode_log_sd = 0.12,
                         .prefill_limit = "TTFT",
                         .decode_limit = "TPOT"};
  r->n_capacities = 3;
  r->capacity[0] = (fc_capacity_row){.service = 0, .pool = 0, .feasible = true, .capacity = c};
  c.deployment.disaggregated = false;
  r->capacity[1] = (fc_capacity_row){.service = 1, .pool = 0, .feasible = true, .capacity = c};
  r->capacity[2] =
      (fc_capacity_row){.service = 0, .pool = 1, .why = "weights need 671 GB, an instance has 640 GB"};
  fc_train_plan plan = {.devices = 2048,
                        .tp = 1,
                        .pp = 16,
                        .cp = 1,
                        .ep = 64,
                        .virtual_stages = 1,
                        .micro_batch = 1,
                        .global_batch = 15360,
                        .sequence = 4096,
                        .zero = 1,
                        .schedule = FC_SCHEDULE_DUALPIPE,
                        .recompute = FC_RECOMPUTE_SELECTIVE,
                        .gemm = FC_DTYPE_FP8};
  fc_train_estimate e = {.plan = plan,
                         .step_s = 19.8,
                         .step_log_sd = 0.05,
                         .tokens_per_s = 3.2e6,
                         .flop_per_token = 2.5e11,
                         .mfu = 0.39,
                         .memory_bytes = 71e9,
                         .fits = true,
                         .bubble = 0.03,
                         .exposed_comm = 0.05,
                         .watts = 610,
                         .goodput = 0.97};
  r->n_estimates = 3;
  r->estimate[0] = (fc_estimate_row){.run = 0, .pool = 0, .feasible = true, .estimate = e};
  r->estimate[1] = (fc_estimate_row){.run = 1, .pool = 0, .feasible = true, .estimate = e};
  r->estimate[2] = (fc_estimate_row){.run = 2, .pool = 1, .why = "nothing fits"};
}

fc_fleet_result fake_result(void) {
  fc_fleet_result r = {.def = &def};
  fill_accounts(&r);
  fill_work(&r);
  fill_answers(&r);
  return r;
}

/* --- fleet/run.h --- */

const fc_fleet_def *fc_fleet_result_def(const fc_fleet_result *r) {
  return r->def;
}
const char *fc_fleet_result_law(const fc_fleet_result *r) {
  return r->law;
}
size_t fc_fleet_buckets(const fc_fleet_result *r) {
  return (void)r, (size_t)FAKE_BUCKETS;
}
fc_time fc_fleet_bucket_start(const fc_fleet_result *r, size_t b) {
  return (void)r, start[b];
}
fc_account_cell fc_fleet_account_cell(const fc_fleet_result *r, size_t a, size_t b) {
  return r->cell[a][b];
}
fc_pool_cell fc_fleet_pool_cell(const fc_fleet_result *r, size_t p, size_t b) {
  return r->pool[p][b];
}
fc_service_cell fc_fleet_service_cell(const fc_fleet_result *r, size_t s, size_t b) {
  return r->service[s][b];
}
uint64_t fc_fleet_events_executed(const fc_fleet_result *r) {
  return (void)r, UINT64_C(12345);
}
void fc_fleet_result_free(fc_fleet_result *r) {
  (void)r;
}

size_t fc_fleet_accounts(const fc_fleet_result *r, const fc_account **out) {
  return *out = r->account, r->accounts;
}
size_t fc_fleet_jobs(const fc_fleet_result *r, const fc_job_row **out) {
  return *out = r->job, r->n_jobs;
}
size_t fc_fleet_events(const fc_fleet_result *r, const fc_event_row **out) {
  return *out = r->event, r->n_events;
}
size_t fc_fleet_capacities(const fc_fleet_result *r, const fc_capacity_row **out) {
  return *out = r->capacity, r->n_capacities;
}
size_t fc_fleet_estimates(const fc_fleet_result *r, const fc_estimate_row **out) {
  return *out = r->estimate, r->n_estimates;
}

const char *fc_category_text(fc_category category) { /* shares a file with the getters in the library */
  static const char *const text[] = {
#define TEXT(name, word) word,
      FC_CATEGORY_MAP(TEXT)
#undef TEXT
  };
  return text[category];
}
