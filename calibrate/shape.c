/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/shape.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "measure.h"

const char *fc_role_text(int role) {
#define ROLE_TEXT(name) #name,
  static const char *const text[FC_ROLE_COUNT] = {FC_MEASURE_TEXT_MAP(ROLE_TEXT)
                                                      FC_MEASURE_NUMBER_MAP(ROLE_TEXT)};
#undef ROLE_TEXT
  return text[role];
}

/* --- reading columns; the first fault is kept --- */

typedef struct {
  const fc_measure_row *row;
  const fc_device *device;
  const fc_measured *measured;
  fc_fault *fault;
  bool bad;
} reading;

#define LARGEST 1e15

static void complain(reading *in, fc_measure_number column, double value) {
  if (in->bad) return;
  in->bad = true;
  in->fault->role = FC_ROLE_NUMBER(column);
  const char *name = fc_role_text(in->fault->role);
  if (isnan(value))
    (void)snprintf(in->fault->why, FC_SHAPE_WHY, "column '%s' is empty", name);
  else if (value > 0)
    (void)snprintf(in->fault->why, FC_SHAPE_WHY, "column '%s': %g is too large", name, value);
  else
    (void)snprintf(in->fault->why, FC_SHAPE_WHY, "column '%s': %g is not positive", name, value);
}

static bool has(const reading *in, fc_measure_number column) {
  return !isnan(in->row->number[column]);
}

/* A positive number; 1 in place of a bad one, so that what follows stays finite. */
static double want(reading *in, fc_measure_number column) {
  double value = in->row->number[column];
  if (value > 0 && value <= LARGEST) return value;
  complain(in, column, value);
  return 1;
}

static double want_or(reading *in, fc_measure_number column, double otherwise) {
  return has(in, column) ? want(in, column) : otherwise;
}

/* 0 or more; empty counts as 0. */
static double exponent(reading *in) {
  double skew = in->row->number[FC_MEASURE_skew];
  if (isnan(skew)) return 0;
  if (!(skew >= 0 && skew <= 10)) complain(in, FC_MEASURE_skew, skew);
  return skew;
}

static bool is_text(const fc_slice *slice, const char *text) {
  size_t length = strlen(text);
  return slice->length == length && memcmp(slice->text, text, length) == 0;
}

/* --- operators; letters as in cost/operator.h --- */

static void gemm(fc_op *op, reading *in) {
  op->m = want(in, FC_MEASURE_m);
  op->n = want(in, FC_MEASURE_n);
  op->k = want(in, FC_MEASURE_k);
}

static void grouped(fc_op *op, reading *in) {
  gemm(op, in);
  op->groups = want(in, FC_MEASURE_experts);
  const fc_slice *routing = &in->row->text[FC_MEASURE_routing];
  op->ragged = exponent(in) > 0 || is_text(routing, "power") || is_text(routing, "captured");
}

/* DeepSeek-V3's sizes, unless the row has its own: 128 to the 512 of the latent, and back. */
static void absorb(fc_op *op, reading *in) {
  bool k = op->id == FC_OP_ABSORB_K;
  op->groups = want(in, FC_MEASURE_heads);
  op->m = want(in, FC_MEASURE_tokens) * op->groups;
  op->n = want_or(in, FC_MEASURE_n, k ? 512 : 128);
  op->k = want_or(in, FC_MEASURE_k, k ? 128 : 512);
}

static void moe(fc_op *op, reading *in) {
  double tokens = want(in, FC_MEASURE_tokens), topk = want(in, FC_MEASURE_topk);
  double experts = want(in, FC_MEASURE_experts), ep = want_or(in, FC_MEASURE_ep, 1);
  op->n = want(in, FC_MEASURE_hidden);
  op->k = want(in, FC_MEASURE_inter) / want_or(in, FC_MEASURE_tp, 1);
  op->tokens = tokens;
  op->top_k = topk;
  op->ranks = ep;
  op->experts = fmax(experts / ep, 1);
  op->skew = exponent(in);
  op->ragged = op->skew > 0;
  if (in->bad) return;
  fc_moe_busiest(&op->m, &op->groups, tokens, topk, experts, ep, op->skew);
  op->imbalance = op->m * ep / (tokens * topk);
}

static double kv_element_bytes(const reading *in) {
  const fc_format *kv = in->measured->kv_format;
  return kv ? kv->activation_bytes : 2;
}

static void attention(fc_op *op, reading *in) {
  bool decode = op->id == FC_OP_ATTENTION_D || op->id == FC_OP_MLA_D;
  op->batch = want_or(in, FC_MEASURE_batch, 1);
  op->heads = want(in, FC_MEASURE_heads);
  op->q = decode ? want_or(in, FC_MEASURE_q_len, 1) : want(in, FC_MEASURE_q_len);
  op->s = want(in, FC_MEASURE_kv_len);
  if (op->s >= op->q || in->bad) return;
  in->bad = true;
  in->fault->role = FC_ROLE_NUMBER(FC_MEASURE_kv_len);
  (void)snprintf(in->fault->why, FC_SHAPE_WHY, "column 'kv_len': %g is less than q_len, which it includes",
                 op->s);
}

/* Multi-head latent attention: 128 + 64 key and 128 value elements a head, or absorbed, on the latent of 512
 * + 64; all in proportion where the row tells another size of keys. */
static void mla(fc_op *op, reading *in) {
  attention(op, in);
  bool absorbed = op->id == FC_OP_MLA_D;
  op->kv_heads = absorbed ? 1 : op->heads;
  double size = in->row->number[FC_MEASURE_head_dim];
  op->dk = size > 0 ? size : absorbed ? 576 : 192;
  op->dv = absorbed ? op->dk * 512 / 576 : op->dk * 128 / 192;
  if (absorbed) op->cache_bytes = op->dk * kv_element_bytes(in);
}

static void grouped_query(fc_op *op, reading *in) {
  attention(op, in);
  op->kv_heads = want(in, FC_MEASURE_kv_heads);
  op->dk = op->dv = want(in, FC_MEASURE_head_dim);
  op->cache_bytes = 2 * op->kv_heads * op->dk * kv_element_bytes(in);
}

static double scaleup(const reading *in) {
  return in->device && in->device->scaleup_devices > 1 ? (double)in->device->scaleup_devices : 1;
}

/* `bytes` is nccl-tests' size: of all-gather the gathered buffer, of reduce-scatter the one before
 * scattering, of all-to-all what a rank holds; so it is Z as it stands.  Checked on the H100 table: 512 MiB
 * over 8 ranks take 1.40 ms, which is 335 GB/s a direction of 450 if 7/8 of it cross the links, and 2.7 TB/s
 * if each rank sent it seven times. */
static void collective(fc_op *op, reading *in) {
  op->payload_bytes = want(in, FC_MEASURE_bytes);
  op->ranks = op->id == FC_OP_SEND_RECV ? want_or(in, FC_MEASURE_gpus, 2) : want(in, FC_MEASURE_gpus);
  double nodes = want_or(in, FC_MEASURE_nodes, 1);
  op->domain = nodes > 1 ? fmin(fmax(op->ranks / nodes, 1), scaleup(in)) : scaleup(in);
}

static void expert_parallel(fc_op *op, reading *in) {
  op->m = want(in, FC_MEASURE_tokens);
  op->n = want(in, FC_MEASURE_hidden);
  op->experts = want(in, FC_MEASURE_experts);
  op->top_k = want(in, FC_MEASURE_topk);
  op->ranks = want(in, FC_MEASURE_gpus);
  op->domain = fmax(op->ranks / want_or(in, FC_MEASURE_nodes, 1), 1);
}

static void rows(fc_op *op, reading *in) {
  op->m = want(in, FC_MEASURE_tokens);
  op->n = want(in, FC_MEASURE_hidden);
}

static void permute(fc_op *op, reading *in) {
  op->k = want(in, FC_MEASURE_tokens);
  op->n = want(in, FC_MEASURE_hidden);
  op->m = want(in, FC_MEASURE_m);
  op->top_k = want(in, FC_MEASURE_topk);
}

static void router(fc_op *op, reading *in) {
  op->m = want(in, FC_MEASURE_tokens);
  op->n = want(in, FC_MEASURE_experts);
  op->top_k = want(in, FC_MEASURE_topk);
}

static void rope(fc_op *op, reading *in) {
  double size = want(in, FC_MEASURE_head_dim);
  op->m = want(in, FC_MEASURE_tokens);
  op->n = want(in, FC_MEASURE_heads) * size;
  if (op->id == FC_OP_ROPE_KV) op->k = size + want(in, FC_MEASURE_hidden);
}

static void logits(fc_op *op, reading *in) {
  op->m = want(in, FC_MEASURE_tokens);
  op->n = want(in, FC_MEASURE_n);
}

/* P, G, W in fp32, fp32 and bf16, and two moments read and written */
static void adamw(fc_op *op, reading *in) {
  op->m = want(in, FC_MEASURE_m);
  op->n = 8 + 4 + 2 + (op->dtype == FC_DTYPE_BF16 ? 8 : 16);
}

static void parameters(fc_op *op, reading *in) {
  op->m = want(in, FC_MEASURE_m);
}

static void stream(fc_op *op, reading *in) {
  op->payload_bytes = want(in, FC_MEASURE_bytes);
}

/* --- the `kernel` column --- */

typedef struct {
  const char *text;
  fc_op_id id;
  fc_op_id low_latency; /* where impl says so; else 0 */
  void (*fill)(fc_op *op, reading *in);
  bool cache; /* has a key/value cache */
} operation;

static const operation operations[] = {
    {"gemm", FC_OP_LINEAR, 0, gemm, false},
    {"gemm_wgrad", FC_OP_WGRAD, 0, gemm, false},
    {"grouped_gemm", FC_OP_GROUPED, 0, grouped, false},
    {"grouped_gemm_masked", FC_OP_GROUPED_MASKED, 0, grouped, false},
    {"grouped_gemm_wgrad", FC_OP_WGRAD, 0, grouped, false},
    {"moe_ffn", FC_OP_MOE, 0, moe, false},
    {"mla_absorb_k", FC_OP_ABSORB_K, 0, absorb, false},
    {"mla_absorb_v", FC_OP_ABSORB_V, 0, absorb, false},
    {"mla_prefill", FC_OP_MLA_P, 0, mla, true},
    {"mla_decode", FC_OP_MLA_D, 0, mla, true},
    {"mla_backward", FC_OP_MLA_B, 0, mla, true},
    {"attention_prefill", FC_OP_ATTENTION_P, 0, grouped_query, true},
    {"attention_decode", FC_OP_ATTENTION_D, 0, grouped_query, true},
    {"attention_backward", FC_OP_ATTENTION_B, 0, grouped_query, true},
    {"all_reduce", FC_OP_ALL_REDUCE, 0, collective, false},
    {"all_gather", FC_OP_ALL_GATHER, 0, collective, false},
    {"reduce_scatter", FC_OP_REDUCE_SCATTER, 0, collective, false},
    {"all_to_all", FC_OP_ALL_TO_ALL, 0, collective, false},
    {"send_recv", FC_OP_SEND_RECV, 0, collective, false},
    {"ep_dispatch", FC_OP_DISPATCH, FC_OP_DISPATCH_LL, expert_parallel, false},
    {"ep_combine", FC_OP_EP_REDUCE, FC_OP_EP_REDUCE_LL, expert_parallel, false},
    {"embed", FC_OP_EMBED, 0, rows, false},
    {"norm_q", FC_OP_NORM, 0, rows, false},
    {"norm_q_residual", FC_OP_NORM_RESIDUAL, 0, rows, false},
    {"norm_b", FC_OP_NORM_B, 0, rows, false},
    {"quant_a", FC_OP_QUANT, 0, rows, false},
    {"quant_a_t", FC_OP_QUANT_TRANSPOSED, 0, rows, false},
    {"quant_w", FC_OP_QUANT_WEIGHT, 0, rows, false},
    {"swiglu_q", FC_OP_SWIGLU, 0, rows, false},
    {"swiglu_b", FC_OP_SWIGLU_B, 0, rows, false},
    {"rope_kv", FC_OP_ROPE_KV, 0, rope, false},
    {"rope_b", FC_OP_ROPE_B, 0, rope, false},
    {"topk", FC_OP_TOPK, 0, router, false},
    {"topk_b", FC_OP_TOPK_B, 0, router, false},
    {"perm", FC_OP_PERMUTE, 0, permute, false},
    {"perm_b", FC_OP_PERMUTE_B, 0, permute, false},
    {"comb", FC_OP_COMBINE, 0, permute, false},
    {"comb_b", FC_OP_COMBINE_B, 0, permute, false},
    {"sample", FC_OP_SAMPLE, 0, logits, false},
    {"ce", FC_OP_CROSS_ENTROPY, 0, logits, false},
    {"adamw", FC_OP_ADAMW, 0, adamw, false},
    {"gnorm", FC_OP_GRAD_NORM, 0, parameters, false},
    {"ceiling_copy", FC_OP_COPY, 0, stream, false},
    {"ceiling_read", FC_OP_READ, 0, stream, false},
    {"ceiling_write", FC_OP_WRITE, 0, stream, false},
};

enum { OPERATIONS = sizeof operations / sizeof *operations, WORD = 48 };

static void word(char out[WORD], const fc_slice *slice) {
  size_t n = slice->length < WORD - 1 ? slice->length : WORD - 1;
  if (n) memcpy(out, slice->text, n);
  out[n] = '\0';
}

static bool refuse(fc_fault *fault, fc_measure_text column, const fc_slice *slice, const char *what,
                   const char *near) {
  char is[WORD];
  word(is, slice);
  fault->role = (int)column;
  if (slice->length == 0)
    (void)snprintf(fault->why, FC_SHAPE_WHY, "column '%s' is empty", fc_role_text(fault->role));
  else
    (void)snprintf(fault->why, FC_SHAPE_WHY, "'%s' is no %s%s%s%s", is, what, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
  return false;
}

static bool begins(const fc_slice *slice, const char *head) {
  size_t n = strlen(head);
  return slice->length >= n && memcmp(slice->text, head, n) == 0;
}

static bool find_operation(size_t *out, const fc_slice *kernel, fc_fault *fault) {
  for (size_t i = 0; i < OPERATIONS; i++)
    if (is_text(kernel, operations[i].text)) {
      *out = i;
      return true;
    }
  const char *all[OPERATIONS];
  for (size_t i = 0; i < OPERATIONS; i++) all[i] = operations[i].text;
  char is[WORD];
  word(is, kernel);
  bool ours = begins(kernel, "chain_") || begins(kernel, "ceiling_"); /* of our bench, meant as they are */
  return refuse(fault, FC_MEASURE_kernel, kernel, "kernel that is modelled",
                ours ? NULL : fc_diag_nearest(is, all, OPERATIONS));
}

static bool find_format(const fc_format **out, const fc_measure_row *row, fc_measure_text column,
                        fc_fault *fault) {
  const fc_slice *slice = &row->text[column];
  *out = fc_format_find(slice->text, slice->length);
  if (*out) return true;
  const char *near = NULL;
  char is[WORD];
  word(is, slice);
  for (size_t i = 0; i < fc_n_formats() && !near; i++) near = fc_diag_nearest(is, &fc_format_at(i)->text, 1);
  return refuse(fault, column, slice, "number format", near);
}

static bool ends_in(const fc_slice *slice, const char *tail) {
  size_t n = strlen(tail);
  return slice->length >= n && memcmp(slice->text + slice->length - n, tail, n) == 0;
}

bool fc_measured_find(fc_measured *out, const fc_measure_row *row, fc_fault *fault) {
  *out = (fc_measured){0};
  if (!find_operation(&out->row, &row->text[FC_MEASURE_kernel], fault)) return false;
  const operation *o = &operations[out->row];
  out->id = o->low_latency && ends_in(&row->text[FC_MEASURE_impl], "low_latency") ? o->low_latency : o->id;
  if (!find_format(&out->format, row, FC_MEASURE_dtype, fault)) return false;
  return !o->cache || row->text[FC_MEASURE_kv_dtype].length == 0 ||
         find_format(&out->kv_format, row, FC_MEASURE_kv_dtype, fault);
}

bool fc_measured_op(fc_op *out, const fc_measured *measured, const fc_measure_row *row,
                    const fc_device *device, fc_fault *fault) {
  reading in = {.row = row, .device = device, .measured = measured, .fault = fault};
  *out = (fc_op){.id = measured->id,
                 .dtype = measured->format->dtype,
                 .weight_bytes = measured->format->weight_bytes,
                 .input_bytes = measured->format->activation_bytes};
  operations[measured->row].fill(out, &in);
  return !in.bad;
}

bool fc_measure_shape(fc_call *out, const fc_measure_row *row, const fc_device *device, char *why) {
  fc_fault fault = {.role = -1};
  fc_measured measured;
  *out = (fc_call){0};
  bool ok =
      fc_measured_find(&measured, row, &fault) && fc_measured_op(&out->op, &measured, row, device, &fault);
  if (!ok) {
    if (why) memcpy(why, fault.why, FC_SHAPE_WHY);
    return false;
  }
  out->kernel = fc_op_kernel(measured.id);
  out->format = measured.format;
  out->kv_format = measured.kv_format;
  return true;
}
