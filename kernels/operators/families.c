/* SPDX-License-Identifier: Apache-2.0 */
#include "families.h"

#define FC_OPERATOR_FAMILY(family) {fc_##family##_operators, &fc_##family##_operators_n},
const fc_operator_family fc_operator_families[] = {FC_OPERATOR_FAMILY_MAP(FC_OPERATOR_FAMILY)};
#undef FC_OPERATOR_FAMILY
const size_t fc_operator_families_n = sizeof fc_operator_families / sizeof *fc_operator_families;
