/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_TABLES_H
#define FC_BENCH_TABLES_H

#include <fleetcast/kernels/implementation.h>

/** Which implementations each backend offers; of one operator the best comes first. */

#ifdef __cplusplus
extern "C" {
#endif

/* dense products by the library first; elsewhere our own before the libraries' (docs/kernels.md) */
/* clang-format off */
#define FC_CPU_TABLE_MAP(X) \
  X(gemm) X(attention) X(decode) X(rows) X(quantise) X(training) X(router) X(permute) X(stream)
#define FC_CUDA_TABLE_MAP(X) \
  X(nvidia_cublaslt) X(cuda_grouped) X(cuda_wgrad) X(cuda_mla_decode) X(cuda_gqa_decode) X(cuda_rows) \
  X(cuda_quantise) X(cuda_training) X(cuda_router) X(cuda_permute) X(cuda_stream) X(nvidia_grouped) X(nvidia_cudnn)
/* clang-format on */

#define FC_TABLE_ENUM(name) FC_TABLE_##name,
enum { FC_CPU_TABLE_MAP(FC_TABLE_ENUM) FC_CPU_TABLES };
enum { FC_CUDA_TABLE_MAP(FC_TABLE_ENUM) FC_CUDA_TABLES };
#undef FC_TABLE_ENUM

extern const fc_implementations *const fc_cpu_tables[FC_CPU_TABLES];
extern const fc_implementations *const fc_cuda_tables[FC_CUDA_TABLES];

#ifdef __cplusplus
}
#endif

#endif
