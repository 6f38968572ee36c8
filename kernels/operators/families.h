/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_FAMILIES_H
#define FC_KERNELS_FAMILIES_H

#include <fleetcast/kernels/operator.h>

/** The operators, family by family: one file of this folder each. */
#define FC_OPERATOR_FAMILY_MAP(X)                                                                            \
  X(gemm) X(grouped) X(attention) X(decode) X(rows) X(quantise) X(training) X(router) X(permute) X(stream)

#define FC_OPERATOR_FAMILY_DECLARE(family)                                                                   \
  extern const fc_operator fc_##family##_operators[];                                                        \
  extern const size_t fc_##family##_operators_n;
FC_OPERATOR_FAMILY_MAP(FC_OPERATOR_FAMILY_DECLARE)
#undef FC_OPERATOR_FAMILY_DECLARE

typedef struct fc_operator_family {
  const fc_operator *item;
  const size_t *n;
} fc_operator_family;

extern const fc_operator_family fc_operator_families[];
extern const size_t fc_operator_families_n;

#endif
