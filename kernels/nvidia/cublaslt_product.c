/* SPDX-License-Identifier: Apache-2.0 */
#include "cublaslt_product.h"

#include <stdio.h>
#include <string.h>

enum { CHOICES = 8, LAUNCHES = 3 };

bool fc_lt_supports(const fc_bench_case *c, int64_t m, int64_t n, int64_t k, const fc_machine *machine,
                    char *why) {
  const fc_cublaslt *lt = fc_cublaslt_open();
  why[0] = '\0';
  if (lt->missing[0])
    (void)snprintf(why, FC_WHY, "%s", lt->missing);
  else if (machine->capability == 0)
    (void)snprintf(why, FC_WHY, "no CUDA device");
  else if (c->dtype != FC_DTYPE_BF16 && c->dtype != FC_DTYPE_FP8)
    (void)snprintf(why, FC_WHY, "operands are neither bf16 nor fp8");
  else if (c->dtype == FC_DTYPE_BF16 && machine->capability < 80)
    (void)snprintf(why, FC_WHY, "bf16 products need compute capability 8.0");
  else if (c->dtype == FC_DTYPE_FP8 && machine->capability != 90)
    (void)snprintf(why, FC_WHY, "fp8 with block scales needs compute capability 9.0");
  else if (c->dtype == FC_DTYPE_FP8 && lt->version < 120900)
    (void)snprintf(why, FC_WHY,
                   "fp8 with block scales needs cuBLASLt 12.9"); /* @source NVIDIA blog on cuBLAS 12.9 */
  else if (c->dtype == FC_DTYPE_FP8 && (m % 4 != 0 || n % 8 != 0 || k % 16 != 0))
    (void)snprintf(why, FC_WHY, "fp8 with block scales needs m a multiple of 4, n of 8, k of 16");
  return why[0] == '\0';
}

/* --- descriptors --- */

/* The first failure stays; later calls do nothing. */
typedef struct progress {
  const fc_cublaslt *lt;
  int failed;
  char *why;
} progress;

static void note(progress *p, const char *what, cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) p->failed = fc_cublaslt_failed(what, status, p->why);
}

static void set_operation(progress *p, cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t name,
                          const void *value, size_t size) {
  if (!p->failed)
    note(p, "cublasLtMatmulDescSetAttribute", p->lt->cublasLtMatmulDescSetAttribute(d, name, value, size));
}

static void describe_operation(progress *p, fc_lt_plan *plan) {
  const fc_lt_product *x = &plan->x;
  cublasStatus_t status = p->lt->cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  note(p, "cublasLtMatmulDescCreate", status);
  int32_t transposed = CUBLAS_OP_T, as_is = CUBLAS_OP_N;
  set_operation(p, plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
  set_operation(p, plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, &as_is, sizeof as_is);
  if (!x->fp8) return;
  int32_t vectors = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F;
  int32_t blocks = x->b_blocks ? CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F : vectors;
  set_operation(p, plan->operation, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &blocks, sizeof blocks);
  set_operation(p, plan->operation, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &vectors, sizeof vectors);
  set_operation(p, plan->operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &x->b_scale, sizeof x->b_scale);
  set_operation(p, plan->operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &x->a_scale, sizeof x->a_scale);
}

/* Column-major rows x columns. */
static void describe_matrix(progress *p, cublasLtMatrixLayout_t *out, cudaDataType_t type, int64_t rows,
                            int64_t columns, int64_t stride, int32_t batch, int64_t matrix) {
  if (p->failed) return;
  note(p, "cublasLtMatrixLayoutCreate",
       p->lt->cublasLtMatrixLayoutCreate(out, type, (uint64_t)rows, (uint64_t)columns, stride));
  if (p->failed || batch <= 1) return;
  note(p, "cublasLtMatrixLayoutSetAttribute",
       p->lt->cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                               sizeof batch));
  if (p->failed) return;
  note(p, "cublasLtMatrixLayoutSetAttribute",
       p->lt->cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &matrix,
                                               sizeof matrix));
}

static void describe(progress *p, fc_lt_plan *plan) {
  const fc_lt_product *x = &plan->x;
  cudaDataType_t in = x->fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF, out = x->f32_out ? CUDA_R_32F : CUDA_R_16BF;
  int32_t batch = (int32_t)x->batch;
  describe_operation(p, plan);
  describe_matrix(p, &plan->a, in, x->k, x->n, x->b_row, batch, x->b_matrix);
  describe_matrix(p, &plan->b, in, x->k, x->m, x->a_row, batch, x->a_matrix);
  describe_matrix(p, &plan->c, out, x->n, x->m, x->c_row, batch, x->c_matrix);
}

/* --- choice of an algorithm --- */

/* Addresses are aligned to this, 256 at most: as much as the heuristic asks about. */
static uint32_t alignment_of(const void *address) {
  uintptr_t low = (uintptr_t)address & (~(uintptr_t)address + 1);
  return low == 0 || low > 256 ? 256 : (uint32_t)low;
}

static void set_preference(progress *p, cublasLtMatmulPreference_t d,
                           cublasLtMatmulPreferenceAttributes_t name, const void *value, size_t size) {
  if (!p->failed)
    note(p, "cublasLtMatmulPreferenceSetAttribute",
         p->lt->cublasLtMatmulPreferenceSetAttribute(d, name, value, size));
}

/* Asks the heuristic; keeps the results that are valid. @return how many */
static int choices_of(progress *p, const fc_lt_plan *plan, cublasLtMatmulHeuristicResult_t *choice) {
  const fc_lt_product *x = &plan->x;
  cublasLtMatmulPreference_t preference = NULL;
  note(p, "cublasLtMatmulPreferenceCreate", p->lt->cublasLtMatmulPreferenceCreate(&preference));
  if (p->failed) return 0;
  size_t workspace = FC_CUBLASLT_WORKSPACE;
  /* split-K parts are summed in binary32, never in a bf16 result: the check's bound knows one rounding */
  uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  uint32_t a = alignment_of(x->b), b = alignment_of(x->a), c = alignment_of(x->c);
  set_preference(p, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
  set_preference(p, preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof reduction);
  set_preference(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a);
  set_preference(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof b);
  set_preference(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof c);
  set_preference(p, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &c, sizeof c);
  int found = 0, valid = 0;
  if (!p->failed)
    note(p, "cublasLtMatmulAlgoGetHeuristic",
         p->lt->cublasLtMatmulAlgoGetHeuristic(fc_cublaslt_device_open()->handle, plan->operation, plan->a,
                                               plan->b, plan->c, plan->c, preference, CHOICES, choice,
                                               &found));
  p->lt->cublasLtMatmulPreferenceDestroy(preference);
  for (int i = 0; !p->failed && i < found; i++)
    if (choice[i].state == CUBLAS_STATUS_SUCCESS) choice[valid++] = choice[i];
  if (!p->failed && valid == 0) note(p, "no algorithm for this product", CUBLAS_STATUS_NOT_SUPPORTED);
  return valid;
}

static cublasStatus_t run(const fc_lt_plan *plan, void *c, cudaStream_t stream) {
  const fc_cublaslt *lt = fc_cublaslt_open();
  const fc_cublaslt_device *device = fc_cublaslt_device_open();
  float alpha = 1, beta = plan->x.accumulate ? 1 : 0;
  return lt->cublasLtMatmul(device->handle, plan->operation, &alpha, plan->x.b, plan->a, plan->x.a, plan->b,
                            &beta, c, plan->c, c, plan->c, &plan->algorithm, device->workspace,
                            FC_CUBLASLT_WORKSPACE, stream);
}

/* Milliseconds of LAUNCHES launches; negative: it does not run. */
static float time_of(const fc_lt_plan *plan, void *c, cudaEvent_t begin, cudaEvent_t end,
                     cudaError_t *error) {
  float ms = -1;
  cublasStatus_t status = run(plan, c, NULL);
  *error = cudaEventRecord(begin, NULL);
  for (int i = 0; i < LAUNCHES && status == CUBLAS_STATUS_SUCCESS; i++) status = run(plan, c, NULL);
  if (*error == cudaSuccess) *error = cudaEventRecord(end, NULL);
  if (*error == cudaSuccess) *error = cudaEventSynchronize(end);
  if (*error == cudaSuccess && status == CUBLAS_STATUS_SUCCESS)
    *error = cudaEventElapsedTime(&ms, begin, end);
  return ms;
}

static size_t result_bytes(const fc_lt_product *x) {
  int64_t batch = x->batch > 1 ? x->batch : 1;
  int64_t elements = (x->m - 1) * x->c_row + (batch - 1) * x->c_matrix + x->n;
  return (size_t)elements * (x->f32_out ? 4 : 2);
}

static void race(progress *p, fc_lt_plan *plan, const cublasLtMatmulHeuristicResult_t *choice, int n) {
  void *scratch = NULL;
  cudaEvent_t begin = NULL, end = NULL;
  int best = 0;
  float best_ms = -1;
  plan->algorithm = choice[0].algo;
  if (cudaMalloc(&scratch, result_bytes(&plan->x)) != cudaSuccess) {
    (void)cudaGetLastError(); /* short of memory: no race; the error is not to be found by the next caller */
    return;
  }
  cudaError_t error = cudaMemset(scratch, 0, result_bytes(&plan->x));
  if (error == cudaSuccess) error = cudaEventCreate(&begin);
  if (error == cudaSuccess) error = cudaEventCreate(&end);
  for (int i = 0; i < n && error == cudaSuccess; i++) {
    plan->algorithm = choice[i].algo;
    float ms = time_of(plan, scratch, begin, end, &error);
    if (ms >= 0 && (best_ms < 0 || ms < best_ms)) best_ms = ms, best = i;
  }
  if (error != cudaSuccess)
    p->failed = fc_cuda_failed("racing algorithms", error, p->why);
  else if (best_ms < 0)
    note(p, "none of the heuristic's algorithms runs", CUBLAS_STATUS_EXECUTION_FAILED);
  plan->algorithm = choice[best].algo;
  if (end) (void)cudaEventDestroy(end);
  if (begin) (void)cudaEventDestroy(begin);
  (void)cudaFree(scratch);
}

static bool same_shape(const fc_lt_product *x, const fc_lt_product *y) {
  return x->fp8 == y->fp8 && x->b_blocks == y->b_blocks && x->f32_out == y->f32_out &&
         x->accumulate == y->accumulate && x->m == y->m && x->n == y->n && x->k == y->k &&
         x->a_row == y->a_row && x->b_row == y->b_row && x->c_row == y->c_row && x->batch == y->batch &&
         alignment_of(x->a) >= alignment_of(y->a) && alignment_of(x->b) >= alignment_of(y->b) &&
         alignment_of(x->c) >= alignment_of(y->c);
}

/* --- interface --- */

int fc_lt_plan_init(fc_lt_plan *plan, const fc_lt_product *x, const fc_lt_plan *like, char *why) {
  const fc_cublaslt_device *device = fc_cublaslt_device_open();
  memset(plan, 0, sizeof *plan);
  if (device->missing[0]) {
    (void)snprintf(why, FC_WHY, "%s", device->missing);
    return 1;
  }
  progress p = {.lt = fc_cublaslt_open(), .why = why};
  plan->x = *x;
  describe(&p, plan);
  if (!p.failed && like && same_shape(x, &like->x)) {
    plan->algorithm = like->algorithm;
  } else if (!p.failed) {
    cublasLtMatmulHeuristicResult_t choice[CHOICES];
    int n = choices_of(&p, plan, choice);
    if (!p.failed) race(&p, plan, choice, n);
  }
  if (p.failed) fc_lt_plan_fini(plan);
  return p.failed;
}

int fc_lt_plan_launch(const fc_lt_plan *plan, fc_queue queue) {
  return -(int)run(plan, plan->x.c, queue); /* a library's status: negative (implementation.h) */
}

void fc_lt_plan_fini(fc_lt_plan *plan) {
  const fc_cublaslt *lt = fc_cublaslt_open();
  if (plan->a) lt->cublasLtMatrixLayoutDestroy(plan->a);
  if (plan->b) lt->cublasLtMatrixLayoutDestroy(plan->b);
  if (plan->c) lt->cublasLtMatrixLayoutDestroy(plan->c);
  if (plan->operation) lt->cublasLtMatmulDescDestroy(plan->operation);
  memset(plan, 0, sizeof *plan);
}
