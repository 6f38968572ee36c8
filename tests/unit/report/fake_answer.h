/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_FAKE_ANSWER_H
#define FC_TESTS_FAKE_ANSWER_H

#include <fleetcast/report/serve.h>

#include <stdio.h>
#include <unistd.h>

/** A small answer, made by hand: figures that a reader can check. */
typedef struct {
  fc_serve_def def;
  fc_serve_apart apart;
  fc_serve_class classes[2];
  fc_model model;
  fc_profile profile;
  fc_serve_view view;
  fc_study *study;
  fc_replica_result *result, *prefill;
  fc_serve_cluster router;
  fc_cluster_result cluster;
  fc_cluster_replica replica[2];
  fc_serve_answer answer;
} fake;

typedef enum { FAKE_ONE, FAKE_APART, FAKE_CLUSTER } fake_kind;
void fake_answer(fake *f, fake_kind kind);
void fake_free(fake *f);

#endif
