/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* getopt_long */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <fleetcast/base/stop.h>

#include "manifest.h"
#include "session.h"
#include "summary.h"

/* fleetcast-bench: microbenchmarks, each checked against its reference first.  `fleetcast bench` starts it; a
 * program of its own, so that NVIDIA's libraries and GSL never meet (docs/adr/0005). */

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INPUT, EXIT_IO };

enum { BACKENDS = 1 + FC_HAVE_CUDA };
static const fc_bench_device *const backends[BACKENDS] = {
    &fc_bench_cpu,
#if FC_HAVE_CUDA
    &fc_bench_cuda,
#endif
};

/* --- options --- */

typedef struct {
  const char *backend, *out, *kernel, *table;
  bool quick, check, again, quiet;
  uint64_t seed;
  bool has_seed;
} settings;

static void print_help(FILE *to) {
  (void)fputs("usage: fleetcast bench [OPTIONS]\n\n"
              "microbenchmarks, each checked against its reference first\n\n"
              "options:\n"
              "      --backend NAME          cpu or cuda (default: cuda where there is a GPU, else cpu)\n"
              "      --quick                 about a third of the points\n"
              "  -o, --out FILE              measurement file (CSV); without it rows go to stdout\n"
              "      --kernel NAME           only this kernel, as the column `kernel` names it\n"
              "      --seed N                of the data and of the order (default: the time)\n"
              "      --check                 check every kernel, time nothing\n"
              "      --again                 measure anew what FILE already holds\n"
              "      --table FILE            measure nothing: the table of a measurement file\n"
              "  -q, --quiet                 no progress, no table\n"
              "  -h, --help                  this text\n\n"
              "Ctrl-C keeps the finished points in FILE.partial; the same command then goes on from there.\n",
              to);
}

static int parse(settings *s, int argc, char **argv) {
  static const struct option options[] = {{"backend", required_argument, NULL, 'b'},
                                          {"quick", no_argument, NULL, 'Q'},
                                          {"out", required_argument, NULL, 'o'},
                                          {"kernel", required_argument, NULL, 'k'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"check", no_argument, NULL, 'c'},
                                          {"again", no_argument, NULL, 'a'},
                                          {"table", required_argument, NULL, 't'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  char *end;
  for (int letter; (letter = getopt_long(argc, argv, "o:qh", options, NULL)) != -1;) switch (letter) {
    case 'b': s->backend = optarg; break;
    case 'Q': s->quick = true; break;
    case 'o':
      s->out = optarg;
      if (*optarg) break;
      (void)fputs("fleetcast: -o wants a file\n", stderr);
      return EXIT_USAGE;
    case 'k': s->kernel = optarg; break;
    case 'c': s->check = true; break;
    case 'a': s->again = true; break;
    case 't': s->table = optarg; break;
    case 'q': s->quiet = true; break;
    case 's':
      errno = 0;
      s->seed = strtoull(optarg, &end, 10);
      s->has_seed = true;
      if (*optarg >= '0' && *optarg <= '9' && !*end && !errno) break;
      (void)fprintf(stderr, "fleetcast: --seed wants a whole number from 0 to 2^64 - 1, not '%s'\n", optarg);
      return EXIT_USAGE;
    case 'h': print_help(stdout); return -1;
    default: (void)fputs("try: fleetcast bench --help\n", stderr); return EXIT_USAGE;
    }
  if (optind == argc) return EXIT_OK;
  (void)fprintf(stderr, "fleetcast: bench: '%s' is one argument too many\n", argv[optind]);
  return EXIT_USAGE;
}

static int unknown(const char *what, const char *word, const char *const *names, size_t n) {
  const char *nearest = fc_diag_nearest(word, names, n);
  (void)fprintf(stderr, "fleetcast: unknown %s '%s'", what, word);
  if (nearest) (void)fprintf(stderr, "; did you mean '%s'?", nearest);
  (void)fputc('\n', stderr);
  return EXIT_USAGE;
}

static int check_kernel(const char *word) {
  const char *names[FC_BENCH_OP_COUNT];
  for (int i = 0; i < FC_BENCH_OP_COUNT; i++) {
    names[i] = fc_bench_op_text((fc_bench_op)i);
    if (!word || strcmp(names[i], word) == 0) return EXIT_OK;
  }
  return unknown("kernel", word, names, FC_BENCH_OP_COUNT);
}

/* --- progress --- */

typedef struct {
  bool on;
  struct timespec start, last;
} progress;

static double between(struct timespec a, struct timespec b) {
  return (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
}

static void show_progress(void *context, size_t done, size_t total, const char *text) {
  progress *p = context;
  struct timespec now;
  if (!p->on) return;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  if (between(p->last, now) < 0.1) return;
  p->last = now;
  double spent = between(p->start, now), share = total ? (double)done / (double)total : 0;
  (void)fprintf(stderr, "\r\033[K%4zu/%zu  %-32.32s", done, total, text);
  if (share > 0.05) (void)fprintf(stderr, " %.0f s left", spent * (1 - share) / share);
  (void)fflush(stderr);
}

static void clear_progress(progress *p) {
  if (p->on) (void)fputs("\r\033[K", stderr);
}

/* --- the watchdog: a kernel that never comes back cannot be called off, only left --- */

enum { HUNG_S = 45 }; /* no point takes so long: 0.6 s of samples, some seconds of data and checking */

static struct {
  int journal;
  const char *line, *text;
} volatile guarded;

/* Only what a signal handler may do. */
static void leave(int number) {
  static const char told[] = "fleetcast: a kernel hung: ", end[] = "\n";
  (void)number;
  ssize_t n = 0;
  if (guarded.line && guarded.journal >= 0) n += write(guarded.journal, guarded.line, strlen(guarded.line));
  n += write(STDERR_FILENO, told, sizeof told - 1);
  if (guarded.text) n += write(STDERR_FILENO, guarded.text, strlen(guarded.text));
  n += write(STDERR_FILENO, end, 1);
  _exit(n > 0 ? EXIT_FAILED : EXIT_IO);
}

static void guard(void *context, int journal, const char *line, const char *text) {
  (void)context;
  (void)alarm(0);
  guarded.journal = journal;
  guarded.line = line;
  guarded.text = text;
  if (text) (void)alarm(HUNG_S);
}

/* --- the run --- */

/* An interrupted program dies of its signal (docs/adr/0006). */
static int die_of_signal(const fc_session *s, const fc_journal *j) {
  if (j->partial)
    (void)fprintf(stderr,
                  "fleetcast: interrupted; %zu points are kept in %s: the same command goes on from there\n",
                  s->rows.n, j->partial);
  else
    (void)fputs("fleetcast: interrupted; without -o nothing is kept\n", stderr);
  fc_stop_die();
  return EXIT_FAILED; /* the signal was blocked */
}

static int print_rows(const fc_rows *rows) {
  char *line = fc_row_header();
  for (size_t i = 0; line; i++) {
    bool ok = fputs(line, stdout) != EOF;
    free(line);
    if (!ok || i == rows->n) return ok && fflush(stdout) == 0 ? EXIT_OK : EXIT_IO;
    line = fc_row_line(&rows->item[i]);
  }
  return EXIT_FAILED;
}

static void tell_checks(const fc_session *s, const settings *set) {
  const fc_check_counts *c = &s->checks;
  if (!set->quiet || c->failed > 0)
    (void)fprintf(stderr, "fleetcast: checked %zu, %zu failed, %zu skipped\n", c->passed + c->failed,
                  c->failed, c->skipped);
  if (c->failed > 0) (void)fprintf(stderr, "fleetcast: %s\n", c->first_failure);
}

static int tell_results(const fc_session *s, const settings *set) {
  int code = set->out ? EXIT_OK : print_rows(&s->rows);
  tell_checks(s, set);
  if (!set->quiet) fc_summary_print(set->out ? stdout : stderr, &s->rows);
  double drift_limit =
      s->options.device->is_gpu ? 0.02 : 0.1; /* a shared CPU drifts more: docs/kernels.md#protocol */
  if (s->largest_drift > drift_limit)
    (void)fprintf(stderr,
                  "fleetcast: warning: the sentinel's time moved by %.0f %% during the pass: the device was "
                  "not alone or "
                  "not cool\n",
                  100 * s->largest_drift);
  size_t failed = fc_rows_count(&s->rows, "failed");
  if (failed > 0) {
    (void)fprintf(stderr, "fleetcast: %zu points failed: column `status` says why\n", failed);
    code = EXIT_FAILED;
  }
  return code;
}

static void show_diags(const fc_diags *d) {
  char line[512];
  for (size_t i = 0; i < d->n; i++) {
    (void)fc_diag_format(line, sizeof line, &d->item[i]);
    (void)fprintf(stderr, "%s\n", line);
  }
}

static int measure(fc_session *s, const settings *set) {
  fc_journal journal;
  fc_rows earlier;
  fc_diags d;
  fc_diags_init(&d);
  fc_status status = fc_journal_open(&journal, set->out, &s->machine, set->again, &earlier, &d);
  if (status) {
    show_diags(&d);
    if (status == FC_E_IO)
      (void)fprintf(stderr, "fleetcast: cannot write %s.partial: %s\n", set->out, strerror(errno));
    return status == FC_E_INPUT ? EXIT_INPUT : (status == FC_E_IO ? EXIT_IO : EXIT_FAILED);
  }
  status = fc_session_resume(s, &earlier);
  fc_rows_fini(&earlier);
  if (s->resumed > 0 && !journal.from_out && !set->quiet)
    (void)fprintf(stderr, "fleetcast: going on from %zu points\n", s->resumed);
  if (!status) status = fc_session_measure(s, &journal);
  clear_progress(s->options.context);
  int code = EXIT_OK;
  if (status == FC_E_CANCELLED) {
    code = die_of_signal(s, &journal);
  } else if (status) {
    (void)fprintf(stderr, "fleetcast: %s%s%s\n", fc_status_text(status), *s->why ? ": " : "", s->why);
    if (journal.partial)
      (void)fprintf(stderr, "fleetcast: %zu points are kept in %s: the same command goes on after this one\n",
                    s->rows.n, journal.partial);
    code = EXIT_FAILED;
  } else if (journal.from_out && s->resumed > 0 &&
             s->rows.n == s->resumed) { /* finished work is not redone */
    fc_journal_discard(&journal);
    (void)fprintf(stderr, "fleetcast: %s is complete; --again measures anew\n", set->out);
  } else if (fc_journal_finish(&journal, &s->rows) || (set->out && fc_manifest_write(set->out, s))) {
    (void)fprintf(stderr, "fleetcast: cannot write %s: %s\n", set->out, strerror(errno));
    code = EXIT_IO;
  } else {
    code = tell_results(s, set);
  }
  fc_journal_close(&journal);
  return code;
}

static int check(fc_session *s, const settings *set) {
  fc_status status = fc_session_check(s);
  clear_progress(s->options.context);
  if (status == FC_E_CANCELLED) return die_of_signal(s, &(fc_journal){0});
  if (status)
    (void)fprintf(stderr, "fleetcast: %s%s%s\n", fc_status_text(status), *s->why ? ": " : "", s->why);
  tell_checks(s, set);
  return status || s->checks.failed > 0 ? EXIT_FAILED : EXIT_OK;
}

static int run(const settings *set, const fc_bench_device *device) {
  fc_session s;
  progress p = {.on = !set->quiet && isatty(STDERR_FILENO)};
  (void)clock_gettime(CLOCK_MONOTONIC, &p.start);
  p.last = p.start;
  fc_session_options options = {.device = device,
                                .quick = set->quick,
                                .seed = set->has_seed ? set->seed : (uint64_t)time(NULL),
                                .kernel = set->kernel,
                                .out = set->out,
                                .cancel = fc_stop_flag(),
                                .progress = show_progress,
                                .guard = device->is_gpu ? guard : NULL,
                                .context = &p};
  (void)signal(SIGALRM, leave);
  if (fc_session_open(&s, &options)) {
    (void)fprintf(stderr, "fleetcast: --backend %s: %s\n", device->name, s.why);
    return EXIT_FAILED;
  }
  fc_stop_catch();
  int code = set->check ? check(&s, set) : measure(&s, set);
  fc_session_close(&s);
  return code;
}

/* The table of a finished file. */
static int print_table(const char *path) {
  fc_rows rows;
  fc_diags d;
  fc_diags_init(&d);
  fc_status status = fc_rows_read(&rows, path, &d);
  show_diags(&d);
  if (status == FC_E_IO) (void)fprintf(stderr, "fleetcast: cannot read %s: %s\n", path, strerror(errno));
  if (status) return status == FC_E_INPUT ? EXIT_INPUT : (status == FC_E_IO ? EXIT_IO : EXIT_FAILED);
  fc_summary_print(stdout, &rows);
  fc_rows_fini(&rows);
  return fflush(stdout) == 0 ? EXIT_OK : EXIT_IO;
}

static const fc_bench_device *default_backend(void) {
#if FC_HAVE_CUDA
  fc_machine machine;
  char why[FC_WHY];
  if (fc_bench_cuda.open(&machine, why) == 0) {
    fc_bench_cuda.close();
    return &fc_bench_cuda;
  }
#endif
  return &fc_bench_cpu;
}

static const fc_bench_device *find_backend(const char *name) {
  if (!name) return default_backend();
  for (int i = 0; i < BACKENDS; i++)
    if (strcmp(name, backends[i]->name) == 0) return backends[i];
  return NULL;
}

int main(int argc, char **argv) {
  settings set = {0};
#if defined(__GLIBC__)
  /* host copies of gigabytes come and go: memory that stays mapped saves most of their page faults */
  (void)mallopt(M_MMAP_MAX, 0);
  (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
  int code = parse(&set, argc, argv);
  if (code) return code < 0 ? EXIT_OK : code;
  if (set.table) return print_table(set.table);
  code = check_kernel(set.kernel);
  if (code) return code;
  const fc_bench_device *device = find_backend(set.backend);
  if (device) return run(&set, device);
  if (strcmp(set.backend, "cuda") == 0) {
    (void)fputs("fleetcast: --backend cuda: this build has no CUDA (nvcc was not found)\n", stderr);
    return EXIT_FAILED;
  }
  const char *names[] = {"cpu", "cuda"};
  return unknown("backend", set.backend, names, sizeof names / sizeof *names);
}
