/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/predict.h>

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <fleetcast/base/assert.h>

#include "family.h"
#include "memo.h"

/* The file is cut into parts of about this many bytes, at ends of rows.  Threads take parts in turn and merge
 * them in order, so that neither bytes nor sums depend on how many threads there are. */
enum { PART_BYTES = 1 << 18, THREADS_MAX = 256, US_PER_S = 1000000 };

static const char added[] = ",predicted_us,low_us,high_us";

typedef struct {
  const fc_predictors *predictors;
  const fc_columns *columns;
  const char *source, *end;
  const fc_predict_options *options;
  fc_diags *d;

  pthread_mutex_t lock;
  pthread_cond_t turn;
  size_t bytes;
  const char *next;     /* first byte that no thread has taken */
  size_t taken, merged; /* parts */
  size_t line;          /* of the part that is merged next */
  fc_status status;     /* the first that is not FC_OK ends all */
  size_t rows, others, unmodelled, malformed;
  size_t n_families, family_room;
  fc_scored *family;
} job;

/* A row of a part. */
typedef struct {
  const char *start, *stop; /* as it stands */
  size_t line;
  size_t family;      /* its index; NONE: no prediction */
  double measured_us; /* NaN: none */
  fc_prediction p;
} record;

#define NONE SIZE_MAX

/* Calls of one family that wait to be predicted together. */
typedef struct {
  size_t n;
  size_t record[FC_FAMILY_MANY];
  fc_memo_key key[FC_FAMILY_MANY];
  fc_op op[FC_FAMILY_MANY];
} queue;

/* What a thread makes of its part. */
typedef struct {
  job *job;
  fc_families families;
  fc_memo memo;
  size_t n_records, record_room;
  record *record;
  size_t n_queues;
  queue **queue; /* by family; NULL: none yet */
  char *out;
  size_t used, room;
  size_t rows, others, unmodelled, malformed, lines;
  fc_diags d; /* lines counted from the part's first */
} worker;

/* --- rows --- */

static bool reserve(worker *w, size_t more) {
  if (more <= w->room - w->used) return true;
  size_t room = 2 * (w->used + more);
  char *grown = realloc(w->out, room);
  if (!grown) return false;
  w->out = grown;
  w->room = room;
  return true;
}

/* The row as it stands, then three fields. */
static bool put_row(worker *w, const record *r, const fc_prediction *p) {
  if (!w->job->options->out) return true;
  size_t length = (size_t)(r->stop - r->start);
  if (!reserve(w, length + 3 * (size_t)(FC_SHORT_NUMBER + 1) + 1)) return false;
  char *to = w->out + w->used;
  memcpy(to, r->start, length);
  to += length;
  const double s[] = {p ? p->seconds : 0, p ? p->low_s : 0, p ? p->high_s : 0};
  for (int i = 0; i < 3; i++) {
    *to++ = ',';
    if (p) to += fc_short_number(to, s[i] * US_PER_S);
  }
  *to++ = '\n';
  w->used = (size_t)(to - w->out);
  return true;
}

static bool complain(worker *w, fc_pos at, const char *why) {
  w->malformed++;
  (void)fc_diag_error(&w->d, NULL, at, "%s", why);
  return true;
}

static void no_model(worker *w, fc_row_family *f, size_t line) {
  w->unmodelled++;
  if (f->unmodelled++ == 0) f->first_line = line;
}

static bool tally(fc_tally *t, const fc_prediction *p, double measured_us) {
  t->points++;
  t->outside += p->outside;
  t->clamped += p->clamped;
  if (isnan(measured_us)) return true;
  double measured_s = measured_us / US_PER_S;
  t->within += p->low_s <= measured_s && measured_s <= p->high_s;
  return fc_score_tally_add(t, (float)(p->seconds / measured_s - 1));
}

/* A new record of the row; NULL: out of memory. */
static record *keep_row(worker *w, const fc_rows *rows) {
  if (w->n_records == w->record_room) {
    size_t room = w->record_room ? 2 * w->record_room : 4096;
    record *grown = realloc(w->record, room * sizeof *grown);
    if (!grown) return NULL;
    w->record = grown;
    w->record_room = room;
  }
  record *r = &w->record[w->n_records++];
  *r = (record){.start = rows->start, .stop = rows->stop, .line = rows->start_line, .family = NONE};
  return r;
}

/* --- waiting calls --- */

static queue *queue_of(worker *w, size_t family) {
  if (family >= w->n_queues) {
    size_t n = w->families.room;
    queue **grown = realloc((void *)w->queue, n * sizeof(queue *));
    if (!grown) return NULL;
    for (size_t i = w->n_queues; i < n; i++) grown[i] = NULL;
    w->queue = grown;
    w->n_queues = n;
  }
  queue *q = w->queue[family];
  if (!q) {
    q = w->queue[family] = malloc(sizeof *q);
    if (q) q->n = 0;
  }
  return q;
}

static void answer(worker *w, queue *q, const fc_row_family *f) {
  size_t n = 0;
  for (size_t i = 0; i < q->n; i++) {
    if (fc_memo_find(&w->record[q->record[i]].p, &w->memo, &q->key[i])) continue;
    if (n < i) {
      q->record[n] = q->record[i];
      q->key[n] = q->key[i];
      q->op[n] = q->op[i];
    }
    n++;
  }
  q->n = 0;
  if (n == 0) return;
  fc_prediction p[FC_FAMILY_MANY];
  fc_family_predict(p, f, q->op, n);
  for (size_t i = 0; i < n; i++) {
    w->record[q->record[i]].p = p[i];
    fc_memo_keep(&w->memo, &q->key[i], &p[i]);
  }
}

static void answer_all(worker *w) {
  for (size_t i = 0; i < w->n_queues; i++)
    if (w->queue[i] && w->queue[i]->n > 0) answer(w, w->queue[i], &w->families.item[i]);
}

/* --- one row --- */

/* @return false: out of memory */
static bool take_row(worker *w, const fc_rows *rows, const fc_measure_row *row, record *r) {
  const job *j = w->job;
  fc_row_family *f = fc_families_at(&w->families, j->predictors, row);
  if (!f) return false;
  if (!f->known) {
    bool other_kernel = f->fault.role == (int)FC_MEASURE_kernel && row->text[FC_MEASURE_kernel].length > 0;
    if (!other_kernel) return complain(w, fc_rows_position(rows, f->fault.role), f->fault.why);
    no_model(w, f, r->line);
    return true;
  }
  double us = r->measured_us = row->number[FC_MEASURE_latency_us];
  if (!isnan(us) && !(us > 0)) {
    char why[FC_SHAPE_WHY];
    (void)snprintf(why, sizeof why, "column 'latency_us': %g is not positive", us);
    return complain(w, fc_rows_position(rows, FC_ROLE_NUMBER(FC_MEASURE_latency_us)), why);
  }
  if (f->n == 0) {
    no_model(w, f, r->line);
    return true;
  }
  size_t family = (size_t)(f - w->families.item);
  queue *q = queue_of(w, family);
  if (!q) return false;
  fc_fault fault;
  if (!fc_measured_op(&q->op[q->n], &f->measured, row, j->predictors->device, &fault))
    return complain(w, fc_rows_position(rows, fault.role), fault.why);
  r->family = family;
  q->record[q->n] = (size_t)(r - w->record);
  fc_memo_expect(&q->key[q->n], &w->memo, f->hash, row);
  if (++q->n == FC_FAMILY_MANY) answer(w, q, f);
  return true;
}

/* @return false: out of memory */
static bool put_record(worker *w, const record *r) {
  if (r->family == NONE) return put_row(w, r, NULL);
  fc_row_family *f = &w->families.item[r->family];
  if (isnan(r->p.seconds)) {
    no_model(w, f, r->line);
    return put_row(w, r, NULL);
  }
  w->others += f->others;
  return tally(&f->tally, &r->p, r->measured_us) && put_row(w, r, &r->p);
}

/* --- one part --- */

static bool do_part(worker *w, const char *from, const char *to) {
  fc_rows rows;
  fc_rows_init(&rows, w->job->columns, from, to, 1);
  fc_measure_row row = {0};
  for (int i = 0; i < (int)FC_MEASURE_NUMBER_COUNT; i++) row.number[i] = (double)NAN;
  bool ok = true;
  w->n_records = 0;
  for (fc_row_kind kind; ok && (kind = fc_rows_next(&rows, &row)) != FC_ROW_END;) {
    record *r = keep_row(w, &rows);
    w->rows++;
    ok = r && (kind == FC_ROW_GOOD ? take_row(w, &rows, &row, r) : complain(w, rows.at, rows.why));
  }
  w->lines = rows.line - 1;
  if (!ok) return false;
  answer_all(w);
  for (size_t i = 0; i < w->n_records && ok; i++) ok = put_record(w, &w->record[i]);
  return ok;
}

/* The end of the part that begins at p.  Rows without quotes end with their lines; others are stepped over.
 */
static const char *part_end(const job *j, const char *p) {
  if (j->end - p <= PART_BYTES) return j->end;
  const char *end = memchr(p + PART_BYTES, '\n', (size_t)(j->end - p) - PART_BYTES);
  end = end ? end + 1 : j->end;
  if (!memchr(p, '"', (size_t)(end - p))) return end;
  fc_rows rows = {.columns = j->columns, .p = p, .end = j->end, .line = 1};
  while (rows.p - p < PART_BYTES && fc_rows_next(&rows, NULL) != FC_ROW_END) {
  }
  return rows.p;
}

/* --- merging, in order --- */

static fc_scored *new_family(job *j, const fc_row_family *from) {
  if (j->n_families == j->family_room) {
    size_t room = j->family_room ? 2 * j->family_room : 64;
    fc_scored *grown = realloc(j->family, room * sizeof *grown);
    if (!grown) return NULL;
    j->family = grown;
    j->family_room = room;
  }
  fc_scored *f = &j->family[j->n_families];
  *f = (fc_scored){
      .row = from->measured.row, .format = from->measured.format, .kv_format = from->measured.kv_format};
  bool ok = true;
  for (int i = 0; i < FC_KEY_TEXTS; i++) {
    size_t n = from->text[i].length;
    f->text[i] = calloc(n + 1, 1);
    if (f->text[i] && n > 0) memcpy(f->text[i], from->text[i].text, n);
    ok = ok && f->text[i];
  }
  j->n_families++;
  return ok ? f : NULL;
}

static bool is_family(const fc_scored *f, const fc_row_family *other) {
  for (int i = 0; i < FC_KEY_TEXTS; i++)
    if (strlen(f->text[i]) != other->text[i].length ||
        (other->text[i].length > 0 && memcmp(f->text[i], other->text[i].text, other->text[i].length) != 0))
      return false;
  return true;
}

static void tell_unmodelled(const job *j, const fc_row_family *f) {
  const fc_pos at = {j->line + f->first_line - 1, 1};
  const fc_slice *kernel = &f->text[FC_MEASURE_kernel], *dtype = &f->text[FC_MEASURE_dtype];
  int shown = kernel->length < 40 ? (int)kernel->length : 40,
      type = dtype->length < 40 ? (int)dtype->length : 40;
  if (!f->known)
    fc_diag_warning(j->d, j->source, at, "%s", f->fault.why);
  else if (f->n == 0)
    fc_diag_warning(j->d, j->source, at, "the profile has no kernel '%.*s' in format '%.*s'", shown,
                    kernel->text, type, dtype->text);
  else
    fc_diag_warning(j->d, j->source, at, "this shape of kernel '%.*s' is outside the domain of the model",
                    shown, kernel->text);
}

/* A kernel that the profile lacks is told once, not for each implementation. */
static bool was_told(const job *j, const fc_scored *family, const fc_row_family *from) {
  if (from->n > 0) return false;
  for (size_t i = 0; i < j->n_families; i++) {
    const fc_scored *f = &j->family[i];
    if (f->told && strcmp(f->text[FC_MEASURE_kernel], family->text[FC_MEASURE_kernel]) == 0 &&
        f->format == family->format && f->kv_format == family->kv_format)
      return true;
  }
  return false;
}

/* @return false: out of memory */
static bool merge_family(job *j, fc_row_family *from) {
  bool found = from->merged != SIZE_MAX;
  for (size_t i = 0; i < j->n_families && !found; i++)
    if (is_family(&j->family[i], from)) {
      from->merged = i;
      found = true;
    }
  if (!found) {
    if (!new_family(j, from)) return false;
    from->merged = j->n_families - 1;
  }
  fc_scored *to = &j->family[from->merged];
  if (from->unmodelled > 0 && !to->told) {
    if (!was_told(j, to, from)) tell_unmodelled(j, from);
    to->told = true;
  }
  from->unmodelled = 0;
  return fc_score_tally_move(&to->tally, &from->tally);
}

static void merge_diags(job *j, const fc_diags *from) {
  for (size_t i = 0; i < from->n; i++) {
    fc_pos at = from->item[i].at;
    at.line += j->line - 1;
    (void)fc_diag_add(j->d, from->item[i].severity, j->source, at, "%s", from->item[i].text);
  }
  if (!j->d) return;
  j->d->dropped += from->dropped;
  j->d->n_errors += from->n_errors - from->n; /* a worker's are all errors */
}

static bool merge(job *j, worker *w) {
  if (w->used > 0) fc_file_write(j->options->out, w->out, w->used);
  merge_diags(j, &w->d);
  bool ok = true;
  for (size_t i = 0; i < w->families.n && ok; i++) {
    fc_row_family *f = &w->families.item[i];
    if (f->tally.points > 0 || f->unmodelled > 0) ok = merge_family(j, f);
  }
  j->rows += w->rows;
  j->others += w->others;
  j->unmodelled += w->unmodelled;
  j->malformed += w->malformed;
  j->line += w->lines;
  w->used = w->rows = w->others = w->unmodelled = w->malformed = w->lines = 0;
  fc_diags_init(&w->d);
  return ok;
}

/* --- threads --- */

static void *work(void *argument) {
  worker *w = argument;
  enum { ROW_BYTES = 80 }; /* about */
  fc_memo_init(&w->memo, w->job->bytes / ROW_BYTES);
  job *j = w->job;
  (void)pthread_mutex_lock(&j->lock);
  while (!j->status && j->next < j->end) {
    if (j->options->cancel && *j->options->cancel) {
      j->status = FC_E_CANCELLED;
      break;
    }
    const char *from = j->next, *to = part_end(j, from);
    j->next = to;
    size_t mine = j->taken++;
    (void)pthread_mutex_unlock(&j->lock);
    bool ok = do_part(w, from, to);
    (void)pthread_mutex_lock(&j->lock);
    while (!j->status && j->merged != mine) (void)pthread_cond_wait(&j->turn, &j->lock);
    if (j->status) break;
    if (!(ok && merge(j, w))) j->status = FC_E_NOMEM;
    j->merged++;
    (void)pthread_cond_broadcast(&j->turn);
  }
  (void)pthread_cond_broadcast(&j->turn); /* a status may have come */
  (void)pthread_mutex_unlock(&j->lock);
  return NULL;
}

static size_t threads_of(const fc_predict_options *options, size_t length) {
  long online = options->threads ? 0 : sysconf(_SC_NPROCESSORS_ONLN);
  size_t n = options->threads ? options->threads
             : online > 0     ? (size_t)online
                              : 1,
         parts = length / PART_BYTES + 1;
  if (n > parts) n = parts;
  return n < THREADS_MAX ? n : THREADS_MAX;
}

/* This thread works too; those that cannot be started are done without. */
static fc_status run(job *j, size_t n) {
  FC_ASSERT(n > 0);
  worker *w = calloc(n, sizeof *w);
  pthread_t *thread = malloc(n * sizeof *thread);
  if (w && thread) {
    size_t started = 0;
    for (size_t i = 0; i < n; i++) {
      w[i].job = j;
      fc_diags_init(&w[i].d);
    }
    for (size_t i = 1; i < n && pthread_create(&thread[i], NULL, work, &w[i]) == 0; i++) started = i;
    (void)work(&w[0]);
    for (size_t i = 1; i <= started; i++) (void)pthread_join(thread[i], NULL);
    for (size_t i = 0; i < n; i++) {
      fc_families_fini(&w[i].families);
      fc_memo_fini(&w[i].memo);
      for (size_t k = 0; k < w[i].n_queues; k++) free(w[i].queue[k]);
      free((void *)w[i].queue);
      free(w[i].record);
      free(w[i].out);
    }
  } else {
    j->status = FC_E_NOMEM;
  }
  free(w);
  free(thread);
  return j->status;
}

/* --- a file --- */

/* Rows that were predicted before would have the columns twice. */
static fc_status refuse_second(const char *source, const char *bytes, size_t length, fc_diags *d) {
  fc_csv_reader *reader;
  fc_status status = fc_csv_open(&reader, source, bytes, length, d);
  if (status) return status;
  if (fc_csv_column(reader, "predicted_us") >= 0)
    status = fc_diag_error(d, source, ((fc_pos){1, 1}), "column 'predicted_us' is there already");
  fc_csv_free(reader);
  return status;
}

static fc_status read_header(fc_columns *columns, const char *source, const char *bytes, size_t length,
                             const fc_predict_options *options, fc_diags *d) {
  static const int needed[] = {FC_MEASURE_kernel, FC_MEASURE_dtype};
  fc_status status =
      fc_columns_read(columns, source, bytes, length, needed, sizeof needed / sizeof *needed, d);
  if (status || !options->out) return status;
  status = refuse_second(source, bytes, length, d);
  if (status) return status;
  size_t n = (size_t)(columns->header_end - columns->header);
  fc_file_write(options->out, columns->header, n);
  fc_file_printf(options->out, "%s\n", added);
  return FC_OK;
}

static double now_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *sync_out(void *file) {
  fc_status later = fc_file_sync(file); /* fc_file_commit tells it again */
  (void)later;
  return NULL;
}

/* The rows go to disk while the scores are made. */
static fc_status finish(fc_scores *out, const job *j, bool together) {
  pthread_t syncing;
  bool started =
      together && j->options->out && pthread_create(&syncing, NULL, sync_out, j->options->out) == 0;
  fc_status status = fc_scores_fill(out, j->family, j->n_families);
  if (started) (void)pthread_join(syncing, NULL);
  return status;
}

fc_status fc_predict_file(fc_scores *out, const fc_profile *profile, const char *source, const char *bytes,
                          size_t length, const fc_predict_options *options, fc_diags *d) {
  double start_s = now_s();
  *out = (fc_scores){0};
  fc_columns columns;
  fc_status status = read_header(&columns, source, bytes, length, options, d);
  if (status) return status;
  fc_predictors predictors;
  status = fc_predictors_init(&predictors, profile);
  if (status) return status;
  job j = {.predictors = &predictors,
           .columns = &columns,
           .source = source,
           .end = bytes + length,
           .bytes = length,
           .next = columns.body,
           .line = columns.body_line,
           .options = options,
           .d = d,
           .lock = PTHREAD_MUTEX_INITIALIZER,
           .turn = PTHREAD_COND_INITIALIZER};
  size_t threads = threads_of(options, length);
  status = run(&j, threads);
  out->rows = j.rows;
  out->others = j.others;
  out->unmodelled = j.unmodelled;
  out->malformed = j.malformed;
  if (!status) status = finish(out, &j, threads > 1);
  for (size_t i = 0; i < j.n_families; i++) {
    for (int k = 0; k < FC_KEY_TEXTS; k++) free(j.family[i].text[k]);
    fc_score_tally_fini(&j.family[i].tally);
  }
  free(j.family);
  fc_predictors_fini(&predictors);
  out->seconds = now_s() - start_s;
  if (status) fc_scores_fini(out);
  return status;
}
