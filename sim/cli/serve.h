/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_SERVE_H
#define FC_CLI_SERVE_H

#include <fleetcast/scenario/load.h>
#include <fleetcast/serve/cluster.h>
#include <fleetcast/serve/replica.h>
#include <fleetcast/serve/view.h>
#include <fleetcast/workload/load.h>
#include <fleetcast/workload/trace.h>

#include "options.h"

/* From a file's definitions to what the engine takes. */

/* What runs; pointers into it: stays where it is. */
typedef struct {
  const fc_serve_def *def;
  fc_serve_view view, prefill_view;
  fc_expert_load *experts, *prefill_experts; /* nullable */
  fc_step_table *steps, *prefill_steps;      /* prefill: NULL where it is not apart */
  fc_replica_def replica;                    /* the instance, or a decode instance */
  fc_disagg_def apart;
  fc_cluster_def cluster;
  fc_slo_class slo[32];
  int64_t devices, prefill_devices; /* all, of them for prefill; a cluster: at first */
} deployment;

/* @param context  mean tokens of a request.  @return FC_OK | FC_E_NOMEM | FC_E_INFEASIBLE (no room for the
 * cache) | FC_E_DOMAIN; why [256] */
FC_NODISCARD
fc_status cli_deployment_make(deployment *out, const fc_serve_def *def, double context, char *why);
void cli_deployment_free(deployment *d);
/* Spread of ln(step time), of iterations such as the run had. */
void cli_deployment_log_sd(const deployment *d, const fc_replica_result *result, double input, double *decode,
                           double *prefill);
double cli_deployment_price(const fc_serve_def *def);

/* What is asked of it. */
typedef struct {
  fc_trace *trace;
  const char *trace_name;
  char trace_sha256[65];
  fc_load *load;
  double context;  /* mean tokens of a request */
  uint64_t limit;  /* requests at most; 0: not known */
  bool to_the_end; /* no stopping rule */
  bool open;       /* comes whether or not it is served, */
  bool alone;      /* and no request waits for another's end */
  double share[32];
  const char *class_name[32];
  fc_demand_def demand;
} traffic;

/* Told what is wrong.  @return an exit status */
int cli_traffic_make(traffic *out, const fc_serve_def *def, uint64_t seed, const char *path,
                     const settings *s);
void cli_traffic_free(traffic *t);

#endif
