/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_rows.h"

#include <pthread.h>
#include <string.h>

#include "serve_tables.h"

enum { ROWS = 2048, HANDS_MOST = 8, CHUNKS_EACH = 4, NUMBERS = 17, ROW_BYTES = NUMBERS * FC_CSV_NUMBER_TEXT };

/* Filled by the caller, made into text by anybody, written by one at a time: in order. */
typedef enum { CHUNK_EMPTY, CHUNK_FULL, CHUNK_TEXT } chunk_state;

typedef struct {
  const fc_serve_def *def;
  fc_cluster_record *record; /* [ROWS] */
  size_t n;
  char *text;
  size_t length, capacity;
  chunk_state state;
} chunk;

struct fc_rows {
  table *t;
  chunk *chunk; /* a ring */
  size_t chunks;
  uint64_t filled, taken, written; /* chunks so far */
  bool writing, over;
  fc_status status;
  pthread_mutex_t lock;
  pthread_cond_t work, room; /* to be made into text; written */
  size_t hands;
  pthread_t hand[HANDS_MOST];
};

/* --- a row --- */

static char *put_int(char *p, long long value) {
  p += fc_csv_int_format(p, value);
  *p++ = ',';
  return p;
}

static char *put_seconds(char *p, fc_time ns) {
  p += fc_csv_number_format(p, fc_time_to_s(ns));
  *p++ = ',';
  return p;
}

static char *put_text(char *p, const char *text) {
  bool quoted = strpbrk(text, ",\"\r\n") != NULL;
  if (quoted) *p++ = '"';
  for (; *text; *p++ = *text++)
    if (*text == '"') *p++ = '"';
  if (quoted) *p++ = '"';
  *p++ = ',';
  return p;
}

static const char *class_of(const fc_serve_def *def, const fc_replica_record *q) {
  return q->slo_class < def->n_classes ? def->classes[q->slo_class].name : "";
}

static const char *refusal_of(const fc_cluster_record *record) {
  if (record->outcome == FC_OUTCOME_DONE) return "";
  if (record->outcome == FC_OUTCOME_LOST) return "lost";
  fc_refusal refused = record->request.refused;
  return refused == FC_REFUSED_NOT ? "router" : fc_serve_refusal_text(refused);
}

static char *put_latencies(char *p, const fc_replica_record *q) {
  double ttft = fc_time_to_s(q->first_token - q->arrival), e2e = fc_time_to_s(q->finish - q->arrival);
  p = put_seconds(p, q->first_token - q->arrival);
  if (q->output_tokens > 1) p += fc_csv_number_format(p, (e2e - ttft) / (double)(q->output_tokens - 1));
  *p++ = ',';
  return put_seconds(p, q->finish - q->arrival);
}

/* @return its end */
static char *put_row(char *p, const fc_serve_def *def, const fc_cluster_record *record) {
  const fc_replica_record *q = &record->request;
  p = put_int(p, (long long)q->number);
  p = put_text(p, class_of(def, q));
  p = put_int(p, q->session);
  p = put_int(p, q->turn);
  p = put_seconds(p, q->arrival);
  p = put_seconds(p, q->admitted);
  p = put_seconds(p, q->first_token);
  p = put_seconds(p, q->finish);
  p = put_int(p, q->input_tokens);
  p = put_int(p, q->output_tokens);
  p = put_int(p, q->cached_tokens);
  p = put_int(p, q->preemptions);
  if (record->replica >= 0)
    p = put_int(p, record->replica);
  else
    *p++ = ',';
  p = put_int(p, record->attempts);
  p = put_text(p, refusal_of(record));
  if (record->outcome == FC_OUTCOME_DONE) {
    p = put_latencies(p, q);
  } else {
    memset(p, ',', 3);
    p += 3;
  }
  p[-1] = '\n';
  return p;
}

/* --- a chunk --- */

static fc_status reserve(chunk *c, size_t more) {
  if (c->capacity - c->length >= more) return FC_OK;
  size_t capacity = 2 * c->capacity + more;
  char *grown = realloc(c->text, capacity);
  if (!grown) return FC_E_NOMEM;
  c->text = grown;
  c->capacity = capacity;
  return FC_OK;
}

static fc_status make_text(chunk *c) {
  c->length = 0;
  for (size_t i = 0; i < c->n; i++) {
    size_t name = strlen(class_of(c->def, &c->record[i].request));
    fc_status status = reserve(c, ROW_BYTES + 2 * name);
    if (status != FC_OK) return status;
    c->length = (size_t)(put_row(c->text + c->length, c->def, &c->record[i]) - c->text);
  }
  return FC_OK;
}

static chunk *chunk_at(const fc_rows *r, uint64_t number) {
  return &r->chunk[number % r->chunks];
}

/* --- turns; the lock is held, and given up meanwhile --- */

static void write_ready(fc_rows *r) {
  if (r->writing) return;
  r->writing = true;
  while (r->written < r->taken && chunk_at(r, r->written)->state == CHUNK_TEXT) {
    chunk *c = chunk_at(r, r->written);
    (void)pthread_mutex_unlock(&r->lock);
    fc_file_write(r->t->file, c->text, c->length);
    r->t->rows += c->n;
    (void)pthread_mutex_lock(&r->lock);
    c->n = 0;
    c->state = CHUNK_EMPTY;
    r->written++;
    (void)pthread_cond_broadcast(&r->room);
  }
  r->writing = false;
}

/* @return false: there was nothing to do */
static bool help(fc_rows *r) {
  if (r->taken == r->filled) return false;
  chunk *c = chunk_at(r, r->taken++);
  (void)pthread_mutex_unlock(&r->lock);
  fc_status status = make_text(c);
  (void)pthread_mutex_lock(&r->lock);
  if (status != FC_OK) r->status = status;
  c->state = CHUNK_TEXT;
  write_ready(r);
  return true;
}

static void *hand(void *context) {
  fc_rows *r = context;
  (void)pthread_mutex_lock(&r->lock);
  for (;;) {
    if (help(r)) continue;
    if (r->over) break;
    (void)pthread_cond_wait(&r->work, &r->lock);
  }
  (void)pthread_mutex_unlock(&r->lock);
  return NULL;
}

static void hand_over(fc_rows *r) {
  (void)pthread_mutex_lock(&r->lock);
  chunk_at(r, r->filled++)->state = CHUNK_FULL;
  if (r->hands)
    (void)pthread_cond_signal(&r->work);
  else
    (void)help(r);
  while (chunk_at(r, r->filled)->state != CHUNK_EMPTY)
    if (!help(r)) (void)pthread_cond_wait(&r->room, &r->lock);
  (void)pthread_mutex_unlock(&r->lock);
}

void fc_rows_add(fc_rows *r, const fc_serve_def *def, const fc_cluster_record *record) {
  chunk *c = chunk_at(r, r->filled);
  c->def = def;
  c->record[c->n++] = *record;
  if (c->n == ROWS) hand_over(r);
}

/* --- life --- */

static fc_status start(fc_rows *r, size_t hands) {
  if (pthread_mutex_init(&r->lock, NULL)) return FC_E_NOMEM;
  if (pthread_cond_init(&r->work, NULL)) {
    (void)pthread_mutex_destroy(&r->lock);
    return FC_E_NOMEM;
  }
  if (pthread_cond_init(&r->room, NULL)) {
    (void)pthread_cond_destroy(&r->work);
    (void)pthread_mutex_destroy(&r->lock);
    return FC_E_NOMEM;
  }
  if (hands > HANDS_MOST) hands = HANDS_MOST;
  while (r->hands < hands && !pthread_create(&r->hand[r->hands], NULL, hand, r)) r->hands++;
  return FC_OK;
}

static void fini(fc_rows *r) {
  for (size_t i = 0; r->chunk && i < r->chunks; i++) {
    free(r->chunk[i].record);
    free(r->chunk[i].text);
  }
  free(r->chunk);
  free(r);
}

fc_status fc_rows_new(fc_rows **out, table *t, size_t hands) {
  *out = NULL;
  fc_rows *r = calloc(1, sizeof *r);
  if (!r) return FC_E_NOMEM;
  r->t = t;
  r->chunks = CHUNKS_EACH * ((hands < HANDS_MOST ? hands : HANDS_MOST) + 1);
  r->chunk = calloc(r->chunks, sizeof *r->chunk);
  fc_status status = r->chunk ? FC_OK : FC_E_NOMEM;
  for (size_t i = 0; status == FC_OK && i < r->chunks; i++) {
    r->chunk[i].record = malloc(ROWS * sizeof *r->chunk[i].record);
    if (!r->chunk[i].record) status = FC_E_NOMEM;
  }
  if (status == FC_OK) status = start(r, hands);
  if (status != FC_OK) {
    fini(r);
    return status;
  }
  fc_serve_requests_header(t);
  *out = r;
  return FC_OK;
}

fc_status fc_rows_end(fc_rows *r) {
  if (!r) return FC_OK;
  (void)pthread_mutex_lock(&r->lock);
  if (chunk_at(r, r->filled)->n) chunk_at(r, r->filled++)->state = CHUNK_FULL;
  while (r->written < r->filled)
    if (!help(r)) (void)pthread_cond_wait(&r->room, &r->lock);
  r->over = true;
  (void)pthread_cond_broadcast(&r->work);
  (void)pthread_mutex_unlock(&r->lock);
  for (size_t i = 0; i < r->hands; i++) (void)pthread_join(r->hand[i], NULL);
  (void)pthread_cond_destroy(&r->room);
  (void)pthread_cond_destroy(&r->work);
  (void)pthread_mutex_destroy(&r->lock);
  fc_status status = r->status;
  fini(r);
  return status;
}
