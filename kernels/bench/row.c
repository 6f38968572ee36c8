/* SPDX-License-Identifier: Apache-2.0 */
#include "row.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/base/file.h>

const char *fc_column_text(fc_column column) {
#define FC_COLUMN_TEXT(name) #name,
  static const char *const text[FC_COLUMN_COUNT] = {FC_COLUMN_MAP(FC_COLUMN_TEXT)};
#undef FC_COLUMN_TEXT
  return text[column];
}

bool fc_row_set(fc_row *row, fc_column column, const char *format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  free(row->field[column]);
  row->field[column] = NULL;
  if (!*text) return true;
  size_t size = strlen(text) + 1;
  row->field[column] = malloc(size);
  if (row->field[column]) memcpy(row->field[column], text, size);
  return row->field[column] != NULL;
}

double fc_row_number(const fc_row *row, fc_column column) {
  return row->field[column] ? strtod(row->field[column], NULL) : (double)NAN;
}

void fc_row_fini(fc_row *row) {
  for (int i = 0; i < FC_COLUMN_COUNT; i++) free(row->field[i]);
  *row = (fc_row){0};
}

/* --- description --- */

static bool set_int(fc_row *row, fc_column column, int64_t value) {
  return value > 0 ? fc_row_set(row, column, "%lld", (long long)value) : true;
}

static bool set_number(fc_row *row, fc_column column, double value) {
  char text[FC_CSV_NUMBER_TEXT];
  fc_csv_number_format(text, value);
  return fc_row_set(row, column, "%s", text);
}

/* Microseconds to a tenth of a nanosecond: finer is noise. */
static bool set_us(fc_row *row, fc_column column, double us) {
  return fc_row_set(row, column, "%.4f", us);
}

/* Block-scaled 8-bit products have a name of their own in the
 * format; without the quantiser, which some sources count in. */
static const char *format_of(const fc_bench_case *c) {
  bool product = c->op == FC_BENCH_GEMM || c->op == FC_BENCH_GEMM_WGRAD || c->op == FC_BENCH_GROUPED ||
                 c->op == FC_BENCH_GROUPED_MASKED || c->op == FC_BENCH_GROUPED_WGRAD;
  return product && c->dtype == FC_DTYPE_FP8 ? "fp8_block" : fc_dtype_text(c->dtype);
}

static bool describe_routing(fc_row *row, const fc_bench_case *c) {
  static const char *const text[] = {"balanced", "power", "captured"};
  bool ok = set_int(row, FC_COLUMN_experts, c->groups) &&
            fc_row_set(row, FC_COLUMN_routing, "%s", text[c->routing]);
  /* a captured load has no exponent */
  return ok && (c->routing == FC_ROUTING_CAPTURED || set_number(row, FC_COLUMN_skew, c->skew));
}

static bool describe_products(fc_row *row, const fc_bench_case *c) {
  return set_int(row, FC_COLUMN_m, c->m) && set_int(row, FC_COLUMN_n, c->n) &&
         set_int(row, FC_COLUMN_k, c->k) && (c->groups == 0 || describe_routing(row, c));
}

static bool describe_attention(fc_row *row, const fc_bench_case *c) {
  bool ok = fc_row_set(row, FC_COLUMN_kv_dtype, "%s", fc_dtype_text(c->kv_dtype)) &&
            set_int(row, FC_COLUMN_batch, c->batch) && set_int(row, FC_COLUMN_heads, c->heads) &&
            set_int(row, FC_COLUMN_q_len, c->q) && set_int(row, FC_COLUMN_kv_len, c->s);
  bool mla = c->op == FC_BENCH_MLA_PREFILL || c->op == FC_BENCH_MLA_DECODE || c->op == FC_BENCH_MLA_BACKWARD;
  if (ok && !mla) ok = set_int(row, FC_COLUMN_kv_heads, c->kv_heads);
  if (ok) ok = set_int(row, FC_COLUMN_head_dim, c->dk); /* of MLA too: a CPU measures an eighth of it */
  return ok && (!c->ragged || fc_row_set(row, FC_COLUMN_routing, "ragged"));
}

static bool describe_shape(fc_row *row, const fc_bench_case *c) {
  switch (c->op) {
  case FC_BENCH_GEMM:
  case FC_BENCH_GEMM_WGRAD:
  case FC_BENCH_GROUPED:
  case FC_BENCH_GROUPED_MASKED:
  case FC_BENCH_GROUPED_WGRAD: return describe_products(row, c);
  case FC_BENCH_ABSORB_K:
  case FC_BENCH_ABSORB_V:
    return set_int(row, FC_COLUMN_tokens, c->batch * c->q) && set_int(row, FC_COLUMN_heads, c->heads) &&
           set_int(row, FC_COLUMN_n, c->n) && set_int(row, FC_COLUMN_k, c->k);
  case FC_BENCH_ATTENTION_PREFILL:
  case FC_BENCH_ATTENTION_DECODE:
  case FC_BENCH_ATTENTION_BACKWARD:
  case FC_BENCH_MLA_PREFILL:
  case FC_BENCH_MLA_DECODE:
  case FC_BENCH_MLA_BACKWARD: return describe_attention(row, c);
  case FC_BENCH_PERMUTE:
  case FC_BENCH_PERMUTE_B:
  case FC_BENCH_COMBINE:
  case FC_BENCH_COMBINE_B:
    return set_int(row, FC_COLUMN_tokens, c->k) && set_int(row, FC_COLUMN_hidden, c->n) &&
           set_int(row, FC_COLUMN_m, c->m) && set_int(row, FC_COLUMN_topk, c->top_k) &&
           describe_routing(row, c);
  case FC_BENCH_TOPK:
  case FC_BENCH_TOPK_B:
    return set_int(row, FC_COLUMN_tokens, c->m) && set_int(row, FC_COLUMN_experts, c->n) &&
           set_int(row, FC_COLUMN_topk, c->top_k);
  case FC_BENCH_ROPE_KV:
  case FC_BENCH_ROPE_B:
    return set_int(row, FC_COLUMN_tokens, c->m) && set_int(row, FC_COLUMN_heads, c->heads) &&
           set_int(row, FC_COLUMN_head_dim, c->dk) && set_int(row, FC_COLUMN_hidden, c->dv);
  case FC_BENCH_SAMPLE:
  case FC_BENCH_CROSS_ENTROPY: return set_int(row, FC_COLUMN_tokens, c->m) && set_int(row, FC_COLUMN_n, c->n);
  case FC_BENCH_ADAMW:
  case FC_BENCH_GRAD_NORM: return set_int(row, FC_COLUMN_m, c->m);
  case FC_BENCH_COPY:
  case FC_BENCH_READ:
  case FC_BENCH_WRITE: return set_int(row, FC_COLUMN_bytes, 4 * c->m);
  case FC_BENCH_LAUNCH: return true;
  default: /* rows; of a table of k where there is one */
    return set_int(row, FC_COLUMN_tokens, c->m) && set_int(row, FC_COLUMN_hidden, c->n) &&
           set_int(row, FC_COLUMN_k, c->k);
  }
}

bool fc_row_describe(fc_row *row, const fc_problem *p, const char *kernel, const char *impl,
                     const fc_machine *machine) {
  const fc_bench_case *c = &p->c;
  fc_op op;
  fc_problem_cost(p, &op);
  return fc_row_set(row, FC_COLUMN_kernel, "%s", kernel ? kernel : fc_bench_op_text(c->op)) &&
         fc_row_set(row, FC_COLUMN_impl, "%s", impl) &&
         fc_row_set(row, FC_COLUMN_dtype, "%s", format_of(c)) && describe_shape(row, c) &&
         set_number(row, FC_COLUMN_flop, fc_op_flop(&op)) &&
         set_number(row, FC_COLUMN_bytes_moved, fc_op_bytes(&op)) &&
         fc_row_set(row, FC_COLUMN_gpu, "%s", machine->gpu) &&
         fc_row_set(row, FC_COLUMN_driver, "%s", machine->driver) &&
         fc_row_set(row, FC_COLUMN_library, "%s", machine->library) &&
         fc_row_set(row, FC_COLUMN_regime, "%s", c->sustained ? "sustained" : "burst") &&
         fc_row_set(row, FC_COLUMN_site, "%s", c->site ? c->site : "");
}

bool fc_row_result(fc_row *row, const fc_timing *t, const char *cache) {
  return set_us(row, FC_COLUMN_latency_us, t->median_us) && set_us(row, FC_COLUMN_iqr_us, t->iqr_us) &&
         set_us(row, FC_COLUMN_min_us, t->min_us) && set_us(row, FC_COLUMN_p90_us, t->p90_us) &&
         fc_row_set(row, FC_COLUMN_samples, "%zu", t->samples) &&
         fc_row_set(row, FC_COLUMN_dropped, "%zu", t->dropped) &&
         (!(t->clock_mhz > 0) || fc_row_set(row, FC_COLUMN_clock_mhz, "%.0f", t->clock_mhz)) &&
         fc_row_set(row, FC_COLUMN_cache, "%s", t->went_round ? cache : "hot") &&
         fc_row_set(row, FC_COLUMN_status, "%s", t->timed_out ? "timeout" : "ok");
}

/* --- text --- */

static bool needs_quotes(const char *text) {
  return strpbrk(text, ",\"\r\n") != NULL;
}

static void put(char *out, size_t *n, char c) {
  if (out) out[*n] = c;
  ++*n;
}

/* Two passes: the length, then the text. */
static size_t put_field(char *out, const char *text) {
  if (!text) return 0;
  bool quotes = needs_quotes(text);
  size_t n = 0;
  if (quotes) put(out, &n, '"');
  for (const char *p = text; *p; p++) {
    if (*p == '"') put(out, &n, '"');
    put(out, &n, *p);
  }
  if (quotes) put(out, &n, '"');
  return n;
}

static char *joined(const char *const field[FC_COLUMN_COUNT], bool key) {
  char *out = NULL;
  for (int pass = 0; pass < 2; pass++) {
    size_t n = 0;
    for (int i = 0; i < FC_COLUMN_COUNT; i++) {
      bool names =
          i <= FC_COLUMN_nodes || i == FC_COLUMN_regime || (i >= FC_COLUMN_site && i <= FC_COLUMN_routing);
      if (key && !names) continue;
      if (i > 0) put(out, &n, ',');
      n += put_field(out ? out + n : NULL, field[i]);
    }
    if (out && !key) out[n] = '\n';
    if (!out) out = calloc(1, n + 2);
    if (!out) return NULL;
  }
  return out;
}

char *fc_row_key(const fc_row *row) {
  return joined((const char *const *)row->field, true);
}

char *fc_row_line(const fc_row *row) {
  return joined((const char *const *)row->field, false);
}

char *fc_row_header(void) {
  const char *name[FC_COLUMN_COUNT];
  for (int i = 0; i < FC_COLUMN_COUNT; i++) name[i] = fc_column_text((fc_column)i);
  return joined(name, false);
}

/* --- lists --- */

fc_status fc_rows_add(fc_rows *rows, fc_row *row) {
  if (rows->n == rows->capacity) {
    size_t capacity = rows->capacity ? 2 * rows->capacity : 128;
    fc_row *item = realloc(rows->item, capacity * sizeof *item);
    if (!item) {
      fc_row_fini(row);
      return FC_E_NOMEM;
    }
    rows->item = item;
    rows->capacity = capacity;
  }
  rows->item[rows->n++] = *row;
  *row = (fc_row){0};
  return FC_OK;
}

void fc_rows_fini(fc_rows *rows) {
  for (size_t i = 0; i < rows->n; i++) fc_row_fini(&rows->item[i]);
  free(rows->item);
  *rows = (fc_rows){0};
}

size_t fc_rows_count(const fc_rows *rows, const char *status) {
  size_t n = 0;
  for (size_t i = 0; i < rows->n; i++) {
    const char *is = rows->item[i].field[FC_COLUMN_status];
    n += is && strncmp(is, status, strlen(status)) == 0;
  }
  return n;
}

/* Insertion sort: nearly sorted, some hundreds, and stable. */
void fc_rows_sort(fc_rows *rows) {
  for (size_t i = 1; i < rows->n; i++) {
    fc_row row = rows->item[i];
    size_t j = i;
    for (; j > 0 && rows->item[j - 1].order > row.order; j--) rows->item[j] = rows->item[j - 1];
    rows->item[j] = row;
  }
}

/* --- an earlier run --- */

static fc_status take_row(fc_rows *out, const fc_csv_field *field) {
  fc_row row = {0};
  bool ok = true;
  for (int i = 0; i < FC_COLUMN_COUNT; i++)
    if (field[i].length > 0) ok = fc_row_set(&row, (fc_column)i, "%s", field[i].text) && ok;
  if (ok) return fc_rows_add(out, &row);
  fc_row_fini(&row);
  return FC_E_NOMEM;
}

static fc_status read_rows(fc_rows *out, fc_csv_reader *reader, const char *path, fc_diags *d) {
  bool same = fc_csv_columns(reader) == FC_COLUMN_COUNT;
  for (size_t i = 0; same && i < FC_COLUMN_COUNT; i++)
    same = strcmp(fc_csv_column_name(reader, i), fc_column_text((fc_column)i)) == 0;
  if (!same) return fc_diag_error(d, path, ((fc_pos){1, 1}), "not the columns that this version measures");
  const fc_csv_field *field;
  for (;;) {
    fc_status status = fc_csv_next(reader, &field, d);
    if (status || !field) return status;
    status = take_row(out, field);
    if (status) return status;
  }
}

fc_status fc_rows_read(fc_rows *out, const char *path, fc_diags *d) {
  enum { LARGEST = 64 << 20 };
  char *bytes;
  size_t length;
  *out = (fc_rows){0};
  fc_status status = fc_file_read(&bytes, &length, path, LARGEST);
  if (status) return status;
  while (length > 0 && bytes[length - 1] != '\n') length--; /* a line cut off by a kill */
  fc_csv_reader *reader = NULL;
  status = fc_csv_open(&reader, path, bytes, length, d);
  if (!status) status = read_rows(out, reader, path, d);
  fc_csv_free(reader);
  free(bytes);
  if (status) fc_rows_fini(out);
  return status;
}
