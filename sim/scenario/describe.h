/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_DESCRIBE_H
#define FC_SCENARIO_DESCRIBE_H

#include "field.h"

/** Words about a field, for people: explain, the reference page, the schema's descriptions. */

/** "a time, such as '91.25 d'", "one of gqa, mla", "a list of pools". */
void fc_describe_type(fc_text *out, const fc_field *field);
/** "0 s", "required", "" for none. */
void fc_describe_default(fc_text *out, const fc_field *field);
/** "0 s to 5 yr", "" for none. */
void fc_describe_range(fc_text *out, const fc_field *field);
/** May the field be a distribution? */
bool fc_describe_uncertain(const fc_field *field);

/** Visits every schema that is reachable from `root`, each once, parents first.
 *  @return how many; at most `max` are kept */
size_t fc_describe_schemas(const fc_schema *root, const fc_schema **list, size_t max);

#endif
