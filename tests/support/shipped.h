/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_SHIPPED_H
#define FC_TEST_SHIPPED_H

#include <fleetcast/cost/model.h>
#include <fleetcast/cost/profile.h>

/** Shipped input files by name, from `dir` (the folder scenarios/); NULL when absent or invalid, which is
 * told on stderr.  Each is loaded once and lives until shipped_free. */
const fc_model *shipped_model(const char *dir, const char *name);
const fc_profile *shipped_profile(const char *dir, const char *name);
/** The same from a folder that is not all of it: devices may lie in `beside` (nullable). */
const fc_profile *shipped_profile_beside(const char *dir, const char *name, const char *beside);
void shipped_free(void);

#endif
