/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_CALIBRATE_PROFILE_TEXT_H
#define FC_TESTS_CALIBRATE_PROFILE_TEXT_H

#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <string.h>

/* A profile with everything a kernel may have, digits that do not fit, several operators in a family. */
static const char profile_text[] =
    "kind: profile\nname: some\ndevice: alpha\nsource: \"a \\\"quoted\\\" \\\\ source\"\n"
    "measurements_sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nkernels:\n"
    "  - kernel: gemm\n    dtype: fp8\n    format: fp8_block\n    impl: \"a: b\"\n"
    "    coefficients: {t0: 2.28949 us, flop_rate: 831.26 TFLOP/s, bandwidth: 999.96 GB/s, tile_time: "
    "0.43191 us, "
    "sharpness: 3.41999}\n"
    "    covariance: [0.25001, 0.1, 0.25, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0.0101]\n"
    "    spread: {systematic: 0.0612, shape: 0.11, noise: 0.01, launch: 0.2, memory: 0.1, compute: 0.05}\n"
    "    range: {min_flop: 65536 FLOP, max_flop: 27.487 TFLOP, min_bytes: 66303 B, max_bytes: 999.9 MB}\n"
    "    points: 1234\n"
    "    local:\n      coordinates: [ln_m, ln_n, ln_k]\n      smooth: 0.1234567\n      rough: 0.05\n      "
    "own: 0.01\n"
    "      length: [1.5, 2, 0.3333333]\n      rough_length: [3, 4, 5]\n      scale: 1.645\n      floor: "
    "0.02\n"
    "      support: 0.9\n      anchors: |\n        m,n,k,weight,scatter\n        "
    "1,4096,7168,-0.1234567,0.01\n"
    "        128,2112.5,7168,12.5,0\n        4097,24576,1536,1e-05,0.25\n"
    "    provenance: measured\n"
    "  - kernel: gemm\n    dtype: fp8\n    format: fp8_block\n    impl: other\n"
    "    coefficients: {flop_rate: 16.5 PFLOP/s, bandwidth: 2.7 TB/s}\n    provenance: published\n    "
    "source: there\n"
    "  - kernel: attention_decode\n    kv_format: fp8\n"
    "    coefficients: {t0: 9.625 us, flop_rate: 61.44 TFLOP/s, bandwidth: 2.732 TB/s, half_length: 425.5 "
    "tokens}\n"
    "    local:\n      coordinates: [ln_kv]\n      smooth: 0.1\n      length: [1]\n      rough_length: [1]\n"
    "      scale: 2\n      anchors: |\n        batch,heads,kv_heads,head_dim,q_len,kv_len,weight,scatter\n"
    "        64,8,1,128,1,4096,0.5,0.1\n"
    "    provenance: measured\n"
    "  - kernel: memory\n    coefficients: {t0: 2.2 us, bandwidth: 2.7 TB/s, half_bytes: 0.05711 MB}\n"
    "    local:\n      coordinates: [operator, ln_rows]\n      smooth: 0.1\n      length: [1, 1]\n"
    "      rough_length: [1, 1]\n      scale: 2\n      anchors: |\n        op,m,n,bytes,weight,scatter\n"
    "        norm_q,4096,7168,0,0.5,0.1\n        copy,0,0,1e+09,-0.5,0.1\n"
    "    provenance: measured\n"
    "  - kernel: moe_ffn\n    coefficients: {t0: 6 us, flop_rate: 800 TFLOP/s, bandwidth: 2.7 TB/s}\n"
    "    provenance: transferred\n"
    "  - kernel: all_reduce\n    coefficients: {t0: 1.885 us, bandwidth: 314 GB/s, hop: 4.958 us, net_t0: "
    "16.89 us, "
    "net_bandwidth: 45 GB/s}\n    provenance: measured\n"
    "overheads: {launch: 1 us, iteration_host: 0.6 ms, step_host: 50 ms, contention: 1.9, "
    "comm_compute_units: 20}\n"
    "power: {compute_fraction: 0.95, memory_fraction: 0.6}\n";

static const char *const profile_dirs[] = {FC_SOURCE_DIR "/tests/support/data"};

static inline fc_input *load_profile(const char *bytes, size_t length) {
  fc_diags d;
  fc_diags_init(&d);
  fc_load_options options = {
      .expect = FC_INPUT_PROFILE, .n_data_dirs = 1, .data_dirs = profile_dirs, .files = &fc_input_disk};
  fc_input *input;
  fc_status status = fc_input_parse(&input, "p.yaml", bytes, length, &options, &d);
  for (size_t i = 0; i < d.n; i++)
    cr_log_error("%zu:%zu %s", d.item[i].at.line, d.item[i].at.column, d.item[i].text);
  cr_assert_eq(status, FC_OK, "%s\n%s", fc_status_text(status), bytes);
  return input;
}

#endif
