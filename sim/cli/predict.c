/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <fleetcast/base/file.h>
#include <fleetcast/base/stop.h>
#include <fleetcast/calibrate/predict.h>
#include <fleetcast/calibrate/table.h>

#include "terminal.h"
#include "verbs.h"

/* `fleetcast predict`: every row of a measurement file by a profile, and how far off the profile is. */

#define MEASUREMENTS_MAX_BYTES ((size_t)1 << 32)

static int die_of_signal(void) {
  (void)fputs("fleetcast: interrupted; nothing was written\n", stderr);
  fc_stop_die();
  return EXIT_FAILED; /* the signal was blocked */
}

static int fail(const char *path, fc_status status) {
  if (status == FC_E_IO) {
    (void)fprintf(stderr, "fleetcast: %s: %s\n", path,
                  errno == EBADMSG ? "not a whole gzip file" : strerror(errno));
    return EXIT_IO;
  }
  (void)fprintf(stderr, "fleetcast: %s: %s\n", path, fc_status_text(status));
  return status == FC_E_INPUT ? EXIT_INPUT : EXIT_FAILED;
}

/* --- the table --- */

static void add_share(fc_text *out, int width, double share) {
  if (isnan(share))
    fc_text_printf(out, " %*s", width, "-");
  else
    fc_text_printf(out, " %*.1f", width, 100 * share);
}

static void add_numbers(fc_text *out, const fc_score *s) {
  fc_text_printf(out, " %9zu", s->points);
  add_share(out, 9, s->median);
  add_share(out, 8, s->mean);
  add_share(out, 8, s->p90);
  add_share(out, 8, s->bias);
  add_share(out, 9, s->coverage);
  fc_text_printf(out, " %8zu %8zu\n", s->outside, s->clamped);
}

static int width_of(const fc_scores *scores, const char *(*text)(const fc_score *), int least) {
  size_t width = (size_t)least;
  for (size_t i = 0; i < scores->n; i++)
    if (strlen(text(&scores->score[i])) > width) width = strlen(text(&scores->score[i]));
  return (int)width;
}

static const char *kernel_of(const fc_score *s) {
  return s->kernel;
}

static const char *impl_of(const fc_score *s) {
  return s->impl;
}

static const char *dtype_of(const fc_score *s) {
  return s->dtype;
}

/* Errors are |predicted/measured - 1|. */
static fc_status add_table(fc_text *out, const fc_scores *scores, bool by_impl) {
  enum { KERNEL = 6, IMPL = 4, DTYPE = 5 };
  int kernel = width_of(scores, kernel_of, KERNEL), impl = width_of(scores, impl_of, IMPL);
  int dtype = width_of(scores, dtype_of, DTYPE);
  fc_text_printf(out, "%-*s", kernel, "kernel");
  if (by_impl) fc_text_printf(out, " %-*s %-*s %-5s", impl, "impl", dtype, "dtype", "kv");
  fc_text_printf(out, " %9s %9s %8s %8s %8s %9s %8s %8s\n", "points", "median_%", "mean_%", "p90_%", "bias_%",
                 "within_%", "outside", "clamped");
  for (size_t i = 0; i < (by_impl ? scores->n : scores->n_kernels); i++) {
    const fc_score *s = by_impl ? &scores->score[i] : &scores->kernel[i];
    fc_text_printf(out, "%-*s", kernel, s->kernel);
    if (by_impl)
      fc_text_printf(out, " %-*s %-*s %-5s", impl, *s->impl ? s->impl : "-", dtype, s->dtype,
                     *s->kv_dtype ? s->kv_dtype : "-");
    add_numbers(out, s);
  }
  return fc_text_status(out);
}

/* Rows on stdout: the table makes way. */
static bool goes_to_stdout(const settings *s) {
  return s->out && strcmp(s->out, "-") == 0;
}

static int show(const fc_scores *scores, const settings *s) {
  fc_text table = {0};
  fc_status status = add_table(&table, scores, s->by_impl);
  int code = EXIT_FAILED;
  if (!status && goes_to_stdout(s)) {
    code = EXIT_OK;
    (void)fputs(table.bytes, stderr);
  } else if (!status) {
    code = cli_print(table.bytes);
  }
  if (status) (void)fprintf(stderr, "fleetcast: %s\n", fc_status_text(status));
  fc_text_fini(&table);
  if (s->quiet) return code;
  (void)fprintf(stderr, "fleetcast: %zu rows in %.2f s, %.0f rows/s", scores->rows, scores->seconds,
                scores->seconds > 0 ? (double)scores->rows / scores->seconds : 0);
  if (scores->others)
    (void)fprintf(stderr, "; %zu name an implementation that the profile lacks: the fastest it has answers",
                  scores->others);
  if (scores->unmodelled) (void)fprintf(stderr, "; %zu not modelled", scores->unmodelled);
  if (scores->malformed) (void)fprintf(stderr, "; %zu malformed", scores->malformed);
  (void)fputc('\n', stderr);
  return code;
}

/* --- the verb --- */

bool cli_is_same_file(const char *a, const char *b) {
  struct stat sa, sb;
  if (!a || !b) return false;
  return strcmp(a, b) == 0 || (stat(a, &sa) == 0 && stat(b, &sb) == 0 && S_ISREG(sa.st_mode) &&
                               sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino);
}

int cli_refuse_to_replace(const char *out, const char *const *in, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!cli_is_same_file(out, in[i])) continue;
    (void)fprintf(stderr, "fleetcast: -o %s would replace what it is read from\n", out);
    return EXIT_USAGE;
  }
  return EXIT_OK;
}

static int predict(const fc_profile *profile, const char *path, const char *bytes, size_t length,
                   const settings *s) {
  fc_diags d;
  fc_diags_init(&d);
  fc_predict_options options = {.threads = s->jobs, .cancel = fc_stop_flag()};
  fc_scores scores;
  const char *to = goes_to_stdout(s) ? "/dev/stdout" : s->out;
  fc_status status = to ? fc_file_create(&options.out, to) : FC_OK;
  if (status) return fail(s->out, status);
  status = fc_predict_file(&scores, profile, path, bytes, length, &options, &d);
  cli_show_diags(&d, cli_colored(s->color));
  if (status) {
    fc_file_abandon(options.out);
    if (status == FC_E_CANCELLED) return die_of_signal();
    return status == FC_E_INPUT ? EXIT_INPUT : fail(path, status);
  }
  status = fc_file_commit(options.out);
  int code = status ? fail(s->out, status) : show(&scores, s);
  fc_scores_fini(&scores);
  return code;
}

static int load_and_predict(const fc_profile *profile, const char *path, const settings *s) {
  char *bytes;
  size_t length;
  const char *from = strcmp(path, "-") == 0 ? "/dev/stdin" : path;
  fc_status status = fc_gz_read_by(&bytes, &length, from, MEASUREMENTS_MAX_BYTES, s->jobs);
  if (status) return fail(path, status);
  fc_stop_catch();
  int code = predict(profile, path, bytes, length, s);
  free(bytes);
  return code;
}

int cli_predict(const settings *s) {
  const char *path = s->operand.item[0];
  if (!s->profile) {
    (void)fputs("fleetcast: predict wants --profile FILE\n", stderr);
    return EXIT_USAGE;
  }
  if (cli_refuse_to_replace(s->out, (const char *const[]){path, s->profile}, 2) != EXIT_OK) return EXIT_USAGE;
  data_dirs data = cli_data(s->profile, s);
  fc_input *input;
  int code = cli_load(&input, s->profile, FC_INPUT_PROFILE, &data, s);
  if (code == EXIT_OK) code = load_and_predict(fc_input_profile(input), path, s);
  fc_input_free(input);
  cli_data_free(&data);
  return code;
}
