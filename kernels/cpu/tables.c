/* SPDX-License-Identifier: Apache-2.0 */
#include "../bench/tables.h"

#define FC_TABLE_DECLARE(name) extern const fc_implementations fc_cpu_##name;
FC_CPU_TABLE_MAP(FC_TABLE_DECLARE)
#undef FC_TABLE_DECLARE

#define FC_TABLE_ENTRY(name) &fc_cpu_##name,
const fc_implementations *const fc_cpu_tables[FC_CPU_TABLES] = {FC_CPU_TABLE_MAP(FC_TABLE_ENTRY)};
