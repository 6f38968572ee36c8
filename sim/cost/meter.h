/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_INTERNAL_METER_H
#define FC_COST_INTERNAL_METER_H

#include <stdbool.h>

#include <fleetcast/cost/form.h>
#include <fleetcast/cost/operator.h>

/** Adds up operators into passes and parts; no allocation.  One meter a step. */

static inline double fc_dtype_size(fc_dtype dtype) {
#define FC_DTYPE_SIZE(name, text, bytes) bytes,
  static const double size[FC_DTYPE_COUNT] = {FC_DTYPE_MAP(FC_DTYPE_SIZE)};
#undef FC_DTYPE_SIZE
  return size[dtype];
}

/* Per-device constants of one evaluation. */
typedef struct fc_meter_device {
  double units;                      /* all */
  double per_flop_s[FC_DTYPE_COUNT]; /* 1 / peak; 0: the device has no such format */
  double per_byte_s;                 /* 1 / memory bandwidth */
  double per_scaleup_s, per_scaleout_s;
  double idle_w, compute_w, memory_w, dynamic_w;
} fc_meter_device;

void fc_meter_device_init(fc_meter_device *out, const fc_device *device, const fc_profile *profile);

typedef struct fc_fit_choice {
  const fc_kernel_fit *fit; /* NULL: none */
  bool substituted;
} fc_fit_choice;

typedef enum { FC_PASS_FORWARD, FC_PASS_INPUT, FC_PASS_WEIGHT, FC_PASS_COUNT } fc_pass;

typedef enum {
  FC_PART_ATTENTION,
  FC_PART_DENSE,
  FC_PART_EXPERTS,
  FC_PART_GLUE, /* norms, quantisation, router, permute, rope */
  FC_PART_HEAD, /* embedding, LM head, sampling, cross-entropy */
  FC_PART_EP,   /* dispatch, combine */
  FC_PART_TP,
  FC_PART_CP,
  FC_PART_LAUNCH,
  FC_PART_COUNT
} fc_part;

typedef struct fc_bill {
  double s[FC_PASS_COUNT][FC_PART_COUNT];
  double calls[FC_PASS_COUNT]; /* kernels launched */
} fc_bill;

typedef struct fc_meter {
  const fc_profile *profile;
  fc_meter_device device;
  fc_fit_choice fit[FC_KERNEL_COUNT][FC_DTYPE_COUNT];
  double units;      /* compute units in use */
  bool training;     /* clocks under load and frameworks' streams count: `sustained`, FC_TRAIN_GLUE */
  double contention; /* factor on dispatch and combine */
  fc_bill *bill;     /* where seconds go */
  double weight;     /* calls a device and step, per unit of a bill: for the totals below */
  double flop, bytes, dynamic_j;
  double seconds;                     /* of all operators, overlapped or not */
  double systematic[FC_KERNEL_COUNT]; /* sum of seconds * systematic spread */
  double shape_variance;              /* sum of (seconds * shape spread)^2 */
  int clamped, outside, substituted;
  bool missing; /* a kernel without fit or sibling */
  fc_kernel missing_kernel;
} fc_meter;

void fc_meter_init(fc_meter *meter, const fc_profile *profile);
/** The fit for (kernel, dtype), else a wider format's, a narrower one's, a sibling's; looked for once. */
const fc_fit_choice *fc_meter_choice(fc_meter *meter, fc_kernel kernel, fc_dtype dtype);
/** Format in which `kernel` computes when `wanted` is asked for: that of the fit found. */
fc_dtype fc_meter_dtype(fc_meter *meter, fc_kernel kernel, fc_dtype wanted);
/** Evaluates `op`, adds `count` calls to (pass, part) of the bill, returns the seconds of one. */
double fc_meter_add(fc_meter *meter, fc_pass pass, fc_part part, const fc_op *op, double count);
/** Seconds of one call, added nowhere; INFINITY: no kernel. */
double fc_meter_seconds(fc_meter *meter, fc_part part, const fc_op *op);
/** Spread of ln(total): operators of a family err together, families and shapes apart. */
double fc_meter_log_sd(const fc_meter *meter);

static inline double fc_bill_sum(const fc_bill *bill, fc_pass pass, fc_part from, fc_part to) {
  double sum = 0;
  for (int part = (int)from; part <= (int)to; part++) sum += bill->s[pass][part];
  return sum;
}

#endif
