/* SPDX-License-Identifier: Apache-2.0 */
#include "supply.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PICO 1e-12

/* A day of a delivery, before rounding. */
typedef struct lot {
  int32_t pool;
  fc_time date; /* of delivery */
  double devices;
  size_t order; /* keeps sorting stable */
} lot;

typedef struct lots {
  size_t n, capacity;
  lot *item;
} lots;

fc_time fc_time_plus_s(fc_time t, double seconds) {
  fc_time d = fc_time_from_s(seconds);
  if (d > 0 && t > FC_TIME_MAX - d) return FC_TIME_MAX;
  return t + d;
}

fc_time fc_policy_until(const fc_policy_def *policy, const fc_fleet_def *def) {
  return policy->until > policy->date ? policy->until : policy->until == 0 ? def->end : policy->date;
}

static fc_status lots_add(lots *list, int32_t pool, fc_time date, double devices) {
  if (list->n == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 256;
    lot *item = realloc(list->item, capacity * sizeof *item);
    if (!item) return FC_E_NOMEM;
    list->item = item;
    list->capacity = capacity;
  }
  list->item[list->n] = (lot){.pool = pool, .date = date, .devices = devices, .order = list->n};
  list->n++;
  return FC_OK;
}

/* A delivery, one lot a day while it lasts. */
static fc_status lots_deliver(lots *list, int32_t pool, const fc_delivery *delivery) {
  fc_time over = delivery->over_s > 0 ? fc_time_from_s(delivery->over_s) : 0;
  if (over <= FC_DAY) return lots_add(list, pool, delivery->date, delivery->devices);
  for (fc_time into = 0; into < over; into += FC_DAY) {
    fc_time part = over - into < FC_DAY ? over - into : FC_DAY;
    double devices = delivery->devices * ((double)part / (double)over);
    fc_status st = lots_add(list, pool, delivery->date + into, devices);
    if (st) return st;
  }
  return FC_OK;
}

/* Policies act in the order of the scenario, a redirected lot meeting those that follow. */
static fc_status lots_obey(lots *list, const fc_fleet_def *def) {
  for (size_t k = 0; k < def->n_policies; k++) {
    const fc_policy_def *policy = &def->policies[k];
    if (policy->kind != FC_POLICY_SCALE_DELIVERIES && policy->kind != FC_POLICY_REDIRECT) continue;
    bool redirect = policy->kind == FC_POLICY_REDIRECT && policy->to >= 0;
    fc_time until = fc_policy_until(policy, def);
    for (size_t i = 0, n = list->n; i < n; i++) {
      lot l = list->item[i];
      if (policy->pool >= 0 && l.pool != policy->pool) continue;
      if (l.date < policy->date || l.date >= until || (redirect && l.pool == policy->to)) continue;
      list->item[i].devices *= policy->factor;
      if (!redirect || policy->factor >= 1) continue;
      fc_status st = lots_add(list, policy->to, l.date, l.devices * (1 - policy->factor));
      if (st) return st;
    }
  }
  return FC_OK;
}

static int lot_compare(const void *a, const void *b) {
  const lot *x = a, *y = b;
  if (x->pool != y->pool) return x->pool < y->pool ? -1 : 1;
  if (x->date != y->date) return x->date < y->date ? -1 : 1;
  return x->order < y->order ? -1 : x->order > y->order;
}

static int step_compare(const void *a, const void *b) {
  const fc_lot_step *x = a, *y = b;
  if (x->at != y->at) return x->at < y->at ? -1 : 1;
  return x->delta > y->delta ? -1 : x->delta < y->delta;
}

static double system_usd(const fc_device *device, fc_time date) {
  if (device->system_usd.n > 0) return fc_series_at(&device->system_usd, date);
  return FC_SYSTEM_OVER_PURCHASE * fc_series_at(&device->purchase_usd, date);
}

/* One integer lot: its life as steps, as installed time and as capital. */
static fc_status supply_lot(fc_supply *s, const fc_fleet_def *def, const fc_pool_def *pool,
                            const fc_grid *grid, fc_time date, int64_t devices) {
  fc_time at = fc_time_plus_s(date, pool->lag_s);
  fc_time retire = pool->life_s > 0 ? fc_time_plus_s(at, pool->life_s) : FC_TIME_MAX;
  if (at >= def->end || retire <= def->start || retire <= at) return FC_OK;
  fc_time from = at > def->start ? at : def->start;
  fc_time to = retire < def->end ? retire : def->end;
  if (!fc_integral_add(&s->installed, grid, from, to, devices)) return FC_E_NOMEM;
  if (from < s->first) s->first = from;
  if (at <= def->start)
    s->at_start += devices;
  else
    s->step[s->n_steps++] = (fc_lot_step){.at = at, .delta = devices};
  if (retire < def->end) s->step[s->n_steps++] = (fc_lot_step){.at = retire, .delta = -devices};
  if (!(pool->depreciation_s > 0)) return FC_OK;
  fc_time written_off = fc_time_plus_s(at, pool->depreciation_s);
  double usd_per_s = (double)devices * system_usd(pool->profile->device, date) / pool->depreciation_s;
  if (!fc_integral_add(&s->capital, grid, from, written_off < to ? written_off : to,
                       llround(fmin(usd_per_s / PICO, 9e18))))
    return FC_E_NOMEM;
  return FC_OK;
}

/* A pool from its sorted lots.  Rounding is cumulative: the total is right to half a device at every date. */
static fc_status supply_pool(fc_supply *s, const fc_fleet_def *def, const fc_pool_def *pool,
                             const fc_grid *grid, const lot *item, size_t n) {
  s->first = FC_TIME_MAX;
  s->step = calloc(2 * n + 1, sizeof *s->step);
  if (!s->step) return FC_E_NOMEM;
  double total = 0;
  int64_t given = 0;
  for (size_t i = 0; i < n; i++) {
    total += item[i].devices;
    int64_t devices = llround(total) - given;
    if (devices <= 0) continue;
    given += devices;
    fc_status st = supply_lot(s, def, pool, grid, item[i].date, devices);
    if (st) return st;
  }
  if (s->n_steps > 1) qsort(s->step, s->n_steps, sizeof *s->step, step_compare);
  int64_t installed = s->at_start;
  for (size_t i = 0; i < s->n_steps; i++) s->step[i].installed = installed += s->step[i].delta;
  int64_t peak = 0;
  for (size_t i = s->n_steps; i-- > 0;) {
    if (s->step[i].installed > peak) peak = s->step[i].installed;
    s->step[i].peak = peak;
  }
  s->peak = peak > s->at_start ? peak : s->at_start;
  return FC_OK;
}

fc_status fc_supply_init(fc_supply *supply, const fc_fleet_def *def, const fc_grid *grid) {
  lots list = {0};
  fc_status st = FC_OK;
  for (size_t p = 0; p < def->n_pools && !st; p++)
    for (size_t i = 0; i < def->pools[p].n_deliveries && !st; i++)
      st = lots_deliver(&list, (int32_t)p, &def->pools[p].deliveries[i]);
  if (!st) st = lots_obey(&list, def);
  if (!st && list.n > 1) qsort(list.item, list.n, sizeof *list.item, lot_compare);
  for (size_t p = 0, i = 0; p < def->n_pools && !st; p++) {
    size_t first = i;
    while (i < list.n && list.item[i].pool == (int32_t)p) i++;
    st = supply_pool(&supply[p], def, &def->pools[p], grid, list.item ? list.item + first : NULL, i - first);
  }
  free(list.item);
  return st;
}

void fc_supply_fini(fc_supply *supply) {
  free(supply->step);
  fc_integral_fini(&supply->installed);
  fc_integral_fini(&supply->capital);
  *supply = (fc_supply){0};
}
