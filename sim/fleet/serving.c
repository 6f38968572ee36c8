/* SPDX-License-Identifier: Apache-2.0 */
/* Serving: per (service, pool, epoch) a rate, not an entity.  Devices follow the forecast; tokens beyond what
 * they serve wait in a fluid FIFO queue until their patience ends. */
#include "parts.h"

#include <math.h>
#include <stdlib.h>

/* Buckets of the waiting tokens' FIFO; the two oldest are merged beyond it. */
enum { RING_MAX = 4096 };
/* Slack of rounding up to instances, as a share of one. */
#define ROUND_SLACK 1e-9
#define DEVICES_MAX 1e15

/* --- capacity of one site --- */

static double units_up(double devices, int64_t unit) {
  return fmin(ceil(devices / (double)unit - ROUND_SLACK), DEVICES_MAX / (double)unit) * (double)unit;
}

static double site_rate(const fc_site *s, int64_t prefill, int64_t decode) {
  if (!s->split) return (double)decode * s->efficiency / (s->prefill_s + s->decode_s);
  double rate = (double)INFINITY;
  if (s->prefill_s > 0) rate = fmin(rate, (double)prefill / s->prefill_s);
  if (s->decode_s > 0) rate = fmin(rate, (double)decode / s->decode_s);
  return rate * s->efficiency;
}

/* Devices for a load.  @pre tokens_per_s > 0 */
static void site_need(const fc_site *s, double tokens_per_s, int64_t *prefill, int64_t *decode) {
  double load = tokens_per_s / s->efficiency;
  if (!s->split) {
    *prefill = 0;
    *decode = (int64_t)units_up(load * (s->prefill_s + s->decode_s), s->decode_unit);
    return;
  }
  *prefill = (int64_t)units_up(load * s->prefill_s, s->prefill_unit);
  *decode = (int64_t)units_up(load * s->decode_s, s->decode_unit);
}

/* The split of at most `devices` that serves most: the largest number of prefill instances that does not
 * exceed what decode can follow, or one more. */
static void site_best(const fc_site *s, int64_t devices, int64_t *prefill, int64_t *decode) {
  int64_t pu = s->prefill_unit, du = s->decode_unit;
  *prefill = *decode = 0;
  if (!s->split || !(s->prefill_s > 0) || !(s->decode_s > 0)) {
    bool prefill_only = s->split && !(s->decode_s > 0);
    if (prefill_only)
      *prefill = devices / pu * pu;
    else
      *decode = devices / du * du;
    return;
  }
  int64_t low = 0, high = devices / pu; /* instances: low is bound by prefill */
  while (low < high) {
    int64_t mid = low + (high - low + 1) / 2;
    int64_t rest = (devices - mid * pu) / du * du; /* whole decode instances */
    double decode_rate = (double)rest / s->decode_s;
    if ((double)(mid * pu) / s->prefill_s <= decode_rate)
      low = mid;
    else
      high = mid - 1;
  }
  for (int64_t k = low; k <= low + 1 && k * pu <= devices; k++) {
    int64_t d = (devices - k * pu) / du * du;
    if (site_rate(s, k * pu, d) > site_rate(s, *prefill, *decode)) *prefill = k * pu, *decode = d;
  }
}

/* --- planning --- */

static double efficiency_now(const fc_fleet *f, size_t s, size_t p) {
  const fc_service_def *def = &f->def->services[s];
  double e = 1;
  if (def->efficiency_per_year > 0 && def->efficiency_per_year != 1)
    e = pow(def->efficiency_per_year, fc_time_to_s(f->now - f->def->start) / FC_YEAR_S);
  for (size_t k = 0; k < f->def->n_policies; k++) {
    const fc_policy_def *policy = &f->def->policies[k];
    if (policy->kind != FC_POLICY_SCALE_EFFICIENCY) continue;
    if (policy->service >= 0 && policy->service != (int32_t)s) continue;
    if (policy->pool >= 0 && policy->pool != (int32_t)p) continue;
    if (f->now >= policy->date && f->now < fc_policy_until(policy, f->def)) e *= policy->factor;
  }
  return e;
}

void fc_service_epoch(fc_fleet *f, size_t s, fc_time to) {
  f->service[s].epoch = fc_demand_next(&f->service[s].demand, f->now, to);
  for (size_t p = 0; p < f->def->n_pools; p++)
    if (f->service[s].site[p].feasible) f->service[s].site[p].efficiency = efficiency_now(f, s, p);
}

/* Tokens a second that the devices of this epoch are to serve: the forecast with headroom, and the queue
 * within one epoch. */
static double target_rate(const fc_fleet *f, size_t s) {
  const fc_service_def *def = &f->def->services[s];
  const fc_service *service = &f->service[s];
  double load = service->epoch.forecast;
  if (def->scaling == FC_SCALING_PEAK) load = fmax(load, service->epoch.level * service->peak_shape);
  double queued = fmax((double)service->queued - 1, 0); /* one may be left over by counting in whole tokens */
  return load * (1 + fmax(def->headroom, 0)) + queued / fc_time_to_s(f->epoch_ns);
}

void fc_service_release(fc_fleet *f, size_t s) {
  for (size_t p = 0; p < f->def->n_pools; p++) {
    fc_site *site = &f->service[s].site[p];
    int64_t held = site->prefill + site->decode;
    if (held == 0) continue;
    fc_pool_idle(f, p, held);
    f->pool[p].serving -= held;
    site->prefill = site->decode = 0;
    site->rate = 0;
  }
}

static void place_on(fc_fleet *f, size_t s, size_t p, double load) {
  fc_service *service = &f->service[s];
  fc_site *site = &service->site[p];
  fc_pool *pool = &f->pool[p];
  if (!site->feasible || !(site->efficiency > 0) || !(site->prefill_s + site->decode_s > 0)) return;
  int64_t prefill, decode;
  site_need(site, load, &prefill, &decode);
  int64_t available = fc_pool_available(pool, service->level);
  if (prefill + decode > available) {
    site_best(site, available, &prefill, &decode);
    double rate = site_rate(site, prefill, decode);
    if (!(rate > 0)) return;
    int64_t enough_prefill, enough_decode; /* without what the scarcer kind cannot use */
    site_need(site, fmin(rate, load), &enough_prefill, &enough_decode);
    if (enough_prefill < prefill) prefill = enough_prefill;
    if (enough_decode < decode) decode = enough_decode;
  }
  if (prefill + decode > pool->idle) fc_pool_clear(f, p, service->level, prefill + decode);
  site->prefill = prefill;
  site->decode = decode;
  site->rate = site_rate(site, prefill, decode);
  pool->serving += prefill + decode;
  fc_pool_idle(f, p, -(prefill + decode));
}

void fc_service_place(fc_fleet *f, size_t s) {
  const fc_service_def *def = &f->def->services[s];
  double load = target_rate(f, s), rest = load;
  size_t n = def->n_pools > 0 ? def->n_pools : f->def->n_pools;
  for (size_t i = 0; i < n && rest > ROUND_SLACK * load; i++) {
    size_t p = def->n_pools > 0 ? (size_t)def->pools[i] : i;
    place_on(f, s, p, rest);
    rest -= f->service[s].site[p].rate;
  }
}

void fc_service_check(fc_fleet *f, size_t s) {
  double rate = 0, load = target_rate(f, s);
  for (size_t p = 0; p < f->def->n_pools; p++) rate += f->service[s].site[p].rate;
  if (!(rate < load * (1 - 1e-6))) return;
  for (size_t p = 0; p < f->def->n_pools; p++) { /* short of its target: nowhere could it have had more */
    const fc_site *site = &f->service[s].site[p];
    if (!site->feasible || !(site->efficiency > 0)) continue;
    int64_t prefill, decode;
    site_best(site, f->pool[p].idle + site->prefill + site->decode, &prefill, &decode);
    if (site_rate(site, prefill, decode) > site->rate * (1 + 1e-9))
      f->idler = f->def->services[s].name ? f->def->services[s].name : "";
  }
}

void fc_service_book(fc_fleet *f, size_t s, bool all) {
  fc_service *service = &f->service[s];
  int64_t total = 0;
  for (size_t p = 0; p < f->def->n_pools; p++) {
    fc_site *site = &service->site[p];
    int64_t held = site->prefill + site->decode;
    total += held;
    if (held == site->booked && !all) continue;
    fc_line_book(f, fc_line_at(f, p, fc_slot_service(f, s)), site->since, f->now, site->booked);
    site->since = f->now;
    site->booked = held;
  }
  struct fc_service_sum *sum = &service->sum[f->bucket];
  if (f->bucket < f->grid->n && total > sum->peak_devices) sum->peak_devices = total;
}

/* --- the fluid --- */

static fc_wait *ring_at(const fc_service *service, size_t i) {
  return &service->ring[(service->head + i) % service->capacity];
}

static void ring_push(fc_service *service, fc_time from, fc_time to, fc_wide tokens) {
  if (tokens == 0) return;
  if (service->n_ring == service->capacity) { /* merge the two oldest */
    fc_wait *old = ring_at(service, 0), *next = ring_at(service, 1);
    next->from = old->from;
    next->tokens += old->tokens;
    service->head = (service->head + 1) % service->capacity;
    service->n_ring--;
  }
  *ring_at(service, service->n_ring++) = (fc_wait){from, to, tokens};
}

/* Takes from the oldest; what is left of a bucket is its latest part. */
static fc_wide ring_serve(fc_service *service, fc_wide tokens) {
  fc_wide left = tokens;
  while (left > 0 && service->n_ring > 0) {
    fc_wait *w = ring_at(service, 0);
    if (w->tokens > left) {
      w->from += (fc_time)((double)(w->to - w->from) * ((double)left / (double)w->tokens));
      w->tokens -= left;
      return tokens;
    }
    left -= w->tokens;
    service->head = (service->head + 1) % service->capacity;
    service->n_ring--;
  }
  return tokens - left;
}

/* Drops what arrived before `limit`. */
static fc_wide ring_drop(fc_service *service, fc_time limit) {
  fc_wide dropped = 0;
  while (service->n_ring > 0) {
    fc_wait *w = ring_at(service, 0);
    if (w->from >= limit) break;
    if (w->to > limit) {
      fc_wide part = (fc_wide)((double)w->tokens * ((double)(limit - w->from) / (double)(w->to - w->from)));
      if (part > w->tokens) part = w->tokens;
      w->from = limit;
      w->tokens -= part;
      return dropped + part;
    }
    dropped += w->tokens;
    service->head = (service->head + 1) % service->capacity;
    service->n_ring--;
  }
  return dropped;
}

/* Whole tokens of a real number of them, to the nearest; the rest is carried. */
static fc_wide whole(double tokens, double *carry) {
  double sum = fmax(fmin(tokens, 1e30) + *carry, 0), n = floor(sum + 0.5);
  *carry = sum - n;
  return (fc_wide)n;
}

/* Energy and FLOP of the tokens served, shared over the sites by their capacity. */
static void site_work(fc_fleet *f, size_t s, double served, double rate, double dt) {
  fc_service *service = &f->service[s];
  double use = rate > 0 && dt > 0 ? fmin(served / (rate * dt), 1) : 0;
  for (size_t p = 0; p < f->def->n_pools; p++) {
    fc_site *site = &service->site[p];
    if (site->prefill + site->decode == 0) continue;
    double idle_w = f->pool[p].idle_w;
    double joule = 0;
    if (site->split) {
      /* each kind of instance is busy for what its work takes of it */
      double load = use * site->rate / site->efficiency;
      double busy_prefill = fmin(load * site->prefill_s, (double)site->prefill);
      double busy_decode = fmin(load * site->decode_s, (double)site->decode);
      joule = busy_prefill * site->prefill_w + busy_decode * site->decode_w +
              ((double)(site->prefill + site->decode) - busy_prefill - busy_decode) * idle_w;
    } else {
      double share = site->prefill_s / (site->prefill_s + site->decode_s);
      double busy_w = share * site->prefill_w + (1 - share) * site->decode_w;
      joule = (double)site->decode * (idle_w + use * (busy_w - idle_w));
    }
    double tokens = rate > 0 ? served * (site->rate / rate) : 0;
    fc_line_add(f, fc_line_at(f, p, fc_slot_service(f, s)), tokens * service->flop_per_token, joule * dt);
  }
}

void fc_service_advance(fc_fleet *f, size_t s) {
  fc_service *service = &f->service[s];
  if (f->now <= service->last) return;
  double dt = fc_time_to_s(f->now - service->last);
  double rate = 0;
  for (size_t p = 0; p < f->def->n_pools; p++) rate += service->site[p].rate;
  fc_wide in = whole(service->epoch.actual * dt, &service->arrival_carry);
  ring_push(service, service->last, f->now, in);
  /* with the slack that rounding up to instances allows, else a token is left over and asks for another one
   */
  fc_wide served = ring_serve(service, whole(rate * dt * (1 + ROUND_SLACK), &service->capacity_carry));
  if (service->n_ring == 0) service->capacity_carry = 0;
  double patience_s = f->def->services[s].patience_s;
  fc_wide dropped = 0;
  if (service->n_ring > 0 && !isinf(patience_s))
    dropped = ring_drop(service, f->now - fc_time_from_s(fmax(patience_s, 0)));
  service->in += in;
  service->served += served;
  service->dropped += dropped;
  service->queued += in - served - dropped;
  struct fc_service_sum *sum = &service->sum[f->bucket];
  sum->in += in;
  sum->served += served;
  sum->dropped += dropped;
  sum->queued = service->queued;
  site_work(f, s, (double)served, rate, dt);
  service->last = f->now;
}

/* --- life --- */

static fc_status service_factors(fc_fleet *f, size_t s, size_t *n) {
  fc_service *service = &f->service[s];
  service->factors = calloc(f->def->n_policies + 1, sizeof *service->factors);
  if (!service->factors) return FC_E_NOMEM;
  for (size_t k = 0; k < f->def->n_policies; k++) {
    const fc_policy_def *policy = &f->def->policies[k];
    if (policy->kind != FC_POLICY_SCALE_DEMAND) continue;
    if (policy->service >= 0 && policy->service != (int32_t)s) continue;
    service->factors[(*n)++] = (fc_factor){policy->date, fc_policy_until(policy, f->def), policy->factor};
  }
  return FC_OK;
}

fc_status fc_service_init(fc_fleet *f, size_t s) {
  fc_service *service = &f->service[s];
  const fc_service_def *def = &f->def->services[s];
  size_t n = 0, twins = 0;
  fc_status st = service_factors(f, s, &n);
  if (st) return st;
  for (size_t i = 0; i < s; i++) twins += fc_name_equal(f->def->services[i].name, def->name);
  fc_demand_def demand = {.rate = &def->tokens_per_s,
                          .shape = def->shape,
                          .burst_sigma = def->burst_sigma,
                          .burst_s = def->burst_time_s,
                          .n_factors = n,
                          .factors = service->factors};
  service->demand = fc_demand_start(&demand, f->options.seed, fc_entity(def->name, twins));
  service->peak_shape = def->shape ? fc_shape_peak(def->shape) : 1;
  double epochs = fmax(def->patience_s, 0) / fc_time_to_s(f->epoch_ns);
  service->capacity = (size_t)fmin(2 * epochs + 8, RING_MAX);
  service->ring = calloc(service->capacity, sizeof *service->ring);
  service->sum = calloc(f->grid->n + 1, sizeof *service->sum);
  if (!service->ring || !service->sum) return FC_E_NOMEM;
  service->last = f->now;
  for (size_t p = 0; p < f->def->n_pools; p++) service->site[p].since = f->now;
  return FC_OK;
}

void fc_service_fini(fc_service *service) {
  free(service->factors);
  free(service->site);
  free(service->ring);
  free(service->sum);
}
