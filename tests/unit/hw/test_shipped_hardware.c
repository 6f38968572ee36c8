/* SPDX-License-Identifier: Apache-2.0 */
/* The shipped devices and profiles: complete, and nowhere better than the datasheet. */
#include <fleetcast/scenario/load.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

static fc_input *load(const char *folder, const char *name) {
  static const char *const dirs[] = {FC_SOURCE_DIR "/scenarios"};
  fc_load_options options = {.n_data_dirs = 1, .data_dirs = dirs};
  char path[512], message[512] = "";
  (void)snprintf(path, sizeof path, "%s/scenarios/%s/%s.yaml", FC_SOURCE_DIR, folder, name);
  fc_diags diags;
  fc_diags_init(&diags);
  fc_input *input = NULL;
  fc_status status = fc_input_load(&input, path, &options, &diags);
  if (diags.n > 0) (void)fc_diag_format(message, sizeof message, &diags.item[0]);
  cr_assert_eq(status, FC_OK, "%s: %s", path, message);
  return input;
}

/* Calls `each` for every device that is shipped; there are many. */
static void for_each_device(void (*each)(const char *name)) {
  DIR *folder = opendir(FC_SOURCE_DIR "/scenarios/devices");
  cr_assert_not_null(folder);
  int n = 0;
  for (struct dirent *entry; (entry = readdir(folder));) {
    char name[256];
    (void)snprintf(name, sizeof name, "%s", entry->d_name);
    char *dot = strstr(name, ".yaml");
    if (!dot) continue;
    *dot = '\0';
    each(name);
    n++;
  }
  (void)closedir(folder);
  cr_assert_geq(n, 20);
}

static bool is_collective(fc_kernel kernel) {
  return kernel >= FC_KERNEL_ALL_REDUCE;
}

/* Written numbers are rounded to four digits. */
static bool above(double value, double limit) {
  return value > limit * (1 + 1e-3);
}

static void device_is_whole(const char *name) {
  fc_input *input = load("devices", name);
  const fc_device *d = fc_input_device(input);
  cr_assert_str_eq(d->name, name);
  cr_assert(d->title && d->vendor);
  cr_assert(d->peak_flop_per_s[FC_DTYPE_BF16] > 0, "%s", name);
  cr_assert(d->scaleup_bytes_per_s > d->scaleout_bytes_per_s && d->scaleout_bytes_per_s > 0, "%s", name);
  cr_assert(d->scaleup_devices >= 1 && d->node_devices >= 1, "%s", name);
  cr_assert(d->idle_w > 0 && d->idle_w < d->tdp_w && d->server_w >= d->tdp_w, "%s: power", name);
  fc_time now;
  cr_assert(fc_time_parse(&now, "2026-06", 7));
  double rent = fc_series_at(&d->rent_usd_per_s, now) * 3600, price = fc_series_at(&d->purchase_usd, now);
  double system = fc_series_at(&d->system_usd, now);
  cr_assert(rent > 0.1 && rent < 10, "%s: %g USD/h", name, rent);
  cr_assert(price > 1000 && price < system && system < 1e5, "%s: %g, %g USD", name, price, system);
  cr_assert(fc_device_h100e(d) > 0.1 && fc_device_h100e(d) < 3, "%s", name);
  fc_input_free(input);
}

Test(shipped_devices, are_whole_and_plausible) {
  for_each_device(device_is_whole);
}

/* Families of operator tables that steps are not composed of. */
static bool is_measured_whole(fc_kernel kernel) {
  return kernel == FC_KERNEL_MOE_FFN || kernel == FC_KERNEL_MLA_ABSORB_K || kernel == FC_KERNEL_MLA_ABSORB_V;
}

static void profile_keeps_to_the_datasheet(const char *name) {
  fc_input *input = load("profiles", name);
  const fc_profile *p = fc_input_profile(input);
  const fc_device *d = p->device;
  cr_assert_str_eq(p->device_name, name);
  for (int kernel = FC_KERNEL_GEMM; kernel < FC_KERNEL_COUNT; kernel++) {
    if (is_measured_whole((fc_kernel)kernel)) continue;
    const fc_kernel_fit *fit = fc_profile_find(p, (fc_kernel)kernel, FC_DTYPE_BF16);
    cr_assert(fit && fit->kernel == (fc_kernel)kernel, "%s has no %s", name,
              fc_kernel_text((fc_kernel)kernel));
  }
  for (size_t i = 0; i < p->n_kernels; i++) {
    const fc_kernel_fit *fit = &p->kernels[i];
    const fc_coef *c = &fit->coef;
    const char *kernel = fc_kernel_text(fit->kernel);
    double widest = is_collective(fit->kernel) ? d->scaleup_bytes_per_s / 2 : d->memory_bytes_per_s;
    cr_assert(!above(c->flop_per_s, d->peak_flop_per_s[fit->dtype]), "%s %s: rate above the peak", name,
              kernel);
    cr_assert(!above(c->bytes_per_s, widest), "%s %s: bandwidth above the datasheet", name, kernel);
    cr_assert(!above(c->net_bytes_per_s, d->scaleout_bytes_per_s), "%s %s: network above the port", name,
              kernel);
    cr_assert(!is_collective(fit->kernel) || c->net_bytes_per_s > 0, "%s %s has no network", name, kernel);
    /* a fit with anchors states what its own table leaves open, not what another device of the kind does */
    cr_assert((fit->local || fit->spread_systematic >= 0.03) && fit->spread_shape > 0, "%s %s: no spread",
              name, kernel);
    cr_assert(fit->source && strlen(fit->source) > 20, "%s %s: no source", name, kernel);
  }
  cr_assert(p->contention >= 1 && p->launch_s > 0 && p->iteration_host_s > 0, "%s: overheads", name);
  fc_input_free(input);
}

Test(shipped_profiles, cover_every_kernel_and_keep_to_the_datasheet) {
  for_each_device(profile_keeps_to_the_datasheet);
}

/* A device whose peak has a format runs its matrix products in it. */
static void narrow_formats_are_there(const char *name) {
  static const fc_kernel products[] = {FC_KERNEL_GEMM, FC_KERNEL_GROUPED_GEMM, FC_KERNEL_GROUPED_GEMM_MASKED};
  fc_input *input = load("profiles", name);
  const fc_profile *p = fc_input_profile(input);
  for (int dtype = FC_DTYPE_FP8; dtype <= FC_DTYPE_FP4; dtype++)
    for (int i = 0; i < 3 && p->device->peak_flop_per_s[dtype] > 0; i++) {
      const fc_kernel_fit *fit = fc_profile_find(p, products[i], (fc_dtype)dtype);
      cr_assert(fit && fit->dtype == (fc_dtype)dtype, "%s: no %s in %s", name, fc_kernel_text(products[i]),
                fc_dtype_text((fc_dtype)dtype));
    }
  fc_input_free(input);
}

Test(shipped_profiles, have_the_formats_of_their_device) {
  for_each_device(narrow_formats_are_there);
}

/* Narrower links and the same chip: H800 and H100 share all compute kernels' regime, not their collectives.
 */
Test(shipped_profiles, h800_is_an_h100_with_less_nvlink) {
  fc_input *a = load("profiles", "h800"), *b = load("profiles", "h100");
  const fc_profile *h800 = fc_input_profile(a), *h100 = fc_input_profile(b);
  cr_assert_eq(h800->device->peak_flop_per_s[FC_DTYPE_FP8], h100->device->peak_flop_per_s[FC_DTYPE_FP8]);
  static const fc_kernel links[] = {FC_KERNEL_ALL_REDUCE, FC_KERNEL_ALL_TO_ALL, FC_KERNEL_EP_DISPATCH};
  for (int i = 0; i < 3; i++) {
    double slow = fc_profile_find(h800, links[i], FC_DTYPE_BF16)->coef.bytes_per_s;
    double fast = fc_profile_find(h100, links[i], FC_DTYPE_BF16)->coef.bytes_per_s;
    cr_assert(slow < 0.7 * fast, "%s", fc_kernel_text(links[i]));
  }
  fc_input_free(a);
  fc_input_free(b);
}

/* What was transferred says so by its width: never surer than the H100's own fit of the same kernel. */
static void transfer_widens(const char *name) {
  fc_input *input = load("profiles", name), *donor = load("profiles", "h100");
  const fc_profile *p = fc_input_profile(input), *h100 = fc_input_profile(donor);
  for (size_t i = 0; i < p->n_kernels; i++) {
    const fc_kernel_fit *fit = &p->kernels[i];
    if (fit->provenance != FC_PROVENANCE_TRANSFERRED) continue;
    cr_assert_geq(fit->spread_systematic, 0.07, "%s %s", name, fc_kernel_text(fit->kernel));
  }
  if (p->provenance == FC_PROVENANCE_TRANSFERRED && strcmp(p->device->vendor, "NVIDIA") != 0) {
    const fc_kernel_fit *own = fc_profile_find(p, FC_KERNEL_GEMM, FC_DTYPE_BF16);
    const fc_kernel_fit *theirs = fc_profile_find(h100, FC_KERNEL_GEMM, FC_DTYPE_BF16);
    cr_assert_gt(own->spread_systematic, 4 * theirs->spread_systematic, "%s", name);
  }
  fc_input_free(input);
  fc_input_free(donor);
}

Test(shipped_profiles, transferred_ones_are_wider) {
  for_each_device(transfer_widens);
}
