/* SPDX-License-Identifier: Apache-2.0 */
/* A surface over load and mix: a lattice of simulations, and the same emulator in four coordinates. */
#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>

#include "surface_private.h"

/* Loads of the design, over the closed form's at the objective. */
static const double LOAD_LOW = 0.3, LOAD_HIGH = 1.05;
/* A quarter of the cache hit counts as a factor of e in a length does. */
static const double HIT_SCALE = 4;
enum { GRID = 64, LATTICE = 4 };

typedef struct {
  fc_request_shape shape;
  double load; /* rate over the closed form's at the objective */
  fc_surface_run run;
} design_point;

struct fc_surface_map {
  fc_surface *instance; /* its step table serves all mixes */
  fc_surface_box box;
  fc_slo slo;
  int n;
  design_point point[FC_SURFACE_POINTS];
  double low, high; /* loads of the hull */
  fc_emulators ttft, tpot;
};

/* The instance as if this were its mix.  Shares everything that it points to: not to be freed. */
static fc_surface with(const fc_surface *s, const fc_request_shape *shape) {
  fc_surface at = *s;
  at.def.shape.input_tokens = shape->input_tokens;
  at.def.shape.output_tokens = shape->output_tokens;
  at.def.shape.cache_hit = shape->cache_hit;
  at.demand.cached = shape->input_tokens * shape->cache_hit;
  at.demand.fresh = shape->input_tokens - at.demand.cached;
  at.demand.output = shape->output_tokens;
  return at;
}

/* Largest rate at which the closed form keeps the objective; 0: none. */
static double closed_rate(const fc_surface *at, const fc_slo *slo) {
  double low = 0, high = 1e-3;
  for (int i = 0; i < 120; i++) {
    double rate = low > 0 && high < (double)INFINITY ? 0.5 * (low + high) : high;
    fc_trend t;
    bool good = fc_surface_trend(&t, at, rate) == FC_OK && t.ttft_s <= slo->ttft_s && t.tpot_s <= slo->tpot_s;
    if (good && rate >= high) {
      low = high;
      high *= 2;
    } else if (good) {
      low = rate;
    } else {
      high = rate;
      if (!(low > 0)) return 0;
    }
    if (high - low < 1e-4 * high && i > 20) break;
  }
  return low;
}

/* --- design --- */

/* A rank-1 lattice by the generalised golden ratio of four dimensions: any number of its first points is
 * spread evenly.  @source Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018: the
 *         root of x^5 = x + 1 */
static void lattice(double u[LATTICE], int i) {
  static const double ROOT = 1.1673039782614187;
  for (int j = 0; j < LATTICE; j++) {
    double x = 0.5 + (double)(i + 1) * pow(ROOT, -(j + 1));
    u[j] = x - floor(x);
  }
}

static double between(double low, double high, double u) {
  return low > 0 ? low * pow(high / low, u) : low + u * (high - low);
}

static fc_status add_point(fc_surface_map *m, int i) {
  const fc_surface_box *b = &m->box;
  design_point *p = &m->point[m->n];
  double u[LATTICE];
  lattice(u, i);
  p->shape = m->instance->def.shape;
  p->shape.input_tokens = between(b->input_low, b->input_high, u[1]);
  p->shape.output_tokens = between(b->output_low, b->output_high, u[2]);
  p->shape.cache_hit = b->hit_low + u[3] * (b->hit_high - b->hit_low);
  p->load = between(LOAD_LOW, LOAD_HIGH, u[0]);
  fc_surface at = with(m->instance, &p->shape);
  double rate = p->load * closed_rate(&at, &m->slo);
  if (!(rate > 0)) return FC_E_INFEASIBLE;
  fc_status status = fc_surface_simulate(&p->run, &at, rate, at.def.seed);
  if (status == FC_OK) m->n++;
  return status;
}

static void coordinates(double x[FC_COORDINATES], const fc_request_shape *shape, double load) {
  x[0] = log(load);
  x[1] = log(shape->input_tokens);
  x[2] = log(shape->output_tokens);
  x[3] = HIT_SCALE * shape->cache_hit;
}

/* --- fit --- */

typedef struct {
  const fc_surface_map *map;
  bool first;
  fc_surface *at; /* of one question: its mix and rate */
  double rate;
} asked;

static double trend(const void *context, double stretch) {
  const asked *a = context;
  fc_trend t;
  if (fc_surface_trend(&t, a->at, a->rate / stretch) != FC_OK) return (double)NAN;
  return log(a->first ? t.ttft_s : t.tpot_s);
}

static bool points(fc_emulator *k, double *y, const void *context, double stretch) {
  const asked *a = context;
  k->n = 0;
  for (int i = 0; i < a->map->n; i++) {
    const design_point *p = &a->map->point[i];
    if (p->run.overloaded) continue;
    fc_surface at = with(a->map->instance, &p->shape);
    coordinates(k->x[k->n], &p->shape, p->load);
    k->noise[k->n] = a->first ? p->run.ttft_var : p->run.tpot_var;
    y[k->n] = log(a->first ? p->run.ttft_s : p->run.tpot_s) -
              trend(&(asked){a->map, a->first, &at, p->run.rate_per_s}, stretch);
    if (!isfinite(y[k->n++])) return false;
  }
  return true;
}

static fc_status fit(fc_surface_map *m) {
  for (int i = 0; i < m->n; i++) {
    const design_point *p = &m->point[i];
    if (p->run.overloaded) continue;
    m->low = m->low > 0 ? fmin(m->low, p->load) : p->load;
    m->high = fmax(m->high, p->load);
  }
  if (!(m->high > 0)) return FC_E_DOMAIN;
  fc_instance kind = m->instance->def.instance;
  fc_status status = FC_OK;
  if (kind != FC_INSTANCE_DECODE)
    status = fc_emulators_fit(&m->ttft, points, &(asked){.map = m, .first = true});
  if (status == FC_OK && kind != FC_INSTANCE_PREFILL)
    status = fc_emulators_fit(&m->tpot, points, &(asked){.map = m, .first = false});
  return status;
}

static bool box_is_good(const fc_surface_box *b) {
  return b->input_low >= 1 && b->input_high >= b->input_low && b->input_high < 1e8 && b->output_low >= 1 &&
         b->output_high >= b->output_low && b->output_high < 1e8 && b->hit_low >= 0 &&
         b->hit_high >= b->hit_low && b->hit_high < 1;
}

fc_status fc_surface_map_new(fc_surface_map **out, const fc_surface_def *def, const fc_surface_box *box,
                             const fc_slo *slo, int n) {
  *out = NULL;
  if (!box_is_good(box) || n < 4 || n > FC_SURFACE_POINTS) return FC_E_DOMAIN;
  fc_surface_map *m = calloc(1, sizeof *m);
  if (!m) return FC_E_NOMEM;
  m->box = *box;
  m->slo = *slo;
  fc_surface_def longest = *def; /* the step table and the cuts are of the largest */
  longest.shape.input_tokens = box->input_high;
  longest.shape.output_tokens = box->output_high;
  longest.shape.cache_hit = box->hit_low;
  fc_status status = fc_surface_new(&m->instance, &longest);
  for (int i = 0; i < n && status == FC_OK; i++) status = add_point(m, i);
  if (status == FC_OK) status = fit(m);
  if (status == FC_OK)
    *out = m;
  else
    fc_surface_map_free(m);
  return status;
}

void fc_surface_map_free(fc_surface_map *m) {
  if (!m) return;
  fc_emulators_fini(&m->ttft);
  fc_emulators_fini(&m->tpot);
  fc_surface_free(m->instance);
  free(m);
}

fc_status fc_surface_map_simulate(fc_surface_run *out, const fc_surface_map *m, const fc_request_shape *shape,
                                  double rate, uint64_t seed) {
  fc_surface at = with(m->instance, shape);
  return fc_surface_simulate(out, &at, rate, seed);
}

/* --- answers --- */

/* One mix: what the emulators need to know of it. */
typedef struct {
  const fc_surface_map *map;
  fc_surface at;
  fc_request_shape shape;
  double closed; /* rate at load 1 */
  bool outside;
} question;

static double clamp(double x, double low, double high, bool *outside) {
  if (x < low * (1 - 1e-9) || x > high * (1 + 1e-9)) *outside = true;
  return fmin(fmax(x, low), high);
}

static void question_of(question *q, const fc_surface_map *m, const fc_request_shape *shape) {
  *q = (question){.map = m, .shape = m->instance->def.shape};
  q->shape.input_tokens = clamp(shape->input_tokens, m->box.input_low, m->box.input_high, &q->outside);
  q->shape.output_tokens = clamp(shape->output_tokens, m->box.output_low, m->box.output_high, &q->outside);
  q->shape.cache_hit = clamp(shape->cache_hit, m->box.hit_low, m->box.hit_high, &q->outside);
  q->at = with(m->instance, &q->shape);
  q->closed = closed_rate(&q->at, &m->slo);
}

static void one_at(question *q, bool first, double load, double *log_y, double *log_sd) {
  double x[FC_COORDINATES];
  coordinates(x, &q->shape, load);
  fc_emulators_at(first ? &q->map->ttft : &q->map->tpot, x, trend,
                  &(asked){q->map, first, &q->at, load * q->closed}, log_y, log_sd);
}

static double grid_load(const fc_surface_map *m, int i) {
  return m->low * pow(m->high / m->low, (double)i / GRID);
}

static void monotone_at(question *q, bool first, double load, double *y, double *log_sd) {
  double most, at, sd;
  one_at(q, first, load, &most, log_sd);
  for (int i = 0; i < GRID && grid_load(q->map, i) < load; i++) {
    one_at(q, first, grid_load(q->map, i), &at, &sd);
    most = fmax(most, at);
  }
  *y = exp(most);
}

fc_surface_value fc_surface_map_at(const fc_surface_map *m, const fc_request_shape *shape, double rate) {
  FC_ASSERT(rate > 0);
  question q;
  question_of(&q, m, shape);
  double load = clamp(rate / q.closed, m->low, m->high, &q.outside);
  fc_surface_value v = {.outside = q.outside};
  if (m->instance->def.instance != FC_INSTANCE_DECODE) monotone_at(&q, true, load, &v.ttft_s, &v.ttft_log_sd);
  if (m->instance->def.instance != FC_INSTANCE_PREFILL)
    monotone_at(&q, false, load, &v.tpot_s, &v.tpot_log_sd);
  return v;
}

static bool keeps(question *q, const fc_slo *slo, double load, double z) {
  double y, sd;
  if (q->map->instance->def.instance != FC_INSTANCE_DECODE) {
    one_at(q, true, load, &y, &sd);
    if (!(y + z * sd <= log(slo->ttft_s))) return false;
  }
  if (q->map->instance->def.instance == FC_INSTANCE_PREFILL) return true;
  one_at(q, false, load, &y, &sd);
  return y + z * sd <= log(slo->tpot_s);
}

double fc_surface_map_rate(const fc_surface_map *m, const fc_request_shape *shape, const fc_slo *slo,
                           double z) {
  question q;
  question_of(&q, m, shape);
  double low = 0, high = 0;
  for (int i = 0; i <= GRID && !(high > 0); i++) { /* the first crossing: the maximum runs from below */
    double load = grid_load(m, i);
    if (keeps(&q, slo, load, z))
      low = load;
    else
      high = load;
  }
  for (int i = 0; i < 30 && low > 0 && high > 0; i++) {
    double middle = 0.5 * (low + high);
    if (keeps(&q, slo, middle, z))
      low = middle;
    else
      high = middle;
  }
  return low * q.closed;
}
