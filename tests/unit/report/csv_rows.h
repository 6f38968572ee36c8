/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_CSV_ROWS_H
#define FC_TEST_CSV_ROWS_H

#include <stdbool.h>
#include <stddef.h>

/* A reader of result files, as a user would write one; whatever goes wrong fails the test. */

enum { FIELDS = 40, ROWS = 4000 };

typedef struct {
  size_t n, columns;
  char *name[FIELDS];
  char *field[ROWS][FIELDS];
} csv;

/* A file whole, to free(). */
char *slurp(const char *path);
csv *read_csv(const char *path);
void free_csv(csv *t);
const char *get(const csv *t, size_t row, const char *column);
double number(const csv *t, size_t row, const char *column);
/* Do the given columns (pairs name, text; NULL at the end) have these texts? */
bool matches(const csv *t, size_t row, const char *const *pairs);
/* Sum of `value` over the rows that match, in their order. */
double sum_where(const csv *t, const char *const *pairs);
#define SUM(t, ...) sum_where((t), (const char *const[]){__VA_ARGS__, NULL})

#endif
