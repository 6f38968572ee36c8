/* SPDX-License-Identifier: Apache-2.0 */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "result.h"

/* Slots of a pool: services | four lines of each owner of jobs | others | down | idle. */
size_t fc_slot_service(const fc_fleet *f, size_t service) {
  (void)f;
  return service;
}

size_t fc_slot_job(const fc_fleet *f, size_t owner, int line) {
  return f->def->n_services + owner * FC_JOB_LINES + (size_t)line;
}

size_t fc_slot_other(const fc_fleet *f, size_t other) {
  return f->def->n_services + f->n_owners * FC_JOB_LINES + other;
}

size_t fc_slot_down(const fc_fleet *f) {
  return f->n_slots - 2;
}

size_t fc_slot_idle(const fc_fleet *f) {
  return f->n_slots - 1;
}

fc_line *fc_line_at(const fc_fleet *f, size_t pool, size_t slot) {
  return &f->line[pool * f->n_slots + slot];
}

void fc_fleet_fail(fc_fleet *f, fc_status status) {
  if (f->status == FC_OK) f->status = status;
  fc_sim_stop(f->sim);
}

void fc_line_book(fc_fleet *f, fc_line *line, fc_time from, fc_time to, int64_t devices) {
  if (!fc_integral_add(&line->time, f->grid, from, to, devices)) fc_fleet_fail(f, FC_E_NOMEM);
}

void fc_line_add(fc_fleet *f, fc_line *line, double flop, double joule) {
  if (!line->flop) {
    line->flop = calloc(2 * f->grid->n, sizeof *line->flop);
    if (!line->flop) {
      fc_fleet_fail(f, FC_E_NOMEM);
      return;
    }
    line->joule = line->flop + f->grid->n;
  }
  line->flop[f->bucket] += flop;
  line->joule[f->bucket] += joule;
}

void fc_fleet_event(fc_fleet *f, const char *kind, const char *what, double value, const char *unit) {
  fc_fleet_result *r = f->result;
  if (r->n_events == r->event_capacity) {
    size_t capacity = r->event_capacity ? 2 * r->event_capacity : 64;
    fc_event_row *event = realloc(r->event, capacity * sizeof *event);
    if (!event) {
      fc_fleet_fail(f, FC_E_NOMEM);
      return;
    }
    r->event = event;
    r->event_capacity = capacity;
  }
  r->event[r->n_events++] =
      (fc_event_row){.at = f->now, .kind = kind, .what = what ? what : "", .value = value, .unit = unit};
}

bool fc_name_equal(const char *a, const char *b) {
  return strcmp(a ? a : "", b ? b : "") == 0;
}

/* FNV-1a: by name, so that a new entry in a list does not shift the others' draws. */
uint64_t fc_entity(const char *name, size_t twins) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (const char *c = name ? name : ""; *c; c++) hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
  return hash + twins;
}
