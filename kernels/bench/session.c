/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pass.h"

fc_status fc_session_open(fc_session *s, const fc_session_options *options) {
  *s = (fc_session){.options = *options};
  if (options->device->open(&s->machine, s->why)) return FC_E_IO;
  s->protocol = fc_protocol_default(options->device->is_gpu, options->quick);
  return FC_OK;
}

void fc_session_close(fc_session *s) {
  fc_rows_fini(&s->rows);
  free(s->guarded);
  s->options.device->close();
}

fc_bench_scale fc_session_scale(const fc_session *s) {
  return s->options.device->is_gpu ? FC_SCALE_GPU : FC_SCALE_CPU;
}

bool fc_session_cancelled(const fc_session *s) {
  return s->options.cancel && *s->options.cancel;
}

void fc_session_tell(const fc_session *s, size_t done, size_t total, const char *text) {
  if (s->options.progress) s->options.progress(s->options.context, done, total, text);
}

const fc_implementation *fc_session_next(const fc_session *s, fc_bench_op op, fc_cursor *at) {
  const fc_bench_device *d = s->options.device;
  for (; at->table < d->n_tables; at->table++, at->row = 0)
    while (at->row < d->tables[at->table]->n) {
      const fc_implementation *impl = &d->tables[at->table]->item[at->row++];
      if (impl->op == op) return impl;
    }
  return NULL;
}

bool fc_session_wants(const fc_session *s, fc_bench_op op) {
  return !s->options.kernel || strcmp(s->options.kernel, fc_bench_op_text(op)) == 0;
}

fc_status fc_session_alive(fc_session *s) {
  if (!s->options.device->alive || s->options.device->alive()) return FC_OK;
  (void)snprintf(s->why, FC_WHY, "the device answers no more");
  return FC_E_IO;
}

void fc_session_guard(fc_session *s, const fc_journal *journal, const fc_row *row, const char *text) {
  if (!s->options.guard) return;
  free(s->guarded);
  s->guarded = NULL;
  if (row) { /* the line that stands there if the work never ends */
    fc_row hung = *row;
    hung.field[FC_COLUMN_status] = (char *)(uintptr_t)FC_STATUS_HUNG;
    s->guarded = fc_row_line(&hung);
  }
  s->options.guard(s->options.context, journal && journal->file ? fileno(journal->file) : -1, s->guarded,
                   text);
}
