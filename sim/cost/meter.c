/* SPDX-License-Identifier: Apache-2.0 */
#include "meter.h"

#include <math.h>
#include <string.h>

#include <fleetcast/base/assert.h>

/* Formats to try for one that a device or a profile lacks: wider ones first, then (fits only) any. */
static const fc_dtype WIDER[FC_DTYPE_COUNT] = {[FC_DTYPE_FP32] = FC_DTYPE_FP32,
                                               [FC_DTYPE_BF16] = FC_DTYPE_FP32,
                                               [FC_DTYPE_FP8] = FC_DTYPE_BF16,
                                               [FC_DTYPE_FP4] = FC_DTYPE_FP8,
                                               [FC_DTYPE_INT8] = FC_DTYPE_BF16};

const char *fc_kernel_text(fc_kernel kernel) {
#define FC_KERNEL_TEXT(name, text, form) text,
  static const char *const text[FC_KERNEL_COUNT] = {FC_KERNEL_MAP(FC_KERNEL_TEXT)};
#undef FC_KERNEL_TEXT
  FC_ASSERT(kernel >= 0 && kernel < FC_KERNEL_COUNT);
  return text[kernel];
}

/* Does a family have fits without local correction?  Then only those compose steps: the others are of
 * operator tables, whose forms alone are worth less. */
static bool has_plain(const fc_profile *profile, fc_kernel kernel) {
  for (size_t i = 0; i < profile->n_kernels; i++)
    if (profile->kernels[i].kernel == kernel && !profile->kernels[i].local) return true;
  return false;
}

const fc_kernel_fit *fc_profile_find(const fc_profile *profile, fc_kernel kernel, fc_dtype dtype) {
  bool plain = has_plain(profile, kernel);
  for (;;) {
    for (size_t i = 0; i < profile->n_kernels; i++) {
      const fc_kernel_fit *fit = &profile->kernels[i];
      if (fit->kernel == kernel && fit->dtype == dtype && !(plain && fit->local)) return fit;
    }
    if (WIDER[dtype] == dtype) return NULL;
    dtype = WIDER[dtype];
  }
}

/* Families that may stand in for one that a profile lacks, nearest first; itself: none. */
static const fc_kernel SIBLING[FC_KERNEL_COUNT] = {
    [FC_KERNEL_GEMM] = FC_KERNEL_GEMM,
    [FC_KERNEL_GEMM_WGRAD] = FC_KERNEL_GEMM,
    [FC_KERNEL_GROUPED_GEMM] = FC_KERNEL_GEMM,
    [FC_KERNEL_GROUPED_GEMM_MASKED] = FC_KERNEL_GROUPED_GEMM,
    [FC_KERNEL_ATTENTION_PREFILL] = FC_KERNEL_ATTENTION_PREFILL,
    [FC_KERNEL_ATTENTION_DECODE] = FC_KERNEL_ATTENTION_DECODE,
    [FC_KERNEL_ATTENTION_BACKWARD] = FC_KERNEL_ATTENTION_PREFILL,
    [FC_KERNEL_MLA_PREFILL] = FC_KERNEL_ATTENTION_PREFILL,
    [FC_KERNEL_MLA_DECODE] = FC_KERNEL_ATTENTION_DECODE,
    [FC_KERNEL_MLA_BACKWARD] = FC_KERNEL_ATTENTION_BACKWARD,
    [FC_KERNEL_MEMORY] = FC_KERNEL_MEMORY,
    [FC_KERNEL_GATHER] = FC_KERNEL_MEMORY,
    [FC_KERNEL_MOE_FFN] = FC_KERNEL_MOE_FFN,
    [FC_KERNEL_MLA_ABSORB_K] = FC_KERNEL_GEMM,
    [FC_KERNEL_MLA_ABSORB_V] = FC_KERNEL_GEMM,
    [FC_KERNEL_ALL_REDUCE] = FC_KERNEL_ALL_REDUCE,
    [FC_KERNEL_ALL_GATHER] = FC_KERNEL_ALL_REDUCE,
    [FC_KERNEL_REDUCE_SCATTER] = FC_KERNEL_ALL_GATHER,
    [FC_KERNEL_ALL_TO_ALL] = FC_KERNEL_ALL_GATHER,
    [FC_KERNEL_SEND_RECV] = FC_KERNEL_ALL_TO_ALL,
    [FC_KERNEL_EP_DISPATCH] = FC_KERNEL_ALL_TO_ALL,
    [FC_KERNEL_EP_COMBINE] = FC_KERNEL_EP_DISPATCH,
    [FC_KERNEL_EP_DISPATCH_LL] = FC_KERNEL_EP_DISPATCH,
    [FC_KERNEL_EP_COMBINE_LL] = FC_KERNEL_EP_COMBINE,
};

static void resolve(fc_meter *meter, fc_kernel kernel) {
  fc_fit_choice *row = meter->fit[kernel];
  static const fc_dtype order[] = {FC_DTYPE_FP32, FC_DTYPE_BF16, FC_DTYPE_FP8, FC_DTYPE_INT8, FC_DTYPE_FP4};
  const fc_kernel_fit *any = NULL;
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    if (row[order[i]].fit) any = row[order[i]].fit;
  if (!any) {
    fc_kernel sibling = SIBLING[kernel];
    if (sibling == kernel) return;
    resolve(meter, sibling); /* at most the length of the chain of siblings */
    for (int d = 0; d < FC_DTYPE_COUNT; d++)
      row[d] = (fc_fit_choice){meter->fit[sibling][d].fit, meter->fit[sibling][d].fit != NULL};
    return;
  }
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    fc_fit_choice *of = &row[order[i]];
    if (!of->fit) *of = row[WIDER[order[i]]];
    if (!of->fit) *of = (fc_fit_choice){any, true};
  }
}

void fc_meter_device_init(fc_meter_device *out, const fc_device *device, const fc_profile *profile) {
  *out = (fc_meter_device){0};
  out->units = device->compute_units > 0 ? (double)device->compute_units : 1;
  for (int d = 0; d < FC_DTYPE_COUNT; d++)
    if (device->peak_flop_per_s[d] > 0) out->per_flop_s[d] = 1 / device->peak_flop_per_s[d];
  /* a format without a peak computes as the next wider one */
  static const fc_dtype order[] = {FC_DTYPE_BF16, FC_DTYPE_FP8, FC_DTYPE_INT8, FC_DTYPE_FP4};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    if (!(out->per_flop_s[order[i]] > 0)) out->per_flop_s[order[i]] = out->per_flop_s[WIDER[order[i]]];
  out->per_byte_s = device->memory_bytes_per_s > 0 ? 1 / device->memory_bytes_per_s : 0;
  out->per_scaleup_s =
      device->scaleup_bytes_per_s > 0 ? 2 / device->scaleup_bytes_per_s : 0; /* one direction */
  out->per_scaleout_s = device->scaleout_bytes_per_s > 0 ? 1 / device->scaleout_bytes_per_s : 0;
  if (!profile) return;
  out->idle_w = device->idle_w;
  out->dynamic_w = device->tdp_w - device->idle_w;
  out->compute_w = profile->power_compute_fraction * out->dynamic_w;
  out->memory_w = profile->power_memory_fraction * out->dynamic_w;
}

void fc_meter_init(fc_meter *meter, const fc_profile *profile) {
  memset(meter, 0, sizeof *meter);
  meter->profile = profile;
  meter->weight = 1;
  meter->contention = profile->contention > 1 ? profile->contention : 1;
  fc_meter_device_init(&meter->device, profile->device, profile);
  meter->units = meter->device.units;
  bool plain[FC_KERNEL_COUNT];
  for (int k = 0; k < FC_KERNEL_COUNT; k++) plain[k] = false;
  for (size_t i = 0; i < profile->n_kernels; i++)
    if (!profile->kernels[i].local) plain[profile->kernels[i].kernel] = true;
  for (size_t i = 0; i < profile->n_kernels; i++) {
    const fc_kernel_fit *fit = &profile->kernels[i];
    if (plain[fit->kernel] && fit->local && !profile->engine) continue; /* as in fc_profile_find */
    fc_fit_choice *of = &meter->fit[fit->kernel][fit->dtype];
    if (!of->fit) of->fit = fit; /* the first wins, as in fc_profile_find */
  }
}

const fc_fit_choice *fc_meter_choice(fc_meter *meter, fc_kernel kernel, fc_dtype dtype) {
  const fc_fit_choice *choice = &meter->fit[kernel][dtype];
  if (!choice->fit) resolve(meter, kernel);
  return choice;
}

fc_dtype fc_meter_dtype(fc_meter *meter, fc_kernel kernel, fc_dtype wanted) {
  const fc_kernel_fit *fit = fc_meter_choice(meter, kernel, wanted)->fit;
  return fit ? fit->dtype : wanted;
}

double fc_meter_log_sd(const fc_meter *meter) {
  if (!(meter->seconds > 0)) return 0;
  double variance = meter->shape_variance;
  for (int k = 0; k < FC_KERNEL_COUNT; k++) variance += meter->systematic[k] * meter->systematic[k];
  return sqrt(variance) / meter->seconds;
}
