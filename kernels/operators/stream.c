/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>

/* Ceilings: the plainest traffic that a device can carry, and the price of starting a kernel. */

enum { CHUNK = 1 << 16, PARTIAL_SUMS = 1024 };

static void stream_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  fc_role cold = c->in_cache ? FC_ROLE_INPUT : FC_ROLE_WEIGHT;
  bool reads = c->op != FC_BENCH_WRITE;
  fc_problem_tensor(p, "x", FC_ELEM_F32, cold, FC_FILL_NORMAL, 1, reads ? c->m : 0, 0, 0, 0);
  if (c->op == FC_BENCH_READ)
    fc_problem_tensor(p, "sums", FC_ELEM_F32, FC_ROLE_WORK, FC_FILL_NONE, 0, PARTIAL_SUMS, 0, 0, 0);
  else
    fc_problem_tensor(p, "y", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->m, 0, 0, 0);
}

/* Partial sums of READ belong to the implementation: nothing to compare. */
static size_t stream_units(const fc_problem *p) {
  return p->c.op == FC_BENCH_READ ? 0 : (size_t)((p->c.m + CHUNK - 1) / CHUNK);
}

/* COPY: y = x.  WRITE: y[i] = i mod 1,024, so that something is checked. */
static void stream_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  for (size_t i = unit * CHUNK; i < (unit + 1) * CHUNK && i < (size_t)p->c.m; i++)
    fc_expect_at(e, FC_STREAM_Y, i,
                 p->c.op == FC_BENCH_COPY ? fc_tensor_at(&p->tensor[FC_STREAM_X], i) : (double)(i % 1024), 0);
}

static void stream_cost(const fc_problem *p, fc_op *out) {
  out->payload_bytes = 4.0 * (double)p->c.m;
}

static void launch_declare(fc_problem *p) {
  (void)p;
}

static size_t launch_units(const fc_problem *p) {
  (void)p;
  return 0;
}

const fc_operator fc_stream_operators[] = {
    {FC_BENCH_COPY, true, stream_declare, NULL, stream_units, stream_reference, stream_cost},
    {FC_BENCH_READ, false, stream_declare, NULL, stream_units, stream_reference, stream_cost},
    {FC_BENCH_WRITE, true, stream_declare, NULL, stream_units, stream_reference, stream_cost},
    {FC_BENCH_LAUNCH, false, launch_declare, NULL, launch_units, stream_reference, stream_cost},
};
const size_t fc_stream_operators_n = sizeof fc_stream_operators / sizeof *fc_stream_operators;
