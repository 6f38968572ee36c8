/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/cost/format.h>

#include "field.h"
#include "profile_local.h"
#include "reader.h"

static const char *const kernel_words[] = {
#define WORD(name, text, form) text,
    FC_KERNEL_MAP(WORD)
#undef WORD
};
static const fc_form form_of[] = {
#define FORM(name, text, form) FC_FORM_##form,
    FC_KERNEL_MAP(FORM)
#undef FORM
};
static const char *const form_words[] = {"gemm", "attention", "memory", "collective", "moe"};
static const char *const provenance_words[] = {"measured", "published", "transferred"};

/* --- one kernel --- */

#define AT(member) .offset = offsetof(fc_kernel_fit, member)
/* NOLINTBEGIN(bugprone-macro-parentheses): an initialiser in braces takes none */
#define COEF(name, member, dimension, low, high)                                                             \
  .key = (name), .kind = FC_FIELD_NUMBER, AT(coef.member), .dim = dimension, .min = (low), .max = (high)
/* NOLINTEND(bugprone-macro-parentheses) */

static const fc_field coefficient_fields[] = {
    {COEF("t0", t0_s, DIM_SECONDS, 0, 1),
     .help = "Fixed time: launch and prologue; of a collective its latency."},
    {COEF("flop_rate", flop_per_s, DIM_FLOP_PER_S, 0, 1e18),
     .help = "Asymptotic rate with all compute units."},
    {COEF("bandwidth", bytes_per_s, DIM_BYTES_PER_S, 0, 1e15),
     .help = "Asymptotic bandwidth; of a collective per rank and direction inside a domain."},
    {COEF("tile_time", tile_s, DIM_SECONDS, 0, 1), .help = "Fixed time of one wave of tiles."},
    {COEF("tile_traffic", tile_traffic, DIM_NONE, 0, 1e6),
     .help = "Penalty of small tiles: on-chip traffic."},
    {COEF("sharpness", sharpness, DIM_NONE, 0, 1e3),
     .help = "Exponent of the smooth maximum of compute and memory time; 0: the plain maximum."},
    {COEF("half_length", half_length, DIM_TOKENS, 0, 1e9), .example = "512 tokens",
     .help = "Sequence length at half the asymptotic rate."},
    {COEF("half_bytes", half_bytes, DIM_BYTES, 0, 1e12), .example = "4 MB",
     .help = "Bytes at half the asymptotic bandwidth."},
    {COEF("hop", hop_s, DIM_SECONDS, 0, 1),
     .help = "Added latency per doubling of ranks or per step of a ring."},
    {COEF("net_t0", net_t0_s, DIM_SECONDS, 0, 1), .help = "Latency once the group leaves a scale-up domain."},
    {COEF("net_bandwidth", net_bytes_per_s, DIM_BYTES_PER_S, 0, 1e15),
     .help = "Bandwidth of a rank's share of the network."},
    {COEF("net_half_bytes", net_half_bytes, DIM_BYTES, 0, 1e12), .example = "4 MB",
     .help = "Bytes at half the network's asymptotic bandwidth."},
};
static const fc_schema coefficients = {"coefficients",
                                       "Fitted coefficients; a form reads those that it needs.",
                                       0,
                                       FC_COUNT_OF(coefficient_fields),
                                       coefficient_fields,
                                       NULL};

static const fc_field spread_fields[] = {
    {.key = "systematic",
     .kind = FC_FIELD_NUMBER,
     AT(spread_systematic),
     .min = 0,
     .max = 3,
     .example = "8 %",
     .help = "Relative error common to all shapes: standard deviation of ln(time)."},
    {.key = "shape",
     .kind = FC_FIELD_NUMBER,
     AT(spread_shape),
     .min = 0,
     .max = 3,
     .example = "12 %",
     .help = "Relative error of a single shape around that, the local correction included."},
    {.key = "noise",
     .kind = FC_FIELD_NUMBER,
     AT(noise),
     .min = 0,
     .max = 3,
     .help = "Spread of repeats of one shape: no model can err less.  0: not known."},
    {.key = "launch",
     .kind = FC_FIELD_NUMBER,
     AT(spread_regime[FC_REGIME_LAUNCH]),
     .min = 0,
     .max = 3,
     .help = "Error of shapes that the fixed time bounds.  0: not known."},
    {.key = "memory",
     .kind = FC_FIELD_NUMBER,
     AT(spread_regime[FC_REGIME_MEMORY]),
     .min = 0,
     .max = 3,
     .help = "Error of shapes that traffic bounds.  0: not known."},
    {.key = "compute",
     .kind = FC_FIELD_NUMBER,
     AT(spread_regime[FC_REGIME_COMPUTE]),
     .min = 0,
     .max = 3,
     .help = "Error of shapes that compute bounds.  0: not known."},
};
static const fc_schema spread = {"spread", "Errors of the fit.", 0, FC_COUNT_OF(spread_fields), spread_fields,
                                 NULL};

static const fc_field range_fields[] = {
    {.key = "min_flop",
     .kind = FC_FIELD_NUMBER,
     AT(min_flop),
     .dim = DIM_FLOP,
     .min = 0,
     .max = 1e30,
     .help = "Least work."},
    {.key = "max_flop",
     .kind = FC_FIELD_NUMBER,
     AT(max_flop),
     .dim = DIM_FLOP,
     .min = 0,
     .max = 1e30,
     .help = "Most work."},
    {.key = "min_bytes",
     .kind = FC_FIELD_NUMBER,
     AT(min_bytes),
     .dim = DIM_BYTES,
     .min = 0,
     .max = 1e18,
     .help = "Least traffic."},
    {.key = "max_bytes",
     .kind = FC_FIELD_NUMBER,
     AT(max_bytes),
     .dim = DIM_BYTES,
     .min = 0,
     .max = 1e18,
     .help = "Most traffic."},
};
static const fc_schema range = {"range",
                                "Shapes that the fit has seen; beyond them it extrapolates.",
                                0,
                                FC_COUNT_OF(range_fields),
                                range_fields,
                                NULL};

static const fc_field kernel_fields[] = {
    {.key = "kernel",
     .kind = FC_FIELD_ENUM,
     AT(kernel),
     .words = kernel_words,
     .n_words = FC_KERNEL_COUNT,
     .required = true,
     .help = "Family of kernels."},
    {.key = "dtype",
     .kind = FC_FIELD_ENUM,
     AT(dtype),
     .words = fc_dtype_words,
     .n_words = FC_DTYPE_WORDS,
     .def = "bf16",
     .help = "Number format in which the product is computed."},
    {.key = "format",
     .kind = FC_FIELD_TEXT,
     AT(format),
     .help =
         "Number format of the operands as measurement files name it, such as fp8_block; default the dtype."},
    {.key = "kv_format",
     .kind = FC_FIELD_TEXT,
     AT(kv_format),
     .help = "Number format of the key/value cache; default none, or not told."},
    {.key = "impl",
     .kind = FC_FIELD_TEXT,
     AT(impl),
     .def = "",
     .help = "Implementation, such as deepgemm or nccl."},
    {.key = "form",
     .kind = FC_FIELD_ENUM,
     AT(form),
     .words = form_words,
     .n_words = FC_COUNT_OF(form_words),
     .help = "Functional form; default the one that belongs to the kernel."},
    {.key = "coefficients",
     .kind = FC_FIELD_STRUCT,
     .sub = &coefficients,
     .required = true,
     .help = "Fitted coefficients."},
    {.key = "covariance",
     .kind = FC_FIELD_NUMBERS,
     AT(covariance),
     .count_offset = offsetof(fc_kernel_fit, n_covariance),
     .min = -1e3,
     .max = 1e3,
     .min_items = 1,
     .max_items = FC_COEF_COUNT * (FC_COEF_COUNT + 1) / 2,
     .help = "Covariance of the logarithms of the coefficients that are not 0, in the order of the table of "
             "coefficients: "
             "lower triangle, row by row."},
    {.key = "spread", .kind = FC_FIELD_STRUCT, .sub = &spread, .help = "Errors of the fit."},
    {.key = "range", .kind = FC_FIELD_STRUCT, .sub = &range, .help = "Shapes that the fit has seen."},
    {.key = "points",
     .kind = FC_FIELD_NUMBER,
     AT(points),
     .min = 0,
     .max = 1e12,
     .help = "Measurements that were fitted; 0: not told."},
    {.key = "sustained",
     .kind = FC_FIELD_NUMBER,
     AT(sustained),
     .min = 1,
     .max = 10,
     .example = "1.3",
     .help = "As the overhead of that name, of this kernel alone; absent: that."},
    {.key = "lent",
     .kind = FC_FIELD_NUMBER,
     AT(lent),
     .min = 0,
     .max = 1e6,
     .help = "Anchors of the local correction that other implementations or formats of the kernel lent; 0: "
             "none."},
    {.key = "local",
     .kind = FC_FIELD_OWN,
     AT(local),
     .sub = &fc_schema_local,
     .help = "What the form leaves, by shape, where measurements carry it."},
    {.key = "provenance",
     .kind = FC_FIELD_ENUM,
     AT(provenance),
     .words = provenance_words,
     .n_words = 3,
     .required = true,
     .help = "Measured here, published by others, or transferred from another device."},
    {.key = "source",
     .kind = FC_FIELD_TEXT,
     AT(source),
     .help = "Where the numbers come from; default the profile's."},
};

/* Symmetric positive semi-definite?  Cholesky with a tolerance for the rounding of printed numbers. */
static bool is_covariance(const double *lower, size_t n) {
  double l[FC_COEF_COUNT][FC_COEF_COUNT] = {{0}};
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j <= i; j++) {
      double sum = lower[i * (i + 1) / 2 + j], diagonal = lower[i * (i + 1) / 2 + i];
      for (size_t k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
      if (i != j)
        l[i][j] = l[j][j] > 0 ? sum / l[j][j] : 0;
      else if (sum < -1e-6 * fabs(diagonal) || diagonal < 0)
        return false;
      else
        l[i][i] = sqrt(fmax(sum, 0));
    }
  return true;
}

static void check_covariance(fc_reader *r, const fc_kernel_fit *fit, const fc_node *map) {
  if (!fit->n_covariance) return;
  double coef[FC_COEF_COUNT];
  memcpy(coef, &fit->coef, sizeof coef);
  size_t k = 0;
  for (size_t i = 0; i < FC_COEF_COUNT; i++) k += coef[i] != 0;
  const fc_node *node = fc_node_find(map, "covariance");
  if (fit->n_covariance != k * (k + 1) / 2)
    (void)fc_reader_error(r, node, "'covariance' has %zu numbers; %zu coefficients that are not 0 want %zu",
                          fit->n_covariance, k, k * (k + 1) / 2);
  else if (!is_covariance(fit->covariance, k))
    (void)fc_reader_error(r, node, "'covariance' is not positive semi-definite");
}

/* The format of that key, whose text may be NULL; NULL, told, when there is none of that name. */
static const fc_format *check_format(fc_reader *r, const fc_node *map, const char *key, const char *text) {
  enum { MOST = 64 };
  const char *names[MOST];
  size_t n = 0;
  const fc_format *format = fc_format_find(text, strlen(text));
  if (format) return format;
  for (; n < fc_n_formats() && n < MOST; n++) names[n] = fc_format_at(n)->text;
  const char *near = fc_diag_nearest(text, names, n);
  const fc_node *node = fc_node_find(map, key);
  (void)fc_reader_error(r, node ? node : map, "'%s' = '%.40s' is not a number format%s%s%s", key, text,
                        near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
  return NULL;
}

static void check_formats(fc_reader *r, const fc_kernel_fit *fit, const fc_node *map) {
  const char *text = fit->format ? fit->format : fc_dtype_words[fit->dtype];
  const fc_format *format = check_format(r, map, "format", text), *kv = NULL;
  if (fit->kv_format) kv = check_format(r, map, "kv_format", fit->kv_format);
  if (!format || (fit->kv_format && !kv)) return;
  if (format->dtype != fit->dtype)
    (void)fc_reader_error(r, fc_node_find(map, "format"), "format '%s' computes in %s, not in %s", text,
                          fc_dtype_words[format->dtype], fc_dtype_words[fit->dtype]);
  else if (fit->local)
    fc_profile_local_check(r, fit, format, kv, fc_node_find(map, "local"));
}

static void check_kernel(fc_reader *r, void *object, const fc_node *map) {
  fc_kernel_fit *fit = object;
  const fc_node *form = fc_node_find(map, "form"), *coef = fc_node_find(map, "coefficients");
  FC_ASSERT(fit->kernel < FC_KERNEL_COUNT);
  fc_form natural = form_of[fit->kernel];
  if (!form)
    fit->form = natural;
  else if (fit->form != natural)
    (void)fc_reader_error(r, form, "the form of kernel '%s' is '%s', not '%s'", kernel_words[fit->kernel],
                          form_words[natural], form_words[fit->form]);
  bool computes = fit->form == FC_FORM_GEMM || fit->form == FC_FORM_ATTENTION || fit->form == FC_FORM_MOE;
  if (computes && !(fit->coef.flop_per_s > 0))
    (void)fc_reader_error(r, coef, "form '%s' wants 'flop_rate'", form_words[fit->form]);
  if (!(fit->coef.bytes_per_s > 0) && !(fit->form == FC_FORM_COLLECTIVE && fit->coef.net_bytes_per_s > 0))
    (void)fc_reader_error(r, coef, "form '%s' wants 'bandwidth'", form_words[fit->form]);
  check_covariance(r, fit, map);
  check_formats(r, fit, map);
  if (fit->min_flop > fit->max_flop || fit->min_bytes > fit->max_bytes)
    (void)fc_reader_error(r, fc_node_find(map, "range"), "'range' has a minimum above its maximum");
  if (!fit->source) fit->source = r->cited;
  if (fit->provenance == FC_PROVENANCE_PUBLISHED && !fit->source)
    (void)fc_reader_error(r, fc_node_find(map, "provenance"), "published numbers want a 'source'");
}

static const fc_schema kernel = {
    "kernel",      "One fitted kernel.", sizeof(fc_kernel_fit), FC_COUNT_OF(kernel_fields),
    kernel_fields, check_kernel};

/* --- the profile --- */

#undef AT
#define AT(member) .offset = offsetof(fc_profile, member)

static const fc_field overhead_fields[] = {
    {.key = "launch",
     .kind = FC_FIELD_NUMBER,
     AT(launch_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 1,
     .help = "Gap between two dependent kernels inside a graph."},
    {.key = "iteration_host",
     .kind = FC_FIELD_NUMBER,
     AT(iteration_host_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 10,
     .help = "Scheduler and sampling on the host per serving iteration, not overlapped."},
    {.key = "step_host",
     .kind = FC_FIELD_NUMBER,
     AT(step_host_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 1000,
     .help = "Per training step: data, optimizer bookkeeping."},
    {.key = "contention",
     .kind = FC_FIELD_NUMBER,
     AT(contention),
     .min = 1,
     .max = 100,
     .def = "1",
     .help = "In-situ over isolated time of dispatch and combine."},
    {.key = "sustained",
     .kind = FC_FIELD_NUMBER,
     AT(sustained),
     .min = 1,
     .max = 10,
     .def = "1",
     .example = "1.1",
     .help =
         "Tensor-core kernels in a training step over the same kernels alone: power pulls the clock down."},
    {.key = "loaded",
     .kind = FC_FIELD_NUMBER,
     AT(loaded),
     .min = 0.01,
     .max = 1,
     .def = "1",
     .example = "0.8",
     .help =
         "Share of the time that tensor cores were busy in when `sustained` was measured; a step that keeps "
         "them busier clocks lower."},
    {.key = "comm_compute_units",
     .kind = FC_FIELD_NUMBER,
     AT(comm_compute_units),
     .min = 0,
     .max = 1e6,
     .example = "20",
     .help = "Compute units reserved for communication while it overlaps."},
};
static const fc_schema overheads = {
    "overheads", "Time outside kernels.", 0, FC_COUNT_OF(overhead_fields), overhead_fields, NULL};

static const fc_field draw_fields[] = {
    {.key = "compute_fraction",
     .kind = FC_FIELD_NUMBER,
     AT(power_compute_fraction),
     .min = 0,
     .max = 1,
     .def = "1",
     .help = "Share of (tdp - idle) drawn at full compute rate."},
    {.key = "memory_fraction",
     .kind = FC_FIELD_NUMBER,
     AT(power_memory_fraction),
     .min = 0,
     .max = 1,
     .def = "1",
     .help = "Share of (tdp - idle) drawn at full memory bandwidth."},
};
static const fc_schema draw = {"draw", "Power under load.", 0, FC_COUNT_OF(draw_fields), draw_fields, NULL};

static const char *device_name(const void *object) {
  return ((const fc_profile *)object)->device_name;
}

static const fc_field fields[] = {
    {.key = "name",
     .kind = FC_FIELD_TEXT,
     AT(name),
     .help = "Short name; default the file's name without .yaml."},
    {.key = "device",
     .kind = FC_FIELD_REF,
     AT(device),
     .refers = FC_INPUT_DEVICE,
     .required = true,
     .name_of = device_name,
     .help = "The device that these kernels run on."},
    {.key = "source", .kind = FC_FIELD_TEXT, AT(source), .help = "Where the numbers come from."},
    {.key = "measurements_sha256",
     .kind = FC_FIELD_TEXT,
     AT(measurements_sha256),
     .help = "Hash of the measurement file that was fitted."},
    {.key = "kernels",
     .kind = FC_FIELD_LIST,
     AT(kernels),
     .count_offset = offsetof(fc_profile, n_kernels),
     .sub = &kernel,
     .required = true,
     .min_items = 1,
     .max_items = 500,
     .help = "Fitted kernels, one item for each kernel, dtype, formats and implementation; of those of one "
             "kernel "
             "and dtype the simulator takes the first."},
    {.key = "overheads", .kind = FC_FIELD_STRUCT, .sub = &overheads, .help = "Time outside kernels."},
    {.key = "power", .kind = FC_FIELD_STRUCT, .sub = &draw, .help = "Power under load."},
};

static void check_hash(fc_reader *r, const fc_profile *p, const fc_node *map) {
  if (!p->measurements_sha256) return;
  if (strlen(p->measurements_sha256) != 64 || strspn(p->measurements_sha256, "0123456789abcdef") != 64)
    (void)fc_reader_error(r, fc_node_find(map, "measurements_sha256"),
                          "'measurements_sha256' is not 64 hexadecimal digits");
}

static const char *format_of(const fc_kernel_fit *fit) {
  return fit->format ? fit->format : fc_dtype_words[fit->dtype];
}

static bool is_same_text(const char *a, const char *b) {
  return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool is_same(const fc_kernel_fit *a, const fc_kernel_fit *b) {
  return a->kernel == b->kernel && a->dtype == b->dtype && is_same_text(format_of(a), format_of(b)) &&
         is_same_text(a->kv_format, b->kv_format) && is_same_text(a->impl, b->impl);
}

static void tell_twice(fc_reader *r, const fc_node *item, const fc_kernel_fit *fit) {
  bool impl = fit->impl && *fit->impl;
  (void)fc_reader_error(r, item, "kernel '%s' in %s%s%s%s%s is given twice", kernel_words[fit->kernel],
                        format_of(fit), fit->kv_format ? " with a cache in " : "",
                        fit->kv_format ? fit->kv_format : "", impl ? " by " : "", impl ? fit->impl : "");
}

static void check(fc_reader *r, void *object, const fc_node *map) {
  fc_profile *p = object;
  const fc_node *device = fc_node_find(map, "device"), *item = fc_node_find(map, "kernels")->first;
  p->device_name = device->text;
  p->provenance = FC_PROVENANCE_MEASURED;
  for (size_t i = 0; i < p->n_kernels; i++, item = item->next) {
    const fc_kernel_fit *fit = &p->kernels[i];
    if (fit->provenance > p->provenance) p->provenance = fit->provenance;
    if (fit->local) fc_profile_local_place(r, fit, p->device, fc_node_find(item, "local"));
    for (size_t k = 0; k < i; k++)
      if (is_same(&p->kernels[k], fit)) {
        tell_twice(r, item, fit);
        break;
      }
  }
  check_hash(r, p, map);
}

const fc_schema fc_schema_profile = {"profile",
                                     "What kernels achieve on one device, with uncertainty and provenance.",
                                     sizeof(fc_profile),
                                     FC_COUNT_OF(fields),
                                     fields,
                                     check};
