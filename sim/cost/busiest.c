/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/busiest.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <fleetcast/base/lanes.h>
#include <fleetcast/base/straight.h>

/* --- the law that loads are drawn from --- */

/* A density ~ x^-skew on [low, high]: its quantile is (a u + b)^power, or low e^(a u) where skew is 1. */
typedef struct {
  double skew, low, high, ln_low, ln_high, a, b, power;
} law;

static bool is_harmonic(double skew) {
  return fabs(skew - 1) < 1e-9;
}

/* x^y, x > 0 */
static double power_of(double x, double y) {
  return fc_straight_exp(y * fc_straight_ln(x));
}

static law law_of(double skew, double low, double high) {
  law l = {.skew = skew, .low = low, .high = high};
  l.ln_low = low == 1 ? 0 : fc_straight_ln(low); /* most often */
  l.ln_high = fc_straight_ln(high);
  if (is_harmonic(skew)) {
    l.a = l.ln_high - l.ln_low;
    return l;
  }
  l.b = low == 1 ? 1 : fc_straight_exp((1 - skew) * l.ln_low);
  l.a = fc_straight_exp((1 - skew) * l.ln_high) - l.b;
  l.power = 1 / (1 - skew);
  return l;
}

FC_STRAIGHT double harmonic_quantile(const law *l, double u) {
  return l->low * fc_straight_exp(l->a * u);
}

FC_STRAIGHT double power_quantile(const law *l, double u) {
  return fc_straight_exp(l->power * fc_straight_ln(l->a * u + l->b));
}

static double quantile(const law *l, double u) {
  return is_harmonic(l->skew) ? harmonic_quantile(l, u) : power_quantile(l, u);
}

/* Share of the loads that exceed x. */
static double share_above(const law *l, double x) {
  if (!(x > l->low)) return 1;
  if (!(x < l->high)) return 0;
  double u =
      is_harmonic(l->skew) ? fc_straight_ln(x / l->low) / l->a : (power_of(x, 1 - l->skew) - l->b) / l->a;
  return fc_straight_smaller(fc_straight_larger(1 - u, 0), 1);
}

/* --- sums over all quantiles ---
 *
 * Where x varies little from one midpoint to the next, its sum is an integral and what the ends tell (Euler
 * and Maclaurin), with h the step and brackets for the difference between the ends:
 *
 *   sum f = int f / h - h [f'] / 24 + 7 h^3 [f^(3)] / 5760 - 31 h^5 [f^(5)] / 967680 + 127 h^7 [f^(7)] /
 * 154828800
 *
 * The quantiles near the end where a u + b is least are added one by one. */

enum { EIGHT = 8 };

/* Kept apart so that they are vectors. */
FC_WIDE static void add_eights(double sum[EIGHT], double squares[EIGHT], const law *of, double experts,
                               int first, int end) {
  const law l = *of;
  double s[EIGHT] = {0}, q[EIGHT] = {0}, x[EIGHT];
  const bool harmonic = is_harmonic(l.skew);
  for (int i = first; i < end; i += EIGHT) {
    double middle = i + 0.5;
    if (harmonic) {
      for (int k = 0; k < EIGHT; k++) x[k] = harmonic_quantile(&l, (middle + k) / experts);
    } else {
      for (int k = 0; k < EIGHT; k++) x[k] = power_quantile(&l, (middle + k) / experts);
    }
    for (int k = 0; k < EIGHT; k++) {
      s[k] += x[k];
      q[k] += x[k] * x[k];
    }
  }
  memcpy(sum, s, sizeof s);
  memcpy(squares, q, sizeof q);
}

typedef struct {
  double sum, squares;
} sums;

static void add_each(sums *out, const law *l, double experts, int first, int end) {
  double sum[EIGHT], squares[EIGHT];
  int whole = end - (end - first) % EIGHT;
  add_eights(sum, squares, l, experts, first, whole);
  for (int k = 0; k < EIGHT; k++) {
    out->sum += sum[k];
    out->squares += squares[k];
  }
  for (int i = whole; i < end; i++) {
    double x = quantile(l, (i + 0.5) / experts);
    out->sum += x;
    out->squares += x * x;
  }
}

static const double end_weight[] = {-1.0 / 24, 7.0 / 5760, -31.0 / 967680, 127.0 / 154828800};
enum { END_TERMS = sizeof end_weight / sizeof *end_weight };

/* What an end tells of f = z^power, where z grows by `step` from one to the next. */
static double end_of_power(double f, double z, double step, double power) {
  double w = step / z, derivative = f * power * w, sum = 0;
  for (int k = 0; k < END_TERMS; k++) {
    sum += end_weight[k] * derivative;
    derivative *= (power - 2 * k - 1) * (power - 2 * k - 2) * w * w;
  }
  return sum;
}

/* An end of a stretch of quantiles: x = z^power there. */
typedef struct {
  double z, ln_z, x;
} end;

/* Of f = x, or of its square with twice the power. */
static double sum_of_power(const end *from, const end *to, double f0, double f1, double step, double power) {
  double ratio = to->ln_z - from->ln_z, m = (power + 1) * ratio;
  /* (e^m - 1) / (power + 1): of a small m by its series */
  double grown = fabs(m) < 1e-3 ? ratio * (1 + m * (1.0 / 2 + m * (1.0 / 6 + m * (1.0 / 24))))
                                : (f1 * to->z / (f0 * from->z) - 1) / (power + 1);
  return f0 * from->z * grown / step + end_of_power(f1, to->z, step, power) -
         end_of_power(f0, from->z, step, power);
}

/* Of f = f0 e^(step i). */
static double sum_of_exponential(double f0, double f1, double step) {
  double sum = (f1 - f0) / step, derivative = (f1 - f0) * step;
  for (int k = 0; k < END_TERMS; k++) {
    sum += end_weight[k] * derivative;
    derivative *= step * step;
  }
  return sum;
}

/* Quantiles at the steep end that are added one by one.  From there on squares, x^2 = z^(2 power), change by
 * less than a factor of about e^(1/2) from one to the next, and the terms left out are below 1e-10 of x. */
static int steep(const law *l, double experts) {
  const double change = 0.5, last = 2 * END_TERMS - 1; /* derivative */
  if (is_harmonic(l->skew)) return 2 * l->a <= change * experts ? 0 : (int)experts;
  double least = l->a > 0 ? l->b : l->a + l->b;
  double from = (fabs(2 * l->power) + last) / change, steps = from - least * experts / fabs(l->a);
  if (!(steps > 0)) return 0;
  return steps < experts ? (int)steps + EIGHT - (int)steps % EIGHT : (int)experts;
}

typedef struct {
  double experts; /* 0: free */
  law law;
  double sum, squares, top;
} moments;

/* All but the `first` at the steep end. */
static void add_rest(sums *out, const law *l, double experts, int first) {
  double step = l->a / experts;
  end from = {l->b, l->ln_low / l->power, l->low}, to = {l->a + l->b, l->ln_high / l->power, l->high},
      *steep_end = l->a > 0 ? &from : &to;
  if (first > 0) {
    double u = first / experts, z = l->a * (l->a > 0 ? u : 1 - u) + l->b, ln_z = fc_straight_ln(z);
    *steep_end = (end){z, ln_z, fc_straight_exp(l->power * ln_z)};
  }
  out->sum += sum_of_power(&from, &to, from.x, to.x, step, l->power);
  out->squares += sum_of_power(&from, &to, from.x * from.x, to.x * to.x, step, 2 * l->power);
}

static void add_up(moments *out, const law *l, double experts) {
  int n = (int)experts, first = steep(l, experts);
  sums of = {0, 0};
  if (first >= n - EIGHT) {
    add_each(&of, l, experts, 0, n);
  } else if (is_harmonic(l->skew)) {
    double step = l->a / experts;
    of.sum = sum_of_exponential(l->low, l->high, step);
    of.squares = sum_of_exponential(l->low * l->low, l->high * l->high, 2 * step);
  } else {
    add_each(&of, l, experts, l->a > 0 ? 0 : n - first, l->a > 0 ? first : n);
    add_rest(&of, l, experts, first);
  }
  *out = (moments){.experts = experts, .law = *l, .sum = of.sum, .squares = of.squares};
  out->top = quantile(l, 1 - 0.5 / experts);
}

/* --- remembered: files sweep few laws over many shapes --- */

enum { SLOTS = 2048, PROBES = 4 };

static size_t slot_of(double experts, double skew, double high) {
  uint64_t h = 0xcbf29ce484222325u, bits;
  const double key[] = {experts, skew, high};
  for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
    memcpy(&bits, &key[i], sizeof bits);
    h = (h ^ bits) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  }
  return (h >> 32) % SLOTS; /* the low bits of whole numbers are 0 */
}

static const moments *moments_of(double experts, double skew, double low, double high) {
  static _Thread_local moments kept[SLOTS];
  size_t home = slot_of(experts, skew, high);
  moments *slot = NULL;
  for (size_t i = 0; i < PROBES; i++) {
    moments *m = &kept[(home + i) % SLOTS];
    if (m->experts == experts && m->law.skew == skew && m->law.high == high) return m;
    if (m->experts == 0 && !slot) slot = m;
  }
  if (!slot) slot = &kept[home];
  law l = law_of(skew, low, high);
  add_up(slot, &l, experts);
  return slot;
}

/* Expected largest of n standard normal values.
 * @source Blom 1958 for the plotting position, Abramowitz and Stegun 26.2.23 for the quantile (error
 * < 4.5e-4) */
static double largest_of(double n) {
  if (!(n > 1)) return 0;
  double t = sqrt(-2 * fc_straight_ln(1 - (n - 0.375) / (n + 0.25)));
  return t -
         (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

/* --- the busiest rank --- */

static void balanced(double *rows, double *hit, double choices, double ep, double held) {
  *rows = fc_straight_larger(choices / ep, 1);
  *hit = fc_straight_smaller(held, *rows);
}

/* Two estimates of the mean over draws, the larger one: the most popular expert with average company (heavy
 * tails, few experts a rank), and the largest of ep sums (many experts a rank, where chance piles up several
 * popular ones). Against 60 draws of the generator, 8 to 256 experts, 2 to 32 ranks: within 15 % for 32
 * experts and more, up to 30 % above for 8 experts. */
void fc_moe_busiest(double *rows, double *experts_hit, double tokens, double topk, double experts, double ep,
                    double skew) {
  enum { EXPERTS_MAX = 1 << 16 };
  experts = fc_straight_smaller(fc_straight_larger(floor(experts), 1), EXPERTS_MAX);
  ep = fc_straight_larger(ep, 1);
  double held = fc_straight_larger(experts / ep, 1), choices = tokens * topk;
  bool many = choices > experts;
  double low = many ? 1 : 0.01, high = many ? 0.8 * tokens : 2;
  if (!(skew > 0) || !(high > low)) {
    balanced(rows, experts_hit, choices, ep, held);
    return;
  }
  const moments *m = moments_of(experts, skew, low, high);
  double scale = choices / m->sum, mean = choices / experts, top = m->top * scale;
  double others = experts > 1 ? (choices - top) / (experts - 1) : 0;
  double variance = fc_straight_larger(m->squares * scale * scale - experts * mean * mean, 0) /
                    fc_straight_larger(experts - 1, 1);
  double drawn = held * (1 - (held - 1) / fc_straight_larger(experts - 1, 1)); /* without putting back */
  double by_top = top + (held - 1) * others,
         by_sum = held * mean + largest_of(ep) * sqrt(variance * fc_straight_larger(drawn, 0));
  *rows = fc_straight_smaller(
      fc_straight_larger(fc_straight_larger(by_top, by_sum), fc_straight_larger(choices / ep, 1)), choices);
  /* an expert whose load rounds to 0 gets none; where loads are higher, fewer miss out */
  double missed = 1 - share_above(&m->law, 0.5 / scale);
  *experts_hit = held * (1 - (missed > 0 ? power_of(missed, *rows * ep / choices) : 0));
  *experts_hit = fc_straight_smaller(fc_straight_larger(*experts_hit, 1),
                                     fc_straight_smaller(held, fc_straight_larger(*rows, 1)));
}

void fc_moe_popularity(double *share, int experts, double tokens, double topk, double skew) {
  enum { ROUNDS = 16 };
  bool many = tokens * topk > experts;
  double low = many ? 1 : 0.01, high = many ? 0.8 * tokens : 2, left = 1, most = 1 / topk;
  law l = law_of(skew, low, high > low ? high : 2 * low);
  for (int i = 0; i < experts; i++)
    share[i] = skew > 0 && high > low ? quantile(&l, 1 - (i + 0.5) / experts) : 1;
  /* what the most popular may not take goes to the others */
  for (int round = 0, capped = 0; round < ROUNDS; round++) {
    double sum = 0;
    for (int i = capped; i < experts; i++) sum += share[i];
    for (int i = capped; i < experts; i++) share[i] *= left / sum;
    int before = capped;
    while (capped + 1 < experts && share[capped] > most) {
      share[capped++] = most;
      left -= most;
    }
    if (capped == before) break;
  }
}
