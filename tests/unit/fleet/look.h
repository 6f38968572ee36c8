/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_FLEET_LOOK_H
#define FC_TESTS_FLEET_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/fleet/run.h>

/** Shorthands for looking into results. */

/** Runs; fails the test unless FC_OK. */
fc_fleet_result *look_run(const fc_fleet_def *def, uint64_t seed);
/** Totals of one account over all buckets; 0 when there is none. */
double look_device_s(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner);
double look_flop(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner);
double look_joule(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner);
double look_device_s_at(const fc_fleet_result *r, int32_t pool, fc_category category, const char *owner,
                        size_t bucket);
double look_tokens_served(const fc_fleet_result *r, size_t service);
double look_tokens_dropped(const fc_fleet_result *r, size_t service);
/** Relative; false for NaN. */
bool look_close(double a, double b, double tolerance);
/** FNV-1a over every number of a result, bit by bit. */
uint64_t look_hash(const fc_fleet_result *r);

#endif
