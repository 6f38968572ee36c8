/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include <fleetcast/cost/form.h>

#include "fit_family.h"
#include "order.h"

/* Families that resemble one another lend one another points: implementations and formats share kernels. */

typedef fc_family_work work;

/* A family borrows when its own points are few enough to leave something to learn, of at most KINDRED others,
 * at most LENT points of each: the cost of solving grows with the cube. */
enum { BORROWER_MOST = 1000, KINDRED = 3, LENT = 400, TRIALS = 2 };
/* What explains less of a family's residuals than this is not kindred. */
static const double ALIKE = 0.85;
/* Leaving one out must err so much less with the loan than without. */
static const double WORTH = 0.98;

typedef struct {
  size_t family;
  bool total;     /* ln(time) itself is alike, not what the forms leave of it */
  double shift;   /* median of the own minus the lender's */
  double spread;  /* robust sd of the difference around it */
  double unalike; /* 1 - correlation */
} lender;

/* The shape of a point of one family as another would store it. */
static fc_op restyled(const fc_op *op, const fc_op *like) {
  fc_op out = *op;
  double kv = op->kv_heads * (op->dk > 0 ? op->dk : 1);
  double like_kv = like->kv_heads * (like->dk > 0 ? like->dk : 1);
  out.dtype = like->dtype;
  out.weight_bytes = like->weight_bytes;
  out.input_bytes = like->input_bytes;
  if (kv > 0 && like_kv > 0) out.cache_bytes = like->cache_bytes / like_kv * kv;
  return out;
}

/* ln of the form and of the correction of `fit` at a shape. */
static void surface_at(double *form, double *correction, const fc_kernel_fit *fit, const fc_op *op,
                       double units) {
  float x[FC_LOCAL_COORDINATES];
  fc_geometry g;
  fc_local_answer answer;
  fc_op_geometry(&g, op, units);
  (void)fc_local_coordinates(x, op, units, fit);
  fc_local_evaluate(&answer, fit->local, x);
  *form = log(fc_form_s(fit->form, &fit->coef, &g));
  *correction = answer.correction;
}

/* How alike the surfaces are at the own points, twice. */
static void compare(lender *out, const work *w, const fc_kernel_fit *fit, const fc_op *like, double units,
                    double *room) {
  double *total = room, *rest = room + w->n, *sorted = room + 2 * w->n;
  for (size_t i = 0; i < w->n; i++) {
    double form, correction;
    fc_op op = restyled(&w->point[i].op, like);
    surface_at(&form, &correction, fit, &op, units);
    rest[i] = w->residual[i] - correction;
    total[i] = w->y[i] - form - correction;
  }
  out->spread = HUGE_VAL;
  for (int which = 0; which < 2; which++) {
    double *of = which ? rest : total;
    memcpy(sorted, of, w->n * sizeof *sorted);
    double shift = fc_median(sorted, w->n);
    for (size_t i = 0; i < w->n; i++) of[i] -= shift;
    double spread = fc_robust_sd(of, w->n);
    if (spread >= out->spread) continue;
    out->spread = spread;
    out->shift = shift;
    out->total = which == 0;
  }
}

/* The KINDRED families that are most alike, best first. */
static size_t find_lenders(lender out[KINDRED], size_t i, size_t n, const fc_kernel_fit *fits,
                           fc_family_work *const *all, double units, double *room) {
  const work *w = all[i];
  memcpy(room, w->residual, w->n * sizeof *room);
  double own = fc_robust_sd(room, w->n);
  memcpy(room, w->error, w->n * sizeof *room);
  double error = fc_robust_sd(room, w->n);
  size_t kept = 0;
  for (size_t j = 0; j < n; j++) {
    if (j == i || fits[j].kernel != fits[i].kernel || !fits[j].local) continue;
    lender l = {.family = j};
    compare(&l, w, &fits[j], &all[j]->point[0].op, units, room);
    memcpy(room, all[j]->error, all[j]->n * sizeof *room);
    double theirs = fc_robust_sd(room, all[j]->n);
    if (!(l.spread < ALIKE * own)) continue;
    /* var(own - theirs) = 2 (1 - correlation) var(surface) + what their surface errs by */
    double apart = fmax(l.spread * l.spread - theirs * theirs - 0.5 * error * error, 0);
    l.unalike = fmin(fmax(apart / (2 * own * own), 0.002), 0.9);
    size_t k = kept < KINDRED ? kept++ : KINDRED;
    for (; k > 0 && out[k - 1].spread > l.spread; k--)
      if (k < KINDRED) out[k] = out[k - 1];
    if (k < KINDRED) out[k] = l;
  }
  return kept;
}

typedef struct {
  fc_krige_data data;
  float (*x)[FC_LOCAL_COORDINATES];
  double *y, *fixed, *kin;
  unsigned char *from;
  fc_op *op; /* of the lent points */
} loan;

static fc_status open_loan(loan *l, const work *w, fc_arena *arena) {
  size_t most = w->n + (size_t)KINDRED * LENT;
  *l = (loan){.data = fc_family_data(w)};
  l->x = fc_arena_array(arena, most, sizeof *l->x);
  l->y = fc_arena_array(arena, 3 * most, sizeof *l->y);
  l->from = fc_arena_array(arena, most, sizeof *l->from);
  l->op = fc_arena_array(arena, (size_t)KINDRED * LENT, sizeof *l->op);
  if (!l->x || !l->y || !l->from || !l->op) return FC_E_NOMEM;
  l->fixed = l->y + most;
  l->kin = l->fixed + most;
  for (size_t i = 0; i < w->n; i++) {
    memcpy(l->x[i], w->x[i], sizeof l->x[i]);
    l->y[i] = w->residual[i];
    l->fixed[i] = w->fixed[i];
    l->kin[i] = 1;
    l->from[i] = 0;
  }
  l->data.x = (const float(*)[FC_LOCAL_COORDINATES])l->x;
  l->data.y = l->y;
  l->data.fixed = l->fixed;
  l->data.kin = l->kin;
  l->data.from = l->from;
  l->data.n_own = w->n;
  return FC_OK;
}

/* Equal in every coordinate that the own points do not vary in. */
static bool is_comparable(const float *x, const work *w) {
  const fc_local *local = &w->krige.local;
  for (size_t j = 0, v = 0; j < w->n_coordinates; j++) {
    if (v < local->n_coordinates && local->of[v] == j) {
      v++;
      continue;
    }
    if (fabsf(x[j] - w->x[0][j]) > 1e-5F) return false;
  }
  return true;
}

static void lend(loan *l, const lender *from, unsigned char number, const work *w, const fc_kernel_fit *own,
                 const work *theirs, double units) {
  size_t step = theirs->n > LENT ? (theirs->n + LENT - 1) / LENT : 1;
  for (size_t i = 0; i < theirs->n; i += step) {
    size_t at = l->data.n;
    fc_op op = restyled(&theirs->point[i].op, &w->point[0].op);
    fc_geometry g;
    double share[FC_REGIME_COUNT];
    fc_op_geometry(&g, &op, units);
    (void)fc_local_coordinates(l->x[at], &op, units, own);
    if (!is_comparable(l->x[at], w)) continue;
    fc_form_shares(share, own->form, &own->coef, &g);
    l->fixed[at] = share[FC_REGIME_LAUNCH];
    l->y[at] = from->shift +
               (from->total ? theirs->y[i] - log(fc_form_s(own->form, &own->coef, &g)) : theirs->residual[i]);
    l->from[at] = number;
    l->op[at - w->n] = op;
    l->data.n++;
  }
}

/* Mean |error| of leaving one out. */
static double error_of(const fc_krige *krige, const work *w) {
  double sum = 0;
  for (size_t i = 0; i < w->n; i++) sum += fabs(krige->leave_one_out[i] - w->residual[i]);
  return sum / (double)w->n;
}

/* Tries correlations around the estimates.  @return the best loan's surface; local.n == 0: none is worth it
 */
static fc_status best_loan(fc_krige *out, loan *l, const lender *from, const work *w, fc_arena *arena) {
  static const double trial[TRIALS] = {1, 4};
  double least = WORTH * error_of(&w->krige, w);
  *out = (fc_krige){0};
  for (int t = 0; t < TRIALS; t++) {
    fc_krige tried;
    for (size_t i = w->n; i < l->data.n; i++)
      l->kin[i] = 1 - fmin(trial[t] * from[l->from[i] - 1].unalike, 0.95);
    fc_status status = fc_krige_join(&tried, &l->data, &w->krige, arena);
    if (status == FC_E_NOMEM) return status;
    if (status) continue;
    double error = error_of(&tried, w);
    if (!(error < least)) continue;
    least = error;
    *out = tried;
  }
  return FC_OK;
}

fc_status fc_family_borrow(fc_kernel_fit *fit, fc_family_report *report, size_t i, size_t n,
                           const fc_kernel_fit *fits, fc_family_work *const *all, const fc_device *device,
                           fc_arena *arena) {
  const work *w = all[i];
  double units = fc_family_units(device);
  if (!fits[i].local || w->n > BORROWER_MOST || w->krige.local.n < w->n) return FC_OK;
  size_t most = w->n;
  for (size_t j = 0; j < n; j++)
    if (all[j]->n > most) most = all[j]->n;
  double *room = fc_arena_array(arena, 3 * most, sizeof *room);
  loan l;
  fc_status status = room ? open_loan(&l, w, arena) : FC_E_NOMEM;
  if (status) return status;
  lender from[KINDRED];
  size_t lenders = find_lenders(from, i, n, fits, all, units, room);
  for (size_t k = 0; k < lenders; k++)
    lend(&l, &from[k], (unsigned char)(k + 1), w, &fits[i], all[from[k].family], units);
  if (l.data.n == w->n) return FC_OK;
  fc_krige best;
  status = best_loan(&best, &l, from, w, arena);
  if (status || best.local.n == 0) return status;
  work mine = *w; /* others still read the errors of the fit alone */
  mine.error = fc_arena_array(arena, w->n, sizeof *mine.error);
  if (!mine.error) return FC_E_NOMEM;
  fc_family_look_back(fit, report, &mine, &best);
  fit->lent = (double)(best.local.n - w->n);
  return fc_family_keep(fit, &best, w, l.op, arena);
}
