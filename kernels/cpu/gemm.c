/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

#if FC_HAVE_OPENBLAS
#include <cblas.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

/* Dense and grouped products.  "openblas": f32 by the library.  "openmp": any format, plain loops over rows
 * decoded to f32: where the library is missing, and an independent reader of the 8-bit layouts. */

static int threads(void) {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/* One product of an operator: rows of a against rows of b. */
typedef struct {
  int64_t m, n, k;
  int64_t a_step, b_step, c_step; /* elements from a row to the next */
  const void *a, *b;              /* first elements */
  void *c;                        /* f32 or, where so said, bfloat16 */
  bool c_narrow;
  const float *a_scale, *b_scale; /* of row 0, block 0; NULL: none */
  int64_t a_scale_row, a_scale_block;
  int64_t b_scale_row, b_scale_block; /* b_scale_row: of 128 rows where b has 128x128 scales */
  bool b_square;                      /* 128x128 scales */
  bool add;                           /* c += */
} product;

static size_t size_of(const fc_problem *p) {
  return p->c.dtype == FC_DTYPE_FP8 ? 1 : (p->c.dtype == FC_DTYPE_BF16 ? 2 : 4);
}

static const void *element(const fc_problem *p, const void *base, int64_t index) {
  return (const char *)base + (size_t)index * size_of(p);
}

static void result_at(const fc_problem *p, const fc_args *args, int tensor, int64_t index, product *g) {
  fc_elem elem = p->tensor[tensor].elem;
  g->c = (char *)args->at[tensor] + (size_t)index * fc_elem_size(elem);
  g->c_narrow = elem == FC_ELEM_BF16;
}

/* --- plain loops --- */

enum { COLUMNS = 64 };

static float decoded(fc_dtype dtype, const void *x, int64_t i) {
  if (dtype == FC_DTYPE_FP8) return fc_e4m3_decode(((const uint8_t *)x)[i]);
  if (dtype == FC_DTYPE_BF16) return fc_bf16_decode(((const uint16_t *)x)[i]);
  return ((const float *)x)[i];
}

static void store(const product *g, int64_t row, int64_t col, float value) {
  int64_t at = row * g->c_step + col;
  if (g->c_narrow) {
    ((uint16_t *)g->c)[at] = fc_bf16_encode(value);
    return;
  }
  float *c = g->c;
  c[at] = g->add ? c[at] + value : value;
}

static float one_sum(const fc_problem *p, const product *g, int64_t row, int64_t col) {
  float total = 0;
  int64_t b_row = g->b_square ? col / 128 : col;
  for (int64_t from = 0; from < g->k; from += 128) {
    float sum = 0;
    int64_t end = from + 128 < g->k ? from + 128 : g->k;
    for (int64_t i = from; i < end; i++)
      sum += decoded(p->c.dtype, g->a, row * g->a_step + i) * decoded(p->c.dtype, g->b, col * g->b_step + i);
    if (g->a_scale)
      sum *= g->a_scale[row * g->a_scale_row + from / 128 * g->a_scale_block] *
             g->b_scale[b_row * g->b_scale_row + from / 128 * g->b_scale_block];
    total += sum;
  }
  return total;
}

static void by_loops(const fc_problem *p, const product *g) {
#pragma omp parallel for collapse(2) schedule(dynamic, 8)
  for (int64_t row = 0; row < g->m; row++)
    for (int64_t from = 0; from < g->n; from += COLUMNS)
      for (int64_t col = from; col < from + COLUMNS && col < g->n; col++)
        store(g, row, col, one_sum(p, g, row, col));
}

/* --- the library --- */

static void by_library(const fc_problem *p, const product *g) {
  (void)p;
#if FC_HAVE_OPENBLAS
  float beta = g->add ? 1.0F : 0.0F;
  if (g->m == 0 || g->n == 0) return;
  if (g->m == 1) { /* one row: a matrix-vector product, which OpenBLAS streams without packing */
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)g->n, (int)g->k, 1, g->b, (int)g->b_step, g->a, 1, beta,
                g->c, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)g->m, (int)g->n, (int)g->k, 1, g->a,
              (int)g->a_step, g->b, (int)g->b_step, beta, g->c, (int)g->c_step);
#else
  (void)g;
#endif
}

static bool library_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  (void)machine;
#if FC_HAVE_OPENBLAS
  if (p->c.dtype == FC_DTYPE_FP32) return true;
  (void)snprintf(why, FC_WHY, "OpenBLAS multiplies fp32");
#else
  (void)p;
  (void)snprintf(why, FC_WHY, "built without OpenBLAS");
#endif
  return false;
}

/* Slower by an order of magnitude: only where the library cannot. */
static bool loops_support(const fc_problem *p, const fc_machine *machine, char *why) {
  char unused[FC_WHY];
  if (!library_supports(p, machine, unused)) return true;
  (void)snprintf(why, FC_WHY, "OpenBLAS is there");
  return false;
}

/* --- the operators as products --- */

typedef void (*multiply)(const fc_problem *p, const product *g);

static int dense(const fc_problem *p, const fc_args *args, multiply run) {
  const fc_bench_case *c = &p->c;
  bool wgrad = c->op == FC_BENCH_GEMM_WGRAD, fp8 = c->dtype == FC_DTYPE_FP8;
  product g = {.m = c->m, .n = c->n, .k = c->k, .a_step = c->k, .b_step = c->k, .c_step = c->n, .add = wgrad};
  g.a = args->at[FC_GEMM_A];
  g.b = args->at[FC_GEMM_B];
  result_at(p, args, FC_GEMM_C, 0, &g);
  if (fp8) {
    g.a_scale = args->at[FC_GEMM_AS];
    g.b_scale = args->at[FC_GEMM_BS];
    g.a_scale_row = g.b_scale_block = 1;
    g.a_scale_block = c->m;
    g.b_square = !wgrad;
    g.b_scale_row = wgrad ? 1 : fc_pad4(fc_blocks(c->k));
    if (wgrad) g.b_scale_block = c->n;
  }
  run(p, &g);
  return 0;
}

static int absorb(const fc_problem *p, const fc_args *args, multiply run) {
  const fc_bench_case *c = &p->c;
  int64_t tokens = c->batch * c->q;
#pragma omp parallel for schedule(static) if (c->heads >= 2)
  for (int64_t head = 0; head < c->heads; head++) {
    product g = {.m = tokens, .n = c->n, .k = c->k, .b_step = c->k};
    g.a_step = c->heads * c->k;
    g.c_step = c->heads * c->n;
    g.a = element(p, args->at[FC_GEMM_A], head * c->k);
    g.b = element(p, args->at[FC_GEMM_B], head * c->n * c->k);
    result_at(p, args, FC_GEMM_C, head * c->n, &g);
    run(p, &g);
  }
  return 0;
}

/* Product of group i of a grouped operator. */
static product group_product(const fc_problem *p, const fc_args *args, int64_t i) {
  const fc_bench_case *c = &p->c;
  const int32_t *counts = args->at[FC_GROUPED_COUNTS], *offsets = args->at[FC_GROUPED_OFFSETS];
  bool masked = c->op == FC_BENCH_GROUPED_MASKED, wgrad = c->op == FC_BENCH_GROUPED_WGRAD;
  int64_t first = masked ? i * c->max_rows : offsets[i];
  product g = {.m = counts[i], .n = c->n, .k = c->k, .a_step = c->k, .b_step = c->k, .c_step = c->n};
  int64_t a_first = first * c->k, b_first = i * c->n * c->k, c_first = first * c->n;
  if (wgrad) {
    g = (product){
        .m = c->m, .n = c->n, .k = counts[i], .a_step = p->rows[0], .b_step = p->rows[0], .c_step = c->n};
    g.add = true;
    a_first = b_first = first;
    c_first = i * c->m * c->n;
  }
  g.a = element(p, args->at[FC_GROUPED_A], a_first);
  g.b = element(p, args->at[FC_GROUPED_B], b_first);
  result_at(p, args, FC_GROUPED_C, c_first, &g);
  if (c->dtype != FC_DTYPE_FP8) return g;
  const float *a_scale = args->at[FC_GROUPED_AS], *b_scale = args->at[FC_GROUPED_BS];
  int64_t kb = fc_blocks(c->k);
  g.a_scale_row = g.b_scale_block = 1;
  if (wgrad) {
    g.a_scale = a_scale + first / 128 * c->m;
    g.b_scale = b_scale + first / 128 * c->n;
    g.a_scale_block = c->m;
    g.b_scale_row = 1;
    g.b_scale_block = c->n;
    return g;
  }
  g.a_scale = masked ? a_scale + i * kb * c->max_rows : a_scale + first;
  g.a_scale_block = masked ? c->max_rows : p->rows[0];
  g.b_scale = b_scale + i * fc_blocks(c->n) * fc_pad4(kb);
  g.b_square = true;
  g.b_scale_row = fc_pad4(kb);
  return g;
}

/* Many experts: one thread an expert; few: all threads in each product. */
static int grouped(const fc_problem *p, const fc_args *args, multiply run) {
  bool many = p->c.groups >= 2 * (int64_t)threads();
  (void)many; /* without OpenMP nothing asks */
#pragma omp parallel for schedule(dynamic, 1) if (many)
  for (int64_t i = 0; i < p->c.groups; i++) {
    product g = group_product(p, args, i);
    run(p, &g);
  }
  return 0;
}

#define LAUNCH(shape)                                                                                        \
  static int shape##_library(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {        \
    (void)state;                                                                                             \
    (void)queue;                                                                                             \
    return shape(p, args, by_library);                                                                       \
  }                                                                                                          \
  static int shape##_loops(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {          \
    (void)state;                                                                                             \
    (void)queue;                                                                                             \
    return shape(p, args, by_loops);                                                                         \
  }
LAUNCH(dense)
LAUNCH(absorb)
LAUNCH(grouped)

#define BOTH(id, shape)                                                                                      \
  {.op = FC_BENCH_##id, .name = "openblas", .supports = library_supports, .launch = shape##_library},        \
      {.op = FC_BENCH_##id, .name = "openmp", .supports = loops_support, .launch = shape##_loops},

static const fc_implementation rows[] = {BOTH(GEMM, dense) BOTH(GEMM_WGRAD, dense) BOTH(ABSORB_K, absorb)
                                             BOTH(ABSORB_V, absorb) BOTH(GROUPED, grouped)
                                                 BOTH(GROUPED_MASKED, grouped) BOTH(GROUPED_WGRAD, grouped)};

extern const fc_implementations fc_cpu_gemm;
const fc_implementations fc_cpu_gemm = {sizeof rows / sizeof *rows, rows};
