/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_HW_DEVICE_H
#define FC_HW_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/series.h>
#include <fleetcast/base/time.h>

/** Accelerators as their datasheets state them: facts with units, no behaviour.  What a device achieves is in
 *  its profile (cost/profile.h).  Loaded from scenarios/devices/NAME.yaml. */

/** Number formats in which a device has a peak rate.  FP8 stands for e4m3; block scales change the achieved
 *  rate (the profile's kernels), not the peak. */
#define FC_DTYPE_MAP(X)                                                                                      \
  X(FP32, "fp32", 4.0)                                                                                       \
  X(BF16, "bf16", 2.0)                                                                                       \
  X(FP8, "fp8", 1.0)                                                                                         \
  X(FP4, "fp4", 0.5)                                                                                         \
  X(INT8, "int8", 1.0)

typedef enum fc_dtype {
#define FC_DTYPE_ENUM(name, text, bytes) FC_DTYPE_##name,
  FC_DTYPE_MAP(FC_DTYPE_ENUM)
#undef FC_DTYPE_ENUM
      FC_DTYPE_COUNT
} fc_dtype;

const char *fc_dtype_text(fc_dtype dtype);
/** Bytes an element, scales not counted. */
double fc_dtype_bytes(fc_dtype dtype);

/** Peak dense 8-bit rate of one H100 SXM, operations per second: the unit "H100-equivalent" is a device's
 *  peak dense 8-bit rate over this.
 *  @source NVIDIA H100 datasheet (3,958 TOPS with sparsity, halved); Epoch AI's definition of H100e */
#define FC_H100E_OP_PER_S 1979e12

typedef struct fc_device {
  const char *name;  /* file name without .yaml */
  const char *title; /* "NVIDIA H100 SXM5 80 GB" */
  const char *vendor;
  fc_time release; /* first volume availability */

  double peak_flop_per_s[FC_DTYPE_COUNT]; /* dense, no sparsity; 0: format not supported */
  double memory_bytes;
  double memory_bytes_per_s;
  double l2_bytes;       /* last on-chip cache before HBM; 0: unknown */
  int64_t compute_units; /* SMs, CUs, cores: what tiles are scheduled on */
  double clock_hz;       /* highest clock of the compute units; 0: unknown */

  double scaleup_bytes_per_s;  /* NVLink, xGMI, ICI, NeuronLink: a device's total, both directions */
  int64_t scaleup_devices;     /* devices in one scale-up domain */
  double scaleout_bytes_per_s; /* network: a device's share, one direction */
  int64_t node_devices;        /* devices in one server: the unit of placement and of host failure */

  double tdp_w;
  double idle_w;
  double server_w; /* IT power per device of the whole server at full load */

  fc_series rent_usd_per_s; /* market price of one device, by date */
  fc_series purchase_usd;   /* price of one device alone, by date */
  fc_series system_usd;     /* all-in cluster capital per device: server, network, storage; may be unset */
} fc_device;

/** Peak dense 8-bit operations (FP8, else INT8, else BF16: A100 and TPU v4 count their best) over
 *  FC_H100E_OP_PER_S. */
double fc_device_h100e(const fc_device *device);

#endif
