/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_TRAIN_H
#define FC_CLI_TRAIN_H

#include <fleetcast/report/train.h>

/* From a file of kind train to what is simulated and reported. */

typedef struct training {
  const fc_train_def *def;
  fc_train_answer answer;
  fc_recovery_phase phase[FC_RECOVERY_PHASES];
  const char *phase_name[FC_RECOVERY_PHASES];
  fc_recovery_def recovery;
  fc_recovery_sample *sample; /* of the heap */
  fc_ledger_def costs;
  fc_ledger *ledger;
  fc_train_variant_answer *variant;
} training;

/* Composes phases and variants, fills in recovery and costs; simulates nothing.  `why` [256] tells what
 * cannot be.  @return FC_OK | FC_E_DOMAIN | FC_E_INFEASIBLE | FC_E_NOMEM */
fc_status cli_training_make(training *t, const fc_train_def *def, uint64_t seed, size_t threads, char *why);
/* The rest. */
fc_status cli_training_run(training *t, char *why);
void cli_training_free(training *t);

#endif
