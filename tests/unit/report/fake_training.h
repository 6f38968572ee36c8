/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_FAKE_TRAINING_H
#define FC_TEST_FAKE_TRAINING_H

#include <fleetcast/report/train.h>

/* A run of two phases on 16 devices, the second one stated; two variants, one of which cannot be. */
typedef struct {
  fc_device device;
  fc_profile profile;
  fc_model model;
  fc_train_phase phase[2];
  fc_train_variant named[2];
  fc_train_def def;
  fc_recovery_phase work[2];
  fc_hazard hazard;
  fc_recovery_def recovery;
  fc_recovery_sample sample[20];
  fc_ledger_def costs;
  fc_ledger ledger;
  fc_train_variant_answer variant[2];
  const char *phase_name[2];
  fc_train_answer answer;
} fake_training;

void fake_train(fake_training *f);

#endif
