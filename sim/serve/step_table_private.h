/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_STEP_TABLE_PRIVATE_H
#define FC_SERVE_STEP_TABLE_PRIVATE_H

#include <stdint.h>
#include <string.h>

#include <fleetcast/serve/step_table.h>

/** The table's inside, and its readers inline: they are the hot path of a replica.  All per attention group,
 *  times in ns. */

/* Logarithmic grid: 2^bits nodes an octave, evenly spaced within one. */
typedef struct fc_log_grid {
  int bits, n;  /* n >= 2 nodes */
  int64_t base; /* top bits of the first node */
  double *at;   /* [n] */
} fc_log_grid;

/* Value and slope to the right of a node. */
typedef struct fc_knot {
  double value, slope;
} fc_knot;

/* Where a batch lies between rows: (1 - w) lo + w hi. */
typedef struct fc_between {
  int32_t lo, hi;
  double w;
} fc_between;

/* What an iteration spends, beside its ns: for the breakdown. */
typedef struct fc_step_node {
  double attention, dense, experts, glue, head, comm, launch, host, dynamic_j;
} fc_step_node;

/* Terms of a mixed iteration that depend on its tokens alone; nodes are whole numbers. */
typedef struct fc_token_table {
  int n;
  int32_t *at;                    /* [n] */
  int32_t *segment;               /* [max + 1] node at or below */
  fc_knot *busy, *fixed, *hidden; /* fixed: host, exposed communication; hidden: that busy may hide */
  fc_step_node *node;
} fc_token_table;

/* A model and its plan. */
typedef struct fc_step_model {
  fc_step_source source; /* its plan is the one here */
  fc_serve_plan plan;
  const fc_expert_load *experts;
} fc_step_model;

struct fc_step_table {
  fc_step_table_def def;
  fc_step_model model; /* context of def */
  fc_log_grid x, p, y;
  int rows;
  int32_t *batch;             /* [rows] */
  fc_between *padded, *exact; /* [max_batch + 1] */
  fc_knot *decode, *core;     /* [rows][x.n] whole iteration; attention alone */
  fc_step_node *node;         /* [rows][x.n] */
  fc_token_table prefill, mixed;
  fc_knot *cells;        /* [p.n][y.n] prefill attention: value, slope in y */
  int heads;             /* whole numbers of sequences for the head */
  double *head_ns;       /* [heads + 1] over one sequence's */
  double core_w, cell_w; /* dynamic W of all devices while attention runs: decode, prefill */
  double cell_factor;    /* of prefill attention in mixed iterations */
  bool idle_hidden;      /* what busy may hide are launches, not communication */
  fc_step_table_error error;
};

static inline int fc_log_grid_find(const fc_log_grid *g, double x) {
  uint64_t raw;
  memcpy(&raw, &x, sizeof raw);
  int64_t i = (int64_t)(raw >> (52 - g->bits)) - g->base;
  return i < 0 ? 0 : i > g->n - 2 ? g->n - 2 : (int)i;
}

static inline double fc_rows_at(const fc_knot *knots, int nx, fc_between b, int i, double dx) {
  const fc_knot *lo = &knots[(size_t)b.lo * (size_t)nx + (size_t)i];
  double t = lo->value + lo->slope * dx;
  if (b.w > 0) {
    const fc_knot *hi = &knots[(size_t)b.hi * (size_t)nx + (size_t)i];
    t += b.w * (hi->value + hi->slope * dx - t);
  }
  return t;
}

static inline double fc_cells_at(const fc_step_table *t, double p, double y) {
  int i = fc_log_grid_find(&t->p, p), j = fc_log_grid_find(&t->y, y);
  double dy = y - t->y.at[j], u = (p - t->p.at[i]) / (t->p.at[i + 1] - t->p.at[i]);
  const fc_knot *lo = &t->cells[(size_t)i * (size_t)t->y.n + (size_t)j], *hi = lo + t->y.n;
  double low = lo->value + lo->slope * dy, high = hi->value + hi->slope * dy;
  return low + u * (high - low);
}

/* A mixed (or prefill) iteration of one group, taken apart. */
typedef struct fc_mixed_step {
  double ns, busy, core, cell, head, exposed;
  const fc_token_table *table;
  int node;
  double weight; /* of node + 1 */
} fc_mixed_step;

/* In what follows `work` is a group's share. */
int64_t fc_step_padded(const fc_step_table_def *def, int64_t batch);
fc_serve_load fc_step_load(const fc_step_table_def *def, const fc_step_work *work);
double fc_step_group_seconds(const fc_step_table *table, const fc_step_work *work);
fc_status fc_step_group_direct(const fc_step_table *table, fc_serve_iteration *out, const fc_step_work *work);
/* @pre work->prefill > 0 */
fc_mixed_step fc_step_table_mixed(const fc_step_table *table, const fc_step_work *work);

#endif
