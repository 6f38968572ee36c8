/* SPDX-License-Identifier: Apache-2.0 */
#include "fit_profile.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/file.h>
#include <fleetcast/calibrate/transfer.h>
#include <fleetcast/cost/predict.h>

enum { PATH_ROOM = 4096, NAME_ROOM = 128, BASE_MAX_BYTES = 64 << 20 };

/* --- the nearest device that has a profile --- */

typedef struct {
  double distance;
  char name[NAME_ROOM], profile[PATH_ROOM + 256];
} nearest;

/* A file that has errors is no candidate; whoever uses it is told. */
static void consider(nearest *best, const char *dir, const char *name, const fc_device *to,
                     const data_dirs *data) {
  char path[PATH_ROOM];
  fc_load_options options = {
      .expect = FC_INPUT_DEVICE, .n_data_dirs = data->n, .data_dirs = (const char *const *)data->dir};
  fc_input *input = NULL;
  for (size_t i = 0; i < data->n && !input; i++) {
    int n = snprintf(path, sizeof path, "%s/devices/%s.yaml", data->dir[i], name);
    if (n < 0 || n >= PATH_ROOM || access(path, R_OK)) continue;
    if (fc_input_load(&input, path, &options, NULL)) return;
  }
  if (!input) return;
  double distance = fc_transfer_distance(fc_input_device(input), to, FC_DTYPE_BF16);
  fc_input_free(input);
  /* folders list their files in any order: ties go by name */
  bool nearer = distance < best->distance ||
                (distance == best->distance && *best->name && strcmp(name, best->name) < 0);
  if (!nearer || strcmp(best->name, to->name) == 0) return;
  best->distance = distance;
  (void)snprintf(best->name, sizeof best->name, "%s", name);
  (void)snprintf(best->profile, sizeof best->profile, "%.4000s/profiles/%s.yaml", dir, name);
}

/* The device's own profile, else that of the nearest; the first folder that has a name wins. */
static void find_nearest(nearest *best, const fc_device *to, const data_dirs *data) {
  *best = (nearest){.distance = (double)INFINITY};
  for (size_t i = data->n; i-- > 0;) {
    char folder[PATH_ROOM], name[NAME_ROOM];
    (void)snprintf(folder, sizeof folder, "%s/profiles", data->dir[i]);
    DIR *dir = opendir(folder);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
      size_t n = strlen(e->d_name);
      if (n <= 5 || n - 5 >= NAME_ROOM || strcmp(e->d_name + n - 5, ".yaml") != 0) continue;
      (void)snprintf(name, sizeof name, "%.*s", (int)(n - 5), e->d_name);
      if (strcmp(name, best->name) == 0)
        (void)snprintf(best->profile, sizeof best->profile, "%s/%s.yaml", folder, name);
      else
        consider(best, data->dir[i], name, to, data);
    }
    if (dir) (void)closedir(dir);
  }
}

/* A definition keeps the median of a distribution only; the text has all. */
static void keep_overheads(fc_text *out, const char *path) {
  char *bytes;
  size_t length;
  if (fc_file_read(&bytes, &length, path, BASE_MAX_BYTES)) return;
  bool wanted = false;
  for (const char *line = bytes; *line;) {
    size_t n = strcspn(line, "\n");
    if (*line != ' ' && *line != '#' && n > 0)
      wanted = strncmp(line, "overheads:", 10) == 0 || strncmp(line, "power:", 6) == 0;
    if (wanted && *line != '#') fc_text_printf(out, "%.*s\n", (int)n, line);
    line += n + (line[n] == '\n');
  }
  free(bytes);
}

/* Overrides are for what the command line names. */
static int load_base(assembled *out, const char *path, const data_dirs *data, const settings *s) {
  settings plain = {.color = s->color};
  int code = cli_load(&out->base, path, FC_INPUT_PROFILE, data, &plain);
  if (code) return code;
  out->origin = fc_input_profile(out->base)->name;
  keep_overheads(&out->overheads, path);
  return EXIT_OK;
}

int cli_find_base(assembled *out, const fit_job *job, const data_dirs *data, const settings *s) {
  nearest best;
  *out = (assembled){0};
  if (job->base) return load_base(out, job->base, data, s);
  find_nearest(&best, job->device, data);
  return isfinite(best.distance) ? load_base(out, best.profile, data, s) : EXIT_OK;
}

/* --- order --- */

/* Mean ln of predicted time over the roofline's, at up to a few hundred of the family's own shapes. */
static double slowness(const fc_kernel_fit *fit, const fc_table *table, const fc_family *family,
                       const fc_device *device) {
  enum { MOST = 256 };
  fc_predictor predictor;
  fc_predictor_init(&predictor, fit, device);
  double sum = 0;
  size_t n = 0, step = family->n / MOST + 1;
  for (size_t i = 0; i < family->n; i += step) {
    const fc_op *op = &table->point[family->first + i].op;
    fc_prediction p;
    double floor_s = fc_op_roofline_s(op, device);
    if (fc_predict(&p, &predictor, op) || !(floor_s > 0 && p.seconds > 0)) continue;
    sum += log(p.seconds / floor_s);
    n++;
  }
  return n ? sum / (double)n : (double)INFINITY;
}

static bool is_same_use(const fc_kernel_fit *a, const fc_kernel_fit *b) {
  return a->kernel == b->kernel && a->dtype == b->dtype;
}

/* Table order, but the fastest of each (kernel, dtype) before the others: the simulator takes the first. */
static void sort_fastest_first(fc_kernel_fit *fit, double *slow, size_t n) {
  for (size_t i = 0; i < n; i++) {
    bool first = true;
    for (size_t k = 0; k < i && first; k++) first = !is_same_use(&fit[k], &fit[i]);
    if (!first) continue;
    size_t best = i;
    for (size_t j = i + 1; j < n; j++)
      if (is_same_use(&fit[j], &fit[i]) && slow[j] < slow[best]) best = j;
    fc_kernel_fit fastest = fit[best];
    double its = slow[best];
    memmove(fit + i + 1, fit + i, (best - i) * sizeof *fit);
    memmove(slow + i + 1, slow + i, (best - i) * sizeof *slow);
    fit[i] = fastest;
    slow[i] = its;
  }
}

/* --- assembly --- */

static bool has_use(const fc_kernel_fit *fit, size_t n, const fc_kernel_fit *wanted) {
  for (size_t i = 0; i < n; i++)
    if (is_same_use(&fit[i], wanted)) return true;
  return false;
}

static fc_status add_base(assembled *out, fc_kernel_fit *fit, size_t fitted, const fc_device *device) {
  const fc_profile *base = fc_input_profile(out->base);
  bool same = strcmp(base->device_name, device->name) == 0;
  size_t n = fitted;
  for (size_t i = 0; i < base->n_kernels; i++) {
    const fc_kernel_fit *from = &base->kernels[i];
    if (has_use(fit, fitted, from)) continue;
    fc_status status = FC_OK;
    if (same)
      fit[n] = *from;
    else
      status = fc_transfer(&fit[n], from, base->device, device, &out->arena);
    if (status == FC_E_NOMEM) return status;
    if (status) {
      out->n_not_moved++;
      continue;
    }
    n++;
    out->n_kept += same;
    out->n_moved += !same;
  }
  out->profile.n_kernels = n;
  return FC_OK;
}

static void add_overheads(fc_profile *p, const fc_profile *base) {
  p->launch_s = base->launch_s;
  p->iteration_host_s = base->iteration_host_s;
  p->step_host_s = base->step_host_s;
  p->contention = base->contention;
  p->comm_compute_units = base->comm_compute_units;
  p->sustained = base->sustained;
  p->power_compute_fraction = base->power_compute_fraction;
  p->power_memory_fraction = base->power_memory_fraction;
}

/* "fitted to a.csv.gz, b.csv: 12 of 15 rows, sha256 …; what they lack, overheads and power from profile h100"
 */
static const char *source_of(const assembled *a, const fit_job *job, const fc_table *table, fc_arena *arena) {
  fc_text text = {0};
  fc_text_add(&text, "fitted to ");
  for (size_t i = 0; i < job->n_paths; i++) {
    const char *slash = strrchr(job->paths[i], '/');
    fc_text_printf(&text, "%s%s", i ? ", " : "", slash ? slash + 1 : job->paths[i]);
  }
  fc_text_printf(&text, ": %zu of %zu rows, sha256 %s", table->n_points, table->n_rows, table->sha256);
  if (a->origin) fc_text_printf(&text, "; what they lack, overheads and power from profile %s", a->origin);
  const char *kept = fc_text_status(&text) ? NULL : fc_arena_text(arena, text.bytes, text.length);
  fc_text_fini(&text);
  return kept;
}

static fc_provenance weakest(const fc_profile *p) {
  fc_provenance worst = FC_PROVENANCE_MEASURED;
  for (size_t i = 0; i < p->n_kernels; i++)
    if (p->kernels[i].provenance > worst) worst = p->kernels[i].provenance;
  return worst;
}

fc_status cli_assemble(assembled *out, const fit_job *job, const fc_table *table, const fc_fit_result *fit) {
  const fc_profile *base = out->base ? fc_input_profile(out->base) : NULL;
  size_t room = fit->n + (base ? base->n_kernels : 0);
  fc_kernel_fit *kernels = fc_arena_array(&out->arena, room + 1, sizeof *kernels);
  double *slow = fc_arena_array(&out->arena, fit->n + 1, sizeof *slow);
  if (!kernels || !slow) return FC_E_NOMEM;
  for (size_t i = 0; i < fit->n; i++) {
    kernels[i] = fit->fit[i];
    slow[i] = slowness(&fit->fit[i], table, &table->family[i], job->device);
  }
  sort_fastest_first(kernels, slow, fit->n);
  out->profile = (fc_profile){.name = job->device->name,
                              .device_name = job->device->name,
                              .device = job->device,
                              .measurements_sha256 = table->sha256,
                              .n_kernels = fit->n,
                              .kernels = kernels,
                              .contention = 1,
                              .power_compute_fraction = 1,
                              .power_memory_fraction = 1};
  if (base) {
    fc_status status = add_base(out, kernels, fit->n, job->device);
    if (status) return status;
    add_overheads(&out->profile, base);
    if (out->overheads.length) out->profile.contention = 0;
  }
  out->profile.provenance = weakest(&out->profile);
  out->profile.source = source_of(out, job, table, &out->arena);
  return out->profile.source ? fc_text_status(&out->overheads) : FC_E_NOMEM;
}

void cli_assembled_free(assembled *a) {
  fc_input_free(a->base);
  fc_text_fini(&a->overheads);
  fc_arena_fini(&a->arena);
  *a = (assembled){0};
}
