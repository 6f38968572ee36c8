/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_PLAN_H
#define FC_CLI_PLAN_H

#include <fleetcast/scenario/load.h>

#include "verbs.h"

/* Of a file of kind train_plan; @return exit status. */
int cli_plan_train(const fc_input *input, const data_dirs *data, const settings *s);
/* Tells; @return exit status. */
int cli_plan_complain(fc_status status, const char *name, const char *why);

#endif
