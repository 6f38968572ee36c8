/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_CASES_H
#define FC_BENCH_CASES_H

#include <fleetcast/base/status.h>
#include <fleetcast/kernels/problem.h>

/** The case table: what is measured, at which shapes.  The same cases are checked and timed. */

typedef enum fc_bench_scale {
  FC_SCALE_TINY, /* odd small shapes of every operator and format: checks, tests, emulation */
  FC_SCALE_CPU,  /* DeepSeek-V3 divided by 8, so that launch, memory and compute regimes still appear */
  FC_SCALE_GPU,  /* DeepSeek-V3 as it is */
} fc_bench_scale;

typedef struct fc_cases {
  size_t n, capacity;
  fc_bench_case *item;
  bool out_of_memory;
} fc_cases;

/** All cases of a scale.  `quick`: about a quarter of them, every operator still there.
 *  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_cases_build(fc_cases *out, fc_bench_scale scale, bool quick);
void fc_cases_free(fc_cases *cases);

/** Which layer of a model: the operators that make it up, in order. */
typedef enum fc_chain_kind {
  FC_CHAIN_DECODE,
  FC_CHAIN_PREFILL,
  FC_CHAIN_TRAIN,
  FC_CHAIN_COUNT
} fc_chain_kind;

/** "chain_decode": column `kernel` of a chain's row. */
const char *fc_chain_text(fc_chain_kind kind);
/** The calls of one MoE layer with all experts on this device at `tokens` tokens, each a case of its own.
 *  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_chain_build(fc_cases *out, fc_bench_scale scale, fc_chain_kind kind);

#endif
