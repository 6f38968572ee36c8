/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes: the reader of input files ends, in order, and what it accepts survives a round trip.  An
 * included file is the same bytes again; a referenced one is small and good, as long as it is called alpha.
 */
#include <fleetcast/scenario/load.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
  const uint8_t *data;
  size_t size;
} bytes;

static const struct {
  const char *end, *text;
} references[] = {
    {"devices/alpha.yaml",
     "kind: device\nvendor: v\npeak: {bf16: 1 PFLOP/s}\nmemory: 80 GB\nmemory_bandwidth: 3 TB/s\n"
     "compute_units: 100\npower: {tdp: 700 W}\n"},
    {"profiles/alpha.yaml",
     "kind: profile\ndevice: alpha\nkernels: [{kernel: memory, coefficients: {bandwidth: 2 TB/s}, "
     "provenance: measured}]\n"},
    {"models/tiny.yaml", "kind: model\nlayers: 4\nhidden: 256\nvocab: 1000\nffn: 1024\n"
                         "attention: {kind: gqa, heads: 8, kv_heads: 2, head_dim: 32}\n"},
    {"shapes/day.yaml",
     "kind: shape\nhours: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]\n"},
};

static bool ends_with(const char *path, const char *end) {
  size_t n = strlen(path), m = strlen(end);
  return n >= m && strcmp(path + n - m, end) == 0;
}

static fc_status give(char **out, size_t *length, const void *data, size_t size) {
  *out = malloc(size + 1);
  if (!*out) return FC_E_NOMEM;
  memcpy(*out, data, size);
  (*out)[size] = '\0';
  *length = size;
  return FC_OK;
}

static fc_status read_memory(void *context, char **out, size_t *length, const char *path) {
  const bytes *b = context;
  for (size_t i = 0; i < sizeof references / sizeof *references; i++)
    if (ends_with(path, references[i].end))
      return give(out, length, references[i].text, strlen(references[i].text));
  if (strncmp(path, "data/", 5) == 0 || strncmp(path, "./", 2) == 0) return FC_E_IO;
  return give(out, length, b->data, b->size);
}

static void check(bool law, const char *what, const char *text) {
  if (law) return;
  (void)fprintf(stderr, "%s:\n%s\n", what, text ? text : "");
  abort();
}

static void round_trip(const fc_input *input, const fc_load_options *options) {
  fc_text first = {0}, second = {0};
  check(fc_input_dump(input, &first) == FC_OK, "cannot dump", NULL);
  fc_diags d;
  fc_diags_init(&d);
  fc_input *again;
  fc_status status = fc_input_parse(&again, "dump", first.bytes, first.length, options, &d);
  check(status == FC_OK, d.n ? d.item[0].text : "the dump does not load", first.bytes);
  check(fc_input_dump(again, &second) == FC_OK, "cannot dump again", NULL);
  check(strcmp(first.bytes, second.bytes) == 0, first.bytes, second.bytes);
  fc_input_free(again);
  fc_text_fini(&first);
  fc_text_fini(&second);
}

static void one_quantity(const uint8_t *data, size_t size) {
  double v, back;
  fc_dim dim, same;
  char why[FC_UNITS_TEXT], text[FC_UNITS_TEXT];
  if (!fc_quantity_parse(&v, &dim, (const char *)data, size, why)) return;
  fc_quantity_format(text, v, dim);
  check(fc_quantity_parse(&back, &same, text, strlen(text), why), "a formatted quantity does not parse",
        text);
  check(fc_dim_equal(dim, same), "another dimension", text);
  if (fabs(v) > 1e-290) check(fabs(back - v) <= 1e-11 * fabs(v), "another value", text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > ((size_t)64 << 10)) return 0;
  one_quantity(data, size);
  bytes all = {data, size};
  const char *dirs[] = {"data"}, *set[] = {"name=x", "pools[0].lag=1 d"};
  fc_input_files files = {.read = read_memory, .context = &all};
  fc_load_options options = {.n_data_dirs = 1, .data_dirs = dirs, .set = set, .files = &files};
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  if (fc_input_parse(&input, "fuzz.yaml", (const char *)data, size, &options, &d) == FC_OK)
    round_trip(input, &options);
  else
    check(d.n_errors > 0 && !input, "refused without a word", NULL);
  fc_input_free(input);

  options.n_set = 1 + size % 2;
  options.files = NULL;
  (void)!fc_input_parse(&input, "fuzz.yaml", (const char *)data, size, &options, NULL);
  fc_input_free(input);
  return 0;
}
