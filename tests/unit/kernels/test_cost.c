/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <cases.h>
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>

/* The cost model's bytes against an independent count: the tensors that each case declares, each input read
 * once, each output written once. */

static double declared_bytes(const fc_problem *p) {
  double bytes = 0;
  for (size_t i = 0; i < p->n_tensors; i++) {
    const fc_tensor *t = &p->tensor[i];
    double size = (double)t->count * (double)fc_elem_size(t->elem);
    switch (t->role) {
    case FC_ROLE_INPUT:
    case FC_ROLE_WEIGHT:
    case FC_ROLE_OUTPUT:
    case FC_ROLE_PARTIAL: bytes += size; break;
    case FC_ROLE_INOUT: bytes += 2 * size; break;
    case FC_ROLE_WORK: /* scratch, but for the forward's result that a backward reads */
      if (strcmp(t->name, "o") == 0) bytes += size;
      break;
    }
  }
  return bytes;
}

/* What the formula leaves out by its statement: index tables, scales of
 * outputs (1/32 of 8-bit elements), gamma, LSE; what the tensors hold and a
 * call does not touch: padding, rows of a table that no token asks for. */
static double allowance(const fc_problem *p) {
  switch (p->c.op) {
  case FC_BENCH_EMBED:            /* only the rows asked for */
  case FC_BENCH_GROUPED_MASKED:   /* slabs are larger than their rows */
  case FC_BENCH_ROPE_KV:          /* the cache has more slots than tokens */
  case FC_BENCH_TOPK_B:           /* reads the logits of the chosen only */
  case FC_BENCH_ATTENTION_DECODE: /* the last page of a sequence is part full */
  case FC_BENCH_MLA_DECODE: return INFINITY;
  default: return 0.13;
  }
}

Test(cost, bytes_are_those_of_the_declared_tensors) {
  fc_cases cases;
  cr_assert_eq(fc_cases_build(&cases, FC_SCALE_GPU, false), FC_OK);
  int compared = 0;
  for (size_t i = 0; i < cases.n; i++) {
    const fc_bench_case *c = &cases.item[i];
    fc_problem p;
    cr_assert_eq(fc_problem_init(&p, c, 1, false), FC_OK, "case %zu, %s", i, fc_bench_op_text(c->op));
    fc_op op;
    fc_problem_cost(&p, &op);
    double want = declared_bytes(&p), got = fc_op_bytes(&op);
    cr_assert(isfinite(got) && got >= 0 && isfinite(fc_op_flop(&op)));
    /* fixed costs of tables show at small sizes only; padding to 128 rows a group where groups are small */
    bool small =
        want < 1e7 || (c->groups > 0 && (c->op == FC_BENCH_GROUPED_WGRAD ? c->k : c->m) < 1024 * c->groups);
    if (small || isinf(allowance(&p))) continue;
    compared++;
    cr_assert(fabs(got / want - 1) <= allowance(&p), "%s %s m %lld n %lld k %lld: formula %.6g, tensors %.6g",
              fc_bench_op_text(c->op), c->site ? c->site : "", (long long)c->m, (long long)c->n,
              (long long)c->k, got, want);
  }
  cr_assert(compared > 150, "only %d", compared);
  fc_cases_free(&cases);
}

/* The formulas of the design notes, kernels.md 1a and 1b, by hand at one shape each. */
Test(cost, flop_by_hand) {
  static const struct {
    fc_bench_case c;
    double flop;
  } by_hand[] = {
      {{.op = FC_BENCH_GEMM, .dtype = FC_DTYPE_FP8, .m = 3, .n = 256, .k = 128}, 2.0 * 3 * 256 * 128},
      {{.op = FC_BENCH_GROUPED, .dtype = FC_DTYPE_FP8, .m = 512, .n = 128, .k = 256, .groups = 4},
       2.0 * 512 * 128 * 256},
      {{.op = FC_BENCH_GROUPED_WGRAD, .dtype = FC_DTYPE_FP8, .m = 128, .n = 256, .k = 512, .groups = 4},
       2.0 * 128 * 256 * 512},
      {{.op = FC_BENCH_MLA_PREFILL,
        .batch = 1,
        .heads = 2,
        .kv_heads = 2,
        .q = 64,
        .s = 64,
        .dk = 192,
        .dv = 128},
       2.0 * 64 * 64 * 320},
      {{.op = FC_BENCH_MLA_BACKWARD,
        .batch = 1,
        .heads = 2,
        .kv_heads = 2,
        .q = 64,
        .s = 64,
        .dk = 192,
        .dv = 128},
       2.0 * 64 * 64 * 832},
      {{.op = FC_BENCH_MLA_DECODE,
        .batch = 3,
        .heads = 16,
        .kv_heads = 1,
        .q = 1,
        .s = 100,
        .dk = 576,
        .dv = 512},
       2.0 * 3 * 16 * 100 * 1088},
      {{.op = FC_BENCH_ABSORB_K, .batch = 5, .heads = 4, .q = 1, .s = 1, .n = 512, .k = 128},
       2.0 * 5 * 4 * 512 * 128},
  };
  for (size_t i = 0; i < sizeof by_hand / sizeof *by_hand; i++) {
    fc_bench_case c = by_hand[i].c;
    if (!c.dtype) c.dtype = c.kv_dtype = FC_DTYPE_BF16;
    fc_problem p;
    cr_assert_eq(fc_problem_init(&p, &c, 1, false), FC_OK, "%s", fc_bench_op_text(c.op));
    fc_op op;
    fc_problem_cost(&p, &op);
    cr_assert(fabs(fc_op_flop(&op) - by_hand[i].flop) <= 1e-12 * by_hand[i].flop, "%s: %g, by hand %g",
              fc_bench_op_text(c.op), fc_op_flop(&op), by_hand[i].flop);
  }
}

Test(cost, every_operator_is_in_every_scale) {
  for (int scale = FC_SCALE_TINY; scale <= FC_SCALE_GPU; scale++)
    for (int quick = 0; quick < 2; quick++) {
      fc_cases cases;
      cr_assert_eq(fc_cases_build(&cases, (fc_bench_scale)scale, quick), FC_OK);
      int seen[FC_BENCH_OP_COUNT] = {0};
      for (size_t i = 0; i < cases.n; i++) {
        seen[cases.item[i].op]++;
        fc_problem p;
        cr_assert_eq(fc_problem_init(&p, &cases.item[i], 1, false), FC_OK, "scale %d, %s", scale,
                     fc_bench_op_text(cases.item[i].op));
      }
      for (int op = 0; op < FC_BENCH_OP_COUNT; op++)
        cr_assert(seen[op] > 0, "scale %d quick %d: no case of %s", scale, quick,
                  fc_bench_op_text((fc_bench_op)op));
      fc_cases_free(&cases);
    }
}
