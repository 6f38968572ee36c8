/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <fleetcast/base/file.h>
#include <fleetcast/base/stop.h>

#include "device.h"
#include "fit.h"
#include "terminal.h"
#include "verbs.h"

/* `fleetcast calibrate`: fleetcast-bench measures, `fit` does the rest.  Where no device is named, a GPU is
 * found among the shipped ones by its name, and a CPU, which has no datasheet, is described by its own
 * measurements. */

enum { PATH_ROOM = 4096, FILE_MAX_BYTES = 64 << 20 };

typedef struct {
  const settings *s;
  data_dirs data;
  machine of;
  const fc_device *device; /* NULL until it is known */
  fc_input *input;         /* owns it */
  char name[MACHINE_WORD];
  fc_text measurements, out, report, device_path, command;
  double bench_s;
  int bench_code;
} calibration;

/* --- being asked to stop --- */

/* @param told  the bench has said what it kept */
static int die_of_signal(bool told) {
  if (!told)
    (void)fputs("fleetcast: interrupted; the same command goes on from the points that are kept\n", stderr);
  fc_stop_die();
  return EXIT_FAILED; /* the signal was blocked */
}

static double seconds_now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The bench is asked to stop too, by SIGTERM.  A terminal sends SIGINT to both of us: then only when it takes
 * long, and not by the same signal, whose second coming would kill it. */
static void pass_on(pid_t child, double *asked, bool *passed) {
  enum { PATIENCE_S = 2 };
  int number = (int)*fc_stop_flag();
  if (!number || *passed) return;
  if (!(*asked > 0)) *asked = seconds_now();
  if (number == SIGINT && seconds_now() - *asked < PATIENCE_S) return;
  (void)kill(child, SIGTERM);
  *passed = true;
}

/* @return the exit status; below 0: minus the signal that it died of */
static int wait_for(pid_t child) {
  static const struct timespec nap = {.tv_nsec = 20000000};
  double asked = 0;
  bool passed = false;
  for (int how;;) {
    pid_t ended = waitpid(child, &how, WNOHANG);
    if (ended == child && WIFEXITED(how)) return WEXITSTATUS(how);
    if (ended == child && WIFSIGNALED(how)) return -WTERMSIG(how);
    if (ended < 0 && errno != EINTR) return EXIT_FAILED;
    pass_on(child, &asked, &passed);
    (void)nanosleep(&nap, NULL);
  }
}

/* --- fleetcast-bench --- */

/* Its table would stand before ours: only progress and complaints come through.
 * @return as wait_for() */
static int run_bench(const settings *asked) {
  (void)fflush(NULL);
  pid_t parent = getpid(), child = fork();
  if (child < 0) {
    (void)fprintf(stderr, "fleetcast: cannot start a process: %s\n", strerror(errno));
    return EXIT_FAILED;
  }
  if (child > 0) return wait_for(child);
#ifdef __linux__
  (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* a killed calibrate leaves no device busy */
#endif
  int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere >= 0) (void)dup2(nowhere, STDOUT_FILENO);
  _exit(getppid() == parent ? cli_bench(asked) : EXIT_FAILED);
}

/* "key: value" or "key: "value"" of the sidecar. */
static void sidecar_text(char *out, size_t room, const char *bytes, const char *key) {
  size_t n = strlen(key);
  *out = '\0';
  for (const char *line = bytes; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, key, n) != 0 || line[n] != ':') continue;
    const char *value = line + n + 1 + strspn(line + n + 1, " ");
    bool quoted = *value == '"';
    size_t length = strcspn(value + quoted, quoted ? "\"\n" : "\n");
    (void)snprintf(out, room, "%.*s", (int)length, value + quoted);
    return;
  }
}

static double sidecar_number(const char *bytes, const char *key) {
  char text[MACHINE_WORD];
  sidecar_text(text, sizeof text, bytes, key);
  return strtod(text, NULL);
}

/* What is not there stays empty. */
static void read_sidecar(machine *out, const char *measurements) {
  char path[PATH_ROOM], *bytes;
  size_t length;
  *out = (machine){0};
  (void)snprintf(path, sizeof path, "%s.yaml", measurements);
  if (fc_file_read(&bytes, &length, path, FILE_MAX_BYTES)) return;
  sidecar_text(out->backend, sizeof out->backend, bytes, "backend");
  sidecar_text(out->gpu, sizeof out->gpu, bytes, "device");
  sidecar_text(out->finished, sizeof out->finished, bytes, "finished");
  out->units = sidecar_number(bytes, "compute_units");
  out->cache_bytes = sidecar_number(bytes, "cache_bytes");
  out->memory_bytes = sidecar_number(bytes, "memory_bytes");
  free(bytes);
}

/* One launch, to learn what the device calls itself before minutes are spent on it. */
static int probe(calibration *c) {
  const char *folder = getenv("TMPDIR");
  char dir[PATH_ROOM], path[PATH_ROOM + 16], sidecar[PATH_ROOM + 32], partial[PATH_ROOM + 32];
  (void)snprintf(dir, sizeof dir, "%s/fleetcast-XXXXXX", folder && *folder ? folder : "/tmp");
  if (!mkdtemp(dir)) {
    (void)fprintf(stderr, "fleetcast: cannot make a folder in %s: %s\n", dir, strerror(errno));
    return EXIT_IO;
  }
  (void)snprintf(path, sizeof path, "%s/probe.csv", dir);
  (void)snprintf(sidecar, sizeof sidecar, "%s.yaml", path);
  (void)snprintf(partial, sizeof partial, "%s.partial", path);
  settings ask = {
      .backend = c->s->backend, .out = path, .kernel = "ceiling_launch", .quick = true, .quiet = true};
  int code = run_bench(&ask);
  read_sidecar(&c->of, path);
  *c->of.finished = '\0'; /* the probe's, not the measurements' */
  (void)unlink(path);
  (void)unlink(sidecar);
  (void)unlink(partial);
  (void)rmdir(dir);
  if (*fc_stop_flag()) return die_of_signal(false);
  if (code == EXIT_OK && *c->of.gpu) return EXIT_OK;
  return code > 0 ? code : EXIT_FAILED;
}

static int measure(calibration *c) {
  const settings *s = c->s;
  const char *path = c->measurements.bytes;
  machine before;
  read_sidecar(&before, path);
  settings ask = {.backend = s->backend,
                  .out = path,
                  .kernel = s->kernel,
                  .has_seed = s->has_seed,
                  .seed = s->seed,
                  .quick = s->quick,
                  .again = s->again,
                  .quiet = s->quiet};
  double start = seconds_now();
  int code = run_bench(&ask);
  c->bench_s = seconds_now() - start;
  if (*fc_stop_flag()) return die_of_signal(code < 0);
  if (code < 0)
    (void)fprintf(
        stderr, "fleetcast: fleetcast-bench died of signal %d; the same command goes on from there\n", -code);
  if (code < 0) return EXIT_FAILED;
  char partial[PATH_ROOM];
  (void)snprintf(partial, sizeof partial, "%s.partial", path);
  bool whole = access(path, R_OK) == 0 && access(partial, F_OK) != 0;
  if (code > EXIT_FAILED || !whole) return code ? code : EXIT_FAILED;
  c->bench_code = code; /* some points failed: the others are fitted, the status says so at the end */
  machine after;
  read_sidecar(&after, path);
  if (strcmp(before.finished, after.finished) == 0) c->bench_s = 0; /* nothing was left to measure */
  if (*after.gpu) c->of = after;
  return EXIT_OK;
}

/* --- the device --- */

static void adopt(calibration *c) {
  c->device = fc_input_device(c->input);
  (void)snprintf(c->name, sizeof c->name, "%s", c->device->name);
}

/* Before minutes are spent: which device this is, and under which name things are kept. */
static int identify(calibration *c) {
  int code = c->s->device ? cli_load_device(&c->input, c->s->device, &c->data, c->s) : probe(c);
  if (code) return code;
  if (!c->s->device && strcmp(c->of.backend, "cpu") == 0) {
    cli_name_cpu(c->name, &c->of);
    return EXIT_OK;
  }
  if (!c->s->device) code = cli_match_gpu(&c->input, &c->of, &c->data, c->s);
  if (!code) adopt(c);
  return code;
}

/* After the measurements. */
static int describe(calibration *c) {
  const char *path = c->device_path.bytes;
  int code = cli_write_cpu(path, c->name, &c->of, c->measurements.bytes);
  if (!code) code = cli_load_device(&c->input, path, &c->data, c->s);
  if (!code) adopt(c);
  return code;
}

/* --- paths --- */

/* Where a profile at `out` will look for its device: DIR/devices of DIR/profiles/X.yaml, else beside it. */
static void add_device_path(fc_text *path, const char *out, const char *name) {
  const char *slash = strrchr(out, '/');
  int n = slash ? (int)(slash - out) : 0;
  static const char folder[] = "profiles";
  int tail = (int)sizeof folder - 1;
  bool inside = n >= tail && strncmp(out + n - tail, folder, (size_t)tail) == 0 &&
                (n == tail || out[n - tail - 1] == '/');
  if (inside)
    fc_text_printf(path, "%.*sdevices/%s.yaml", n - tail, out, name);
  else
    fc_text_printf(path, "%.*sdevices/%s.yaml", slash ? n + 1 : 0, out, name);
}

static void add_word(fc_text *out, const char *name, const char *word) {
  if (!word) return;
  bool plain =
      *word &&
      !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=-+:,@%")];
  fc_text_printf(out, " %s ", name);
  if (plain) {
    fc_text_add(out, word);
    return;
  }
  fc_text_add(out, "'");
  for (; *word; word++) fc_text_printf(out, *word == '\'' ? "'\\''" : "%c", *word);
  fc_text_add(out, "'");
}

static int choose_paths(calibration *c) {
  const settings *s = c->s;
  fc_text_add(&c->command, "fleetcast calibrate");
  add_word(&c->command, "--backend", s->backend);
  add_word(&c->command, "--device", s->device);
  add_word(&c->command, "--kernel", s->kernel);
  if (s->quick) fc_text_add(&c->command, " --quick");
  add_word(&c->command, "--measurements", s->measurements);
  if (s->measurements)
    fc_text_add(&c->measurements, s->measurements);
  else
    fc_text_printf(&c->measurements, "%s.csv", c->name);
  if (s->out)
    fc_text_add(&c->out, s->out);
  else
    fc_text_printf(&c->out, "profiles/%s.yaml", c->name);
  if (s->report)
    fc_text_add(&c->report, s->report);
  else
    fc_text_printf(&c->report, "%s.html", c->name);
  add_device_path(&c->device_path, c->out.bytes ? c->out.bytes : "", c->name);
  if (fc_text_status(&c->command) || fc_text_status(&c->measurements) || fc_text_status(&c->out) ||
      fc_text_status(&c->report) || fc_text_status(&c->device_path)) {
    (void)fprintf(stderr, "fleetcast: %s\n", fc_status_text(FC_E_NOMEM));
    return EXIT_FAILED;
  }
  const char *const paths[] = {c->measurements.bytes, c->out.bytes, c->report.bytes};
  for (size_t i = 0; i < 3; i++)
    if (!cli_make_folders(paths[i])) {
      (void)fprintf(stderr, "fleetcast: cannot make the folder of %s: %s\n", paths[i], strerror(errno));
      return EXIT_IO;
    }
  return EXIT_OK;
}

/* --- the verb --- */

static void tell_paths(const calibration *c) {
  (void)fprintf(stderr, "fleetcast: profile       %s\n", c->out.bytes);
  if (!c->s->device && strcmp(c->of.backend, "cpu") == 0)
    (void)fprintf(stderr, "fleetcast: device        %s\n", c->device_path.bytes);
  (void)fprintf(stderr, "fleetcast: measurements  %s\n", c->measurements.bytes);
  (void)fprintf(stderr, "fleetcast: report        %s\n", c->report.bytes);
}

static int fit(calibration *c) {
  const char *path = c->measurements.bytes;
  fit_job job = {.paths = &path,
                 .n_paths = 1,
                 .device = c->device,
                 .out = c->out.bytes,
                 .report = c->report.bytes,
                 .command = c->command.bytes,
                 .jobs = c->s->jobs,
                 .bench_s = c->bench_s,
                 .quiet = c->s->quiet};
  if (*c->of.finished) job.measured = c->of.finished;
  if (*c->of.backend) job.backend = c->of.backend;
  return cli_fit_job(&job);
}

static int calibrate(calibration *c) {
  int code = identify(c);
  if (!code) code = choose_paths(c);
  if (!code) code = measure(c);
  if (!code && !c->device) code = describe(c);
  if (!code) code = fit(c);
  if (code) return code;
  if (!c->s->quiet) tell_paths(c);
  if (c->bench_code)
    (void)fputs("fleetcast: some points failed; the profile is fitted to the others\n", stderr);
  return c->bench_code;
}

int cli_calibrate(const settings *s) {
  const char *const files[] = {s->out, s->report, s->measurements};
  for (size_t i = 0; i < 3; i++)
    if (files[i] && (!*files[i] || strcmp(files[i], "-") == 0)) {
      (void)fputs("fleetcast: calibrate writes several files: each wants a name\n", stderr);
      return EXIT_USAGE;
    }
  calibration c = {.s = s, .data = cli_data(s->out ? s->out : "", s)};
  fc_stop_catch();
  int code = calibrate(&c);
  fc_text_fini(&c.measurements);
  fc_text_fini(&c.out);
  fc_text_fini(&c.report);
  fc_text_fini(&c.device_path);
  fc_text_fini(&c.command);
  fc_input_free(c.input);
  cli_data_free(&c.data);
  return code;
}
