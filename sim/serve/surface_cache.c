/* SPDX-License-Identifier: Apache-2.0 */
/* Answers on disk, by a hash of everything that they depend on. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <fleetcast/base/file.h>

#include "surface_private.h"

/* Raised with any change of what is simulated or how it is read. */
#define DESIGN "fleetcast capacity surface 2"
enum { LARGEST = 1 << 16, PATH = 4096, TEXT = 8192 };

/* --- the key --- */

static void put(SHA2_CTX *h, double x) {
  SHA256Update(h, (const uint8_t *)&x, sizeof x);
}

static void put_int(SHA2_CTX *h, int64_t x) {
  SHA256Update(h, (const uint8_t *)&x, sizeof x);
}

static void put_model(SHA2_CTX *h, const fc_model *m) {
  const fc_attention *a = &m->attention;
  const int64_t v[] = {m->layers,
                       m->dense_layers,
                       m->hidden,
                       m->vocab,
                       m->tied_embeddings,
                       m->ffn,
                       a->kind,
                       a->heads,
                       a->kv_heads,
                       a->head_dim,
                       a->q_lora,
                       a->kv_lora,
                       a->nope,
                       a->rope,
                       a->v,
                       a->window,
                       a->window_layers,
                       a->qk_norm,
                       m->moe.experts,
                       m->moe.active,
                       m->moe.shared,
                       m->moe.inter,
                       m->moe.groups,
                       m->moe.top_groups,
                       m->mtp_layers,
                       (int64_t)m->weights};
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) put_int(h, v[i]);
}

static void put_device(SHA2_CTX *h, const fc_device *d) {
  for (int i = 0; i < FC_DTYPE_COUNT; i++) put(h, d->peak_flop_per_s[i]);
  const double v[] = {d->memory_bytes,
                      d->memory_bytes_per_s,
                      d->l2_bytes,
                      (double)d->compute_units,
                      d->scaleup_bytes_per_s,
                      (double)d->scaleup_devices,
                      d->scaleout_bytes_per_s,
                      (double)d->node_devices,
                      d->tdp_w,
                      d->idle_w};
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) put(h, v[i]);
}

static void put_local(SHA2_CTX *h, const fc_local *l) {
  put_int(h, l ? (int64_t)l->n : -1);
  if (!l) return;
  const float v[] = {l->smooth, l->rough, l->own, l->scale, l->floor, l->support};
  SHA256Update(h, l->of, sizeof l->of);
  SHA256Update(h, (const uint8_t *)v, sizeof v);
  SHA256Update(h, (const uint8_t *)l->length, l->n_coordinates * sizeof(float));
  SHA256Update(h, (const uint8_t *)l->rough_length, l->n_coordinates * sizeof(float));
  SHA256Update(h, (const uint8_t *)l->x, fc_local_x_floats(l->n, l->n_coordinates) * sizeof(float));
  SHA256Update(h, (const uint8_t *)l->weight, fc_local_lane_floats(l->n) * sizeof(float));
}

static void put_profile(SHA2_CTX *h, const fc_profile *p) {
  put_device(h, p->device);
  for (size_t i = 0; i < p->n_kernels; i++) {
    const fc_kernel_fit *k = &p->kernels[i];
    put_int(h, (int64_t)k->kernel * 1000 + (int64_t)k->dtype * 10 + (int64_t)k->form);
    SHA256Update(h, (const uint8_t *)&k->coef, sizeof k->coef);
    put(h, k->spread_systematic);
    put(h, k->spread_shape);
    for (int r = 0; r < FC_REGIME_COUNT; r++) put(h, k->spread_regime[r]);
    put_local(h, k->local);
  }
  const double v[] = {p->launch_s,           p->iteration_host_s,       p->contention,
                      p->comm_compute_units, p->power_compute_fraction, p->power_memory_fraction};
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) put(h, v[i]);
}

static void put_plan(SHA2_CTX *h, const fc_serve_plan *p) {
  const double v[] = {(double)p->devices,  (double)p->tp,        (double)p->attention_dp,
                      (double)p->ep,       (double)p->gemm,      (double)p->kv,
                      p->expert_imbalance, p->two_batch_overlap, p->memory_fraction};
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) put(h, v[i]);
}

/* What L1 says at a few loads: changes of its code change the key. */
static fc_status put_probes(SHA2_CTX *h, const fc_phase_demand *d, const fc_serve_plan *plan) {
  for (int batch = 1; batch <= FC_SERVE_GROUP_BATCH_MAX; batch *= 4)
    for (int mixed = 0; mixed < 2; mixed++) {
      double groups = (double)plan->attention_dp, n = batch;
      fc_serve_load load = {.decode_requests = mixed ? 0 : n * groups, .query_tokens = d->queries};
      load.decode_context = d->cached + d->fresh + 0.5 * d->output;
      if (mixed) load.prefill_tokens = 16 * n * groups;
      load.prefill_context = d->cached;
      fc_serve_iteration it;
      fc_status status = fc_cost_serve_iteration(&it, d->model, d->profile, plan, &load);
      if (status != FC_OK) return status;
      put(h, it.seconds);
      put(h, it.watts);
      put(h, it.log_sd);
    }
  return FC_OK;
}

/* What the engine does with a made-up load that is short of memory: likewise. */
static fc_status put_engine(SHA2_CTX *h) {
  static const fc_step_coefficients times = {
      .base_s = 0.01, .decode_request_s = 2e-4, .decode_context_s = 1e-7, .prefill_token_s = 2e-5};
  fc_surface_def d = {.instance = FC_INSTANCE_WHOLE,
                      .plan = {.devices = 2, .tp = 1, .attention_dp = 2, .ep = 1},
                      .shape = {.input_tokens = 200, .output_tokens = 40, .cache_hit = 0.2},
                      .completions = 300,
                      .step = fc_step_linear,
                      .context = &times,
                      .kv_blocks = 400};
  d.shape.input_cv = d.shape.output_cv = 0.5;
  if (!fc_serve_policy_named(&d.policy, "vllm")) return FC_E_DOMAIN;
  d.policy.max_batch = 32;
  d.policy.token_budget = 512;
  fc_surface *s;
  fc_surface_run run;
  fc_status status = fc_surface_new(&s, &d);
  if (status == FC_OK) status = fc_surface_simulate(&run, s, 40, 1);
  fc_surface_free(s);
  if (status != FC_OK) return status;
  put(h, run.ttft_s);
  put(h, run.tpot_s);
  put(h, run.throughput_per_s);
  return FC_OK;
}

fc_status fc_surface_key_of(fc_surface_key *out, const fc_serve_capacity *closed, const fc_deployment *asked,
                            const fc_phase_demand *d, const fc_request_shape *shape,
                            const fc_surface_options *o) {
  SHA2_CTX h;
  SHA256Init(&h);
  SHA256Update(&h, (const uint8_t *)DESIGN, sizeof DESIGN);
  put_model(&h, d->model);
  put_profile(&h, d->profile);
  const double v[] = {asked->automatic,
                      (double)asked->device_limit,
                      asked->disaggregated,
                      asked->speculative_tokens,
                      shape->input_tokens,
                      shape->output_tokens,
                      shape->cache_hit,
                      shape->input_cv,
                      shape->output_cv,
                      d->slo.ttft_s,
                      d->slo.tpot_s,
                      o->runs_max,
                      o->width,
                      o->completions};
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) put(&h, v[i]);
  put_int(&h, (int64_t)o->seed);
  put_plan(&h, &asked->prefill);
  put_plan(&h, &asked->decode);
  put_plan(&h, &closed->deployment.prefill);
  put_plan(&h, &closed->deployment.decode);
  put(&h, closed->prefill_tokens_per_s);
  put(&h, closed->decode_tokens_per_s);
  put(&h, closed->prefill_budget);
  put(&h, closed->decode_budget);
  fc_status status = put_engine(&h);
  if (status == FC_OK) status = put_probes(&h, d, &closed->deployment.decode);
  if (status == FC_OK && closed->deployment.disaggregated)
    status = put_probes(&h, d, &closed->deployment.prefill);
  if (!SHA256End(&h, out->text)) return FC_E_NOMEM;
  return status;
}

/* --- the file: a name and a value a line --- */

typedef enum { DOUBLE, INT64, BOOL, DTYPE, LIMIT } kind;
typedef struct {
  const char *name;
  size_t at;
  kind kind;
} field;

#define AT(member) offsetof(fc_serve_capacity, member)
#define NUMBER(m)                                                                                            \
  { #m, AT(m), DOUBLE }
#define WHOLE(m)                                                                                             \
  { #m, AT(m), INT64 }
#define FLAG(m)                                                                                              \
  { #m, AT(m), BOOL }
#define PLAN(p)                                                                                              \
  WHOLE(deployment.p.devices), WHOLE(deployment.p.tp), WHOLE(deployment.p.attention_dp),                     \
      WHOLE(deployment.p.ep), {#p ".gemm", AT(deployment.p.gemm), DTYPE},                                    \
      {#p ".kv", AT(deployment.p.kv), DTYPE}, NUMBER(deployment.p.expert_imbalance),                         \
      FLAG(deployment.p.two_batch_overlap), NUMBER(deployment.p.memory_fraction)

static const field fields[] = {
    FLAG(deployment.automatic),
    WHOLE(deployment.device_limit),
    FLAG(deployment.disaggregated),
    PLAN(prefill),
    PLAN(decode),
    NUMBER(deployment.speculative_tokens),
    NUMBER(prefill_tokens_per_s),
    NUMBER(decode_tokens_per_s),
    WHOLE(prefill_unit),
    WHOLE(decode_unit),
    NUMBER(ttft_s),
    NUMBER(tpot_s),
    NUMBER(decode_batch),
    NUMBER(kv_tokens),
    NUMBER(prefill_utilisation),
    NUMBER(prefill_watts),
    NUMBER(decode_watts),
    NUMBER(prefill_log_sd),
    NUMBER(decode_log_sd),
    NUMBER(prefill_budget),
    NUMBER(decode_budget),
    FLAG(surface.used),
    WHOLE(surface.runs),
    NUMBER(surface.closed_prefill_tokens_per_s),
    NUMBER(surface.closed_decode_tokens_per_s),
    NUMBER(surface.prefill_log_sd),
    NUMBER(surface.decode_log_sd),
    NUMBER(surface.prefill_error),
    NUMBER(surface.decode_error),
    NUMBER(surface.prefill_error_sd),
    NUMBER(surface.decode_error_sd),
    NUMBER(surface.direct_ttft_s),
    NUMBER(surface.direct_tpot_s),
    NUMBER(surface.cut),
    {"prefill_limit", AT(prefill_limit), LIMIT},
    {"decode_limit", AT(decode_limit), LIMIT},
};

static const char *const limits[] = {"", "TTFT", "TPOT", "KV cache", "batch", "utilisation"};
enum { LIMITS = sizeof limits / sizeof *limits, FIELDS = sizeof fields / sizeof *fields };

static double value_of(const fc_serve_capacity *c, const field *f) {
  const char *at = (const char *)c + f->at;
  switch (f->kind) {
  case DOUBLE: return *(const double *)(const void *)at;
  case INT64: return (double)*(const int64_t *)(const void *)at;
  case BOOL: return *(const bool *)(const void *)at;
  case DTYPE: return (double)*(const fc_dtype *)(const void *)at;
  case LIMIT: break;
  }
  const char *text = *(const char *const *)(const void *)at;
  for (int i = 1; i < LIMITS; i++)
    if (text && strcmp(text, limits[i]) == 0) return i;
  return 0;
}

static bool set_value(fc_serve_capacity *c, const field *f, double x) {
  char *at = (char *)c + f->at;
  if (f->kind != DOUBLE && !(fabs(x) < 9e15 && floor(x) == x)) return false;
  switch (f->kind) {
  case DOUBLE: *(double *)(void *)at = x; return true;
  case INT64: *(int64_t *)(void *)at = (int64_t)x; return true;
  case BOOL: *(bool *)(void *)at = x > 0; return x >= 0 && x <= 1;
  case DTYPE: *(fc_dtype *)(void *)at = (fc_dtype)(int)x; return x >= 0 && x < FC_DTYPE_COUNT;
  case LIMIT: break;
  }
  if (!(x >= 0 && x < LIMITS)) return false;
  *(const char **)(void *)at = x > 0 ? limits[(int)x] : NULL;
  return true;
}

static bool path_of(char out[PATH], const fc_surface_key *key, const fc_surface_options *o) {
  return snprintf(out, PATH, "%s/surface-%s", o->cache, key->text) < PATH;
}

/* @return the end of what was read, NULL: it is not what it should be */
static const char *line_of(const char *p, const char *name) {
  size_t n = strlen(name);
  return p && strncmp(p, name, n) == 0 && p[n] == ' ' ? p + n + 1 : NULL;
}

static bool parse(fc_surface_answer *out, const char *text, const fc_surface_key *key) {
  const char *p = line_of(text, DESIGN);
  if (!p || strncmp(p, key->text, FC_SURFACE_KEY - 1) != 0 || p[FC_SURFACE_KEY - 1] != '\n') return false;
  fc_surface_answer a = {.status = FC_OK};
  p = line_of(p + FC_SURFACE_KEY, "why");
  size_t n = p ? strcspn(p, "\n") : 0;
  if (!p || p[n] != '\n' || n >= sizeof a.why) return false;
  memcpy(a.why, p, n);
  if (n > 0) a.status = FC_E_INFEASIBLE;
  p += n + 1;
  for (int i = 0; i < FIELDS; i++) {
    char *end;
    p = line_of(p, fields[i].name);
    if (!p) return false;
    double x = strtod(p, &end);
    if (end == p || *end != '\n' || !isfinite(x) || !set_value(&a.capacity, &fields[i], x)) return false;
    p = end + 1;
  }
  char sum[FC_SURFACE_KEY], wanted[FC_SURFACE_KEY + 8];
  (void)SHA256Data((const uint8_t *)text, (size_t)(p - text), sum);
  (void)snprintf(wanted, sizeof wanted, "end %s\n", sum);
  if (strcmp(p, wanted) != 0) return false;
  *out = a;
  return true;
}

bool fc_surface_cache_read(fc_surface_answer *out, const fc_surface_key *key, const fc_surface_options *o) {
  char path[PATH], *text, note[PATH + 64];
  size_t length;
  if (!path_of(path, key, o)) return false;
  errno = 0;
  fc_status status = fc_file_read(&text, &length, path, LARGEST);
  if (status != FC_OK && errno == ENOENT) return false;
  bool good = status == FC_OK && parse(out, text, key);
  if (status == FC_OK) free(text);
  if (good || !o->note) return good;
  (void)snprintf(note, sizeof note, "%s is no use and will be written anew", path);
  o->note(o->context, note);
  return false;
}

static void make_folders(const char *folder) {
  char path[PATH];
  if (snprintf(path, sizeof path, "%s", folder) >= PATH) return;
  for (char *p = path + 1; *p; p++) {
    if (*p != '/') continue;
    *p = '\0';
    (void)mkdir(path, 0777);
    *p = '/';
  }
  (void)mkdir(path, 0777);
}

void fc_surface_cache_write(const fc_surface_answer *a, const fc_surface_key *key,
                            const fc_surface_options *o) {
  char path[PATH], text[TEXT], sum[FC_SURFACE_KEY];
  if (!path_of(path, key, o)) return;
  int n = snprintf(text, sizeof text, DESIGN " %s\nwhy %s\n", key->text, a->status == FC_OK ? "" : a->why);
  for (int i = 0; i < FIELDS && n < TEXT; i++)
    n +=
        snprintf(text + n, (size_t)(TEXT - n), "%s %a\n", fields[i].name, value_of(&a->capacity, &fields[i]));
  if (n >= TEXT) return;
  (void)SHA256Data((const uint8_t *)text, (size_t)n, sum);
  make_folders(o->cache);
  fc_file *file;
  if (fc_file_create(&file, path) != FC_OK) return;
  fc_file_write(file, text, (size_t)n);
  fc_file_printf(file, "end %s\n", sum);
  if (fc_file_commit(file) != FC_OK) return;
}
