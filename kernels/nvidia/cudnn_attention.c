/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operators.h>

#include "cudnn_attention_graph.h"

extern const fc_implementations fc_nvidia_cudnn;

#if defined(FC_HAVE_CUDNN)

#include <stdio.h>
#include <stdlib.h>

/* Attention by cuDNN: graphs of cudnn_attention_graph.h, compiled by cuDNN for the shape at hand.
 *
 * What to expect of 9.19 on compute capability 9.0, by the names of the kernels that
 * it builds (tests/gpu/cudnn_plans.c): prefill and backward, 192/128 and 128/128,
 * warpgroup products (sm90, wgmma); decode of one query and all of absorbed MLA, the
 * older instructions (sm80, wmma): there an oracle, not a yardstick. */

/* --- plans --- */

/* Half a second each to compile, hence one for all sets of arguments; the last user frees it. */
typedef struct plan {
  int users;
  fc_dnn_attention shape;
  bool backward;
  fc_dnn_graph forward, gradient; /* gradient: only backward */
  fc_dnn_attention_tensors at, gradient_at;
  void *memory; /* on the device; all that follows lies in it */
  void *workspace, *dq_sum, *row_sum, *q_each;
} plan;

static void plan_free(plan *p) {
  (void)cudaFree(p->memory);
  if (p->gradient.lib) fc_dnn_fini(&p->gradient);
  if (p->forward.lib) fc_dnn_fini(&p->forward);
  free(p);
}

static size_t aligned(size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

static size_t workspace_of(const plan *p) {
  int64_t forward = p->forward.workspace_bytes, gradient = p->gradient.workspace_bytes;
  return aligned((size_t)(forward > gradient ? forward : gradient));
}

/* One allocation: cuDNN's work space, the gradient's sums, the number of queries of each sequence. */
static int plan_memory(plan *p, char *why) {
  const fc_dnn_attention *a = &p->shape;
  size_t rows = (size_t)(a->b * a->h * a->q), workspace = workspace_of(p);
  size_t dq = p->backward ? aligned(rows * (size_t)a->dk * sizeof(float)) : 0;
  size_t sums = p->backward ? aligned(rows * sizeof(float)) : 0,
         each = aligned((size_t)a->b * sizeof(int32_t));
  cudaError_t error = cudaMalloc(&p->memory, workspace + dq + sums + each);
  if (error != cudaSuccess) return fc_cuda_failed("cudaMalloc of the work space", error, why);
  p->workspace = p->memory;
  p->dq_sum = (char *)p->memory + workspace;
  p->row_sum = (char *)p->dq_sum + dq;
  p->q_each = (char *)p->row_sum + sums;
  int32_t *q = malloc((size_t)a->b * sizeof *q);
  if (!q) {
    (void)snprintf(why, FC_WHY, "out of memory");
    return 1;
  }
  for (int64_t i = 0; i < a->b; i++) q[i] = (int32_t)a->q;
  error = cudaMemcpy(p->q_each, q, (size_t)a->b * sizeof *q, cudaMemcpyHostToDevice);
  free(q);
  return error == cudaSuccess ? 0 : fc_cuda_failed("copying the numbers of queries", error, why);
}

static plan *plan_make(const fc_dnn_attention *a, bool backward, cudnnHandle_t handle, char *why) {
  plan *p = calloc(1, sizeof *p);
  if (!p) {
    (void)snprintf(why, FC_WHY, "out of memory");
    return NULL;
  }
  p->users = 1;
  p->shape = *a;
  p->backward = backward;
  fc_dnn_init(&p->forward, fc_cudnn_open());
  p->at = fc_dnn_attention_forward(&p->forward, a);
  int failed = fc_dnn_plan(&p->forward, handle, NULL);
  const fc_dnn_graph *of = &p->forward;
  if (!failed && backward) {
    fc_dnn_init(&p->gradient, fc_cudnn_open());
    p->gradient_at = fc_dnn_attention_backward(&p->gradient, a);
    failed = fc_dnn_plan(&p->gradient, handle, NULL);
    of = &p->gradient;
  }
  if (failed)
    (void)snprintf(why, FC_WHY, "%s", of->why);
  else
    failed = plan_memory(p, why);
  if (!failed) return p;
  plan_free(p);
  return NULL;
}

static void plan_drop(plan *p) {
  if (--p->users == 0) plan_free(p);
}

/* --- problems --- */

static bool is_backward(const fc_problem *p) {
  return p->c.op == FC_BENCH_ATTENTION_BACKWARD || p->c.op == FC_BENCH_MLA_BACKWARD;
}

static bool is_paged(const fc_problem *p) {
  return p->c.op == FC_BENCH_ATTENTION_DECODE || p->c.op == FC_BENCH_MLA_DECODE;
}

/* Sizes as the tensors have them: Q [b,q,h,dk], K [b,s,g,dk]
 * or pages [pages,64,g,dk] (absorbed MLA: g = 1). */
static fc_dnn_attention shape_of(const fc_problem *p) {
  const int64_t *q = p->tensor[FC_ATTN_Q].dim, *k = p->tensor[FC_ATTN_K].dim, *o = p->tensor[FC_ATTN_O].dim;
  fc_dnn_attention a = {.b = q[0], .q = q[1], .h = q[2], .dk = q[3], .g = k[2], .s = k[1], .dv = o[3]};
  if (!is_paged(p)) return a;
  a.s = 0;
  a.max_pages = p->rows[0];
  a.pages = p->rows[1];
  a.shared = p->c.op == FC_BENCH_MLA_DECODE;
  if (a.shared) a.g = 1;
  return a;
}

_Static_assert((int)FC_ATTN_Q == (int)FC_DECODE_Q && (int)FC_ATTN_K == (int)FC_DECODE_K &&
                   (int)FC_ATTN_V == (int)FC_DECODE_V && (int)FC_ATTN_O == (int)FC_DECODE_O &&
                   (int)FC_ATTN_LSE == (int)FC_DECODE_LSE,
               "prefill and decode name the tensors that they share alike");

static bool supports(const fc_problem *p, const fc_machine *machine, char *why) {
  const fc_cudnn *lib = fc_cudnn_open();
  fc_dnn_attention a = shape_of(p);
  why[0] = '\0';
  if (lib->missing[0])
    (void)snprintf(why, FC_WHY, "%s", lib->missing);
  else if (machine->capability == 0)
    (void)snprintf(why, FC_WHY, "no CUDA device");
  else if (machine->capability < 80)
    (void)snprintf(why, FC_WHY, "bf16 attention needs compute capability 8.0");
  else if (p->c.dtype != FC_DTYPE_BF16 || (is_paged(p) && p->c.kv_dtype != FC_DTYPE_BF16))
    (void)snprintf(why, FC_WHY, "operands are not bf16");
  else if (lib->version < 91002) /* @source cudnn-frontend: 9.10.0 and 9.10.1 are wrong, 9.9 lacks shapes */
    (void)snprintf(why, FC_WHY, "cuDNN is older than 9.10.2");
  else if (a.h % a.g != 0 || a.dk % 8 != 0 || a.dv % 8 != 0)
    (void)snprintf(why, FC_WHY, "cuDNN wants whole groups of heads, sizes that are multiples of 8");
  else if (is_backward(p) && a.s % 128 != 0 &&
           lib->version < 91600) /* @source cudnn-frontend, its workaround */
    (void)snprintf(why, FC_WHY,
                   "backward of a context that is no multiple of 128 is wrong before cuDNN 9.16");
  return why[0] == '\0';
}

/* --- calls --- */

typedef struct call {
  plan *plan;
  cudnnBackendDescriptor_t pack;
} call;

static void release(void *state) {
  call *c = state;
  if (!c) return;
  if (c->pack) fc_cudnn_open()->cudnnBackendDestroyDescriptor(c->pack);
  if (c->plan) plan_drop(c->plan);
  free(c);
}

static int pack_forward(const fc_problem *p, const fc_args *args, plan *l, cudnnBackendDescriptor_t *pack) {
  fc_dnn_graph *g = &l->forward;
  fc_dnn_bind(g, l->at.q, args->at[FC_ATTN_Q]);
  fc_dnn_bind(g, l->at.k, args->at[FC_ATTN_K]);
  fc_dnn_bind(g, l->at.v, args->at[l->shape.shared ? FC_ATTN_K : FC_ATTN_V]);
  fc_dnn_bind(g, l->at.o, args->at[FC_ATTN_O]);
  fc_dnn_bind(g, l->at.lse, args->at[FC_ATTN_LSE]);
  if (is_paged(p)) {
    fc_dnn_bind(g, l->at.table, args->at[FC_DECODE_TABLE]);
    fc_dnn_bind(g, l->at.lengths, args->at[FC_DECODE_LENGTHS]);
    fc_dnn_bind(g, l->at.q_each, l->q_each);
  }
  return fc_dnn_pack(g, l->workspace, pack);
}

static int pack_gradient(const fc_args *args, plan *l, cudnnBackendDescriptor_t *pack) {
  fc_dnn_graph *g = &l->gradient;
  const fc_dnn_attention_tensors *t = &l->gradient_at;
  const int bound[][2] = {{t->q, FC_ATTN_Q},   {t->k, FC_ATTN_K},     {t->v, FC_ATTN_V},
                          {t->o, FC_ATTN_O},   {t->lse, FC_ATTN_LSE}, {t->d_o, FC_ATTN_DO},
                          {t->dq, FC_ATTN_DQ}, {t->dk, FC_ATTN_DK},   {t->dv, FC_ATTN_DV}};
  for (size_t i = 0; i < sizeof bound / sizeof *bound; i++)
    fc_dnn_bind(g, bound[i][0], args->at[bound[i][1]]);
  fc_dnn_bind(g, t->dq_sum, l->dq_sum);
  fc_dnn_bind(g, t->row_sum, l->row_sum);
  return fc_dnn_pack(g, l->workspace, pack);
}

/* Backward starts from a forward's O and LSE: runs it, and waits. */
static int run_forward(const fc_problem *p, const fc_args *args, plan *l, cudnnHandle_t handle, char *why) {
  cudnnBackendDescriptor_t pack = NULL;
  if (pack_forward(p, args, l, &pack)) {
    (void)snprintf(why, FC_WHY, "%s", l->forward.why);
    return 1;
  }
  cudaError_t error = cudaDeviceSynchronize(); /* whatever filled the inputs, on whichever stream */
  int status = error == cudaSuccess ? fc_dnn_execute(&l->forward, pack, handle, NULL) : 0;
  if (error == cudaSuccess) error = cudaDeviceSynchronize();
  fc_cudnn_open()->cudnnBackendDestroyDescriptor(pack);
  if (error != cudaSuccess) return fc_cuda_failed("forward pass", error, why);
  if (status)
    (void)snprintf(why, FC_WHY, "forward pass: %s",
                   fc_cudnn_open()->cudnnGetErrorString((cudnnStatus_t)status));
  return status ? 1 : 0;
}

static int prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                   char *why) {
  (void)machine;
  const fc_cudnn_device *device = fc_cudnn_device_open();
  if (device->missing[0]) {
    (void)snprintf(why, FC_WHY, "%s", device->missing);
    return 1;
  }
  call *c = calloc(1, sizeof *c);
  if (!c) {
    (void)snprintf(why, FC_WHY, "out of memory");
    return 1;
  }
  const call *first = *state;
  fc_dnn_attention a = shape_of(p);
  c->plan = first ? first->plan : plan_make(&a, is_backward(p), device->handle, why);
  int failed = c->plan == NULL;
  if (first && !failed) c->plan->users++;
  if (!failed && is_backward(p)) failed = run_forward(p, args, c->plan, device->handle, why);
  if (!failed) {
    failed =
        is_backward(p) ? pack_gradient(args, c->plan, &c->pack) : pack_forward(p, args, c->plan, &c->pack);
    if (failed)
      (void)snprintf(why, FC_WHY, "%s", is_backward(p) ? c->plan->gradient.why : c->plan->forward.why);
  }
  if (failed)
    release(c);
  else
    *state = c;
  return failed;
}

static int launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)args;
  const call *c = state;
  const fc_dnn_graph *g = is_backward(p) ? &c->plan->gradient : &c->plan->forward;
  return -fc_dnn_execute(g, c->pack, fc_cudnn_device_open()->handle, queue); /* a library's status */
}

static const fc_implementation items[] = {
    {FC_BENCH_ATTENTION_PREFILL, "cudnn", supports, prepare, launch, release},
    {FC_BENCH_MLA_PREFILL, "cudnn", supports, prepare, launch, release},
    {FC_BENCH_ATTENTION_BACKWARD, "cudnn", supports, prepare, launch, release},
    {FC_BENCH_MLA_BACKWARD, "cudnn", supports, prepare, launch, release},
    {FC_BENCH_ATTENTION_DECODE, "cudnn", supports, prepare, launch, release},
    {FC_BENCH_MLA_DECODE, "cudnn", supports, prepare, launch, release},
};

const fc_implementations fc_nvidia_cudnn = {sizeof items / sizeof *items, items};

#else

/* built without cudnn_backend.h */
const fc_implementations fc_nvidia_cudnn = {0, NULL};

#endif
