/* SPDX-License-Identifier: Apache-2.0 */
#include "fit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <fleetcast/base/file.h>
#include <fleetcast/base/stop.h>
#include <fleetcast/calibrate/report.h>
#include <fleetcast/calibrate/write.h>

#include "device.h"
#include "fit_profile.h"
#include "terminal.h"

/* `fleetcast fit`: measurement files in, a device profile out. */

static int die_of_signal(void) {
  (void)fputs("fleetcast: interrupted; nothing was written\n", stderr);
  fc_stop_die();
  return EXIT_FAILED; /* the signal was blocked */
}

static int fail(const char *what, fc_status status) {
  if (status == FC_E_IO) {
    (void)fprintf(stderr, "fleetcast: cannot write %s: %s\n", what, strerror(errno));
    return EXIT_IO;
  }
  (void)fprintf(stderr, "fleetcast: %s: %s\n", what, fc_status_text(status));
  return EXIT_FAILED;
}

static double seconds_now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- what was asked --- */

/* An output must not replace what it is made of. */
static bool is_an_input(const char *out, const fit_job *job) {
  bool same = cli_is_same_file(out, job->base);
  for (size_t i = 0; i < job->n_paths; i++) same = same || cli_is_same_file(out, job->paths[i]);
  return same;
}

static int check_outputs(const fit_job *job) {
  const char *bad = is_an_input(job->out, job)      ? job->out
                    : is_an_input(job->report, job) ? job->report
                                                    : NULL;
  if (!bad && cli_is_same_file(job->out, job->report)) {
    (void)fprintf(stderr, "fleetcast: profile and page cannot both be %s\n", job->out);
    return EXIT_USAGE;
  }
  if (!bad) return EXIT_OK;
  (void)fprintf(stderr, "fleetcast: %s is an input too; write to another file\n", bad);
  return EXIT_USAGE;
}

static bool goes_to_stdout(const fit_job *job) {
  return strcmp(job->out, "-") == 0;
}

/* --- the table --- */

static int width_of(const fc_fit_result *fit, const char *(*text)(const fc_family *), int least) {
  size_t width = (size_t)least;
  for (size_t i = 0; i < fit->n; i++)
    if (strlen(text(fit->report[i].family)) > width) width = strlen(text(fit->report[i].family));
  return (int)width;
}

static const char *kernel_of(const fc_family *f) {
  return fc_kernel_text(f->kernel);
}

static const char *format_of(const fc_family *f) {
  return f->format->text;
}

static const char *cache_of(const fc_family *f) {
  return f->kv_format ? f->kv_format->text : "-";
}

static const char *impl_of(const fc_family *f) {
  return *f->impl ? f->impl : "-";
}

/* 0: not known */
static void add_percent(fc_text *out, int width, double share) {
  if (share > 0)
    fc_text_printf(out, "%*.1f ", width, 100 * share);
  else
    fc_text_printf(out, "%*s ", width, "-");
}

static void add_table(fc_text *out, const fc_fit_result *fit) {
  int kernel = width_of(fit, kernel_of, 6), format = width_of(fit, format_of, 6);
  int cache = width_of(fit, cache_of, 2), impl = width_of(fit, impl_of, 4);
  fc_text_printf(out, "%-*s %-*s %-*s %-*s %7s %5s %6s %9s %6s %8s %8s %7s %8s\n", kernel, "kernel", format,
                 "format", cache, "kv", impl, "impl", "points", "lent", "form_%", "median_%", "p90_%",
                 "within_%", "noise_%", "near_%", "outliers");
  for (size_t i = 0; i < fit->n; i++) {
    const fc_family_report *r = &fit->report[i];
    fc_text_printf(out, "%-*s %-*s %-*s %-*s %7zu %5.0f %6.1f %9.1f %6.1f %8.1f ", kernel,
                   kernel_of(r->family), format, format_of(r->family), cache, cache_of(r->family), impl,
                   impl_of(r->family), r->family->n, fit->fit[i].lent, 100 * r->form_median_error,
                   100 * r->median_error, 100 * r->p90_error, 100 * r->coverage);
    add_percent(out, 8, r->noise);
    add_percent(out, 7, r->neighbour);
    fc_text_printf(out, "%8zu\n", r->outliers);
  }
}

static int show_table(const fc_fit_result *fit, const fit_job *job) {
  fc_text text = {0};
  int code = EXIT_FAILED;
  add_table(&text, fit);
  if (fc_text_status(&text)) {
    (void)fprintf(stderr, "fleetcast: %s\n", fc_status_text(FC_E_NOMEM));
  } else if (goes_to_stdout(job)) {
    (void)fputs(text.bytes, stderr);
    code = EXIT_OK;
  } else {
    code = cli_print(text.bytes);
  }
  fc_text_fini(&text);
  return code;
}

/* Where the profile will look for its device. */
static void tell_device(const fit_job *job, const settings *s) {
  char path[4096];
  if (goes_to_stdout(job)) return;
  data_dirs data = cli_data(job->out, s);
  bool found = false;
  for (size_t i = 0; i < data.n && !found; i++) {
    int n = snprintf(path, sizeof path, "%s/devices/%s.yaml", data.dir[i], job->device->name);
    found = n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0;
  }
  cli_data_free(&data);
  if (found) return;
  (void)fprintf(
      stderr,
      "fleetcast: note: the profile refers to its device by name: keep it as devices/%s.yaml beside %s, or "
      "in a folder that --data names\n",
      job->device->name, job->out);
}

static void tell_rest(const fit_job *job, const fc_table *table, const assembled *a, double fit_s) {
  (void)fprintf(stderr, "fleetcast: %zu points in %zu famil%s, %zu kernels, %.1f s\n", table->n_points,
                table->n_families, table->n_families == 1 ? "y" : "ies", a->profile.n_kernels, fit_s);
  if (table->n_left_out) (void)fprintf(stderr, "fleetcast: %zu rows left out\n", table->n_left_out);
  if (table->n_bad) (void)fprintf(stderr, "fleetcast: %zu malformed rows left out\n", table->n_bad);
  if (a->n_kept)
    (void)fprintf(stderr, "fleetcast: %zu kernels not measured: as in profile %s\n", a->n_kept, a->origin);
  if (a->n_moved)
    (void)fprintf(stderr,
                  "fleetcast: %zu kernels not measured: transferred from profile %s by datasheet ratios\n",
                  a->n_moved, a->origin);
  if (a->n_not_moved)
    (void)fprintf(stderr, "fleetcast: %zu kernels of profile %s left out: %s has no such rate\n",
                  a->n_not_moved, a->origin, job->device->name);
}

/* --- files --- */

static fc_status write_report(fc_file **file, const fit_job *job, const fc_table *table,
                              const fc_fit_result *fit, const fc_profile *profile, double fit_s) {
  fc_status status = fc_file_create(file, job->report);
  if (status) return status;
  fc_report_input input = {.table = table,
                           .paths = job->paths,
                           .n_paths = job->n_paths,
                           .fit = fit,
                           .device = job->device,
                           .profile = profile,
                           .backend = job->backend,
                           .measured = job->measured,
                           .command = job->command,
                           .version = FC_CLI_VERSION,
                           .bench_s = job->bench_s,
                           .fit_s = fit_s};
  return fc_calibration_report(*file, &input);
}

/* Both whole, or none. */
static int write_files(const fit_job *job, const fc_table *table, const fc_fit_result *fit,
                       const assembled *a, double fit_s) {
  fc_file *out = NULL, *report = NULL;
  const char *what = job->out;
  fc_status status = fc_file_create(&out, goes_to_stdout(job) ? "/dev/stdout" : job->out);
  if (!status) fc_profile_write(out, &a->profile, job->command);
  if (!status && a->overheads.length) fc_file_write(out, a->overheads.bytes, a->overheads.length);
  if (!status) status = fc_file_sync(out);
  if (!status && job->report) {
    what = job->report;
    status = write_report(&report, job, table, fit, &a->profile, fit_s);
    if (!status) status = fc_file_sync(report);
  }
  if (!status && *fc_stop_flag()) status = FC_E_CANCELLED;
  if (status) {
    int kept = errno;
    fc_file_abandon(out);
    fc_file_abandon(report);
    errno = kept;
    return status == FC_E_CANCELLED ? die_of_signal() : fail(what, status);
  }
  status = fc_file_commit(report);
  if (status) {
    fc_file_abandon(out);
    return fail(job->report, status);
  }
  status = fc_file_commit(out);
  return status ? fail(job->out, status) : EXIT_OK;
}

/* --- the work --- */

static int fit_table(fc_fit_result *fit, const fc_table *table, const fit_job *job) {
  progress p = cli_progress(job->quiet);
  fc_fit_options options = {.anchors = job->anchors,
                            .threads = job->jobs,
                            .progress = cli_progress_tell,
                            .context = &p,
                            .cancel = fc_stop_flag()};
  fc_status status = fc_fit_table(fit, table, job->device, &options);
  cli_progress_clear(&p);
  if (status == FC_E_CANCELLED) return die_of_signal();
  return status ? fail("fit", status) : EXIT_OK;
}

static int read_table(fc_table *table, const fit_job *job, const settings *s) {
  fc_diags d;
  fc_diags_init(&d);
  fc_table_options options = {.impl = job->impl, .device = job->device};
  fc_status status = fc_table_read(table, job->paths, job->n_paths, &options, &d);
  cli_show_diags(&d, cli_colored(s->color));
  switch (status) {
  case FC_OK: return EXIT_OK;
  case FC_E_INPUT: return EXIT_INPUT;
  case FC_E_IO: return EXIT_IO;
  default: return fail("fit", status);
  }
}

static int fit_read(const fit_job *job, const fc_table *table, const data_dirs *data, const settings *s) {
  assembled a;
  double start = seconds_now();
  int code = cli_find_base(&a, job, data, s);
  fc_fit_result fit = {0};
  if (!code) code = fit_table(&fit, table, job);
  if (!code) {
    double fit_s = seconds_now() - start;
    fc_status status = cli_assemble(&a, job, table, &fit);
    code = status ? fail("fit", status) : write_files(job, table, &fit, &a, fit_s);
    if (!code && !job->quiet) code = show_table(&fit, job);
    if (!code && !job->quiet) tell_rest(job, table, &a, fit_s);
    if (!code && !job->quiet) tell_device(job, s);
    fc_fit_result_fini(&fit);
  }
  cli_assembled_free(&a);
  return code;
}

static int run(const fit_job *job, const settings *s) {
  int code = check_outputs(job);
  if (code) return code;
  fc_table table;
  data_dirs data = cli_data(job->base ? job->base : job->out, s);
  fc_stop_catch();
  code = read_table(&table, job, s);
  if (!code) {
    code = fit_read(job, &table, &data, s);
    fc_table_fini(&table);
  }
  cli_data_free(&data);
  return code;
}

int cli_fit_job(const fit_job *job) {
  return run(job, &(settings){0});
}

/* --- the verb --- */

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Without folders: where things lie is nobody else's business. */
static void add_command(fc_text *out, const settings *s, const fc_device *device) {
  fc_text_add(out, "fleetcast fit");
  for (size_t i = 0; i < s->operand.n; i++) fc_text_printf(out, " %s", base_name(s->operand.item[i]));
  fc_text_printf(out, " --device %s", device->name);
  if (s->impl) fc_text_printf(out, " --impl %s", s->impl);
  if (s->base) fc_text_printf(out, " --base %s", base_name(s->base));
  if (s->anchors) fc_text_printf(out, " --anchors %zu", s->anchors);
}

static int wants(const char *what) {
  (void)fprintf(stderr, "fleetcast: fit wants %s\ntry: fleetcast fit --help\n", what);
  return EXIT_USAGE;
}

static int fit_device(const settings *s, const fc_device *device) {
  fc_text command = {0};
  add_command(&command, s, device);
  if (fc_text_status(&command)) {
    fc_text_fini(&command);
    return fail("fit", FC_E_NOMEM);
  }
  fit_job job = {.paths = s->operand.item,
                 .n_paths = s->operand.n,
                 .device = device,
                 .impl = s->impl,
                 .base = s->base,
                 .out = s->out,
                 .report = s->report,
                 .command = command.bytes,
                 .anchors = s->anchors,
                 .jobs = s->jobs,
                 .quiet = s->quiet};
  int code = run(&job, s);
  fc_text_fini(&command);
  return code;
}

int cli_fit(const settings *s) {
  if (!s->device) return wants("--device NAME or FILE.yaml");
  if (!s->out || !*s->out) return wants("-o PROFILE.yaml");
  if (s->anchors > FC_LOCAL_ANCHORS_MAX) {
    (void)fprintf(stderr, "fleetcast: --anchors %zu is more than %d\n", s->anchors, FC_LOCAL_ANCHORS_MAX);
    return EXIT_USAGE;
  }
  if (cli_is_same_file(s->out, s->device) || cli_is_same_file(s->report, s->device)) {
    (void)fprintf(stderr, "fleetcast: %s is an input too; write to another file\n", s->device);
    return EXIT_USAGE;
  }
  data_dirs data = cli_data(s->device, s);
  fc_input *input;
  int code = cli_load_device(&input, s->device, &data, s);
  if (!code) code = fit_device(s, fc_input_device(input));
  fc_input_free(input);
  cli_data_free(&data);
  return code;
}
