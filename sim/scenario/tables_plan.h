/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TABLES_PLAN_H
#define FC_SCENARIO_TABLES_PLAN_H

#include "field.h"
#include "reader.h"

/** Parts of a scenario: pools, and what serving and training inputs share. */
extern const fc_schema fc_schema_pool;       /* fc_pool_def */
extern const fc_schema fc_schema_request;    /* fc_request_shape, lengths required */
extern const fc_schema fc_schema_rollout;    /* fc_request_shape with defaults */
extern const fc_schema fc_schema_slo;        /* fc_slo */
extern const fc_schema fc_schema_deployment; /* fc_deployment */
extern const fc_schema fc_schema_serve_plan; /* fc_serve_plan */
extern const fc_schema fc_schema_train_plan; /* fc_train_plan */
extern const fc_schema fc_schema_failure;    /* fc_failure */

/** Sets `automatic` and checks that the plans given fit together; `map` is NULL when there is no deployment.
 */
void fc_check_deployment(fc_reader *reader, fc_deployment *deployment, const fc_node *map);

#endif
