/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/local.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <fleetcast/base/lanes.h>

enum { ROWS = FC_LOCAL_ROWS };

/* --- arrays --- */

static size_t blocks(size_t n) {
  return (n + FC_LANES - 1) / FC_LANES;
}

size_t fc_local_x_floats(size_t n, size_t c) {
  return blocks(n) * c * FC_LANES;
}

size_t fc_local_lane_floats(size_t n) {
  return blocks(n) * FC_LANES;
}

void fc_local_put(const fc_local *local, float *x_array, float *weight_array, float *scatter_array, size_t i,
                  const float x[FC_LOCAL_COORDINATES], double weight, double scatter) {
  size_t block = i / FC_LANES, lane = i % FC_LANES, c = local->n_coordinates;
  for (size_t j = 0; j < c; j++)
    x_array[(block * c + j) * FC_LANES + lane] = x[local->of[j]] / local->length[j];
  weight_array[i] = (float)weight;
  scatter_array[i] = (float)scatter;
  if (i + 1 != local->n) return;
  for (size_t pad = local->n; pad < blocks(local->n) * FC_LANES; pad++) {
    for (size_t j = 0; j < c; j++) x_array[(block * c + j) * FC_LANES + pad % FC_LANES] = 1e4F;
    weight_array[pad] = scatter_array[pad] = 0;
  }
}

/* --- evaluation --- */

typedef struct {
  fc_lanes weighted, scatter, similar, nearest;
} sums;

enum {
  CHUNK = 32
}; /* blocks that go through one step after the other: their chains of operations then overlap */

/* Squared distances and sums of distances of a chunk of blocks. */
FC_LANES_INLINE void distances(fc_lanes *square, fc_lanes *sum, size_t n, const float *x, size_t c,
                               const float *at, const float *ratio) {
  for (size_t b = 0; b < n; b++) {
    fc_lanes square_b = {0}, sum_b = {0}, v;
    for (size_t j = 0; j < c; j++, x += FC_LANES) {
      fc_lanes_load(&v, x);
      v = at[j] - v;
      square_b += v * v;
      fc_lanes_abs(&v);
      sum_b += v * ratio[j];
    }
    square[b] = square_b;
    sum[b] = sum_b;
  }
}

FC_WIDE static void add_blocks(sums *out, const fc_local *local, const float *at, const float *ratio) {
  const float *x = local->x, *weight = local->weight, *scatter = local->scatter;
  const size_t c = local->n_coordinates, n = blocks(local->n);
  const float smooth = local->smooth * local->smooth, rough = local->rough * local->rough;
  const float own = local->own * local->own, per_total = 1 / (smooth + rough + own);
  fc_lanes square[CHUNK], sum[CHUNK], r[CHUNK], e[CHUNK], v, all_own = (fc_lanes){0} + own;
  sums s = {0};
  for (size_t first = 0; first < n; first += CHUNK) {
    const size_t m = n - first < CHUNK ? n - first : CHUNK;
    distances(square, sum, m, x, c, at, ratio);
    x += m * c * FC_LANES;
    for (size_t b = 0; b < m; b++) {
      r[b] = 3.0F * square[b];
      fc_lanes_sqrt(&r[b]);
    }
    for (size_t b = 0; b < m; b++) {
      e[b] = r[b];
      fc_lanes_exp_minus(&e[b]);
    }
    for (size_t b = 0; b < m; b++) fc_lanes_exp_minus(&sum[b]);
    for (size_t b = 0; b < m; b++, weight += FC_LANES, scatter += FC_LANES) {
      fc_lanes k = smooth * (1.0F + r[b]) * e[b] + rough * sum[b];
      fc_int_lanes same = square[b] == 0.0F;
      k += (fc_lanes)(same & (fc_int_lanes)all_own);
      fc_lanes near = k * per_total;
      fc_lanes_load(&v, weight);
      s.weighted += v * k;
      fc_lanes_load(&v, scatter);
      s.scatter += near * v;
      s.similar += near;
      fc_lanes_max(&s.nearest, &near);
    }
  }
  *out = s;
}

static void add_up(fc_local_answer *out, const sums *total) {
  double weighted = 0, scatter = 0, similar = 0, nearest = 0;
  for (int l = 0; l < FC_LANES; l++) {
    weighted += (double)total->weighted[l];
    scatter += (double)total->scatter[l];
    similar += (double)total->similar[l];
    nearest = fmax(nearest, (double)total->nearest[l]);
  }
  out->correction = weighted;
  out->scatter = similar > 1e-6 ? scatter / similar : 0;
  out->support = nearest;
}

static void answer_at(fc_local_answer *out, const fc_local *local, const float *at) {
  sums total = {0};
  float ratio[FC_LOCAL_COORDINATES];
  for (size_t j = 0; j < local->n_coordinates; j++) ratio[j] = local->length[j] / local->rough_length[j];
  add_blocks(&total, local, at, ratio);
  add_up(out, &total);
}

void fc_local_evaluate(fc_local_answer *out, const fc_local *local, const float x[FC_LOCAL_COORDINATES]) {
  float at[FC_LOCAL_COORDINATES];
  for (size_t j = 0; j < local->n_coordinates; j++) at[j] = x[local->of[j]] / local->length[j];
  answer_at(out, local, at);
}

/* --- many shapes: a lane each, over one anchor after the other --- */

typedef struct {
  fc_wide at[FC_LOCAL_COORDINATES]; /* divided by length */
  bool same[FC_LOCAL_COORDINATES];  /* in all shapes: files sweep a few sizes and keep the others */
} places;

/* What a coordinate that is the same in all shapes adds to their distances from the anchors of a block. */
typedef struct {
  float square[FC_LOCAL_COORDINATES][FC_LANES], sum[FC_LOCAL_COORDINATES][FC_LANES];
} addends;

FC_LANES_INLINE void same_distances(addends *out, const float *x, size_t c, const places *p,
                                    const float *ratio) {
  for (size_t j = 0; j < c; j++, x += FC_LANES) {
    if (!p->same[j]) continue;
    fc_lanes v;
    fc_lanes_load(&v, x);
    v = p->at[j][0] - v;
    fc_lanes square = v * v;
    fc_lanes_store(out->square[j], &square);
    fc_lanes_abs(&v);
    v = v * ratio[j];
    fc_lanes_store(out->sum[j], &v);
  }
}

/* Distances from the anchors of a block, some anchors side by side: their chains of sums then overlap. */
FC_LANES_INLINE void wide_distances(fc_wide *square, fc_wide *sum, const float *x, size_t c, const places *p,
                                    const float *ratio) {
  enum { SIDE = 4 };
  addends same;
  same_distances(&same, x, c, p, ratio);
  for (size_t first = 0; first < FC_LANES; first += SIDE) {
    fc_wide square_l[SIDE] = {{0}}, sum_l[SIDE] = {{0}};
    for (size_t j = 0; j < c; j++) {
      if (p->same[j]) {
#pragma GCC unroll 4 /* SIDE: the sums stay in registers */
        for (size_t l = 0; l < SIDE; l++) {
          square_l[l] += same.square[j][first + l];
          sum_l[l] += same.sum[j][first + l];
        }
        continue;
      }
      const fc_wide at = p->at[j];
#pragma GCC unroll 4
      for (size_t l = 0; l < SIDE; l++) {
        fc_wide v = at - x[j * FC_LANES + first + l];
        square_l[l] += v * v;
        fc_wide_abs(&v);
        sum_l[l] += v * ratio[j];
      }
    }
    for (size_t l = 0; l < SIDE; l++) {
      square[first + l] = square_l[l];
      sum[first + l] = sum_l[l];
    }
  }
}

typedef struct { /* over the anchors of a lane of their blocks, as in sums */
  fc_wide weighted[FC_LANES], scatter[FC_LANES], similar[FC_LANES], nearest;
} wide_sums;

FC_WIDE static void add_anchors(wide_sums *s, const fc_local *local, const places *p, const float *ratio) {
  const float *x = local->x, *weight = local->weight, *scatter = local->scatter;
  const size_t c = local->n_coordinates, n = blocks(local->n);
  const float smooth = local->smooth * local->smooth, rough = local->rough * local->rough;
  const float own = local->own * local->own, per_total = 1 / (smooth + rough + own);
  const fc_wide all_own = (fc_wide){0} + own;
  for (size_t b = 0; b < n; b++, x += c * FC_LANES, weight += FC_LANES, scatter += FC_LANES) {
    fc_wide square[FC_LANES], sum[FC_LANES];
    wide_distances(square, sum, x, c, p, ratio);
    for (size_t l = 0; l < FC_LANES; l++) {
      fc_wide r = 3.0F * square[l];
      fc_wide_sqrt(&r);
      fc_wide e = r;
      fc_wide_exp_minus(&e);
      fc_wide_exp_minus(&sum[l]);
      fc_wide k = smooth * (1.0F + r) * e + rough * sum[l];
      fc_int_wide same = square[l] == 0.0F;
      k += (fc_wide)(same & (fc_int_wide)all_own);
      fc_wide near = k * per_total;
      s->weighted[l] += weight[l] * k;
      s->scatter[l] += near * scatter[l];
      s->similar[l] += near;
      fc_wide_max(&s->nearest, &near);
    }
  }
}

FC_WIDE static void add_up_rows(fc_local_answer *out, const wide_sums *total) {
  double weighted[ROWS] = {0}, scatter[ROWS] = {0}, similar[ROWS] = {0};
  float lane[ROWS];
  for (size_t l = 0; l < FC_LANES; l++) {
    memcpy(lane, &total->weighted[l], sizeof lane);
    for (size_t i = 0; i < ROWS; i++) weighted[i] += (double)lane[i];
    memcpy(lane, &total->scatter[l], sizeof lane);
    for (size_t i = 0; i < ROWS; i++) scatter[i] += (double)lane[i];
    memcpy(lane, &total->similar[l], sizeof lane);
    for (size_t i = 0; i < ROWS; i++) similar[i] += (double)lane[i];
  }
  for (size_t i = 0; i < ROWS; i++) {
    double mean = scatter[i] / similar[i];
    scatter[i] = similar[i] > 1e-6 ? mean : 0;
  }
  memcpy(lane, &total->nearest, sizeof lane);
  for (size_t i = 0; i < ROWS; i++) out[i] = (fc_local_answer){weighted[i], scatter[i], (double)lane[i]};
}

FC_WIDE static void place_rows(places *out, const fc_local *local, float x[FC_LOCAL_COORDINATES][ROWS]) {
  for (size_t j = 0; j < local->n_coordinates; j++) {
    const float *of = x[local->of[j]];
    int others = 0;
    for (size_t i = 0; i < ROWS; i++) others += of[i] != of[0];
    out->same[j] = others == 0;
    memcpy(&out->at[j], of, sizeof out->at[j]);
    out->at[j] /= local->length[j];
  }
}

static void evaluate_places(fc_local_answer out[ROWS], const fc_local *local, const places *p) {
  float ratio[FC_LOCAL_COORDINATES];
  wide_sums total = {0};
  for (size_t j = 0; j < local->n_coordinates; j++) ratio[j] = local->length[j] / local->rough_length[j];
  add_anchors(&total, local, p, ratio);
  add_up_rows(out, &total);
}

void fc_local_rows_evaluate(fc_local_answer out[FC_LOCAL_ROWS], const fc_local *local,
                            float x[FC_LOCAL_COORDINATES][FC_LOCAL_ROWS]) {
  places p;
  place_rows(&p, local, x);
  evaluate_places(out, local, &p);
}

/* --- at anchors --- */

static float anchor_coordinate(const fc_local *local, size_t i, size_t j) {
  return local->x[(i / FC_LANES * local->n_coordinates + j) * FC_LANES + i % FC_LANES];
}

double fc_local_at_anchor(const fc_local *local, size_t i) {
  float at[FC_LOCAL_COORDINATES];
  for (size_t j = 0; j < local->n_coordinates; j++) at[j] = anchor_coordinate(local, i, j);
  fc_local_answer answer;
  answer_at(&answer, local, at);
  return answer.correction;
}

void fc_local_at_anchors(double *out, const fc_local *local) {
  for (size_t first = 0; first < local->n; first += ROWS) {
    const size_t n = local->n - first < ROWS ? local->n - first : ROWS;
    places p = {.same = {false}};
    for (size_t j = 0; j < local->n_coordinates; j++) {
      float at[ROWS] = {0};
      for (size_t i = 0; i < ROWS; i++) at[i] = anchor_coordinate(local, first + (i < n ? i : 0), j);
      memcpy(&p.at[j], at, sizeof at);
    }
    fc_local_answer answer[ROWS];
    evaluate_places(answer, local, &p);
    for (size_t i = 0; i < n; i++) out[first + i] = answer[i].correction;
  }
}
