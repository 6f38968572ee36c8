/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/write.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/cost/anchor.h>

/* Every number is rounded to its digits in one fixed unit, so that what was read is written the same again.
 */

enum { DIGITS = 4, COVARIANCE_DIGITS = 3, WEIGHT_DIGITS = 7, SCATTER_DIGITS = 4, NUMBER_ROOM = 40 };

typedef struct {
  double from; /* of the rounded value in base units */
  double unit;
  const char *text;
} unit_step;

/* Smallest first. */
static const unit_step flop_steps[] = {{0, 1, "FLOP"},      {1e3, 1e3, "kFLOP"},   {1e6, 1e6, "MFLOP"},
                                       {1e9, 1e9, "GFLOP"}, {1e12, 1e12, "TFLOP"}, {1e15, 1e15, "PFLOP"}};
static const unit_step byte_steps[] = {
    {0, 1, "B"}, {1e3, 1e3, "kB"}, {1e6, 1e6, "MB"}, {1e9, 1e9, "GB"}, {1e12, 1e12, "TB"}};
static const unit_step rate_steps[] = {{0, 1e9, "GFLOP/s"}, {1e12, 1e12, "TFLOP/s"}, {1e16, 1e15, "PFLOP/s"}};
static const unit_step bandwidth_steps[] = {{0, 1e9, "GB/s"}, {1e12, 1e12, "TB/s"}};
static const unit_step time_steps[] = {{0, 1e-6, "us"}};
static const unit_step half_steps[] = {{0, 1e6, "MB"}};
static const unit_step token_steps[] = {{0, 1, "tokens"}};
static const unit_step plain_steps[] = {{0, 1, ""}};

typedef struct {
  const char *key;
  size_t offset; /* in fc_coef */
  size_t n;
  const unit_step *step;
} coefficient;

#define COEF(key, member, steps)                                                                             \
  { (key), offsetof(fc_coef, member), sizeof(steps) / sizeof *(steps), (steps) }

/* In the order of fc_coef. */
static const coefficient coefficients[] = {
    COEF("t0", t0_s, time_steps),
    COEF("flop_rate", flop_per_s, rate_steps),
    COEF("bandwidth", bytes_per_s, bandwidth_steps),
    COEF("tile_time", tile_s, time_steps),
    COEF("tile_traffic", tile_traffic, plain_steps),
    COEF("sharpness", sharpness, plain_steps),
    COEF("half_length", half_length, token_steps),
    COEF("half_bytes", half_bytes, half_steps),
    COEF("hop", hop_s, time_steps),
    COEF("net_t0", net_t0_s, time_steps),
    COEF("net_bandwidth", net_bytes_per_s, bandwidth_steps),
    COEF("net_half_bytes", net_half_bytes, half_steps),
};

/* --- numbers and texts --- */

static void format_number(char out[NUMBER_ROOM], double value, int digits) {
  (void)snprintf(out, NUMBER_ROOM, "%.*g", digits, value == 0 ? 0 : value);
}

static double rounded(double value, int digits) {
  char text[NUMBER_ROOM];
  format_number(text, value, digits);
  return strtod(text, NULL);
}

/* In a unit that depends on the rounded value alone. */
static void write_in(fc_file *file, double value, int digits, const unit_step *step, size_t n) {
  char text[NUMBER_ROOM];
  size_t i = n - 1;
  double coarse = rounded(value, digits);
  while (i > 0 && coarse < step[i].from * (1 - 1e-9)) i--;
  format_number(text, value / step[i].unit, digits);
  fc_file_printf(file, "%s%s%s", text, *step[i].text ? " " : "", step[i].text);
}

/* Three digits downwards (`up` false) or upwards, so that a range covers what it was made of. */
static double outwards(double value, bool up) {
  if (!(value > 0)) return 0;
  double unit = pow(10, floor(log10(value)) - 2), steps = value / unit, near = nearbyint(steps);
  if (fabs(steps - near) > 1e-9 * near) near = up ? ceil(steps) : floor(steps);
  return near * unit;
}

static void write_quoted(fc_file *file, const char *text) {
  fc_file_printf(file, "\"");
  for (const char *p = text; *p; p++) {
    if (*p == '"' || *p == '\\')
      fc_file_printf(file, "\\%c", *p);
    else if (*p == '\n')
      fc_file_printf(file, "\\n");
    else if (*p == '\t')
      fc_file_printf(file, "\\t");
    else
      fc_file_printf(file, "%c", *p);
  }
  fc_file_printf(file, "\"");
}

/* A word stands as it is where YAML cannot take it for anything else. */
static void write_word(fc_file *file, const char *text) {
  size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+/-");
  bool begins = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
  if (begins && text[n] == '\0')
    fc_file_printf(file, "%s", text);
  else
    write_quoted(file, text);
}

/* A comment must not end early. */
static void write_comment(fc_file *file, const char *text) {
  for (const char *p = text; *p; p++) fc_file_printf(file, "%c", *p == '\n' || *p == '\r' ? ' ' : *p);
}

/* --- a kernel's form --- */

static const char *const form_words[] = {[FC_FORM_GEMM] = "gemm",
                                         [FC_FORM_ATTENTION] = "attention",
                                         [FC_FORM_MEMORY] = "memory",
                                         [FC_FORM_COLLECTIVE] = "collective",
                                         [FC_FORM_MOE] = "moe"};
static const char *const provenance_words[] = {"measured", "published", "transferred"};

static void write_coefficients(fc_file *file, const fc_coef *coef) {
  const char *sep = "";
  fc_file_printf(file, "    coefficients: {");
  for (size_t i = 0; i < sizeof coefficients / sizeof *coefficients; i++) {
    const coefficient *c = &coefficients[i];
    double value;
    memcpy(&value, (const char *)coef + c->offset, sizeof value);
    if (value == 0) continue;
    fc_file_printf(file, "%s%s: ", sep, c->key);
    write_in(file, value, DIGITS, c->step, c->n);
    sep = ", ";
  }
  fc_file_printf(file, "}\n");
}

/* Positive semi-definite, with half the reader's tolerance? */
static bool is_covariance(const double *lower, size_t n) {
  double l[FC_COEF_COUNT][FC_COEF_COUNT] = {{0}};
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j <= i; j++) {
      double sum = lower[i * (i + 1) / 2 + j], diagonal = lower[i * (i + 1) / 2 + i];
      for (size_t k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
      if (i != j)
        l[i][j] = l[j][j] > 0 ? sum / l[j][j] : 0;
      else if (sum < -5e-7 * fabs(diagonal) || diagonal < 0)
        return false;
      else
        l[i][i] = sqrt(fmax(sum, 0));
    }
  return true;
}

/* Rounding may leave a nearly singular matrix indefinite: then its diagonal grows until it is none. */
static void write_covariance(fc_file *file, const fc_kernel_fit *fit) {
  enum { MOST = FC_COEF_COUNT * (FC_COEF_COUNT + 1) / 2, TRIES = 200 };
  double v[MOST] = {0};
  char text[NUMBER_ROOM];
  size_t total = fit->n_covariance, n = 0;
  if (!total || total > MOST) return;
  while (n * (n + 1) / 2 < total) n++;
  for (size_t i = 0; i < total; i++) v[i] = rounded(fit->covariance[i], COVARIANCE_DIGITS);
  for (int k = 1; k <= TRIES && !is_covariance(v, n); k++)
    for (size_t i = 0; i < n; i++) {
      size_t at = i * (i + 1) / 2 + i;
      v[at] = rounded(fit->covariance[at] * pow(1.02, k), COVARIANCE_DIGITS);
    }
  if (!is_covariance(v, n)) return;
  fc_file_printf(file, "    covariance: [");
  for (size_t i = 0; i < total; i++) {
    format_number(text, v[i], COVARIANCE_DIGITS);
    fc_file_printf(file, "%s%s", i ? ", " : "", text);
  }
  fc_file_printf(file, "]\n");
}

static void write_spread(fc_file *file, const fc_kernel_fit *fit) {
  const struct {
    const char *key;
    double value;
  } item[] = {{"noise", fit->noise},
              {"launch", fit->spread_regime[FC_REGIME_LAUNCH]},
              {"memory", fit->spread_regime[FC_REGIME_MEMORY]},
              {"compute", fit->spread_regime[FC_REGIME_COMPUTE]}};
  fc_file_printf(file, "    spread: {systematic: %.3g, shape: %.3g", fit->spread_systematic,
                 fit->spread_shape);
  for (size_t i = 0; i < sizeof item / sizeof *item; i++)
    if (item[i].value > 0) fc_file_printf(file, ", %s: %.3g", item[i].key, item[i].value);
  fc_file_printf(file, "}\n");
}

static void write_range(fc_file *file, const fc_kernel_fit *fit) {
  const struct {
    const char *key;
    double value;
    size_t n;
    const unit_step *step;
  } item[] = {
      {"min_flop", outwards(fit->min_flop, false), sizeof flop_steps / sizeof *flop_steps, flop_steps},
      {"max_flop", outwards(fit->max_flop, true), sizeof flop_steps / sizeof *flop_steps, flop_steps},
      {"min_bytes", outwards(fit->min_bytes, false), sizeof byte_steps / sizeof *byte_steps, byte_steps},
      {"max_bytes", outwards(fit->max_bytes, true), sizeof byte_steps / sizeof *byte_steps, byte_steps}};
  const char *sep = "    range: {";
  for (size_t i = 0; i < sizeof item / sizeof *item; i++) {
    if (!(item[i].value > 0)) continue;
    fc_file_printf(file, "%s%s: ", sep, item[i].key);
    write_in(file, item[i].value, 3, item[i].step, item[i].n);
    sep = ", ";
  }
  if (*sep == ',') fc_file_printf(file, "}\n");
}

/* --- its local correction --- */

/* The fewest digits that read back the same. */
static void write_exact(fc_file *file, double value) {
  char text[NUMBER_ROOM];
  for (int digits = 6; digits <= 17; digits++) {
    format_number(text, value, digits);
    if (strtod(text, NULL) == value) break;
  }
  if (fabs(value) < 1e15 && value == floor(value)) (void)snprintf(text, sizeof text, "%.0f", value);
  fc_file_printf(file, "%s", text);
}

static void write_floats(fc_file *file, const char *key, const float *value, size_t n) {
  fc_file_printf(file, "      %s: [", key);
  for (size_t j = 0; j < n; j++) fc_file_printf(file, "%s%.7g", j ? ", " : "", (double)value[j]);
  fc_file_printf(file, "]\n");
}

/* Columns that are not 0 for every anchor. */
static size_t used_columns(fc_anchor_column *used, const fc_local *local, const fc_anchor_columns *all) {
  size_t n = 0;
  for (size_t j = 0; j < all->n; j++) {
    size_t i = 0;
    while (i < local->n && fc_anchor_get(&local->op[i], &all->column[j]) == 0) i++;
    if (i < local->n) used[n++] = all->column[j];
  }
  return n;
}

static void write_anchors(fc_file *file, const fc_local *local, fc_kernel kernel) {
  fc_anchor_columns all = fc_anchor_columns_of(kernel);
  fc_anchor_column used[FC_ANCHOR_COLUMNS_MAX];
  size_t n = used_columns(used, local, &all);
  bool several = all.op == FC_OP_COUNT;
  fc_file_printf(file, "      anchors: |\n        %s", several ? "op," : "");
  for (size_t j = 0; j < n; j++) fc_file_printf(file, "%s,", used[j].name);
  fc_file_printf(file, "weight,scatter\n");
  for (size_t i = 0; i < local->n; i++) {
    fc_file_printf(file, "        ");
    if (several) fc_file_printf(file, "%s,", fc_op_text(local->op[i].id));
    for (size_t j = 0; j < n; j++) {
      write_exact(file, fc_anchor_get(&local->op[i], &used[j]));
      fc_file_printf(file, ",");
    }
    fc_file_printf(file, "%.*g,%.*g\n", WEIGHT_DIGITS, (double)local->weight[i], SCATTER_DIGITS,
                   (double)local->scatter[i]);
  }
}

static void write_local(fc_file *file, const fc_local *local, fc_kernel kernel) {
  if (!local || !local->n || !local->op) return;
  fc_file_printf(file, "    local:\n      coordinates: [");
  for (size_t j = 0; j < local->n_coordinates; j++)
    fc_file_printf(file, "%s%s", j ? ", " : "", fc_local_coordinate_text((int)kernel, local->of[j]));
  fc_file_printf(file, "]\n      smooth: %.7g\n", (double)local->smooth);
  if (local->rough > 0) fc_file_printf(file, "      rough: %.7g\n", (double)local->rough);
  if (local->own > 0) fc_file_printf(file, "      own: %.7g\n", (double)local->own);
  write_floats(file, "length", local->length, local->n_coordinates);
  write_floats(file, "rough_length", local->rough_length, local->n_coordinates);
  fc_file_printf(file, "      scale: %.4g\n", (double)local->scale);
  if (local->floor > 0) fc_file_printf(file, "      floor: %.4g\n", (double)local->floor);
  if (local->support > 0) fc_file_printf(file, "      support: %.4g\n", (double)local->support);
  write_anchors(file, local, kernel);
}

/* --- the profile --- */

/* `cited`: the profile's own source, which a kernel without one inherits. */
static void write_kernel(fc_file *file, const fc_kernel_fit *fit, const char *cited) {
  const char *dtype = fc_dtype_text(fit->dtype);
  fc_file_printf(file, "  - kernel: %s\n    dtype: %s\n", fc_kernel_text(fit->kernel), dtype);
  if (fit->format && strcmp(fit->format, dtype) != 0) fc_file_printf(file, "    format: %s\n", fit->format);
  if (fit->kv_format) fc_file_printf(file, "    kv_format: %s\n", fit->kv_format);
  if (fit->impl && *fit->impl) {
    fc_file_printf(file, "    impl: ");
    write_word(file, fit->impl);
    fc_file_printf(file, "\n");
  }
  fc_file_printf(file, "    form: %s\n", form_words[fit->form]);
  write_coefficients(file, &fit->coef);
  write_covariance(file, fit);
  write_spread(file, fit);
  write_range(file, fit);
  if (fit->sustained > 0) fc_file_printf(file, "    sustained: %.4g\n", fit->sustained);
  if (fit->points > 0) fc_file_printf(file, "    points: %.0f\n", fit->points);
  if (fit->lent > 0) fc_file_printf(file, "    lent: %.0f\n", fit->lent);
  write_local(file, fit->local, fit->kernel);
  fc_file_printf(file, "    provenance: %s\n", provenance_words[fit->provenance]);
  if (!fit->source || !*fit->source || (cited && strcmp(fit->source, cited) == 0)) return;
  fc_file_printf(file, "    source: ");
  write_quoted(file, fit->source);
  fc_file_printf(file, "\n");
}

/* A loaded profile's contention is 1 at least: 0 means that whoever assembled this one writes the keys after
 * us. */
static void write_overheads(fc_file *file, const fc_profile *p) {
  if (p->contention == 0) return;
  fc_file_printf(file, "overheads: {launch: %.4g us, iteration_host: %.4g ms, step_host: %.4g ms, ",
                 1e6 * p->launch_s, 1e3 * p->iteration_host_s, 1e3 * p->step_host_s);
  if (p->sustained > 1) fc_file_printf(file, "sustained: %.4g, ", p->sustained);
  fc_file_printf(file, "contention: %.4g, comm_compute_units: %.4g}\n", p->contention, p->comm_compute_units);
  fc_file_printf(file, "power: {compute_fraction: %.4g, memory_fraction: %.4g}\n", p->power_compute_fraction,
                 p->power_memory_fraction);
}

void fc_profile_write(fc_file *file, const fc_profile *profile, const char *command) {
  fc_file_printf(file, "# Kernels of the device %s", profile->device_name);
  if (command) {
    fc_file_printf(file, ", as written by\n#   ");
    write_comment(file, command);
  }
  fc_file_printf(file, "\n# Forms and local correction: docs/model.md; keys: docs/input.md.\n");
  fc_file_printf(file, "kind: profile\nname: ");
  write_word(file, profile->name);
  fc_file_printf(file, "\ndevice: ");
  write_word(file, profile->device_name);
  fc_file_printf(file, "\n");
  if (profile->source && *profile->source) {
    fc_file_printf(file, "source: ");
    write_quoted(file, profile->source);
    fc_file_printf(file, "\n");
  }
  if (profile->measurements_sha256) {
    fc_file_printf(file, "measurements_sha256: ");
    write_quoted(file, profile->measurements_sha256);
    fc_file_printf(file, "\n");
  }
  fc_file_printf(file, "kernels:\n");
  for (size_t i = 0; i < profile->n_kernels; i++) write_kernel(file, &profile->kernels[i], profile->source);
  write_overheads(file, profile);
}
