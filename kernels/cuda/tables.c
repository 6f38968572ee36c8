/* SPDX-License-Identifier: Apache-2.0 */
#include "../bench/tables.h"

#define FC_TABLE_DECLARE(name) extern const fc_implementations fc_##name;
FC_CUDA_TABLE_MAP(FC_TABLE_DECLARE)
#undef FC_TABLE_DECLARE

#define FC_TABLE_ENTRY(name) &fc_##name,
const fc_implementations *const fc_cuda_tables[FC_CUDA_TABLES] = {FC_CUDA_TABLE_MAP(FC_TABLE_ENTRY)};
