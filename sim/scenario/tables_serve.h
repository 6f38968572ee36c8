/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TABLES_SERVE_H
#define FC_SCENARIO_TABLES_SERVE_H

#include "field.h"

/** Parts of a serve file that say what is asked (tables_load.c). */
extern const fc_schema fc_schema_traffic; /* fc_serve_traffic */
extern const fc_schema fc_schema_class;   /* fc_serve_class */
extern const fc_schema fc_schema_stop;    /* fc_serve_stop */
extern const fc_schema fc_schema_cluster; /* fc_serve_cluster (tables_cluster.c) */

#endif
