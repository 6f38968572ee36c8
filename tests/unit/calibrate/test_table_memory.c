/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/predict.h>
#include <fleetcast/calibrate/table.h>

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "exhaust.h"

static const char text[] = "kernel,impl,dtype,kv_dtype,m,n,k,status,latency_us\n"
                           "gemm,b,bf16,,16,32,64,ok,5.5\n"
                           "gemm,\"a\",fp8,,16,32,64,ok,4.5\n"
                           "chain_decode,a,,,,,,ok,1\n"
                           "gemm,a,bf16,,16,32,,ok,6.5\n"
                           "gemm,c,bf16,,16,32,64,ok,\n"
                           "gemm,b,bf16,,17,32,64,ok,7.5\n";

static fc_device device(void) {
  fc_device d = {.memory_bytes_per_s = 1e12, .compute_units = 4, .scaleup_devices = 8};
  for (int i = 0; i < FC_DTYPE_COUNT; i++) d.peak_flop_per_s[i] = 1e14;
  return d;
}

typedef struct {
  const char *path;
  size_t points;
} file;

static fc_status read_file(void *subject) {
  file *f = subject;
  fc_device dev = device();
  fc_table_options options = {.device = &dev};
  fc_diags d;
  fc_diags_init(&d);
  fc_table table;
  fc_status status = fc_table_read(&table, &f->path, 1, &options, &d);
  f->points = table.n_points;
  fc_table_fini(&table);
  return status;
}

Test(table, every_allocation_may_fail) {
  char path[] = "/tmp/fc_memory_XXXXXX";
  int fd = mkstemp(path);
  cr_assert(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)(sizeof text - 1));
  (void)close(fd);
  file f = {.path = path};
  fc_exhaust(&(fc_exhaustion){.life = read_file, .subject = &f, .most = 200});
  cr_expect_eq(f.points, 3);
  (void)unlink(path);
}

Test(predict_file, every_allocation_may_fail) {
  fc_device dev = device();
  fc_kernel_fit fit = {.kernel = FC_KERNEL_GEMM,
                       .dtype = FC_DTYPE_BF16,
                       .impl = "b",
                       .form = FC_FORM_GEMM,
                       .coef = {.flop_per_s = 1e13, .bytes_per_s = 1e11},
                       .spread_shape = 0.1};
  fc_profile profile = {.device = &dev, .n_kernels = 1, .kernels = &fit};
  fc_predict_options options = {.threads = 1};
  for (size_t k = 0;; k++) {
    fc_diags d;
    fc_diags_init(&d);
    fc_chaos_arm(k, false);
    fc_scores scores;
    fc_status status = fc_predict_file(&scores, &profile, "m.csv", text, sizeof text - 1, &options, &d);
    size_t rows = scores.rows;
    fc_scores_fini(&scores);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    if (!fired) {
      cr_expect(status == FC_OK && rows == 6);
      break;
    }
    /* one that only makes a block smaller may fail unnoticed */
    cr_assert(status == FC_E_NOMEM || status == FC_OK, "allocation %zu", k);
    cr_assert_lt(k, 200);
  }
}
