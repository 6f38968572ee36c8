/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_PLAN_H
#define FC_CLI_PLAN_H

#include <fleetcast/scenario/load.h>

#include "verbs.h"

/* Of a file of kind train_plan; @return exit status. */
int cli_plan_train(const fc_input *input, const data_dirs *data, const settings *s);
/* Where no price is stated, the market's at `date` (0: the latest).  Told where none is known; @return exit
 * status. */
int cli_plan_price(double *usd_per_s, const fc_profile *profile, fc_time date, const char *name);

#endif
