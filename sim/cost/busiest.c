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
  double skew, low, high, a, b, power;
} law;

static bool is_harmonic(double skew) {
  return fabs(skew - 1) < 1e-9;
}

static law law_of(double skew, double low, double high) {
  law l = {.skew = skew, .low = low, .high = high};
  if (is_harmonic(skew)) {
    l.a = log(high / low);
    return l;
  }
  l.b = pow(low, 1 - skew);
  l.a = pow(high, 1 - skew) - l.b;
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
  double u = is_harmonic(l->skew) ? log(x / l->low) / l->a : (pow(x, 1 - l->skew) - l->b) / l->a;
  return fmin(fmax(1 - u, 0), 1);
}

/* --- sums over the experts, remembered: files sweep few laws over many shapes --- */

typedef struct {
  double experts; /* 0: free */
  law law;
  double sum, squares, top;
} moments;

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

/* Sums over eight quantiles, kept apart so that they are vectors. */
enum { EIGHT = 8 };

FC_WIDE static void add_quantiles(double sum[EIGHT], double squares[EIGHT], const law *of, double experts,
                                  int whole) {
  const law l = *of;
  double s[EIGHT] = {0}, q[EIGHT] = {0}, x[EIGHT];
  const bool harmonic = is_harmonic(l.skew);
  for (int i = 0; i < whole; i += EIGHT) {
    double first = i + 0.5;
    if (harmonic) {
      for (int k = 0; k < EIGHT; k++) x[k] = harmonic_quantile(&l, (first + k) / experts);
    } else {
      for (int k = 0; k < EIGHT; k++) x[k] = power_quantile(&l, (first + k) / experts);
    }
    for (int k = 0; k < EIGHT; k++) {
      s[k] += x[k];
      q[k] += x[k] * x[k];
    }
  }
  memcpy(sum, s, sizeof s);
  memcpy(squares, q, sizeof q);
}

static void add_up(moments *out, const law *l, double experts) {
  double sum[EIGHT], squares[EIGHT];
  int n = (int)experts, whole = n - n % EIGHT;
  *out = (moments){.experts = experts, .law = *l};
  out->top = quantile(l, 1 - 0.5 / experts);
  add_quantiles(sum, squares, l, experts, whole);
  for (int k = 0; k < EIGHT; k++) {
    out->sum += sum[k];
    out->squares += squares[k];
  }
  for (int i = whole; i < n; i++) {
    double x = quantile(l, (i + 0.5) / experts);
    out->sum += x;
    out->squares += x * x;
  }
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
  double t = sqrt(-2 * log(1 - (n - 0.375) / (n + 0.25)));
  return t -
         (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

/* --- the busiest rank --- */

static void balanced(double *rows, double *hit, double choices, double ep, double held) {
  *rows = fmax(choices / ep, 1);
  *hit = fmin(held, *rows);
}

/* Two estimates of the mean over draws, the larger one: the most popular expert with average company (heavy
 * tails, few experts a rank), and the largest of ep sums (many experts a rank, where chance piles up several
 * popular ones). Against 60 draws of the generator, 8 to 256 experts, 2 to 32 ranks: within 15 % for 32
 * experts and more, up to 30 % above for 8 experts. */
void fc_moe_busiest(double *rows, double *experts_hit, double tokens, double topk, double experts, double ep,
                    double skew) {
  enum { EXPERTS_MAX = 1 << 16 };
  experts = fmin(fmax(floor(experts), 1), EXPERTS_MAX);
  ep = fmax(ep, 1);
  double held = fmax(experts / ep, 1), choices = tokens * topk;
  bool many = choices > experts;
  double low = many ? 1 : 0.01, high = many ? 0.8 * tokens : 2;
  if (!(skew > 0) || !(high > low)) {
    balanced(rows, experts_hit, choices, ep, held);
    return;
  }
  const moments *m = moments_of(experts, skew, low, high);
  double scale = choices / m->sum, mean = choices / experts, top = m->top * scale;
  double others = experts > 1 ? (choices - top) / (experts - 1) : 0;
  double variance = fmax(m->squares * scale * scale - experts * mean * mean, 0) / fmax(experts - 1, 1);
  double drawn = held * (1 - (held - 1) / fmax(experts - 1, 1)); /* without putting back */
  double by_top = top + (held - 1) * others,
         by_sum = held * mean + largest_of(ep) * sqrt(variance * fmax(drawn, 0));
  *rows = fmin(fmax(fmax(by_top, by_sum), fmax(choices / ep, 1)), choices);
  /* an expert whose load rounds to 0 gets none; where loads are higher, fewer miss out */
  double missed = 1 - share_above(&m->law, 0.5 / scale);
  *experts_hit = held * (1 - pow(missed, *rows * ep / choices));
  *experts_hit = fmin(fmax(*experts_hit, 1), fmin(held, fmax(*rows, 1)));
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
