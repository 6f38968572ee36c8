/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_VIEW_H
#define FC_SERVE_VIEW_H

#include <stdbool.h>

#include <fleetcast/base/arena.h>
#include <fleetcast/base/status.h>
#include <fleetcast/cost/engine.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/serve/replica.h>

/** What a deployment's iterations are composed of: the operators that its engine runs, as measured, and the
 *  engine's overheads.  `serve`, `plan` and `validate` all go through here. */

typedef struct fc_serve_view {
  fc_engine engine;          /* with its formats */
  const fc_profile *profile; /* what step tables take: of an engine's operators, or the forms as given, with
                                the engine's time on the host in place of the profile's */
  bool measured;             /* the former */
  char why[256];             /* why not; empty: forms were asked for, or measured */
  fc_profile own;
  fc_arena arena;
} fc_serve_view;

/** Formats by which operators were measured.  Short names mean what the model's release does: "fp8" of one
 * that was released in FP8 has block scales; one released in MXFP4 computes attention in BF16 and its experts
 * in BF16, on Blackwell in MXFP8; "int4_wo" of a sparse one quantises experts alone.
 *  @source the models' cards and quantisation configurations */
void fc_serve_formats(fc_engine *engine, const char *gemm, const char *experts, const char *kv,
                      const fc_model *model, const fc_device *device);
/** The same from a plan's. @pre complete */
void fc_serve_formats_of(fc_engine *engine, const fc_serve_plan *plan, const fc_model *model,
                         const fc_device *device);

/** `out` stays where it is while it is in use; borrows `profile`.
 *  @param engine  with formats; copied; named "none": forms, its step_s beside the profile's  @param measured
 * false: the profile's forms, whatever it has
 *  @return FC_OK (also where there are no tables: see `why`) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_serve_view_make(fc_serve_view *out, const fc_engine *engine, const fc_model *model,
                             const fc_profile *profile, bool measured);
void fc_serve_view_free(fc_serve_view *view);

/** A plan as its iterations are composed, and as memory holds it: its linear format that of most weights. */
fc_serve_plan fc_serve_view_plan(const fc_serve_view *view, const fc_serve_plan *plan);
fc_serve_plan fc_serve_view_stored(const fc_serve_view *view, const fc_model *model,
                                   const fc_serve_plan *plan);

/** Sets a replica's times on the host and in front of the engine.  What the iterations hold already
 *  (fc_engine.step_s of a measured view) is not added again. */
void fc_serve_overheads(fc_replica_def *replica, const fc_engine *engine);

#endif
