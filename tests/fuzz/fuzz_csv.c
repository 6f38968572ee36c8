/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/base/csv.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever the bytes: no crash, texts end in NUL, positions move on, each skipped row is told. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fc_diags d;
  fc_diags_init(&d);
  fc_csv_reader *reader;
  if (fc_csv_open(&reader, "fuzz", (const char *)data, size, &d)) {
    FC_ASSERT(d.n_errors == 1 && !reader);
    return 0;
  }
  const fc_csv_field *row;
  size_t line = 0;
  while (fc_csv_next(reader, &row, &d) == FC_OK && row) {
    FC_ASSERT(row[0].at.line > line && row[0].at.column == 1);
    for (size_t c = 0; c < fc_csv_columns(reader); c++) {
      FC_ASSERT(row[c].text[row[c].length] == '\0' && strlen(row[c].text) == row[c].length);
      FC_ASSERT(c == 0 || row[c].at.line > row[c - 1].at.line ||
                (row[c].at.line == row[c - 1].at.line && row[c].at.column > row[c - 1].at.column));
      double value;
      if (!fc_csv_number(&value, &row[c])) continue;
      char text[FC_CSV_NUMBER_TEXT];
      fc_csv_number_format(text, value);
      FC_ASSERT(strtod(text, NULL) == value);
    }
    line = row[0].at.line;
  }
  FC_ASSERT(fc_csv_skipped(reader) == d.n_errors);
  fc_csv_free(reader);
  return 0;
}
