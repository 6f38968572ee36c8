/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cases.h>
#include <fleetcast/base/file.h>
#include <row.h>

#include "exhaust.h"

/* Whatever allocation fails: a status, nothing lost, nothing half done. */

static const char *written; /* one test a process */

static fc_status describe_and_read(void *rows_read) {
  fc_bench_case c = {
      .op = FC_BENCH_GROUPED, .site = "up", .dtype = FC_DTYPE_FP8, .m = 512, .n = 256, .k = 128};
  c.groups = 4;
  fc_problem p;
  fc_machine machine = {.gpu = "a, \"device\"", .driver = "1", .library = "2"};
  fc_rows rows = {0};
  size_t *n = rows_read;
  *n = 0;
  fc_status status = fc_problem_init(&p, &c, 1, false);
  if (status) return status;
  fc_row row = {0};
  char *key = NULL;
  bool ok = fc_row_describe(&row, &p, NULL, "impl", &machine) &&
            fc_row_result(&row, &(fc_timing){.samples = 7, .median_us = 3}, "hot");
  if (ok) ok = (key = fc_row_key(&row)) != NULL;
  free(key);
  status = ok ? fc_rows_add(&rows, &row) : FC_E_NOMEM;
  fc_row_fini(&row);
  fc_rows_fini(&rows);
  if (!status) status = fc_rows_read(&rows, written, NULL);
  if (!status) *n = rows.n;
  fc_rows_fini(&rows);
  return status;
}

static void write_file(char path[32]) {
  (void)strcpy(path, "/tmp/fc_rows_XXXXXX");
  int fd = mkstemp(path);
  cr_assert(fd >= 0);
  FILE *f = fdopen(fd, "w");
  char *header = fc_row_header();
  cr_assert(f && header);
  (void)fputs(header, f);
  for (int i = 0; i < 3; i++) {
    for (int column = 0; column < FC_COLUMN_COUNT; column++) (void)fprintf(f, "%s%d", column ? "," : "", i);
    (void)fputc('\n', f);
  }
  (void)fclose(f);
  free(header);
}

Test(kernel_memory, rows) {
  char path[32];
  write_file(path);
  written = path;
  size_t n;
  fc_exhaust(&(fc_exhaustion){.life = describe_and_read, .subject = &n, .most = 1000});
  cr_expect_eq(n, 3);
}

static fc_status build(void *none) {
  (void)none;
  fc_cases cases, chain;
  fc_status status = fc_cases_build(&cases, FC_SCALE_GPU, false);
  if (status) return status;
  status = fc_chain_build(&chain, FC_SCALE_GPU, FC_CHAIN_TRAIN);
  if (!status) fc_cases_free(&chain);
  fc_cases_free(&cases);
  return status;
}

Test(kernel_memory, cases) {
  fc_exhaust(&(fc_exhaustion){.life = build, .most = 100});
}
