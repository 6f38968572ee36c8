/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/base/file.h>

#include "terminal.h"

enum { PATH_ROOM = 4096, FILE_MAX_BYTES = 64 << 20 };

/* The folders above `path`, made where they are missing. */
bool cli_make_folders(const char *path) {
  char part[PATH_ROOM];
  for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
    size_t n = (size_t)(slash - path);
    if (n == 0 || n >= sizeof part) continue;
    memcpy(part, path, n);
    part[n] = '\0';
    if (mkdir(part, 0777) && errno != EEXIST) return false;
  }
  return true;
}

/* --- a device that is known --- */

static bool is_path(const char *word) {
  size_t n = strlen(word);
  return strchr(word, '/') || (n > 5 && strcmp(word + n - 5, ".yaml") == 0);
}

/* "DIR/devices/NAME.yaml" of the first data folder that has it. */
static bool find_device(char path[PATH_ROOM], const data_dirs *data, const char *name) {
  for (size_t i = 0; i < data->n; i++) {
    int n = snprintf(path, PATH_ROOM, "%s/devices/%s.yaml", data->dir[i], name);
    if (n > 0 && n < PATH_ROOM && access(path, R_OK) == 0) return true;
  }
  return false;
}

static int complain_device(const data_dirs *data, const char *word) {
  enum { MOST = 256 };
  char *names[MOST];
  size_t n = 0;
  for (size_t i = 0; i < data->n; i++) {
    char folder[PATH_ROOM];
    (void)snprintf(folder, sizeof folder, "%s/devices", data->dir[i]);
    DIR *dir = opendir(folder);
    for (const struct dirent *e; dir && n < MOST && (e = readdir(dir));) {
      size_t length = strlen(e->d_name);
      if (length <= 5 || strcmp(e->d_name + length - 5, ".yaml") != 0) continue;
      names[n] = strndup(e->d_name, length - 5);
      n += names[n] != NULL;
    }
    if (dir) (void)closedir(dir);
  }
  cli_complain_word("device", word, (const char *const *)names, n);
  for (size_t i = 0; i < n; i++) free(names[i]);
  return EXIT_USAGE;
}

int cli_load_device(fc_input **out, const char *word, const data_dirs *data, const settings *s) {
  char path[PATH_ROOM];
  *out = NULL;
  if (!is_path(word) && !find_device(path, data, word)) return complain_device(data, word);
  return cli_load(out, is_path(word) ? word : path, FC_INPUT_DEVICE, data, s);
}

/* --- a GPU by its name --- */

/* The next run of letters and digits, in lower case. */
static const char *next_word(char out[MACHINE_WORD], const char *text) {
  size_t n = 0;
  while (*text && !isalnum((unsigned char)*text)) text++;
  for (; isalnum((unsigned char)*text); text++)
    if (n + 1 < MACHINE_WORD) out[n++] = (char)tolower((unsigned char)*text);
  out[n] = '\0';
  return n > 0 ? text : NULL;
}

/* One name covers several products (SXM, PCIe, 40 and 80 GB): what the device says of itself must fit. */
static bool is_same_product(const machine *m, const fc_device *d) {
  double ratio = m->memory_bytes / d->memory_bytes;
  return (long long)m->units == (long long)d->compute_units && ratio > 0.85 && ratio < 1.15;
}

int cli_match_gpu(fc_input **out, const machine *m, const data_dirs *data, const settings *s) {
  char word[MACHINE_WORD], path[PATH_ROOM];
  *out = NULL;
  for (const char *p = m->gpu; (p = next_word(word, p));) {
    if (!find_device(path, data, word)) continue;
    int code = cli_load_device(out, word, data, s);
    if (code || is_same_product(m, fc_input_device(*out))) return code;
    (void)fprintf(stderr,
                  "fleetcast: '%s' is another product than the device %s: it has %g units and %.3g GB\n",
                  m->gpu, word, m->units, m->memory_bytes / 1e9);
    fc_input_free(*out);
    *out = NULL;
  }
  (void)fprintf(
      stderr,
      "fleetcast: no device fits '%s': describe it by its datasheet and pass --device FILE.yaml; at least\n"
      "  kind: device\n  vendor: NAME\n"
      "  peak: {source: \"datasheet, dense\", bf16: ... TFLOP/s, fp8: ... TFLOP/s}\n"
      "  memory: {value: %.3g GB, source: \"reported by the device\"}\n"
      "  memory_bandwidth: {value: ... TB/s, source: \"datasheet\"}\n"
      "  l2_cache: {value: %.3g MB, source: \"reported by the device\"}\n"
      "  compute_units: {value: %g, source: \"reported by the device\"}\n"
      "  clock: {value: ... GHz, source: \"datasheet: boost clock\"}\n"
      "  scaleup: {bandwidth: ... GB/s, devices: 8, source: \"datasheet, both directions\"}\n"
      "  power: {tdp: {value: ... W, source: \"datasheet\"}}\n",
      m->gpu, m->memory_bytes / 1e9, m->cache_bytes / 1e6, m->units);
  return EXIT_USAGE;
}

/* --- a CPU by its measurements --- */

/* "Intel(R) Xeon(R) Processor" with 2 threads: "intel-xeon-2t". */
void cli_name_cpu(char out[MACHINE_WORD], const machine *m) {
  static const char *const noise[] = {"r", "tm", "cpu", "processor", "core", "with"};
  char word[MACHINE_WORD], model[MACHINE_WORD];
  size_t n = 0;
  (void)snprintf(model, sizeof model, "%.*s", (int)strcspn(m->gpu, "@"), m->gpu);
  out[0] = '\0';
  for (const char *p = model; (p = next_word(word, p));) {
    bool skip = false;
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++) skip = skip || strcmp(word, noise[i]) == 0;
    if (!skip && n + strlen(word) + 24 < MACHINE_WORD)
      n += (size_t)snprintf(out + n, MACHINE_WORD - n, "%s%s", n ? "-" : "", word);
  }
  (void)snprintf(out + n, MACHINE_WORD - n, "%s%.0ft", n ? "-" : "cpu-", m->units);
}

/* The fastest of one kind of row. */
typedef struct {
  double rate, size; /* per second; the row's own size */
  char what[MACHINE_WORD];
} ceiling;

typedef struct {
  ceiling product, memory;
} ceilings;

enum { KERNEL, DTYPE, BYTES, MIN_US, FLOP, MOVED, STATUS, M, N, K, NEEDED };

static bool starts_with(const char *text, const char *start) {
  return strncmp(text, start, strlen(start)) == 0;
}

static double number_or_0(const fc_csv_field *field) {
  double value;
  return fc_csv_number(&value, field) ? value : 0;
}

static void take_ceiling(ceilings *out, const fc_csv_field *row, const ptrdiff_t at[NEEDED]) {
  const char *kernel = row[at[KERNEL]].text, *status = row[at[STATUS]].text;
  double us = number_or_0(&row[at[MIN_US]]), flop = number_or_0(&row[at[FLOP]]),
         size = number_or_0(&row[at[BYTES]]);
  bool timed = strcmp(status, "ok") == 0 || strcmp(status, "timeout") == 0 || strcmp(status, "again") == 0;
  if (!timed || !(us > 0)) return;
  bool product = strstr(kernel, "gemm") || starts_with(kernel, "mla_") || starts_with(kernel, "attention_");
  if (product && strcmp(row[at[DTYPE]].text, "fp32") == 0 && flop / us * 1e6 > out->product.rate) {
    out->product.rate = flop / us * 1e6;
    (void)snprintf(out->product.what, MACHINE_WORD, "%.40s %.12s x %.12s x %.12s", kernel, row[at[M]].text,
                   row[at[N]].text, row[at[K]].text);
  }
  if (!starts_with(kernel, "ceiling_") || !(size > 0) || size < out->memory.size) return;
  double rate = number_or_0(&row[at[MOVED]]) / us * 1e6;
  if (size <= out->memory.size && rate <= out->memory.rate) return;
  out->memory.size = size; /* the largest buffers: what the caches cannot hold, or hold least of */
  out->memory.rate = rate;
  (void)snprintf(out->memory.what, MACHINE_WORD, "%.40s of %.4g MB", kernel, size / 1e6);
}

static int read_ceilings(ceilings *out, const char *path) {
  static const char *const column[NEEDED] = {"kernel",      "dtype",  "bytes", "min_us", "flop",
                                             "bytes_moved", "status", "m",     "n",      "k"};
  char *bytes;
  size_t length;
  ptrdiff_t at[NEEDED];
  fc_csv_reader *reader = NULL;
  fc_diags d;
  fc_diags_init(&d);
  *out = (ceilings){0};
  fc_status status = fc_file_read(&bytes, &length, path, FILE_MAX_BYTES);
  if (status) {
    (void)fprintf(stderr, "fleetcast: cannot read %s: %s\n", path, strerror(errno));
    return EXIT_IO;
  }
  status = fc_csv_open(&reader, path, bytes, length, &d);
  for (int i = 0; i < NEEDED && !status; i++) {
    at[i] = fc_csv_column(reader, column[i]);
    if (at[i] < 0) status = fc_diag_error(&d, path, ((fc_pos){1, 1}), "no column '%s'", column[i]);
  }
  for (const fc_csv_field *row; !status && !(status = fc_csv_next(reader, &row, &d)) && row;)
    take_ceiling(out, row, at);
  cli_show_diags(&d, false);
  fc_csv_free(reader);
  free(bytes);
  if (status) return status == FC_E_INPUT ? EXIT_INPUT : EXIT_FAILED;
  if (out->product.rate > 0 && out->memory.rate > 0) return EXIT_OK;
  (void)fprintf(
      stderr,
      "fleetcast: %s holds no %s to describe this CPU by: measure all kernels, or pass --device FILE.yaml\n",
      path, out->memory.rate > 0 ? "matrix product" : "memory ceiling");
  return EXIT_INPUT;
}

static const char device_mark[] = "# made by `fleetcast calibrate`";

/* Long-term limit of the package, where Linux tells it; 0 if not. */
static double package_limit_w(void) {
  char *bytes;
  size_t length;
  if (fc_file_read(&bytes, &length, "/sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw", 256))
    return 0;
  double watts = 1e-6 * strtod(bytes, NULL);
  free(bytes);
  return watts >= 1 && watts <= 1e5 ? watts : 0;
}

static void describe_power(fc_text *t, double threads) {
  enum { WATTS_A_THREAD = 10 };
  double limit = package_limit_w();
  if (limit > 0)
    fc_text_printf(t, "power: {tdp: {value: %.4g W, source: \"powercap: long-term limit of the package\"}}\n",
                   limit);
  else
    fc_text_printf(
        t,
        "power: {tdp: {value: %.4g W, source: \"not known: assumption of %d W a thread; nothing but energy "
        "depends on it\"}}\n",
        WATTS_A_THREAD * threads, WATTS_A_THREAD);
}

static void describe_cpu(fc_text *t, const char *name, const machine *m, const char *measurements,
                         const ceilings *best) {
  char vendor[MACHINE_WORD], measured[64];
  size_t n = strcspn(m->gpu, " (");
  (void)snprintf(measured, sizeof measured, "measured by fleetcast bench%s%.10s", *m->finished ? " on " : "",
                 m->finished);
  (void)snprintf(vendor, sizeof vendor, "%.*s", (int)n, m->gpu);
  const char *slash = strrchr(measurements, '/');
  fc_text_printf(t, "%s from %s; remove this line to keep what you change below\n", device_mark,
                 slash ? slash + 1 : measurements);
  fc_text_printf(t, "kind: device\nname: %s\ntitle: ", name);
  fc_text_quote(t, m->gpu);
  fc_text_add(t, "\nvendor: ");
  fc_text_quote(t, *vendor ? vendor : "unknown");
  fc_text_printf(t, "\npeak:\n  source: \"%s: best of all products, %s\"\n", measured, best->product.what);
  fc_text_printf(t, "  fp32: %.4g GFLOP/s\n", best->product.rate / 1e9);
  fc_text_printf(t, "memory: {value: %.4g GB, source: \"sysconf: physical memory\"}\n",
                 m->memory_bytes / 1e9);
  fc_text_printf(t, "memory_bandwidth: {value: %.4g GB/s, source: \"%s: %s\"}\n", best->memory.rate / 1e9,
                 measured, best->memory.what);
  fc_text_printf(t, "l2_cache: {value: %.4g MB, source: \"sysconf: last cache\"}\n", m->cache_bytes / 1e6);
  fc_text_printf(
      t, "compute_units: {value: %.0f, source: \"threads that fleetcast bench used\"}\nnode_devices: 1\n",
      m->units);
  describe_power(t, m->units);
}

/* A file that is there and was not made by us is kept. */
static bool is_edited(const char *path) {
  char *bytes;
  size_t length;
  if (fc_file_read(&bytes, &length, path, FILE_MAX_BYTES)) return false;
  bool ours = starts_with(bytes, device_mark);
  free(bytes);
  return !ours;
}

int cli_write_cpu(const char *path, const char *name, const machine *m, const char *measurements) {
  ceilings best;
  if (is_edited(path)) return EXIT_OK;
  int code = read_ceilings(&best, measurements);
  if (code) return code;
  fc_text text = {0};
  fc_file *file = NULL;
  describe_cpu(&text, name, m, measurements, &best);
  fc_status status = fc_text_status(&text);
  if (!status) status = cli_make_folders(path) ? fc_file_create(&file, path) : FC_E_IO;
  if (!status) {
    fc_file_write(file, text.bytes, text.length);
    status = fc_file_commit(file);
  }
  if (status) (void)fprintf(stderr, "fleetcast: cannot write %s: %s\n", path, strerror(errno));
  fc_text_fini(&text);
  return status == FC_OK ? EXIT_OK : status == FC_E_IO ? EXIT_IO : EXIT_FAILED;
}
