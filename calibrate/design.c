/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/design.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/csv.h>

/* --- shapes as rows --- */

const char *fc_design_column_text(fc_measure_number column) {
#define COLUMN_TEXT(name) #name,
  static const char *const text[FC_MEASURE_NUMBER_COUNT] = {FC_MEASURE_NUMBER_MAP(COLUMN_TEXT)};
#undef COLUMN_TEXT
  return text[column];
}

static fc_slice slice(const char *text) {
  return (fc_slice){text ? text : "", text ? strlen(text) : 0};
}

/* The `kernel` column. */
static const char *kernel_text(const fc_op *op, const fc_family *family) {
  switch (op->id) {
  case FC_OP_COPY: return "ceiling_copy";
  case FC_OP_READ: return "ceiling_read";
  case FC_OP_WRITE: return "ceiling_write";
  case FC_OP_EMPTY: return "ceiling_launch";
  case FC_OP_WGRAD: return op->groups > 1 ? "grouped_gemm_wgrad" : "gemm_wgrad";
  default: break;
  }
  bool by_operator = family->kernel == FC_KERNEL_MEMORY || family->kernel == FC_KERNEL_GATHER;
  return by_operator ? fc_op_text(op->id) : fc_kernel_text(family->kernel);
}

static void put(fc_measure_row *row, fc_measure_number column, double value) {
  row->number[column] = value > 0 ? value : (double)NAN;
}

static void put_product(fc_measure_row *row, const fc_op *op) {
  put(row, FC_MEASURE_m, op->m);
  put(row, FC_MEASURE_n, op->n);
  put(row, FC_MEASURE_k, op->k);
  bool grouped =
      op->id == FC_OP_GROUPED || op->id == FC_OP_GROUPED_MASKED || (op->id == FC_OP_WGRAD && op->groups > 1);
  if (!grouped) return;
  put(row, FC_MEASURE_experts, op->groups > 1 ? op->groups : 1);
  row->number[FC_MEASURE_skew] = 0;
  row->text[FC_MEASURE_routing] = slice(op->ragged ? "power" : "balanced");
}

static void put_attention(fc_measure_row *row, const fc_op *op) {
  put(row, FC_MEASURE_batch, op->batch > 0 ? op->batch : 1);
  put(row, FC_MEASURE_heads, op->heads);
  put(row, FC_MEASURE_q_len, op->q);
  put(row, FC_MEASURE_kv_len, op->s);
  put(row, FC_MEASURE_head_dim, op->dk);
  if (op->id == FC_OP_MLA_P || op->id == FC_OP_MLA_D || op->id == FC_OP_MLA_B) return;
  put(row, FC_MEASURE_kv_heads, op->kv_heads > 0 ? op->kv_heads : op->heads);
}

static void put_moe(fc_measure_row *row, const fc_op *op) {
  double ranks = op->ranks > 1 ? op->ranks : 1;
  put(row, FC_MEASURE_tokens, op->tokens);
  put(row, FC_MEASURE_hidden, op->n);
  put(row, FC_MEASURE_inter, op->k);
  put(row, FC_MEASURE_experts, op->experts * ranks);
  put(row, FC_MEASURE_topk, op->top_k);
  put(row, FC_MEASURE_ep, ranks);
  put(row, FC_MEASURE_tp, 1);
  row->number[FC_MEASURE_skew] = op->skew;
}

static double nodes_of(const fc_op *op) {
  return op->domain > 0 && op->ranks > op->domain ? ceil(op->ranks / op->domain) : 1;
}

static void put_experts(fc_measure_row *row, const fc_op *op) {
  put(row, FC_MEASURE_tokens, op->m);
  put(row, FC_MEASURE_hidden, op->n);
  put(row, FC_MEASURE_experts, op->experts);
  put(row, FC_MEASURE_topk, op->top_k);
  put(row, FC_MEASURE_gpus, op->ranks);
  put(row, FC_MEASURE_nodes, nodes_of(op));
}

/* Of a head: 64, as in DeepSeek-V3, or the largest power of two that divides the row. */
static double rotary_of(const fc_op *op) {
  double size = 64;
  while (size > 1 && fmod(op->n, size) > 0) size /= 2;
  return size;
}

static void put_rows(fc_measure_row *row, const fc_op *op) {
  put(row, FC_MEASURE_tokens, op->m);
  switch (op->id) {
  case FC_OP_PERMUTE:
  case FC_OP_PERMUTE_B:
  case FC_OP_COMBINE:
  case FC_OP_COMBINE_B:
    put(row, FC_MEASURE_tokens, op->k);
    put(row, FC_MEASURE_m, op->m);
    put(row, FC_MEASURE_hidden, op->n);
    put(row, FC_MEASURE_topk, op->top_k > 0 ? op->top_k : op->m / op->k);
    break;
  case FC_OP_TOPK:
  case FC_OP_TOPK_B:
    put(row, FC_MEASURE_experts, op->n);
    put(row, FC_MEASURE_topk, op->top_k);
    break;
  case FC_OP_SAMPLE:
  case FC_OP_CROSS_ENTROPY: put(row, FC_MEASURE_n, op->n); break;
  case FC_OP_ADAMW:
  case FC_OP_GRAD_NORM:
    put(row, FC_MEASURE_tokens, 0);
    put(row, FC_MEASURE_m, op->m);
    break;
  case FC_OP_ROPE_KV:
  case FC_OP_ROPE_B: /* the operator knows heads times their size only */
    put(row, FC_MEASURE_heads, op->n / rotary_of(op));
    put(row, FC_MEASURE_head_dim, rotary_of(op));
    put(row, FC_MEASURE_hidden, op->k - rotary_of(op));
    break;
  default: put(row, FC_MEASURE_hidden, op->n); break;
  }
}

static void put_collective(fc_measure_row *row, const fc_op *op) {
  put(row, FC_MEASURE_bytes, op->payload_bytes);
  put(row, FC_MEASURE_gpus, op->ranks);
  put(row, FC_MEASURE_nodes, nodes_of(op));
}

void fc_design_columns(fc_measure_row *out, const fc_op *op, const fc_family *family) {
  *out = (fc_measure_row){0};
  for (size_t i = 0; i < FC_MEASURE_NUMBER_COUNT; i++) out->number[i] = (double)NAN;
  for (size_t i = 0; i < FC_MEASURE_TEXT_COUNT; i++) out->text[i] = slice("");
  out->text[FC_MEASURE_kernel] = slice(kernel_text(op, family));
  out->text[FC_MEASURE_impl] = slice(family->impl);
  out->text[FC_MEASURE_dtype] = slice(family->format ? family->format->text : "");
  out->text[FC_MEASURE_kv_dtype] = slice(family->kv_format ? family->kv_format->text : "");
  switch (family->kernel) {
  case FC_KERNEL_GEMM:
  case FC_KERNEL_GEMM_WGRAD:
  case FC_KERNEL_GROUPED_GEMM:
  case FC_KERNEL_GROUPED_GEMM_MASKED: put_product(out, op); break;
  case FC_KERNEL_MLA_ABSORB_K:
  case FC_KERNEL_MLA_ABSORB_V:
    put(out, FC_MEASURE_heads, op->groups);
    put(out, FC_MEASURE_tokens, op->groups > 0 ? op->m / op->groups : op->m);
    put(out, FC_MEASURE_n, op->n);
    put(out, FC_MEASURE_k, op->k);
    break;
  case FC_KERNEL_MOE_FFN: put_moe(out, op); break;
  case FC_KERNEL_ATTENTION_PREFILL:
  case FC_KERNEL_ATTENTION_DECODE:
  case FC_KERNEL_ATTENTION_BACKWARD:
  case FC_KERNEL_MLA_PREFILL:
  case FC_KERNEL_MLA_DECODE:
  case FC_KERNEL_MLA_BACKWARD: put_attention(out, op); break;
  case FC_KERNEL_EP_DISPATCH:
  case FC_KERNEL_EP_COMBINE:
  case FC_KERNEL_EP_DISPATCH_LL:
  case FC_KERNEL_EP_COMBINE_LL: put_experts(out, op); break;
  case FC_KERNEL_MEMORY:
  case FC_KERNEL_GATHER:
    if (op->payload_bytes > 0 || op->id == FC_OP_EMPTY)
      put(out, FC_MEASURE_bytes, op->payload_bytes);
    else
      put_rows(out, op);
    break;
  default: put_collective(out, op); break;
  }
}

/* --- the grid --- */

enum { AXES_MAX = 12, VALUES_MAX = 24 };

typedef struct {
  fc_measure_number column;
  size_t n;
  double value[VALUES_MAX];
} grid_axis;

typedef struct {
  size_t n;
  grid_axis axis[AXES_MAX];
  bool square; /* queries are the whole context in every point */
} grid;

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Distinct values in order, thinned evenly to what an axis holds; both ends stay. */
static void keep_values(grid_axis *axis, double *value, size_t n) {
  size_t distinct = 0;
  qsort(value, n, sizeof *value, by_value);
  for (size_t i = 0; i < n; i++)
    if (distinct == 0 || value[i] > value[distinct - 1]) value[distinct++] = value[i];
  axis->n = distinct < VALUES_MAX ? distinct : VALUES_MAX;
  for (size_t i = 0; i < axis->n; i++)
    axis->value[i] = value[axis->n > 1 ? i * (distinct - 1) / (axis->n - 1) : 0];
}

/* Of `n` rows of one operator; `value` has room for n numbers. */
static void make_grid(grid *out, const fc_measure_row *row, size_t n, double *value) {
  *out = (grid){.square = true};
  for (size_t i = 0; i < n; i++) {
    const double *number = row[i].number;
    if (!(number[FC_MEASURE_q_len] == number[FC_MEASURE_kv_len])) out->square = false;
  }
  for (int c = 0; c < (int)FC_MEASURE_NUMBER_COUNT && out->n < AXES_MAX; c++) {
    grid_axis *axis = &out->axis[out->n];
    size_t filled = 0;
    for (size_t i = 0; i < n; i++)
      if (!isnan(row[i].number[c])) value[filled++] = row[i].number[c];
    if (filled < n || (out->square && c == FC_MEASURE_kv_len)) continue;
    axis->column = (fc_measure_number)c;
    keep_values(axis, value, filled);
    if (axis->n > 1) out->n++;
  }
}

static bool missing_or(bool good, double a, double b) {
  return isnan(a) || isnan(b) || good;
}

static bool is_valid(const double *x) {
  double q = x[FC_MEASURE_q_len], kv = x[FC_MEASURE_kv_len], heads = x[FC_MEASURE_heads];
  double groups = x[FC_MEASURE_kv_heads], experts = x[FC_MEASURE_experts], topk = x[FC_MEASURE_topk];
  double ep = x[FC_MEASURE_ep], gpus = x[FC_MEASURE_gpus], nodes = x[FC_MEASURE_nodes];
  double m = x[FC_MEASURE_m], tokens = x[FC_MEASURE_tokens];
  return missing_or(kv >= q, q, kv) && missing_or(fmod(heads, groups) == 0, heads, groups) &&
         missing_or(topk <= experts, topk, experts) && missing_or(fmod(experts, ep) == 0, experts, ep) &&
         missing_or(m >= experts, m, experts) && missing_or(gpus >= nodes, gpus, nodes) &&
         (isnan(topk) || missing_or(m <= tokens * topk, m, tokens));
}

/* A number in [0, 1) for draw `i` of stream `j`: an additive recurrence with square roots of primes, which
 * covers evenly.  @source Niederreiter 1992, section 3.5 (Kronecker sequences) */
static double even(size_t i, size_t j) {
  static const double root[] = {1.4142135623730951, 1.7320508075688772, 2.2360679774997898,
                                2.6457513110645907, 3.3166247903553998};
  double whole;
  return modf(0.5 + (double)(i + 1) * root[j], &whole);
}

/* Candidate i: a measured shape with other values in one or two columns. */
static bool candidate_row(fc_measure_row *out, const grid *g, const fc_measure_row *row, size_t n, size_t i) {
  *out = row[(size_t)(even(i, 0) * (double)n)];
  for (size_t j = 0; j < 2; j++) {
    const grid_axis *axis = &g->axis[(size_t)(even(i, 1 + j) * (double)g->n)];
    out->number[axis->column] = axis->value[(size_t)(even(i, 3 + j) * (double)axis->n)];
  }
  if (g->square) out->number[FC_MEASURE_kv_len] = out->number[FC_MEASURE_q_len];
  return is_valid(out->number);
}

/* --- candidates of a family --- */

typedef struct {
  fc_proposal proposal;
  double width; /* what measuring it could take away */
  float x[FC_LOCAL_COORDINATES];
  uint64_t key;
} candidate;

typedef struct {
  const fc_table *table;
  const fc_family *family;
  const fc_kernel_fit *fit;
  const fc_device *device;
  fc_predictor predictor;
  double longest_s, repeat_width;
  size_t n_coordinates;
  double length[FC_LOCAL_COORDINATES]; /* 0: does not count */
  size_t n;
  candidate *item; /* [FC_DESIGN_CANDIDATES] */
  uint64_t *known; /* [family->n] keys of what is measured */
  size_t looked_at;
} search;

/* FNV-1a over a row's shape: equal shapes have equal keys. */
static uint64_t row_key(const fc_measure_row *row, fc_op_id id) {
  uint64_t key = 14695981039346656037U ^ (uint64_t)id;
  for (size_t c = 0; c < FC_MEASURE_latency_us; c++) {
    double value = isnan(row->number[c]) ? -1 : row->number[c];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int byte = 0; byte < 8; byte++) key = (key ^ (bits >> (8 * byte) & 0xFF)) * 1099511628211U;
  }
  return key;
}

/* How far two shapes may lie apart and still say something about each other. */
static void set_lengths(search *s) {
  const fc_local *local = s->fit->local;
  s->n_coordinates = fc_local_n_coordinates((int)s->family->kernel);
  if (local && local->n > 0) {
    for (size_t j = 0; j < local->n_coordinates; j++) s->length[local->of[j]] = (double)local->length[j];
    return;
  }
  float least[FC_LOCAL_COORDINATES] = {0}, most[FC_LOCAL_COORDINATES] = {0}, x[FC_LOCAL_COORDINATES] = {0};
  for (size_t i = 0; i < s->family->n; i++) {
    (void)fc_local_coordinates(x, &s->table->point[s->family->first + i].op, s->predictor.units, s->fit);
    for (size_t j = 0; j < s->n_coordinates; j++) {
      least[j] = i && least[j] < x[j] ? least[j] : x[j];
      most[j] = i && most[j] > x[j] ? most[j] : x[j];
    }
  }
  for (size_t j = 0; j < s->n_coordinates; j++) s->length[j] = 0.5 * ((double)most[j] - (double)least[j]);
}

/* Correlation of two shapes' residuals: Matern 3/2. */
static double correlation(const search *s, const candidate *a, const candidate *b) {
  double square = 0;
  for (size_t j = 0; j < s->n_coordinates; j++) {
    if (!(s->length[j] > 0)) continue;
    double d = ((double)a->x[j] - (double)b->x[j]) / s->length[j];
    square += d * d;
  }
  double r = sqrt(3 * square);
  return (1 + r) * exp(-r);
}

static bool is_known(const search *s, uint64_t key) {
  for (size_t i = 0; i < s->family->n; i++)
    if (s->known[i] == key) return true;
  for (size_t i = 0; i < s->n; i++)
    if (s->item[i].key == key) return true;
  return false;
}

static void consider(search *s, const fc_measure_row *row, fc_op_id id) {
  candidate c = {.key = row_key(row, id)};
  fc_call call;
  fc_prediction *now = &c.proposal.now;
  s->looked_at++;
  if (is_known(s, c.key) || !fc_measure_shape(&call, row, s->device, NULL) || call.op.id != id) return;
  if (fc_op_bytes(&call.op) > 0.5 * s->device->memory_bytes) return;
  if (fc_predict(now, &s->predictor, &call.op) || !(now->seconds <= s->longest_s) || !(now->low_s > 0))
    return;
  double width = log(now->high_s / now->low_s);
  c.width = sqrt(fmax(0, width * width - s->repeat_width * s->repeat_width));
  c.proposal.family = (size_t)(s->family - s->table->family);
  c.proposal.op = call.op;
  (void)fc_local_coordinates(c.x, &call.op, s->predictor.units, s->fit);
  s->item[s->n++] = c;
}

/* Candidates of one operator of the family, whose `n` rows are given. */
static void consider_grid(search *s, const fc_measure_row *row, size_t n, double *value, fc_op_id id,
                          size_t most) {
  grid g;
  fc_measure_row tried;
  make_grid(&g, row, n, value);
  for (size_t i = 0; i < most && g.n > 0 && s->n < FC_DESIGN_CANDIDATES; i++)
    if (candidate_row(&tried, &g, row, n, i)) consider(s, &tried, id);
}

/* Rows of a family's points that come back as the same operator: what their columns do not tell cannot be
 * varied. */
static bool describe(fc_measure_row *out, const search *s, const fc_op *op) {
  fc_call back;
  fc_design_columns(out, op, s->family);
  if (!fc_measure_shape(&back, out, s->device, NULL) || back.op.id != op->id) return false;
  double flop = fc_op_flop(op), bytes = fc_op_bytes(op);
  return fabs(fc_op_flop(&back.op) - flop) <= 0.01 * flop &&
         fabs(fc_op_bytes(&back.op) - bytes) <= 0.01 * bytes;
}

static fc_status fill_candidates(search *s) {
  const fc_point *point = s->table->point + s->family->first;
  size_t n = s->family->n, kinds = 0;
  fc_measure_row *row = malloc(n * sizeof *row);
  double *value = malloc(n * sizeof *value);
  bool seen[FC_OP_COUNT][2] = {{false}};
  for (size_t i = 0; i < n; i++)
    if (!seen[point[i].op.id][point[i].op.ragged]) seen[point[i].op.id][point[i].op.ragged] = true, kinds++;
  memset(seen, 0, sizeof seen);
  for (size_t i = 0; i < n && row && value; i++) {
    fc_op_id id = point[i].op.id;
    bool ragged = point[i].op.ragged;
    if (seen[id][ragged]) continue;
    seen[id][ragged] = true;
    size_t rows = 0;
    for (size_t j = i; j < n; j++) {
      if (point[j].op.id != id || point[j].op.ragged != ragged) continue;
      bool told = describe(&row[rows], s, &point[j].op);
      s->known[j] = row_key(&row[rows], id);
      rows += told;
    }
    if (rows > 1) consider_grid(s, row, rows, value, id, FC_DESIGN_CANDIDATES / (kinds ? kinds : 1));
  }
  fc_status status = row && value ? FC_OK : FC_E_NOMEM;
  free(row);
  free(value);
  return status;
}

/* --- choice --- */

/* The `most` best of a family, each seen after those before it; returns how many. */
static size_t choose(fc_proposal *out, const search *s, size_t most) {
  size_t n = 0;
  for (; n < most; n++) {
    candidate *best = NULL;
    for (size_t i = 0; i < s->n; i++)
      if (!best || s->item[i].width > best->width) best = &s->item[i];
    if (!best || !(best->width > 0)) break;
    best->proposal.worth = best->width;
    out[n] = best->proposal;
    for (size_t i = 0; i < s->n; i++) {
      double r = &s->item[i] == best ? 1 : correlation(s, best, &s->item[i]);
      s->item[i].width *= sqrt(fmax(0, 1 - r * r));
    }
  }
  return n;
}

static fc_status search_family(fc_proposal *out, size_t *n, size_t *looked_at, search *s, size_t most) {
  const fc_point *point = s->table->point + s->family->first;
  s->known = calloc(s->family->n ? s->family->n : 1, sizeof *s->known);
  fc_status status = s->known ? FC_OK : FC_E_NOMEM;
  for (size_t i = 0; i < s->family->n; i++) s->longest_s = fmax(s->longest_s, 2 * point[i].seconds);
  fc_predictor_init(&s->predictor, s->fit, s->device);
  set_lengths(s);
  if (!status) status = fill_candidates(s);
  if (!status) *n += choose(out, s, most);
  *looked_at += s->looked_at;
  free(s->known);
  return status;
}

/* Most worth first; equals by family and place, so that the order is one. */
static void sort_proposals(fc_proposal *item, size_t n) {
  for (size_t i = 1; i < n; i++) {
    fc_proposal p = item[i];
    size_t j = i;
    for (; j > 0 && item[j - 1].worth < p.worth; j--) item[j] = item[j - 1];
    item[j] = p;
  }
}

fc_status fc_design_propose(fc_design *out, const fc_table *table, const fc_fit_result *fit,
                            const fc_device *device, size_t points) {
  if (!points) points = FC_DESIGN_POINTS;
  size_t each = points / 4 > 3 ? points / 4 : 3;
  *out = (fc_design){0};
  out->item = calloc(table->n_families * each + 1, sizeof *out->item);
  candidate *room = malloc(FC_DESIGN_CANDIDATES * sizeof *room);
  fc_status status = out->item && room ? FC_OK : FC_E_NOMEM;
  for (size_t i = 0; i < table->n_families && !status; i++) {
    search s = {
        .table = table, .family = &table->family[i], .fit = &fit->fit[i], .device = device, .item = room};
    s.repeat_width = 2 * FC_Z90 * fit->report[i].noise;
    status = search_family(out->item + out->n, &out->n, &out->candidates, &s, each);
  }
  free(room);
  if (status) {
    fc_design_fini(out);
    return status;
  }
  sort_proposals(out->item, out->n);
  if (out->n > points) out->n = points;
  return FC_OK;
}

void fc_design_fini(fc_design *design) {
  free(design->item);
  *design = (fc_design){0};
}

/* --- as a file --- */

static void write_slice(fc_file *file, fc_slice text) {
  char copy[256];
  size_t n = text.length < sizeof copy - 1 ? text.length : sizeof copy - 1;
  memcpy(copy, text.text, n);
  copy[n] = '\0';
  fc_csv_write_text(file, copy);
}

void fc_design_write(fc_file *file, const fc_design *design, const fc_table *table) {
  static const fc_measure_text texts[] = {FC_MEASURE_kernel, FC_MEASURE_impl, FC_MEASURE_dtype,
                                          FC_MEASURE_kv_dtype};
  static const char *const text_names[] = {"kernel", "impl", "dtype", "kv_dtype"};
  for (size_t i = 0; i < 4; i++) fc_csv_write_text(file, text_names[i]);
  for (int c = 0; c < (int)FC_MEASURE_latency_us; c++)
    fc_csv_write_text(file, fc_design_column_text((fc_measure_number)c));
  static const char *const last[] = {"routing", "predicted_us", "low_us", "high_us"};
  for (size_t i = 0; i < 4; i++) fc_csv_write_text(file, last[i]);
  fc_csv_end_row(file);
  for (size_t i = 0; i < design->n; i++) {
    const fc_proposal *p = &design->item[i];
    fc_measure_row row;
    fc_design_columns(&row, &p->op, &table->family[p->family]);
    for (size_t t = 0; t < 4; t++) write_slice(file, row.text[texts[t]]);
    for (int c = 0; c < (int)FC_MEASURE_latency_us; c++)
      if (isnan(row.number[c]))
        fc_csv_write_text(file, "");
      else
        fc_csv_write_number(file, row.number[c]);
    write_slice(file, row.text[FC_MEASURE_routing]);
    fc_csv_write_number(file, 1e6 * p->now.seconds);
    fc_csv_write_number(file, 1e6 * p->now.low_s);
    fc_csv_write_number(file, 1e6 * p->now.high_s);
    fc_csv_end_row(file);
  }
}
