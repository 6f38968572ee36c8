/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

fc_fleet_result *look_run(const fc_fleet_def *def, uint64_t seed) {
  fc_fleet_options o = {.seed = seed};
  char why[256];
  fc_fleet_result *r = NULL;
  fc_status st = fc_fleet_run(&r, def, &o, why);
  cr_assert_eq(st, FC_OK, "%s: %s %s", fc_status_text(st), why, r ? fc_fleet_result_law(r) : "");
  return r;
}

bool look_close(double a, double b, double tolerance) {
  return fabs(a - b) <= tolerance * fmax(fabs(a), fabs(b));
}

static fc_account_cell total(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner,
                             size_t from, size_t to) {
  const fc_account *account;
  size_t n = fc_fleet_accounts(r, &account);
  fc_account_cell sum = {0};
  for (size_t a = 0; a < n; a++) {
    if (account[a].pool != pool || account[a].category != category || strcmp(account[a].owner, owner) != 0)
      continue;
    for (size_t b = from; b < to; b++) {
      fc_account_cell c = fc_fleet_account_cell(r, a, b);
      sum.device_s += c.device_s;
      sum.flop += c.flop;
      sum.joule += c.joule;
    }
  }
  return sum;
}

double look_device_s(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner) {
  return total(r, pool, category, owner, 0, fc_fleet_buckets(r)).device_s;
}

double look_flop(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner) {
  return total(r, pool, category, owner, 0, fc_fleet_buckets(r)).flop;
}

double look_joule(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner) {
  return total(r, pool, category, owner, 0, fc_fleet_buckets(r)).joule;
}

double look_device_s_at(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner,
                        size_t bucket) {
  return total(r, pool, category, owner, bucket, bucket + 1).device_s;
}

double look_tokens_served(const fc_fleet_result *r, size_t service) {
  double sum = 0;
  for (size_t b = 0; b < fc_fleet_buckets(r); b++) sum += fc_fleet_service_cell(r, service, b).tokens_served;
  return sum;
}

double look_tokens_dropped(const fc_fleet_result *r, size_t service) {
  double sum = 0;
  for (size_t b = 0; b < fc_fleet_buckets(r); b++) sum += fc_fleet_service_cell(r, service, b).tokens_dropped;
  return sum;
}

static void hash_bytes(uint64_t *hash, const void *bytes, size_t n) {
  for (size_t i = 0; i < n; i++)
    *hash = (*hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
}

#define HASH(x) hash_bytes(&hash, &(x), sizeof(x))

uint64_t look_hash(const fc_fleet_result *r) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  const fc_account *account;
  const fc_job_row *job;
  const fc_event_row *event;
  size_t n = fc_fleet_buckets(r), n_accounts = fc_fleet_accounts(r, &account);
  for (size_t a = 0; a < n_accounts; a++) {
    HASH(account[a].pool);
    HASH(account[a].category);
    hash_bytes(&hash, account[a].owner, strlen(account[a].owner));
    for (size_t b = 0; b < n; b++) {
      fc_account_cell c = fc_fleet_account_cell(r, a, b);
      HASH(c.device_s), HASH(c.flop), HASH(c.joule);
    }
  }
  for (size_t p = 0; p < fc_fleet_result_def(r)->n_pools; p++)
    for (size_t b = 0; b < n; b++) {
      fc_pool_cell c = fc_fleet_pool_cell(r, p, b);
      HASH(c.installed_device_s), HASH(c.owner_usd_per_device_s), HASH(c.rent_usd_per_device_s);
    }
  for (size_t s = 0; s < fc_fleet_result_def(r)->n_services; s++)
    for (size_t b = 0; b < n; b++) {
      fc_service_cell c = fc_fleet_service_cell(r, s, b);
      HASH(c.tokens_in), HASH(c.tokens_served), HASH(c.tokens_dropped), HASH(c.tokens_queued),
          HASH(c.peak_devices);
    }
  size_t n_jobs = fc_fleet_jobs(r, &job), n_events = fc_fleet_events(r, &event);
  for (size_t j = 0; j < n_jobs; j++) {
    HASH(job[j].pool), HASH(job[j].devices), HASH(job[j].submit), HASH(job[j].start), HASH(job[j].end);
    HASH(job[j].state), HASH(job[j].work_done), HASH(job[j].device_s), HASH(job[j].lost_device_s);
    HASH(job[j].flop), HASH(job[j].failures), HASH(job[j].preemptions);
  }
  for (size_t i = 0; i < n_events; i++) {
    HASH(event[i].at), HASH(event[i].value);
    hash_bytes(&hash, event[i].kind, strlen(event[i].kind));
  }
  return hash;
}
