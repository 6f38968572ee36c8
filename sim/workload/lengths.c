/* SPDX-License-Identifier: Apache-2.0 */
#include "load_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trace_build.h"

/* --- what an entry asks --- */

static uint32_t tokens(double value, uint32_t least) {
  double rounded = floor(value + 0.5);
  if (!(rounded > least)) return least;
  return rounded < FC_TRACE_TOKENS_MAX ? (uint32_t)rounded : FC_TRACE_TOKENS_MAX;
}

/* First of n cumulative shares above u. */
static uint32_t choose(const double *sum, size_t n, double u) {
  size_t low = 0, high = n - 1;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (sum[middle] > u)
      high = middle;
    else
      low = middle + 1;
  }
  return (uint32_t)low;
}

static uint32_t class_by_share(const fc_asker *a, double u) {
  return a->def->n_classes > 1 ? choose(a->class_sum, a->def->n_classes, u) : 0;
}

/* A Gaussian copula: the output's normal score leans on the input's. */
static double leaning(double rho, double u_input, double u_output) {
  double z = rho * fc_normal_quantile(u_input) + sqrt(1 - rho * rho) * fc_normal_quantile(u_output);
  double u = 0.5 * erfc(-z * 0.70710678118654752);
  return fmin(fmax(u, 0x1p-53), 1 - 0x1p-53);
}

static fc_trace_row drawn_row(const fc_asker *a, double u) {
  return fc_trace_at(a->def->trace, a->first + (size_t)(u * (double)a->n));
}

static void draw_lengths(const fc_asker *a, double u_input, double u_output, fc_entry *out) {
  const fc_load_def *def = a->def;
  if (def->trace) {
    fc_trace_row row = drawn_row(a, u_input);
    out->input = row.input_tokens;
    out->output = row.output_tokens;
    return;
  }
  if (def->correlation != 0) u_output = leaning(def->correlation, u_input, u_output);
  out->input = tokens(fc_sampler_at(&a->input, u_input), 1);
  out->output = tokens(fc_sampler_at(&a->output, u_output), 0);
}

static void copy_row(const fc_asker *a, uint64_t e, fc_entry *out) {
  fc_trace_row row = fc_trace_at(a->def->trace, a->first + e % a->n);
  out->input = row.input_tokens;
  out->output = row.output_tokens;
  out->n_blocks = row.n_blocks;
  out->block = row.block;
  out->lap = e / a->n;
  out->group = row.group;
  if (row.slo_class != FC_TRACE_NONE) out->slo_class = a->class_of[row.slo_class];
}

/* Word u of one that is below `share`: which group. */
static uint32_t choose_group(const fc_asker *a, double u) {
  size_t n = a->def->prefix.groups;
  size_t g = a->group_sum ? choose(a->group_sum, n, u) : (size_t)(u * (double)n);
  return (uint32_t)(a->trace_groups + (g < n ? g : n - 1));
}

static void add_prefix(const fc_asker *a, bool drawn, fc_entry *e) {
  uint32_t length = a->group_tokens[e->group];
  if (drawn && !a->whole && a->def->prefix.adds)
    e->input += length;
  else if (drawn && !a->whole && e->input <= length)
    e->input = length + 1;
  e->shared = length < e->input ? length : e->input;
  if (e->shared == 0) e->group = UINT32_MAX;
}

/* Each word has its use, so that no choice shifts another's draw. */
static void draw_words(const fc_asker *a, uint64_t number, double u[4]) {
  if (a->wordless) return;
  fc_rng rng = fc_load_rng(a->def, FC_DRAW_ENTRY, number);
  for (int i = 0; i < 4; i++) u[i] = fc_rng_uniform(&rng);
}

void fc_asker_entry(const fc_asker *a, uint64_t number, fc_entry *out) {
  const fc_load_def *def = a->def;
  double u[4] = {0.5, 0.5, 0.5, 1}; /* input, output, class, prefix */
  draw_words(a, number, u);
  *out = (fc_entry){.number = number, .group = UINT32_MAX, .slo_class = class_by_share(a, u[2])};
  if (a->whole)
    copy_row(a, number, out);
  else
    draw_lengths(a, u[0], u[1], out);
  bool drawn = out->group == UINT32_MAX && out->n_blocks == 0 && u[3] < def->prefix.share;
  if (drawn) out->group = choose_group(a, u[3] / def->prefix.share);
  if (out->group != UINT32_MAX) add_prefix(a, drawn, out);
  out->cut = out->input > def->input_max || out->output > def->output_max;
  if (!out->cut) return;
  if (out->input > def->input_max) out->input = def->input_max;
  if (out->output > def->output_max) out->output = def->output_max;
  if (out->shared > out->input) out->shared = out->input;
}

/* --- sessions --- */

enum { TURNS_MAX = UINT16_MAX };

uint32_t fc_asker_turns(const fc_asker *a, uint64_t e) {
  double u = 0.5;
  if (!fc_sampler_is_point(&a->turns)) {
    fc_rng rng = fc_load_rng(a->def, FC_DRAW_TURNS, e);
    u = fc_rng_uniform(&rng);
  }
  uint32_t turns = tokens(fc_sampler_at(&a->turns, u), 1);
  return turns < TURNS_MAX ? turns : TURNS_MAX;
}

fc_time fc_asker_pause(const fc_asker *a, uint64_t e) {
  if (fc_sampler_is_point(&a->pause_s)) return fc_sampler_time(&a->pause_s, 0.5);
  fc_rng rng = fc_load_rng(a->def, FC_DRAW_PAUSE, e);
  return fc_sampler_time(&a->pause_s, fc_rng_uniform(&rng));
}

fc_turn fc_asker_turn(const fc_asker *a, uint64_t e, uint32_t k) {
  const fc_load_def *def = a->def;
  fc_rng rng = fc_load_rng(def, FC_DRAW_TURN, e << 16 | k);
  double u_who = fc_rng_uniform(&rng), u_delay = fc_rng_uniform(&rng);
  double u_new = fc_rng_uniform(&rng), u_output = fc_rng_uniform(&rng);
  bool tool = u_who < def->session.tool_share;
  fc_turn turn = {.delay = fc_sampler_time(tool ? &a->tool_s : &a->think_s, u_delay),
                  .new_tokens = tokens(fc_sampler_at(tool ? &a->tool_tokens : &a->new_tokens, u_new), 1)};
  turn.output =
      def->trace ? drawn_row(a, u_output).output_tokens : tokens(fc_sampler_at(&a->output, u_output), 0);
  if (turn.output > def->output_max) turn.output = def->output_max;
  return turn;
}

/* --- blocks --- */

static const uint64_t GOLDEN = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 over the golden ratio: odd */

/* Blocks i of one text have different names, as mixing is a bijection; texts start apart. */
static void name_blocks(uint64_t text, uint32_t from, uint32_t to, uint64_t *out) {
  for (uint32_t i = from; i < to; i++) out[i] = fc_mix64(text + i * GOLDEN);
}

uint32_t fc_asker_blocks(const fc_asker *a, uint64_t e, uint32_t group, uint32_t shared, uint32_t input,
                         uint64_t *out) {
  uint32_t n = input / a->made_tokens, n_shared = shared / a->made_tokens;
  if (n_shared > 0) name_blocks(fc_mix64(a->key + 2 * (uint64_t)group), 0, n_shared, out);
  name_blocks(fc_mix64(a->key + 2 * e + 1), n_shared, n, out);
  return n;
}

/* --- making --- */

/* share[i], or i's power of zipf, to cumulative shares of sum 1 */
static double *cumulate(size_t n, const double *share, double zipf) {
  double *sum = malloc(n * sizeof *sum), total = 0;
  if (!sum) return NULL;
  for (size_t i = 0; i < n; i++) {
    total += share ? share[i] : pow((double)(i + 1), -zipf);
    sum[i] = total;
  }
  for (size_t i = 0; i < n; i++) sum[i] /= total;
  return sum;
}

static fc_status make_groups(fc_asker *a) {
  const fc_load_def *def = a->def;
  fc_sampler length = fc_sampler_of(&def->prefix.tokens);
  size_t made = def->prefix.share > 0 ? def->prefix.groups : 0;
  a->trace_groups = a->whole ? fc_trace_about(def->trace)->groups : 0;
  a->group_tokens = malloc((a->trace_groups + made + 1) * sizeof *a->group_tokens);
  if (!a->group_tokens) return FC_E_NOMEM;
  for (size_t g = 0; g < a->trace_groups + made; g++) {
    bool recorded = g < a->trace_groups;
    uint32_t told = recorded ? fc_trace_group_tokens(def->trace, g) : 0;
    fc_rng rng = fc_load_rng(def, FC_DRAW_PREFIX, recorded ? 2 * g : 2 * (g - a->trace_groups) + 1);
    a->group_tokens[g] = told > 0 ? told : tokens(fc_sampler_at(&length, fc_rng_uniform(&rng)), 0);
  }
  if (made > 1 && def->prefix.zipf > 0) {
    a->group_sum = cumulate(made, NULL, def->prefix.zipf);
    if (!a->group_sum) return FC_E_NOMEM;
  }
  return FC_OK;
}

static fc_status number_classes(fc_asker *a, const char *source, fc_diags *d) {
  const fc_load_def *def = a->def;
  size_t n = a->whole ? fc_trace_about(def->trace)->classes : 0;
  fc_status status = FC_OK;
  a->class_of = calloc(n + 1, sizeof *a->class_of);
  if (!a->class_of) return FC_E_NOMEM;
  for (size_t i = 0; i < n && def->n_classes > 0; i++) {
    const char *name = fc_trace_class_name(def->trace, i);
    size_t k = 0;
    while (k < def->n_classes && (def->class_name ? strcmp(def->class_name[k], name) != 0 : k != i)) k++;
    a->class_of[i] = (uint32_t)k;
    if (k < def->n_classes) continue;
    const char *meant = def->class_name ? fc_diag_nearest(name, def->class_name, def->n_classes) : NULL;
    status =
        meant ? fc_diag_error(d, source, ((fc_pos){0, 0}),
                              "class '%s' of the trace is not among the %zu classes; did you mean '%s'?",
                              name, def->n_classes, meant)
              : fc_diag_error(d, source, ((fc_pos){0, 0}),
                              "class '%s' of the trace is not among the %zu classes", name, def->n_classes);
  }
  return status;
}

fc_status fc_asker_init(fc_asker *a, const fc_load_def *def, size_t first, size_t n, const char *source,
                        fc_diags *d) {
  const fc_session_def *s = &def->session;
  *a = (fc_asker){.def = def,
                  .first = first,
                  .n = n,
                  .whole = def->trace && (def->arrive == FC_ARRIVE_TRACE || def->in_order),
                  .input = fc_sampler_of(&def->input),
                  .output = fc_sampler_of(&def->output),
                  .turns = fc_sampler_of(&s->turns),
                  .pause_s = fc_sampler_of(&def->pause_s),
                  .think_s = fc_sampler_of(&s->think_s),
                  .new_tokens = fc_sampler_of(&s->new_tokens),
                  .tool_s = fc_sampler_of(&s->tool_s),
                  .tool_tokens = fc_sampler_of(&s->tool_tokens)};
  a->wordless = a->whole && !(def->prefix.share > 0) && def->n_classes < 2;
  a->sessions = !fc_sampler_is_point(&a->turns) || a->turns.dist.a >= 1.5;
  a->key = fc_mix64(fc_mix64(def->seed + GOLDEN) + fc_load_entity(def, FC_DRAW_PREFIX));
  fc_status status = make_groups(a);
  if (!status) status = number_classes(a, source, d);
  if (!status && def->n_classes > 1) {
    a->class_sum = cumulate(def->n_classes, def->class_share, 0);
    if (!a->class_sum) status = FC_E_NOMEM;
  }
  bool recorded = a->whole && fc_trace_about(def->trace)->block_tokens > 0;
  if (!recorded && (a->sessions || def->prefix.share > 0 || a->trace_groups > 0))
    a->made_tokens = def->block_tokens;
  return status;
}

void fc_asker_fini(fc_asker *a) {
  free(a->class_sum);
  free(a->group_sum);
  free(a->group_tokens);
  free(a->class_of);
}
