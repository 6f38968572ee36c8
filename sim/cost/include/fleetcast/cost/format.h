/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_FORMAT_H
#define FC_COST_FORMAT_H

#include <stddef.h>

#include <fleetcast/hw/device.h>

/** Number formats as measurement files name them: how the operands are stored and in which format the product
 * is computed, whose peak is the roofline's.
 *  @source block scales: 4 bytes per 128 (DeepSeek FP8), 1 per 16 (NVFP4), 1 per 32 (MXFP4, OCP MX 1.0), 2
 * per 128 (GPTQ and AWQ int4 with groups of 128) */
#define FC_FORMAT_MAP(X)                                                                                     \
  /* text, computes as, bytes of an activation, of a weight, of a key/value element */                       \
  X("fp32", FP32, 4, 4)                                                                                      \
  X("bf16", BF16, 2, 2)                                                                                      \
  X("fp16", BF16, 2, 2)                                                                                      \
  X("fp8", FP8, 1, 1)                                                                                        \
  X("fp8_block", FP8, 1 + 4.0 / 128, 1)                                                                      \
  X("nvfp4", FP4, 0.5 + 1.0 / 16, 0.5 + 1.0 / 16)                                                            \
  X("fp4", FP4, 0.5, 0.5)                                                                                    \
  X("w4a16_mxfp4", BF16, 2, 0.5 + 1.0 / 32)                                                                  \
  X("w4a8_mxfp4_mxfp8", FP8, 1 + 1.0 / 32, 0.5 + 1.0 / 32)                                                   \
  X("int4_wo", BF16, 2, 0.5 + 2.0 / 128)                                                                     \
  X("int8_wo", BF16, 2, 1)                                                                                   \
  X("int8", INT8, 1, 1)                                                                                      \
  X("sq", INT8, 1, 1) /* SmoothQuant: int8 weights and activations */                                        \
  X("fp8_static", FP8, 1, 1)                                                                                 \
  X("fp8_ootb", FP8, 1, 1)                                                                                   \
  X("mxfp8", FP8, 1 + 1.0 / 32, 1 + 1.0 / 32)                                                                \
  X("mxfp4", FP4, 0.5 + 1.0 / 32, 0.5 + 1.0 / 32)                                                            \
  X("w4afp8", FP8, 1, 0.5 + 2.0 / 128)                                                                       \
  X("w4a16", BF16, 2, 0.5 + 2.0 / 128)

typedef struct fc_format {
  const char *text;
  fc_dtype dtype;
  double activation_bytes, weight_bytes;
} fc_format;

size_t fc_n_formats(void);
const fc_format *fc_format_at(size_t i);
/** NULL: no such format. */
const fc_format *fc_format_find(const char *text, size_t length);

#endif
