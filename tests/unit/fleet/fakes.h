/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_FLEET_FAKES_H
#define FC_TESTS_FLEET_FAKES_H

#include <fleetcast/fleet/def.h>

/** The fleet apart from the cost model: stand-ins for L1 whose answers can be done by hand, linked in place
 * of fc_serve, fc_train, fc_cost and fc_hw.
 *
 *   serving   prefill  fake_device.prefill tokens/s a device, decode .decode; instances as the deployment
 * says, else of one device; busy prefill draws TDP, busy decode halfway between idle and TDP training
 * fake_device.train tokens/s a device; 6 FLOP x hidden a token; TDP; fits on >= layers devices model forward:
 * 2 FLOP x hidden a token, at any context */
typedef struct fake_device {
  const char *name;
  double prefill, decode, train; /* tokens/s a device; 0: infeasible */
  double h100e;
  int64_t node;
  double tdp_w, idle_w, server_w;
  double system_usd, rent_usd_per_s;
} fake_device;

/** A profile on its device, borrowed from the arrays given. */
typedef struct fake_profile {
  fc_profile profile;
  fc_device device;
  fc_series_point system, rent;
} fake_profile;

/** Fills in place: the profile points into itself. */
void fake_profile_make(fake_profile *out, const fake_device *device);
extern const fake_device fake_plain; /* 1000 / 100 / 100 tokens/s, 1 H100e, nodes of 1, 700/100/1000 W */
fc_model fake_model(int64_t hidden, int64_t least_devices);
/** Pool without failures, fees or lag; one delivery, which is borrowed. */
fc_pool_def fake_pool(const char *name, const fake_profile *profile, const fc_delivery *delivery, size_t n);
/** Constant series of the point, which is borrowed and filled. */
fc_series fake_series(fc_series_point *point, double value);
/** Colocated service of 800 in / 200 out, priority 0, no headroom, all pools. */
fc_service_def fake_service(const char *name, const fc_model *model, fc_series tokens_per_s);
/** Run of `tokens` without failures, priority 3, preemptible. */
fc_run_def fake_run(const char *name, const fc_model *model, fc_time date, int64_t devices, double tokens);
/** Stream without failures, priority 6, preemptible. */
fc_stream_def fake_stream(const char *name, const fc_model *model, fc_series rate_per_s, fc_dist work_s,
                          fc_dist devices);

#endif
