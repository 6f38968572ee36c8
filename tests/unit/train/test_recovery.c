/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/des/stats.h>
#include <fleetcast/train/recovery.h>

static fc_hazard hazard_of(double mtbf_s, double detect_s, double restart_s) {
  return (fc_hazard){.name = "fault",
                     .mtbf_s = fc_dist_point(mtbf_s),
                     .found = 1,
                     .recurs_s = 3600,
                     .slowdown = fc_dist_point(1),
                     .detect_s = fc_dist_point(detect_s),
                     .restart_s = fc_dist_point(restart_s)};
}

static fc_recovery_def def_of(const fc_recovery_phase *phases, size_t n_phases, const fc_hazard *hazards,
                              size_t n_hazards) {
  return (fc_recovery_def){.devices = 64,
                           .node_devices = 8,
                           .spare_nodes = 4,
                           .n_phases = n_phases,
                           .phases = phases,
                           .n_hazards = n_hazards,
                           .hazards = hazards,
                           .checkpoint_s = 1000,
                           .checkpoint_write_s = fc_dist_point(10),
                           .checkpoint_flush_s = fc_dist_point(0),
                           .repair_s = fc_dist_point(86400),
                           .replications = 200,
                           .seed = 1};
}

static fc_recovery_sample *run(const fc_recovery_def *def) {
  fc_recovery_sample *s = calloc(def->replications, sizeof *s);
  char why[256] = "";
  cr_assert_not_null(s);
  cr_assert_eq(fc_recovery_run(s, def, why), FC_OK, "%s", why);
  return s;
}

static fc_tally wall_of(const fc_recovery_def *def) {
  fc_recovery_sample *s = run(def);
  fc_tally t = {0};
  for (size_t i = 0; i < def->replications; i++) fc_tally_add(&t, s[i].wall_s);
  free(s);
  return t;
}

/* 99.9 % of a mean of so many: 3.3 standard errors. */
static double bound(const fc_tally *t) {
  return 3.3 * sqrt(fc_tally_variance(t) / (double)t->n);
}

Test(recovery, without_failures_it_is_arithmetic) {
  static const fc_recovery_phase phases[] = {{.work_s = 2500, .setup_s = 60}, {.work_s = 3000}};
  fc_recovery_def d = def_of(phases, 2, NULL, 0);
  d.replications = 1;
  for (int flush = 0; flush < 2; flush++) {
    /* 3 + 3 checkpoints; a flush in the background costs nothing but at the ends of phases */
    d.checkpoint_flush_s = fc_dist_point(flush * 100);
    fc_recovery_sample *s = run(&d);
    cr_expect_float_eq(s->wall_s, 60 + 2500 + 3000 + 6 * 10 + flush * 200, 1e-6);
    cr_expect_float_eq(s->phase_s[0], 60 + 2530 + flush * 100, 1e-6);
    cr_expect_float_eq(s->device_s[FC_HELD_PRODUCTIVE], 5500.0 * 64, 1e-3);
    cr_expect_float_eq(s->device_s[FC_HELD_CHECKPOINT], (60.0 + flush * 200) * 64, 1e-3);
    cr_expect_float_eq(s->device_s[FC_HELD_SPARE], s->wall_s * 32, 1e-3);
    cr_expect_eq(s->checkpoints, 6);
    cr_expect_eq(s->interruptions, 0);
    free(s);
  }
  d.checkpoint_s = 0; /* no faults: none but at the ends */
  cr_expect(isinf(fc_recovery_interval_s(&d)));
  fc_recovery_sample *s = run(&d);
  cr_expect_eq(s->checkpoints, 2);
  free(s);
}

/* Segments of tau and a write each: E[T] = n M e^(R/M) (e^((tau+w)/M) - 1), exact for exponential failures
 * that strike during restarts and writes too (Daly 2006, equation 20). */
Test(recovery, daly_s_closed_form) {
  static const double mtbf[] = {3000, 10000, 50000};
  for (size_t i = 0; i < 3; i++) {
    fc_recovery_phase phase = {.work_s = 100 * 1000};
    fc_hazard h = hazard_of(mtbf[i] * 64, 120, 180);
    fc_recovery_def d = def_of(&phase, 1, &h, 1);
    d.replications = 1000;
    fc_tally t = wall_of(&d);
    double want = 100 * mtbf[i] * exp(300 / mtbf[i]) * expm1(1010 / mtbf[i]);
    cr_expect(fabs(t.mean - want) <= bound(&t), "mtbf %g: %g, want %g +- %g", mtbf[i], t.mean, want,
              bound(&t));
    cr_expect(bound(&t) < 0.02 * want);
  }
}

Test(recovery, the_optimum_is_young_s_and_daly_s) {
  fc_recovery_phase phase = {.work_s = 50 * 86400.0};
  fc_hazard h = hazard_of(64 * 3.1 * 3600, 300, 300);
  fc_recovery_def d = def_of(&phase, 1, &h, 1);
  d.checkpoint_write_s = fc_dist_point(30);
  d.checkpoint_s = 0;
  double best = fc_recovery_interval_s(&d);
  cr_expect_float_eq(best, sqrt(2 * 30 * 3.1 * 3600), 1e-6);
  static const double factor[] = {0.25, 0.5, 1, 2, 4};
  double mean[5];
  for (size_t i = 0; i < 5; i++) { /* the same faults at the same times in all five */
    d.checkpoint_s = best * factor[i];
    mean[i] = wall_of(&d).mean;
  }
  for (size_t i = 0; i < 5; i++)
    cr_expect_geq(mean[i], mean[2], "%g times: %g, optimum %g", factor[i], mean[i], mean[2]);
  cr_expect_gt(mean[0], mean[1]);
  cr_expect_gt(mean[4], mean[3]);
}

/* Nodes in repair are M/G/inf: rate times mean repair, whatever its distribution. */
Test(recovery, nodes_in_repair_are_an_infinite_server_queue) {
  static const fc_dist repair[] = {
      {.kind = FC_DIST_POINT, .a = 7200, .min = -HUGE_VAL, .max = HUGE_VAL},
      {.kind = FC_DIST_UNIFORM, .a = 0, .b = 14400, .min = -HUGE_VAL, .max = HUGE_VAL}};
  for (size_t i = 0; i < 2; i++) {
    fc_recovery_phase phase = {.work_s = 30 * 86400.0};
    fc_hazard h = hazard_of(8 * 20000, 0, 0);
    h.level = FC_HAZARD_NODE;
    h.replaces = 0.5;
    fc_recovery_def d = def_of(&phase, 1, &h, 1);
    d.repair_s = repair[i];
    d.spare_nodes = 8;
    fc_recovery_sample *s = run(&d);
    fc_tally t = {0};
    for (size_t k = 0; k < d.replications; k++)
      fc_tally_add(&t, s[k].device_s[FC_HELD_REPAIR] / (8 * s[k].wall_s));
    double want = 0.5 * 7200 / 20000;
    cr_expect(fabs(t.mean - want) <= bound(&t) + 0.003 * want, "%g, want %g", t.mean,
              want); /* begins empty */
    free(s);
  }
}

/* An M/G/inf of stragglers: the run is slow unless there is none; a slow run does x times the steps' time. */
Test(recovery, stragglers_slow_the_run_until_they_are_found) {
  fc_recovery_phase phase = {.work_s = 20 * 86400.0};
  fc_hazard h = hazard_of(64 * 10000.0, 3000, 0);
  h.slowdown = fc_dist_point(1.25);
  fc_recovery_def d = def_of(&phase, 1, &h, 1);
  d.checkpoint_s = 1e6;
  d.checkpoint_write_s = fc_dist_point(0);
  fc_tally t = wall_of(&d);
  double slow = 1 - exp(-0.3), want = phase.work_s / (1 - slow + slow / 1.25);
  cr_expect(fabs(t.mean - want) <= bound(&t) + 1e-3 * want, "%g, want %g", t.mean, want);
}

/* A systematic fault stops the run geometrically often. */
Test(recovery, systematic_faults_come_back_until_found) {
  fc_recovery_phase phase = {.work_s = 20 * 86400.0};
  fc_hazard h = hazard_of(64 * 86400.0, 0, 0);
  h.systematic = 0.5;
  h.found = 0.25;
  h.recurs_s = 600;
  fc_recovery_def d = def_of(&phase, 1, &h, 1);
  d.checkpoint_s = 100;
  d.checkpoint_write_s = fc_dist_point(0);
  fc_recovery_sample *s = run(&d);
  fc_tally t = {0};
  for (size_t i = 0; i < d.replications; i++) fc_tally_add(&t, (double)s[i].unexpected / s[i].wall_s);
  double want = fc_recovery_rate(&d);
  cr_expect_float_eq(want * 86400, 1 + 0.5 * 3, 1e-12);
  cr_expect(fabs(t.mean - want) <= bound(&t) + 0.01 * want, "%g, want %g", t.mean, want);
  free(s);
}

/* Shape 1 is exponential; young units with shape below 1 fail more often than the mean says. */
Test(recovery, weibull) {
  fc_recovery_phase phase = {.work_s = 5 * 86400.0};
  static const double shape[] = {1, 0.5, 3};
  double mean[3];
  for (size_t i = 0; i < 3; i++) {
    fc_hazard h = hazard_of(64 * 7200.0, 60, 60);
    h.law = FC_HAZARD_WEIBULL;
    h.shape = shape[i];
    fc_recovery_def d = def_of(&phase, 1, &h, 1);
    fc_recovery_sample *s = run(&d);
    fc_tally t = {0};
    for (size_t k = 0; k < d.replications; k++)
      fc_tally_add(&t, (double)s[k].unexpected / s[k].wall_s * 7200);
    if (i == 0) cr_expect(fabs(t.mean - 1) <= bound(&t), "%g", t.mean);
    mean[i] = t.mean;
    free(s);
  }
  cr_expect_gt(mean[1], 1.2 * mean[0]);
  cr_expect_lt(mean[2], 0.95 * mean[0]);
}

Test(recovery, planned_stops_lose_nothing) {
  fc_recovery_phase phase = {.work_s = 10 * 86400.0};
  fc_hazard h = hazard_of(86400, 0, 1800);
  h.level = FC_HAZARD_RUN;
  h.law = FC_HAZARD_REGULAR;
  h.planned = true;
  fc_recovery_def d = def_of(&phase, 1, &h, 1);
  d.replications = 1;
  fc_recovery_sample *s = run(&d);
  cr_expect_eq(s->interruptions, 10); /* the tenth day ends before the work does */
  cr_expect_eq(s->unexpected, 0);
  cr_expect_eq(s->device_s[FC_HELD_LOST], 0);
  cr_expect_float_eq(s->device_s[FC_HELD_PLANNED], 10 * 1800.0 * 64, 1e-3);
  free(s);
}

Test(recovery, more_spares_are_never_slower) {
  fc_recovery_phase phase = {.work_s = 20 * 86400.0};
  fc_hazard h = hazard_of(64 * 20000.0, 300, 300);
  h.replaces = 1;
  fc_recovery_def d = def_of(&phase, 1, &h, 1);
  d.replications = 100;
  double before = HUGE_VAL, waited = 0;
  for (int64_t n = 0; n <= 16; n = n ? 2 * n : 1) {
    d.spare_nodes = n;
    double mean = wall_of(&d).mean;
    if (n == 0) waited = mean;
    cr_expect_leq(mean, before * (1 + 1e-3), "%d spares: %g after %g", (int)n, mean, before);
    before = mean;
  }
  cr_expect_gt(waited, 2 * before, "four nodes in repair on average: without spares it mostly waits");
  d.spare_nodes = 0;
  d.group_devices = 8;
  double shrunk = wall_of(&d).mean;
  cr_expect(shrunk < waited && shrunk > before, "%g, waiting %g, with spares %g", shrunk, waited, before);
}

/* --- whatever is asked: the books balance --- */

static double u(fc_rng *r, double low, double high) {
  return low * pow(high / low, fc_rng_uniform(r));
}

static void random_def(fc_recovery_def *d, fc_hazard h[4], fc_recovery_phase p[3], fc_rng *r) {
  static const int64_t devices[] = {1, 8, 24, 512};
  size_t n = fc_rng_u64(r) % 5, phases = 1 + fc_rng_u64(r) % 3;
  for (size_t i = 0; i < phases; i++)
    p[i] = (fc_recovery_phase){u(r, 1e3, 1e6), fc_rng_uniform(r) < 0.5 ? 0 : u(r, 1, 1e4), 0.3};
  *d = def_of(p, phases, h, n);
  d->devices = devices[fc_rng_u64(r) % 4];
  d->node_devices = d->devices % 8 ? 1 : 8;
  d->spare_nodes = (int64_t)(fc_rng_u64(r) % 3);
  d->group_devices = fc_rng_uniform(r) < 0.5 ? 0 : d->devices % 8 ? 1 : (d->devices + 1) / 2;
  for (size_t i = 0; i < n; i++) {
    h[i] = hazard_of(u(r, 1e4, 1e6), 0, 0);
    h[i].level = (fc_hazard_level)(fc_rng_u64(r) % 3);
    if (h[i].level != FC_HAZARD_RUN) h[i].mtbf_s.a *= (double)d->devices;
    h[i].law = h[i].level == FC_HAZARD_RUN ? FC_HAZARD_REGULAR : (fc_hazard_law)(fc_rng_u64(r) % 2);
    h[i].shape = u(r, 0.5, 3);
    h[i].replaces = fc_rng_uniform(r);
    int kind = (int)(fc_rng_u64(r) % 4);
    h[i].planned = kind == 0;
    if (kind == 1) h[i].slowdown = fc_dist_point(u(r, 1.01, 2));
    if (kind == 2) h[i].systematic = h[i].found = fc_rng_uniform(r);
    h[i].detect_s = fc_dist_lognormal_p90(60, 600);
    h[i].restart_s = (fc_dist){FC_DIST_UNIFORM, 10, 1000, 0, -HUGE_VAL, HUGE_VAL};
  }
  d->checkpoint_s = fc_rng_uniform(r) < 0.3 ? 0 : u(r, 100, 1e4);
  d->checkpoint_write_s = fc_dist_point(fc_rng_uniform(r) < 0.3 ? 0 : u(r, 1, 100));
  d->checkpoint_flush_s = fc_dist_point(fc_rng_uniform(r) < 0.5 ? 0 : u(r, 1, 1e4));
  d->repair_s = fc_dist_lognormal_p90(u(r, 1e2, 1e5), 1e6);
}

Test(recovery, held_time_adds_up_and_threads_change_nothing) {
  enum { TRIALS = 300, N = 6 };
  size_t ran = 0;
  for (uint64_t t = 0; t < TRIALS; t++) {
    fc_rng r = fc_rng_keyed(7, FC_STREAM_TEST, t, 0);
    fc_hazard h[4];
    fc_recovery_phase p[3];
    fc_recovery_def d;
    random_def(&d, h, p, &r);
    d.replications = N;
    d.seed = t;
    fc_recovery_sample one[N], three[N];
    char why[256] = "";
    memset(one, 0, sizeof one);
    memset(three, 0, sizeof three);
    fc_status status = fc_recovery_run(one, &d, why);
    d.threads = 3;
    cr_assert_eq(fc_recovery_run(three, &d, NULL), status);
    cr_assert(status == FC_OK || strstr(why, "headway"), "%d: %s", (int)t, why);
    if (status != FC_OK) continue;
    ran++;
    cr_assert_eq(memcmp(one, three, sizeof one), 0, "%d", (int)t);
    for (size_t i = 0; i < N; i++) {
      double sum = 0, held = (double)(d.devices + d.spare_nodes * d.node_devices) * one[i].wall_s, phases = 0;
      for (int c = 0; c < FC_HELD_COUNT; c++) {
        cr_assert(one[i].device_s[c] >= 0, "%s", fc_held_word((fc_held)c));
        sum += one[i].device_s[c];
      }
      for (size_t k = 0; k < d.n_phases; k++) phases += one[i].phase_s[k];
      cr_assert_float_eq(sum, held, 1e-12 * held);
      cr_assert_float_eq(phases, one[i].wall_s, 1e-9 * one[i].wall_s);
      double work = 0; /* what was kept is what was asked for */
      for (size_t k = 0; k < d.n_phases; k++) work += p[k].work_s * one[i].step_factor * (double)d.devices;
      cr_assert_float_eq(one[i].device_s[FC_HELD_PRODUCTIVE], work, 1e-6 * work);
    }
  }
  cr_expect_gt(ran, TRIALS / 2);
}

/* --- what cannot be --- */

Test(recovery, refusals) {
  fc_recovery_phase phase = {.work_s = 1000};
  fc_hazard h = hazard_of(1e6, 1, 1);
  const fc_recovery_def good = def_of(&phase, 1, &h, 1);
  char why[256];
  cr_assert_eq(fc_recovery_check(&good, why), FC_OK, "%s", why);
#define REFUSED(words, ...)                                                                                  \
  do {                                                                                                       \
    fc_recovery_def d = good;                                                                                \
    phase.work_s = 1000;                                                                                     \
    h = hazard_of(1e6, 1, 1);                                                                                \
    phase.log_sd = 0;                                                                                        \
    __VA_ARGS__;                                                                                             \
    cr_expect_eq(fc_recovery_check(&d, why), FC_E_DOMAIN, "%s", words);                                      \
    cr_expect(strstr(why, words), "'%s' in '%s'", words, why);                                               \
  } while (0)
  REFUSED("whole nodes", d.devices = 63);
  REFUSED("spare nodes", d.spare_nodes = -1);
  REFUSED("part of the run", d.group_devices = 65);
  REFUSED("1 to 16 phases", d.n_phases = 0);
  REFUSED("32 hazards", d.n_hazards = 33);
  REFUSED("interval", d.checkpoint_s = -1);
  REFUSED("checkpoint and repair", d.repair_s = fc_dist_point(-1));
  REFUSED("replications", d.replications = 0);
  REFUSED("century", phase.work_s = (double)NAN);
  REFUSED("setup", phase.log_sd = -1);
  REFUSED("fault: the time between", h.mtbf_s = fc_dist_point(0));
  REFUSED("shape", h.law = FC_HAZARD_WEIBULL);
  REFUSED("regular times", h.law = FC_HAZARD_REGULAR);
  REFUSED("shares", h.replaces = 2);
  REFUSED("diagnosis", h.systematic = 0.5, h.found = 0);
  REFUSED("comes back", h.systematic = 0.5, h.recurs_s = 0);
  REFUSED("slowdown", h.slowdown = fc_dist_point(0.5));
  REFUSED("detection", h.detect_s = fc_dist_point(-1));
  REFUSED("straggler", h.slowdown = fc_dist_point(2), h.planned = true);
#undef REFUSED
  phase = (fc_recovery_phase){.work_s = 1e6};
  h = hazard_of(64 * 100, 100, 100); /* ten failures while a checkpoint is made */
  fc_recovery_def hopeless = good;
  fc_recovery_sample s;
  hopeless.replications = 1;
  cr_expect_eq(fc_recovery_run(&s, &hopeless, why), FC_E_DOMAIN);
  cr_expect(strstr(why, "headway"), "%s", why);
}

Test(recovery, stops_when_asked) {
  static const atomic_int yes = 1;
  fc_recovery_phase phase = {.work_s = 1000};
  fc_recovery_def d = def_of(&phase, 1, NULL, 0);
  fc_recovery_sample s[200];
  d.cancel = &yes;
  cr_expect_eq(fc_recovery_run(s, &d, NULL), FC_E_CANCELLED);
}

Test(recovery, quantiles) {
  double v[] = {3, 1, 2};
  cr_expect_eq(fc_sample_quantile(v, 3, 0.5), 2);
  cr_expect_eq(fc_sample_quantile(v, 3, 0), 1);
  cr_expect_eq(fc_sample_quantile(v, 3, 1), 3);
  cr_expect_float_eq(fc_sample_quantile(v, 3, 0.75), 2.5, 1e-15);
}
