/* SPDX-License-Identifier: Apache-2.0 */
/* Training plans that cannot be. */
#include <fleetcast/cost/train_step.h>

#include <math.h>
#include <stdio.h>

static const char *degree_fault(const fc_model *model, const fc_train_plan *p) {
  if (p->tp < 1 || p->pp < 1 || p->cp < 1 || p->ep < 1 || p->devices < 1)
    return "every degree must be at least 1";
  if (p->micro_batch < 1 || p->global_batch < 1 || p->sequence < 1)
    return "micro_batch, global_batch and sequence must be at least 1";
  if (p->pp > model->layers) return "more pipeline stages than layers";
  if (p->tp > p->devices || p->cp > p->devices / p->tp || p->pp > p->devices / p->tp / p->cp ||
      p->devices % (p->tp * p->pp * p->cp) != 0)
    return "tp * pp * cp must divide devices";
  int64_t dp = p->devices / (p->tp * p->pp * p->cp);
  if ((dp * p->cp * p->tp) % p->ep != 0) return "ep must divide dp * cp * tp";
  if (p->ep > 1 && model->moe.experts == 0) return "ep must be 1 for a dense model";
  if (p->ep > 1 && model->moe.experts % p->ep != 0) return "ep must divide the experts";
  if (model->attention.heads % p->tp != 0) return "tp must divide the attention heads";
  if (p->sequence % p->cp != 0) return "cp must divide the sequence";
  if (p->micro_batch > p->global_batch / dp || p->global_batch % (dp * p->micro_batch) != 0)
    return "micro_batch * dp must divide global_batch";
  return NULL;
}

static const char *schedule_fault(const fc_model *model, const fc_train_plan *p) {
  int64_t dp = p->devices / (p->tp * p->pp * p->cp), m = p->global_batch / (dp * p->micro_batch);
  switch (p->schedule) {
  case FC_SCHEDULE_1F1B:
  case FC_SCHEDULE_ZB1P: return NULL;
  case FC_SCHEDULE_INTERLEAVED:
    if (p->virtual_stages < 1 || m % p->pp != 0)
      return "the interleaved schedule needs virtual_stages and micro-batches that pp divides";
    /* embedding and head may fill a chunk of their own */
    return p->virtual_stages > (model->layers + 2) / p->pp ? "more virtual stages than layers" : NULL;
  case FC_SCHEDULE_DUALPIPE:
    return p->pp % 2 != 0 || m < 2 * p->pp || m % 2 != 0
               ? "DualPipe needs an even pp and an even number of micro-batches, at least 2 pp"
               : NULL;
  case FC_SCHEDULE_DUALPIPEV:
    if (2 * p->pp > model->layers) return "DualPipeV needs two layers a pipeline rank";
    return m < 2 * p->pp ? "DualPipeV needs at least 2 pp micro-batches" : NULL;
  }
  return "no such schedule";
}

static const char *plan_fault(const fc_model *model, const fc_train_plan *p) {
  const char *fault = degree_fault(model, p);
  if (!fault) fault = schedule_fault(model, p);
  if (fault) return fault;
  if (p->zero < 0 || p->zero > 3) return "zero must be 0 to 3";
  if (!(p->overlap >= 0 && p->overlap <= 1)) return "overlap must be within 0 to 1";
  if (p->gemm < 0 || p->gemm >= FC_DTYPE_COUNT || p->gemm == FC_DTYPE_INT8)
    return "training computes in fp32, bf16, fp8 or fp4";
  if (p->recompute < 0 || p->recompute > FC_RECOMPUTE_FULL || p->launch < 0 || p->launch > FC_LAUNCH_WHOLE)
    return "no such recomputation or launch";
  if (!(p->expert_imbalance >= 0 && isfinite(p->expert_imbalance)))
    return "expert_imbalance must be finite and not negative";
  if (p->ep > 1 && p->expert_imbalance > (double)p->ep)
    return "expert_imbalance cannot exceed ep: the busiest rank has at most all rows";
  return NULL;
}

fc_status fc_train_plan_check(const fc_model *model, const fc_train_plan *p, char *why) {
  const char *fault = plan_fault(model, p);
  if (!fault) return FC_OK;
  if (why)
    (void)snprintf(why, 256, "%s (devices %lld, tp %lld, pp %lld, cp %lld, ep %lld, batch %lld of %lld)",
                   fault, (long long)p->devices, (long long)p->tp, (long long)p->pp, (long long)p->cp,
                   (long long)p->ep, (long long)p->global_batch, (long long)p->micro_batch);
  return FC_E_DOMAIN;
}
