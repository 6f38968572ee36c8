/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/load.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <zlib.h>

#include "exhaust.h"

/* Rows out of order, groups and classes: more than the first room of every array. */
static size_t write_text(char *text, size_t room) {
  size_t n = (size_t)snprintf(text, room, "arrival_s,input_tokens,output_tokens,prefix_group,class\n");
  for (int i = 0; i < 1500; i++)
    n += (size_t)snprintf(text + n, room - n, "%d,%d,3,group %d,%s\n", i ^ 1, i % 100 + 1, i % 200,
                          i % 2 ? "batch" : "chat");
  return n;
}

static size_t write_json(char *text, size_t room) {
  size_t n = 0;
  for (int i = 0; i < 300; i++)
    n += (size_t)snprintf(text + n, room - n,
                          "{\"timestamp\": %d, \"input_length\": 2560, \"output_length\": 1, "
                          "\"hash_ids\": [0, 1, %d, %d, 4]}\n",
                          i, i, i + 1);
  return n;
}

static size_t pack(unsigned char *out, size_t room, char *text, size_t length) {
  z_stream z = {0};
  cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = (unsigned char *)text;
  z.avail_in = (uInt)length;
  z.next_out = out;
  z.avail_out = (uInt)room;
  cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
  (void)deflateEnd(&z);
  return room - z.avail_out;
}

enum { ROOM = 1 << 17 };
static char text[ROOM], json[ROOM];
static unsigned char packed[ROOM];

/* A load of every part, used until it ends.  @return the first refusal, wherever it was met */
static fc_status use(const fc_load_def *def) {
  fc_load *l;
  fc_status status = fc_load_new(&l, def, "t", NULL);
  cr_assert_eq(status == FC_OK, l != NULL);
  if (status) return status;
  fc_request_source s = fc_load_source(l);
  fc_time at;
  fc_request r;
  uint64_t n = 0, ended = 0;
  while (s.peek(s.context, &at)) {
    s.take(s.context, &r);
    if (++n > 150) s.done(s.context, ended++, at); /* many sessions at once, then one by one */
  }
  status = fc_load_status(l);
  cr_assert(status == FC_OK || !s.peek(s.context, &at), "a refusal is final");
  if (status == FC_OK) cr_assert_eq(n, def->requests);
  fc_load_free(l);
  return status;
}

typedef struct {
  size_t n_packed, n_json;
} lengths;

static fc_status live(void *subject) {
  const lengths *n = subject;
  fc_trace *t, *j;
  fc_status status = fc_trace_parse(&t, "t", packed, n->n_packed, NULL);
  cr_assert_eq(status == FC_OK, t != NULL);
  if (status) return status;
  status = fc_trace_parse(&j, "j", json, n->n_json, NULL);
  if (!status) {
    fc_load_def def = fc_load_default_def();
    def.rate_per_s = 1;
    def.requests = 400;
    def.prefix = (fc_prefix_def){.share = 0.5, .groups = 5, .zipf = 1, .tokens = fc_dist_point(100)};
    def.session.turns = fc_dist_point(3);
    def.n_classes = 2;
    def.trace = t;
    status = use(&def);
    def.session.turns = fc_dist_point(1);
    def.arrive = FC_ARRIVE_AT_ONCE;
    def.concurrency = 200;
    def.in_order = true;
    if (!status) status = use(&def);
    def.trace = j;
    def.repeat = true;
    if (!status) status = use(&def);
  }
  fc_trace_free(j);
  fc_trace_free(t);
  return status;
}

static void exhaust(bool and_later) {
  lengths n = {pack(packed, sizeof packed, text, write_text(text, sizeof text)),
               write_json(json, sizeof json)};
  fc_exhaust(&(fc_exhaustion){.life = live, .subject = &n, .and_later = and_later, .least = 40});
}

Test(load_memory, every_single_refusal_is_reported) {
  exhaust(false);
}

Test(load_memory, every_permanent_refusal_is_reported) {
  exhaust(true);
}

/* The text is not kept: a long file costs the buffers and 24 bytes a row, doubled while an array grows. */
Test(load_memory, a_long_file_is_not_kept) {
  enum { ROWS = 200000, WIDTH = 80 };
  size_t room = (size_t)(ROWS + 1) * WIDTH, n = 0;
  char *long_text = malloc(room);
  cr_assert_not_null(long_text);
  n += (size_t)snprintf(long_text, room, "arrival_s,input_tokens,output_tokens\n");
  for (int i = 0; i < ROWS; i++) n += (size_t)snprintf(long_text + n, room - n, "%60d,100,    10\n", i);
  fc_chaos_arm((size_t)-1, false);
  fc_trace *t;
  cr_assert_eq(fc_trace_parse(&t, "t", long_text, n, NULL), FC_OK);
  cr_assert_lt(fc_chaos_bytes(), (size_t)ROWS * 24 * 4 + (2 << 20), "%zu bytes", fc_chaos_bytes());
  fc_trace_free(t);
  (void)fc_chaos_disarm();
  cr_assert_eq(fc_chaos_live(), 0);
  free(long_text);
}

/* Replaying, drawing and closed loops ask for nothing after the start. */
Test(load_memory, taking_requests_allocates_nothing) {
  fc_load_def def = fc_load_default_def();
  def.rate_per_s = 1;
  def.requests = 5000;
  def.prefix.share = 0.5;
  def.concurrency = 10;
  fc_load *l;
  cr_assert_eq(fc_load_new(&l, &def, "t", NULL), FC_OK);
  fc_request_source s = fc_load_source(l);
  fc_time at;
  fc_request r;
  fc_chaos_arm(0, true);
  while (s.peek(s.context, &at)) {
    s.take(s.context, &r);
    s.done(s.context, r.number, at);
  }
  cr_assert_not(fc_chaos_disarm());
  cr_assert_eq(fc_load_so_far(l).requests, 5000);
  fc_load_free(l);
}
