/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TABLES_TRAIN_H
#define FC_SCENARIO_TABLES_TRAIN_H

#include "field.h"
#include "reader.h"

/** Parts of a train file that say what goes wrong and what it costs (tables_ledger.c). */
extern const fc_schema fc_schema_hazard;         /* fc_hazard */
extern const fc_schema fc_schema_train_recovery; /* fc_train_recovery */
extern const fc_schema fc_schema_train_ledger;   /* fc_train_ledger */
extern const fc_schema fc_schema_train_reported; /* fc_train_reported */

#endif
