/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/hw/device.h>

#include <fleetcast/base/assert.h>

const char *fc_dtype_text(fc_dtype dtype) {
  static const char *const text[] = {
#define FC_DTYPE_TEXT(name, word, bytes) word,
      FC_DTYPE_MAP(FC_DTYPE_TEXT)
#undef FC_DTYPE_TEXT
  };
  FC_ASSERT((unsigned)dtype < FC_DTYPE_COUNT);
  return text[dtype];
}

double fc_dtype_bytes(fc_dtype dtype) {
  static const double size[] = {
#define FC_DTYPE_BYTES(name, word, bytes) bytes,
      FC_DTYPE_MAP(FC_DTYPE_BYTES)
#undef FC_DTYPE_BYTES
  };
  FC_ASSERT((unsigned)dtype < FC_DTYPE_COUNT);
  return size[dtype];
}

double fc_device_h100e(const fc_device *device) {
  const double *peak = device->peak_flop_per_s;
  double rate = peak[FC_DTYPE_FP8] > 0 ? peak[FC_DTYPE_FP8] : peak[FC_DTYPE_INT8];
  if (!(rate > 0)) rate = peak[FC_DTYPE_BF16];
  return rate / FC_H100E_OP_PER_S;
}
