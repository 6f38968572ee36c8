/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/workload/load.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines that are not blank, of a plain text: what must be a header, a request or a malformed row. */
static size_t count_lines(const uint8_t *data, size_t size) {
  size_t n = 0;
  for (size_t i = 0, end; i < size; i = end + 1) {
    const uint8_t *eol = memchr(data + i, '\n', size - i);
    end = eol ? (size_t)(eol - data) : size;
    size_t from = i == 0 && size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0 ? 3 : i, stop = end;
    if (stop > from && data[stop - 1] == '\r') stop--;
    while (from < stop && (data[from] == ' ' || data[from] == '\t')) from++;
    n += from < stop;
  }
  return n;
}

static void check_rows(const fc_trace *t) {
  const fc_trace_info *a = fc_trace_about(t);
  fc_time last = 0;
  size_t blocks = 0;
  for (size_t i = 0; i < a->requests; i++) {
    fc_trace_row row = fc_trace_at(t, i);
    FC_ASSERT(row.arrival >= last && row.input_tokens >= 1);
    FC_ASSERT(row.input_tokens <= FC_TRACE_TOKENS_MAX && row.output_tokens <= FC_TRACE_TOKENS_MAX);
    FC_ASSERT((uint64_t)row.n_blocks * a->block_tokens <= row.input_tokens);
    FC_ASSERT(row.slo_class == FC_TRACE_NONE || row.slo_class < a->classes);
    FC_ASSERT(row.group == UINT32_MAX || row.group < a->groups);
    last = row.arrival;
    blocks += row.n_blocks;
  }
  FC_ASSERT(blocks == a->blocks && last - fc_trace_at(t, 0).arrival == a->span);
}

/* Whatever was accepted can be replayed: each request once, in order, with another lap behind it. */
static void replay(const fc_trace *t) {
  size_t n = fc_trace_about(t)->requests;
  fc_load_def def = fc_load_default_def();
  def.arrive = FC_ARRIVE_TRACE;
  def.trace = t;
  def.repeat = true;
  def.requests = n + 1;
  def.input_max = 1 << 16;
  fc_load *l;
  FC_ASSERT(fc_load_new(&l, &def, "fuzz", NULL) == FC_OK);
  fc_request_source s = fc_load_source(l);
  fc_request r;
  fc_time at, last = 0;
  uint64_t taken = 0;
  for (; s.peek(s.context, &at); taken++) {
    s.take(s.context, &r);
    FC_ASSERT(r.arrival == at && at >= last && r.number == taken);
    FC_ASSERT(r.input_tokens >= 1 && r.input_tokens <= def.input_max);
    FC_ASSERT((uint64_t)r.n_blocks * r.block_tokens <= r.input_tokens);
    s.done(s.context, r.number, at);
    last = at;
  }
  FC_ASSERT(taken == n + 1 || (taken == n && last > FC_TIME_MAX / 8)); /* a century is the end */
  fc_load_free(l);
}

/* Whatever the bytes: no crash; each line is a request, or told or counted; what is read is in order. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > ((size_t)64 << 10)) return 0; /* packed, it may be a thousand times as much */
  fc_diags d;
  fc_diags_init(&d);
  fc_trace *t;
  if (fc_trace_parse(&t, "fuzz", data, size, &d)) {
    FC_ASSERT(d.n_errors > 0 && !t);
    return 0;
  }
  const fc_trace_info *a = fc_trace_about(t);
  FC_ASSERT(a->requests > 0 && d.n_errors == 0);
  FC_ASSERT(d.n >= (a->malformed < FC_TRACE_TOLD ? a->malformed : FC_TRACE_TOLD));
  bool packed = size >= 2 && data[0] == 0x1f && data[1] == 0x8b;
  if (!packed)
    FC_ASSERT(a->requests + a->malformed + (a->format != FC_TRACE_MOONCAKE) == count_lines(data, size));
  check_rows(t);
  replay(t);
  fc_trace_free(t);
  return 0;
}
