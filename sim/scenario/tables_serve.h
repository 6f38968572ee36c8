/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TABLES_SERVE_H
#define FC_SCENARIO_TABLES_SERVE_H

#include <fleetcast/scenario/serve.h>

#include "field.h"
#include "reader.h"

/** Parts of a serve file that say what is asked (tables_load.c). */
extern const fc_schema fc_schema_traffic; /* fc_serve_traffic */
extern const fc_schema fc_schema_class;   /* fc_serve_class */
extern const fc_schema fc_schema_stop;    /* fc_serve_stop */
extern const fc_schema fc_schema_cluster; /* fc_serve_cluster (tables_cluster.c) */

/** An engine and its overheads (tables_host.c). */
extern const fc_schema fc_schema_host; /* fc_serve_host */
extern const char *const fc_engine_words[FC_ENGINES];
extern const char *const fc_operators_words[2];
/** Without a key `profile` the one named like `device`; with it, it must be of that device. */
void fc_default_profile(fc_reader *reader, const fc_profile **profile, const fc_node *map);
/** What `map` (NULL: nothing) does not state. */
void fc_fill_host(fc_serve_host *host, fc_engine_word engine, const fc_node *map);

#endif
