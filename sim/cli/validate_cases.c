/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/csv.h>

#include "terminal.h"
#include "validate.h"

/* The cases of a file: columns of public serving measurements, and the shipped model and profile of each. */

enum { FILE_MOST = 1 << 28, NAME_ROOM = 96, PATH_ROOM = 4352 };

/* Columns that a case is made of. */
enum {
  C_model,
  C_system,
  C_backend,
  C_gemm_quant,
  C_moe_quant,
  C_measured,
  C_mode,
  C_isl,
  C_osl,
  C_concurrency,
  C_tp,
  C_pp,
  C_attention_dp,
  C_moe_tp,
  C_moe_ep,
  C_prefill_workers,
  C_prefill_tp,
  C_prefill_adp,
  C_prefill_moe_ep,
  C_decode_workers,
  C_decode_tp,
  C_decode_adp,
  C_decode_moe_ep,
  C_n_gpus,
  C_ttft_ms,
  C_tpot_ms,
  C_COUNT
};
static const char *const case_column[C_COUNT] = {
    [C_model] = "model",
    [C_system] = "system",
    [C_backend] = "backend",
    [C_gemm_quant] = "gemm_quant",
    [C_moe_quant] = "moe_quant",
    [C_measured] = "measured",
    [C_mode] = "mode",
    [C_isl] = "isl",
    [C_osl] = "osl",
    [C_concurrency] = "concurrency",
    [C_tp] = "tp",
    [C_pp] = "pp",
    [C_attention_dp] = "attention_dp",
    [C_moe_tp] = "moe_tp",
    [C_moe_ep] = "moe_ep",
    [C_prefill_workers] = "prefill_workers",
    [C_prefill_tp] = "prefill_tp",
    [C_prefill_adp] = "prefill_adp",
    [C_prefill_moe_ep] = "prefill_moe_ep",
    [C_decode_workers] = "decode_workers",
    [C_decode_tp] = "decode_tp",
    [C_decode_adp] = "decode_adp",
    [C_decode_moe_ep] = "decode_moe_ep",
    [C_n_gpus] = "n_gpus",
    [C_ttft_ms] = "ttft_ms",
    [C_tpot_ms] = "tpot_ms",
};
/* Without these no case can be made. */
static const int needed[] = {C_model, C_system, C_backend, C_isl, C_osl, C_concurrency};

typedef struct {
  const char *path;
  const char *bytes; /* the header is its first line */
  ptrdiff_t at[C_COUNT];
  fc_diags d;
  const data_dirs *data;
} reader;

/* --- columns --- */

static const char *text_at(const reader *r, const validate_case *c, int column) {
  return r->at[column] >= 0 ? c->field[r->at[column]] : "";
}

/* NAN: empty or no such column; a case with something else says so. */
static double number_at(const reader *r, validate_case *c, int column) {
  const char *text = text_at(r, c, column);
  if (!*text) return (double)NAN;
  double x;
  if (fc_csv_number(&x, &(fc_csv_field){text, strlen(text), {0, 0}})) return x;
  if (!*c->why) (void)snprintf(c->why, CASE_WHY, "%s: '%.60s' is no number", case_column[column], text);
  return (double)NAN;
}

static int64_t whole_at(const reader *r, validate_case *c, int column, int64_t fallback) {
  double x = number_at(r, c, column);
  if (isnan(x)) return fallback;
  if (x >= 0 && x < 1e9 && x == floor(x)) return (int64_t)x;
  if (!*c->why) (void)snprintf(c->why, CASE_WHY, "%s: %g is no whole number", case_column[column], x);
  return fallback;
}

/* Where a column's name stands in the header. */
static fc_pos place_of(const char *header, size_t column) {
  size_t at = strncmp(header, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, first = at;
  for (bool quoted = false; column > 0 && header[at] && header[at] != '\n'; at++) {
    if (header[at] == '"') quoted = !quoted;
    column -= header[at] == ',' && !quoted;
  }
  return (fc_pos){1, at - first + 1};
}

static bool find_columns(reader *r, const fc_csv_reader *csv) {
  size_t n = fc_csv_columns(csv);
  const char *names[FC_CSV_COLUMNS_MAX];
  for (size_t i = 0; i < n; i++) names[i] = fc_csv_column_name(csv, i);
  for (int i = 0; i < C_COUNT; i++) r->at[i] = fc_csv_column(csv, case_column[i]);
  bool ok = true;
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
    if (r->at[needed[i]] >= 0) continue;
    const char *want = case_column[needed[i]], *near = fc_diag_nearest(want, names, n);
    ptrdiff_t at = near ? fc_csv_column(csv, near) : -1;
    for (int k = 0; k < C_COUNT; k++) at = r->at[k] == at ? -1 : at; /* has a meaning of its own */
    if (at >= 0)
      (void)fc_diag_error(&r->d, r->path, place_of(r->bytes, (size_t)at),
                          "column '%.64s'; did you mean '%s'?", near, want);
    else
      (void)fc_diag_error(&r->d, r->path, ((fc_pos){1, 1}), "no column '%s'", want);
    ok = false;
  }
  return ok;
}

/* --- models and profiles by name --- */

static void lower(char *out, const char *text, size_t room) {
  size_t n = 0;
  for (; *text && n + 1 < room; text++) out[n++] = (char)tolower((unsigned char)*text);
  out[n] = '\0';
}

static named_input *load_named(validate_cases *all, const reader *r, const char *folder, const char *name,
                               fc_input_kind kind) {
  char key[NAME_ROOM + 16], path[PATH_ROOM];
  (void)snprintf(key, sizeof key, "%s/%s", folder, name);
  for (size_t i = 0; i < all->n_inputs; i++)
    if (strcmp(all->input[i].name, key) == 0) return &all->input[i];
  named_input *grown = realloc(all->input, (all->n_inputs + 1) * sizeof *grown);
  if (!grown) return NULL;
  all->input = grown;
  fc_input *input = NULL;
  fc_load_options options = {
      .expect = kind, .n_data_dirs = r->data->n, .data_dirs = (const char *const *)r->data->dir};
  for (size_t i = 0; i < r->data->n && !input; i++) {
    (void)snprintf(path, sizeof path, "%.4000s/%s/%.90s.yaml", r->data->dir[i], folder, name);
    if (access(path, R_OK) == 0 && fc_input_load(&input, path, &options, NULL)) input = NULL;
  }
  all->input[all->n_inputs] = (named_input){strdup(key), input, input ? fc_input_profile(input) : NULL};
  if (!all->input[all->n_inputs].name) {
    fc_input_free(input);
    return NULL;
  }
  return &all->input[all->n_inputs++];
}

/* Shipped systems whose kernels are in public tables. */
static const char *const tabled[] = {"a100", "h100", "h200", "b200", "gb200"};

/* The profile of a system; one without operator tables borrows the nearest system's. */
static const fc_profile *profile_of(validate_cases *all, const reader *r, const char *name) {
  enum { TABLED = sizeof tabled / sizeof *tabled };
  const named_input *mine = load_named(all, r, "profiles", name, FC_INPUT_PROFILE);
  if (!mine || !mine->profile || validate_has_tables(mine->profile)) return mine ? mine->profile : NULL;
  size_t at = (size_t)(mine - all->input), n = 0;
  const fc_profile *candidate[TABLED];
  for (size_t i = 0; i < TABLED; i++) {
    const named_input *other = load_named(all, r, "profiles", tabled[i], FC_INPUT_PROFILE);
    if (other && other->profile && validate_has_tables(other->profile)) candidate[n++] = other->profile;
  }
  named_input *own = &all->input[at]; /* inputs move when they grow */
  const fc_profile *from = validate_nearest(candidate, n, own->profile->device);
  fc_profile *moved = fc_arena_alloc(&all->moved, sizeof *moved);
  if (from && moved && !validate_transfer(moved, own->profile, from, &all->moved)) own->profile = moved;
  return own->profile;
}

/* "Kimi-K2.5" is served by the sizes of kimi-k2: the longest shipped name that begins it. */
static void find_model_name(char out[NAME_ROOM], const reader *r, const char *wanted) {
  char name[NAME_ROOM];
  lower(name, wanted, sizeof name);
  size_t best = 0;
  *out = '\0';
  for (size_t i = 0; i < r->data->n; i++) {
    char folder[PATH_ROOM];
    (void)snprintf(folder, sizeof folder, "%.4000s/models", r->data->dir[i]);
    DIR *dir = opendir(folder);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
      size_t n = strlen(e->d_name);
      if (n <= 5 || n - 5 >= NAME_ROOM || strcmp(e->d_name + n - 5, ".yaml") != 0) continue;
      n -= 5;
      if (n <= best || strncmp(name, e->d_name, n) != 0) continue;
      best = n;
      (void)snprintf(out, NAME_ROOM, "%.*s", (int)n, e->d_name);
    }
    if (dir) (void)closedir(dir);
  }
}

static void find_inputs(validate_cases *all, validate_case *c, const reader *r) {
  char name[NAME_ROOM];
  find_model_name(name, r, c->model_name);
  const named_input *model = *name ? load_named(all, r, "models", name, FC_INPUT_MODEL) : NULL;
  c->model = model && model->input ? fc_input_model(model->input) : NULL;
  lower(name, c->system, sizeof name);
  char *tail = strstr(name, "_sxm");
  if (tail) *tail = '\0';
  c->profile = *name ? profile_of(all, r, name) : NULL;
  if (*c->why) return;
  if (!c->model)
    (void)snprintf(c->why, CASE_WHY, "model '%.80s' is not shipped", c->model_name);
  else if (!c->profile)
    (void)snprintf(c->why, CASE_WHY, "system '%.80s' has no shipped profile", c->system);
}

/* --- a case --- */

static void read_side(fc_case_side *out, const reader *r, validate_case *c, const int columns[5]) {
  *out = (fc_case_side){.workers = whole_at(r, c, columns[0], 1),
                        .tp = whole_at(r, c, columns[1], 1),
                        .attention_dp = whole_at(r, c, columns[2], 1),
                        .moe_tp = columns[3] >= 0 ? whole_at(r, c, columns[3], 1) : 1,
                        .moe_ep = whole_at(r, c, columns[4], 1)};
  if (out->workers < 1) out->workers = 1;
  if (out->tp < 1) out->tp = 1;
  if (out->attention_dp < 1) out->attention_dp = 1;
  if (out->moe_ep < 1) out->moe_ep = 1;
}

/* "dynamo-trt", "TensorRT-LLM", "SGLang": engines under other names. */
static const char *engine_of(const char *text) {
  static const char *const alias[][2] = {
      {"vllm", "vllm"}, {"sglang", "sglang"}, {"trt", "trtllm"}, {"tensorrt", "trtllm"}};
  char name[NAME_ROOM];
  lower(name, text, sizeof name);
  for (size_t i = 0; i < sizeof alias / sizeof *alias; i++)
    if (strstr(name, alias[i][0])) return alias[i][1];
  return text;
}

static void read_case(validate_cases *all, validate_case *c, const reader *r) {
  static const int whole[5] = {C_n_gpus, C_tp, C_attention_dp, C_moe_tp, C_moe_ep};
  static const int decode[5] = {C_decode_workers, C_decode_tp, C_decode_adp, -1, C_decode_moe_ep};
  static const int prefill[5] = {C_prefill_workers, C_prefill_tp, C_prefill_adp, -1, C_prefill_moe_ep};
  c->model_name = text_at(r, c, C_model);
  c->system = text_at(r, c, C_system);
  c->mode = text_at(r, c, C_mode);
  c->c = (fc_serve_case){.engine = engine_of(text_at(r, c, C_backend)),
                         .gemm = text_at(r, c, C_gemm_quant),
                         .experts = text_at(r, c, C_moe_quant),
                         .input_tokens = number_at(r, c, C_isl),
                         .output_tokens = number_at(r, c, C_osl),
                         .date = text_at(r, c, C_measured),
                         .concurrency = whole_at(r, c, C_concurrency, 0),
                         .disaggregated = strncmp(c->mode, "disagg", 6) == 0};
  if (!*c->c.gemm) c->c.gemm = "bf16";
  if (!*c->c.experts) c->c.experts = c->c.gemm;
  if (c->c.disaggregated) {
    read_side(&c->c.decode, r, c, decode);
    read_side(&c->c.prefill, r, c, prefill);
    c->devices = (double)(c->c.decode.workers * c->c.decode.tp * c->c.decode.attention_dp +
                          c->c.prefill.workers * c->c.prefill.tp * c->c.prefill.attention_dp);
  } else {
    read_side(&c->c.decode, r, c, whole);
    c->c.decode.pp = whole_at(r, c, C_pp, 1);
    if (c->c.decode.pp < 1) c->c.decode.pp = 1;
    double one = (double)(c->c.decode.tp * c->c.decode.attention_dp * c->c.decode.pp),
           all_devices = number_at(r, c, C_n_gpus);
    c->c.decode.workers = all_devices > one ? (int64_t)(all_devices / one) : 1;
    c->devices = one * (double)c->c.decode.workers;
  }
  c->ttft_s = 1e-3 * number_at(r, c, C_ttft_ms);
  c->tpot_s = 1e-3 * number_at(r, c, C_tpot_ms);
  find_inputs(all, c, r);
}

static validate_case *new_case(validate_cases *all) {
  if (all->n == all->room) {
    size_t room = all->room ? 2 * all->room : 256;
    validate_case *grown = realloc(all->item, room * sizeof *grown);
    if (!grown) return NULL;
    all->item = grown;
    all->room = room;
  }
  validate_case *c = &all->item[all->n];
  *c = (validate_case){.field = calloc(all->n_columns + 1, sizeof *c->field)};
  if (!c->field) return NULL;
  all->n++;
  return c;
}

static fc_status read_rows(validate_cases *all, fc_csv_reader *csv, reader *r) {
  all->n_columns = fc_csv_columns(csv);
  all->column = calloc(all->n_columns + 1, sizeof *all->column);
  if (!all->column) return FC_E_NOMEM;
  for (size_t i = 0; i < all->n_columns; i++)
    if (!(all->column[i] = strdup(fc_csv_column_name(csv, i)))) return FC_E_NOMEM;
  for (;;) {
    const fc_csv_field *row;
    fc_status status = fc_csv_next(csv, &row, &r->d);
    if (status || !row) return status;
    validate_case *c = new_case(all);
    if (!c) return FC_E_NOMEM;
    c->line = row[0].at.line;
    for (size_t i = 0; i < all->n_columns; i++)
      if (!(c->field[i] = strdup(row[i].text))) return FC_E_NOMEM;
    read_case(all, c, r);
  }
}

int validate_read(validate_cases *out, const char *path, const settings *s) {
  *out = (validate_cases){0};
  const char *from = strcmp(path, "-") == 0 ? "/dev/stdin" : path;
  char *bytes;
  size_t length;
  if (fc_file_read(&bytes, &length, from, FILE_MOST)) {
    (void)fprintf(stderr, "fleetcast: %s: %s\n", path, strerror(errno));
    return EXIT_IO;
  }
  data_dirs data = cli_data(path, s);
  reader r = {.path = path, .bytes = bytes, .data = &data};
  fc_diags_init(&r.d);
  fc_csv_reader *csv = NULL;
  fc_status status = fc_csv_open(&csv, path, bytes, length, &r.d);
  if (!status && !find_columns(&r, csv)) status = FC_E_INPUT;
  if (!status) status = read_rows(out, csv, &r);
  if (!status && out->n == 0) {
    (void)fc_diag_error(&r.d, path, ((fc_pos){1, 1}), "no cases");
    status = FC_E_INPUT;
  }
  cli_show_diags(&r.d, cli_colored(s->color));
  fc_csv_free(csv);
  free(bytes);
  cli_data_free(&data);
  if (status == FC_E_NOMEM) (void)fputs("fleetcast: out of memory\n", stderr);
  return !status ? EXIT_OK : status == FC_E_INPUT ? EXIT_INPUT : EXIT_FAILED;
}

void validate_free(validate_cases *all) {
  for (size_t i = 0; i < all->n; i++) {
    for (size_t j = 0; j < all->n_columns; j++) free(all->item[i].field[j]);
    free(all->item[i].field);
  }
  for (size_t i = 0; all->column && i < all->n_columns; i++) free(all->column[i]);
  for (size_t i = 0; i < all->n_inputs; i++) {
    fc_input_free(all->input[i].input);
    free(all->input[i].name);
  }
  free(all->column);
  free(all->item);
  free(all->input);
  fc_arena_fini(&all->moved);
  *all = (validate_cases){0};
}
