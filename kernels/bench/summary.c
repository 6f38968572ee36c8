/* SPDX-License-Identifier: Apache-2.0 */
#include "summary.h"

#include <math.h>
#include <string.h>

/* --- the published figures that our kernels are held against --- */

typedef struct {
  const char *what, *kernel, *site;
  int64_t m, n, groups, batch, heads, kv_len; /* 0: any */
  double value;                               /* FLOP/s, or bytes/s */
  bool bandwidth;
  const char *source;
} published;

/* H800 SXM5 has the H100's SMs, clocks and HBM.  The gate is
 * 90 % of each (design notes, kernels.md section 3). */
static const published figures[] = {
    {"grouped contiguous, 4 x 8192 x 4096 x 7168", "grouped_gemm", "up", 32768, 4096, 4, 0, 0, 0, 1297e12,
     false, "DeepGEMM README, H800, Feb 2025"},
    {"grouped contiguous, 4 x 8192 x 7168 x 2048", "grouped_gemm", "down", 32768, 7168, 4, 0, 0, 0, 1099e12,
     false, "DeepGEMM README, H800, Feb 2025"},
    {"grouped masked, 4 x 256 x 4096 x 7168", "grouped_gemm_masked", "up", 1024, 4096, 4, 0, 0, 0, 932e12,
     false, "DeepGEMM README, H800, Feb 2025"},
    {"dense o_proj, 4096 x 7168 x 16384", "gemm", "o_proj", 4096, 7168, 0, 0, 0, 0, 1358e12, false,
     "DeepGEMM README, H800, Feb 2025"},
    {"MLA decode, 128 x 4096, 128 heads", "mla_decode", "", 0, 0, 0, 128, 128, 4096, 660e12, false,
     "FlashMLA README, H800, Apr 2025"},
    {"MLA prefill, 4096", "mla_prefill", "", 0, 0, 0, 0, 128, 4096, 599e12, false,
     "cuDNN 9.19.1 release notes, H200"},
    {"copy", "ceiling_copy", "memory", 0, 0, 0, 0, 0, 0, 3.0e12, true, "measured, H100 SXM5 (design notes)"},
    {"RMSNorm + quantise, best of all T x 7168", "norm_q", "hidden", 0, 0, 0, 0, 0, 0, 3.0e12, true,
     "90 % of copy is the gate"},
    {"SwiGLU + quantise", "swiglu_q", "inter", 0, 0, 0, 0, 0, 0, 3.0e12, true, "90 % of copy is the gate"},
    {"permute", "perm", "", 0, 0, 0, 0, 0, 0, 3.0e12, true, "90 % of copy is the gate"},
};

static bool is_text(const fc_row *row, fc_column column, const char *want) {
  const char *got = row->field[column];
  return strcmp(got ? got : "", want) == 0;
}

static bool is_number(const fc_row *row, fc_column column, int64_t want) {
  return want == 0 || fc_row_number(row, column) == (double)want;
}

static bool is_measured(const fc_row *row) {
  return fc_row_number(row, FC_COLUMN_latency_us) > 0;
}

static bool is_at(const fc_row *row, const published *p) {
  return is_measured(row) && is_text(row, FC_COLUMN_kernel, p->kernel) &&
         is_text(row, FC_COLUMN_regime, "burst") && (!*p->site || is_text(row, FC_COLUMN_site, p->site)) &&
         is_number(row, FC_COLUMN_m, p->m) && is_number(row, FC_COLUMN_n, p->n) &&
         is_number(row, FC_COLUMN_experts, p->groups) && is_number(row, FC_COLUMN_batch, p->batch) &&
         is_number(row, FC_COLUMN_heads, p->heads) && is_number(row, FC_COLUMN_kv_len, p->kv_len);
}

static double rate(const fc_row *row, fc_column amount) {
  return fc_row_number(row, amount) / fc_row_number(row, FC_COLUMN_latency_us) * 1e6;
}

static void print_published(FILE *to, const fc_rows *rows) {
  (void)fprintf(to, "\n%-44s %-14s %10s %10s %7s\n", "BESIDE THE PUBLISHED FIGURES", "best impl", "measured",
                "published", "share");
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
    const published *p = &figures[i];
    double best = 0;
    const char *impl = "";
    for (size_t j = 0; j < rows->n; j++) {
      const fc_row *row = &rows->item[j];
      if (!is_at(row, p)) continue;
      double got = rate(row, p->bandwidth ? FC_COLUMN_bytes_moved : FC_COLUMN_flop);
      if (!(got > best)) continue;
      best = got;
      impl = row->field[FC_COLUMN_impl];
    }
    const char *unit = p->bandwidth ? "TB/s" : "TFLOP/s";
    if (best > 0)
      (void)fprintf(to, "%-44s %-14s %10.4g %10.4g %6.0f %% %s; %s\n", p->what, impl, best / 1e12,
                    p->value / 1e12, 100 * best / p->value, unit, p->source);
    else
      (void)fprintf(to, "%-44s %-14s %10s %10.4g %7s %s; %s\n", p->what, "-", "-", p->value / 1e12, "-", unit,
                    p->source);
  }
}

/* --- a line a family --- */

static bool is_family(const fc_row *a, const fc_row *b) {
  static const fc_column same[] = {FC_COLUMN_kernel, FC_COLUMN_impl, FC_COLUMN_dtype};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    const char *x = b->field[same[i]];
    if (!is_text(a, same[i], x ? x : "")) return false;
  }
  return true;
}

typedef struct {
  size_t points, timed_out, skipped, failed;
  double flop_per_s, bytes_per_s, least_us;
} family;

static void add_row(family *f, const fc_row *row) {
  const char *status = row->field[FC_COLUMN_status];
  if (!is_measured(row)) {
    if (status && strncmp(status, "failed", 6) == 0)
      f->failed++;
    else
      f->skipped++;
    return;
  }
  f->points++;
  if (status && strcmp(status, "timeout") == 0) f->timed_out++;
  f->flop_per_s = fmax(f->flop_per_s, rate(row, FC_COLUMN_flop));
  f->bytes_per_s = fmax(f->bytes_per_s, rate(row, FC_COLUMN_bytes_moved));
  double us = fc_row_number(row, FC_COLUMN_latency_us);
  if (f->points == 1 || us < f->least_us) f->least_us = us;
}

static void print_family(FILE *to, const fc_row *first, const family *f) {
  char flop[16] = "-", bytes[16] = "-", least[16] = "-";
  if (f->flop_per_s > 0) (void)snprintf(flop, sizeof flop, "%.1f", f->flop_per_s / 1e9);
  if (f->bytes_per_s > 0) (void)snprintf(bytes, sizeof bytes, "%.1f", f->bytes_per_s / 1e9);
  if (f->points > 0) (void)snprintf(least, sizeof least, "%.1f", f->least_us);
  const char *dtype = first->field[FC_COLUMN_dtype], *impl = first->field[FC_COLUMN_impl];
  (void)fprintf(to, "%-20s %-14s %-9s %6zu %7zu %7zu %6zu %10s %12s %10s\n", first->field[FC_COLUMN_kernel],
                impl ? impl : "-", dtype ? dtype : "-", f->points, f->timed_out, f->skipped, f->failed, least,
                flop, bytes);
}

void fc_summary_print(FILE *to, const fc_rows *rows) {
  if (rows->n == 0) {
    (void)fputs("no points\n", to);
    return;
  }
  const char *gpu = rows->item[0].field[FC_COLUMN_gpu], *library = rows->item[0].field[FC_COLUMN_library];
  (void)fprintf(to, "%s, %s\n\n%-20s %-14s %-9s %6s %7s %7s %6s %10s %12s %10s\n", gpu ? gpu : "?",
                library ? library : "?", "kernel", "impl", "dtype", "points", "timeout", "skipped", "failed",
                "least us", "best GFLOP/s", "best GB/s");
  for (size_t i = 0; i < rows->n; i++) {
    const fc_row *row = &rows->item[i];
    bool is_first = true;
    for (size_t j = 0; j < i && is_first; j++) is_first = !is_family(&rows->item[j], row);
    if (!is_first) continue;
    family f = {0};
    for (size_t j = i; j < rows->n; j++)
      if (is_family(&rows->item[j], row)) add_row(&f, &rows->item[j]);
    print_family(to, row, &f);
  }
  if (gpu && strstr(gpu, "NVIDIA")) print_published(to, rows);
}
