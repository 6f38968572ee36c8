/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/train/step.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/rng.h>
#include <fleetcast/cost/train_step.h>

/* --- stages --- */

/* Everything that a simulation needs, built once. */
typedef struct {
  fc_train_step closed;
  fc_train_kinds kinds;
  fc_pipeline *pipeline;
  int64_t stages;
  fc_stage_pass *stage; /* [stages] */
  double *expert_share; /* [stages] */
  int64_t *layers;      /* [stages] */
  double *factor;       /* [stages * micro-batches] */
  double *draw;         /* [draws] */
  const fc_model *model;
  const fc_train_plan *plan;
} study;

static void study_free(study *s) {
  fc_pipeline_free(s->pipeline);
  free(s->stage);
  free(s->expert_share);
  free(s->layers);
  free(s->factor);
  free(s->draw);
}

static void add_pass(fc_stage_pass *to, const fc_pipeline_pass *t, double count) {
  double sum = t->forward_s + t->backward_s;
  to->forward_s += count * t->forward_s;
  to->input_s += count * fmax(0, t->backward_s - t->weight_s);
  to->weight_s += count * fmin(t->weight_s, t->backward_s);
  double scale = sum > 0 ? t->overlapped_s / sum : 0;
  to->pair_forward_s += count * t->forward_s * scale;
  to->pair_backward_s += count * t->backward_s * scale;
}

static double layer_cost(const study *s, int64_t i) {
  bool dense = s->model->moe.experts > 0 && i < s->model->dense_layers;
  return dense ? s->kinds.dense.overlapped_s : s->kinds.layer.overlapped_s;
}

/* What a stage costs beside its layers; where one device holds both ends, what it holds counts, not which
 * end. */
static double ends_cost(const study *s, int64_t stage) {
  double first = s->kinds.embedding.overlapped_s,
         last = s->kinds.head.overlapped_s + (double)s->model->mtp_layers * s->kinds.mtp.overlapped_s;
  bool is_first = stage == 0, is_last = stage + 1 == s->stages;
  bool paired = s->plan->schedule == FC_SCHEDULE_DUALPIPE || s->plan->schedule == FC_SCHEDULE_DUALPIPEV;
  if (paired && s->stages > 1) return is_first || is_last ? 0.5 * (first + last) : 0;
  return (is_first ? first : 0) + (is_last ? last : 0);
}

/* Deals layers in order, none over `limit` where a later stage can take them; false: they do not fit. */
static bool deal(study *s, double limit) {
  int64_t next = 0, layers = s->model->layers;
  for (int64_t i = 0; i < s->stages; i++) {
    double cost = ends_cost(s, i);
    int64_t first = next;
    while (next < layers && cost + layer_cost(s, next) <= limit) cost += layer_cost(s, next++);
    s->layers[i] = next - first;
  }
  return next == layers;
}

static void deal_layers(study *s) {
  double high = ends_cost(s, 0) + ends_cost(s, s->stages - 1), low = 0;
  for (int64_t i = 0; i < s->model->layers; i++) high += layer_cost(s, i);
  for (int i = 0; i < 60; i++) {
    double middle = 0.5 * (low + high);
    if (deal(s, middle))
      high = middle;
    else
      low = middle;
  }
  (void)deal(s, high);
}

static void fill_stages(study *s) {
  int64_t dense_left = s->model->moe.experts > 0 ? s->model->dense_layers : 0;
  for (int64_t i = 0; i < s->stages; i++) {
    fc_stage_pass *to = &s->stage[i];
    int64_t dense = s->layers[i] < dense_left ? s->layers[i] : dense_left;
    dense_left -= dense;
    double rest = (double)(s->layers[i] - dense);
    *to = (fc_stage_pass){0};
    add_pass(to, &s->kinds.dense, (double)dense);
    add_pass(to, &s->kinds.layer, rest);
    if (i == 0) add_pass(to, &s->kinds.embedding, 1);
    if (i + 1 == s->stages) {
      add_pass(to, &s->kinds.head, 1);
      add_pass(to, &s->kinds.mtp, (double)s->model->mtp_layers);
    }
    double all = to->forward_s + to->input_s + to->weight_s;
    double experts = rest * s->kinds.expert_share * s->kinds.layer.overlapped_s;
    s->expert_share[i] = all > 0 && s->model->moe.experts > 0 ? fmin(1, experts / all) : 0;
  }
}

static fc_status study_init(study *s, const fc_model *model, const fc_profile *profile,
                            const fc_train_plan *plan, char *why) {
  *s = (study){.model = model, .plan = plan};
  fc_status status = fc_train_plan_check(model, plan, why);
  if (status == FC_OK) status = fc_cost_train_step(&s->closed, model, profile, plan);
  if (status == FC_OK) status = fc_cost_train_kinds(&s->kinds, model, profile, plan);
  if (status != FC_OK) {
    if (why && !*why) (void)snprintf(why, 256, "the profile of %s lacks a kernel", profile->device_name);
    return status;
  }
  bool interleaved = plan->schedule == FC_SCHEDULE_INTERLEAVED;
  status = fc_pipeline_new(&s->pipeline, plan->schedule, plan->pp, interleaved ? plan->virtual_stages : 1,
                           (int64_t)s->kinds.micro_batches);
  if (status != FC_OK) {
    if (why && status == FC_E_DOMAIN) (void)snprintf(why, 256, "more passes than the simulation holds");
    return status;
  }
  s->stages = fc_pipeline_stages(s->pipeline);
  size_t n = (size_t)s->stages;
  s->stage = calloc(n, sizeof *s->stage);
  s->expert_share = calloc(n, sizeof *s->expert_share);
  s->layers = calloc(n, sizeof *s->layers);
  if (!s->stage || !s->expert_share || !s->layers) return FC_E_NOMEM;
  deal_layers(s);
  fill_stages(s);
  return FC_OK;
}

static double once_s(const study *s) {
  return s->closed.data_s + s->closed.optimizer_s + s->closed.host_s;
}

static void report(fc_train_simulation *out, const study *s, const fc_pipeline_run *run) {
  *out = (fc_train_simulation){.seconds = run->makespan_s + once_s(s),
                               .closed_s = s->closed.seconds,
                               .makespan_s = run->makespan_s,
                               .critical = run->critical,
                               .stages = s->stages,
                               .least_layers = s->layers[0],
                               .most_layers = s->layers[0]};
  for (int64_t r = 0; r < s->plan->pp; r++) {
    out->idle_s += run->idle_s[r] / (double)s->plan->pp;
    out->peak = fmax(out->peak, run->peak[r]);
  }
  for (int64_t i = 1; i < s->stages; i++) {
    if (s->layers[i] < out->least_layers) out->least_layers = s->layers[i];
    if (s->layers[i] > out->most_layers) out->most_layers = s->layers[i];
  }
}

fc_status fc_train_step_simulate(fc_train_simulation *out, const fc_model *model, const fc_profile *profile,
                                 const fc_train_plan *plan, char *why) {
  if (why) *why = '\0';
  study s;
  fc_status status = study_init(&s, model, profile, plan, why);
  if (status == FC_OK) {
    fc_pipeline_run run;
    fc_pipeline_play(&run, s.pipeline, s.stage, s.kinds.hand_over_s, NULL);
    report(out, &s, &run);
  }
  study_free(&s);
  return status;
}

/* --- distribution --- */

fc_step_jitter fc_step_jitter_usual(void) {
  return (fc_step_jitter){.kernel_sd = 0.01,
                          .common_sd = 0.0025,
                          .popularity_sd = FC_STEP_POPULARITY_SD_FREE,
                          .straggler_rate = 0.007,
                          .straggler_share = 0.14};
}

double fc_step_stall_rate(const fc_step_jitter *j, double devices) {
  return -expm1(log1p(-j->straggler_rate) * devices / FC_STEP_STALL_DEVICES);
}

/* Quantile of the largest of n standard normals. */
static double largest_of(double n, double u) {
  return fc_normal_quantile(pow(u, 1 / fmax(1, n)));
}

/* Standard deviation of a rank's rows over their mean: its experts' popularity, and single tokens' choices.
 */
static double rank_sd(const fc_model *model, const fc_train_plan *plan, double popularity_sd) {
  if (plan->ep < 2 || model->moe.experts < 1) return 0;
  double ep = (double)plan->ep, experts_here = (double)model->moe.experts / ep;
  double tokens = (double)plan->micro_batch * (double)plan->sequence / (double)(plan->cp * plan->tp) * ep;
  double choices = tokens * (double)model->moe.active / ep;
  return sqrt(popularity_sd * popularity_sd / experts_here + 1 / choices);
}

double fc_train_expert_imbalance(const fc_model *model, const fc_train_plan *plan, double popularity_sd) {
  /* Blom's approximation of the expected largest of n normals */
  double n = (double)plan->ep, u = n > 1 ? (n - 0.375) / (n + 0.25) : 0.5;
  return fmax(1, 1 + rank_sd(model, plan, popularity_sd) * fc_normal_quantile(u));
}

/* Times of one step's passes: slowest device, busiest rank, each around its median. */
static void draw_factors(const study *s, const fc_step_jitter *j, fc_rng *rng) {
  double devices = (double)s->plan->devices / (double)s->plan->pp, ep = (double)s->plan->ep;
  double sd = rank_sd(s->model, s->plan, j->popularity_sd);
  double slow_median = largest_of(devices, 0.5), busy_median = largest_of(ep, 0.5);
  int64_t m = fc_pipeline_micro_batches(s->pipeline);
  for (int64_t i = 0; i < s->stages; i++) {
    double share = j->popularity_sd > 0 ? s->expert_share[i] * sd / (1 + sd * busy_median) : 0;
    for (int64_t k = 0; k < m; k++) {
      double f = 1;
      if (j->kernel_sd > 0) f += j->kernel_sd * (largest_of(devices, fc_rng_uniform(rng)) - slow_median);
      if (share > 0) f += share * (largest_of(ep, fc_rng_uniform(rng)) - busy_median);
      s->factor[i * m + k] = fmax(0.1, f);
    }
  }
}

static double play(const study *s, const double *factor) {
  fc_pipeline_run run;
  fc_pipeline_play(&run, s->pipeline, s->stage, s->kinds.hand_over_s, factor);
  return run.makespan_s;
}

/* `even_s`: the makespan without jitter. */
static double draw_step(const study *s, const fc_step_jitter *j, double even_s, uint64_t seed, int64_t i) {
  fc_rng rng = fc_rng_keyed(seed, FC_STREAM_JOB, (uint64_t)i, 0);
  double common = fmax(0.1, 1 + j->common_sd * fc_rng_normal(&rng));
  double rate = j->straggler_rate > 0 ? fc_step_stall_rate(j, (double)s->plan->devices) : 0;
  double stall = fc_rng_uniform(&rng) < rate ? j->straggler_share * fc_rng_exponential(&rng) : 0;
  double makespan = even_s;
  if (j->kernel_sd > 0 || j->popularity_sd > 0) {
    draw_factors(s, j, &rng);
    makespan = play(s, s->factor);
  }
  return (makespan + once_s(s)) * (common + stall);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void draw_all(fc_step_distribution *out, const study *s, const fc_step_jitter *j, uint64_t seed,
                     int64_t n) {
  double mean = 0, square = 0, even_s = play(s, NULL);
  for (int64_t i = 0; i < n; i++) {
    s->draw[i] = draw_step(s, j, even_s, seed, i);
    double d = s->draw[i] - mean;
    mean += d / (double)(i + 1);
    square += d * (s->draw[i] - mean);
  }
  qsort(s->draw, (size_t)n, sizeof *s->draw, by_value);
  out->mean_s = mean;
  out->cv = sqrt(square / (double)(n - 1)) / mean;
  out->median_s = s->draw[n / 2];
  out->p99_s = s->draw[(int64_t)ceil(0.99 * (double)n) - 1];
  out->max_s = s->draw[n - 1];
}

static double cv_of(const study *s, fc_step_jitter only, uint64_t seed, int64_t n) {
  fc_step_distribution d;
  draw_all(&d, s, &only, seed, n);
  return d.cv;
}

fc_status fc_train_step_distribution(fc_step_distribution *out, const fc_model *model,
                                     const fc_profile *profile, const fc_train_plan *plan,
                                     const fc_step_jitter *j, uint64_t seed, int64_t draws, char *why) {
  if (why) *why = '\0';
  study s;
  fc_status status = study_init(&s, model, profile, plan, why);
  if (status == FC_OK) {
    s.factor = calloc((size_t)s.stages * (size_t)s.kinds.micro_batches, sizeof *s.factor);
    s.draw = calloc((size_t)draws, sizeof *s.draw);
    if (!s.factor || !s.draw) status = FC_E_NOMEM;
  }
  if (status == FC_OK) {
    draw_all(out, &s, j, seed, draws);
    out->cv_kernel = cv_of(&s, (fc_step_jitter){.kernel_sd = j->kernel_sd}, seed, draws);
    out->cv_experts = cv_of(&s, (fc_step_jitter){.popularity_sd = j->popularity_sd}, seed, draws);
    out->cv_common = cv_of(&s, (fc_step_jitter){.common_sd = j->common_sd}, seed, draws);
    out->cv_straggler = cv_of(
        &s, (fc_step_jitter){.straggler_rate = j->straggler_rate, .straggler_share = j->straggler_share},
        seed, draws);
  }
  study_free(&s);
  return status;
}
