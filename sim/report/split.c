/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"
#include "table.h"

/* "Inference is x % of compute", under every definition that a published figure may have meant.
 * Definitions and formulas: docs/csv.md#split. */

#define BIT(c) (1u << FC_CATEGORY_##c)

static const unsigned rnd =
    BIT(PRE_TRAINING) | BIT(POST_TRAINING) | BIT(EXPERIMENTS) | BIT(FINE_TUNING) | BIT(FAILED);

static const unsigned counts_as_training[TRAINING_COUNT] = {
    [TRAINING_FINAL_RUNS] = BIT(PRE_TRAINING),
    [TRAINING_FINAL_AND_EXPERIMENTS] = BIT(PRE_TRAINING) | BIT(EXPERIMENTS),
    [TRAINING_ALL_RND] = rnd,
};

const char *const fc_report_training_text[TRAINING_COUNT] = {
    [TRAINING_FINAL_RUNS] = "final_runs",
    [TRAINING_FINAL_AND_EXPERIMENTS] = "final_runs_and_experiments",
    [TRAINING_ALL_RND] = "all_rnd",
};

const char *const fc_report_unexplained_text[UNEXPLAINED_COUNT] = {
    [UNEXPLAINED_EXCLUDED] = "excluded",
    [UNEXPLAINED_INFERENCE] = "inference",
    [UNEXPLAINED_TRAINING] = "training",
};

split fc_report_split(const measure category[FC_CATEGORY_COUNT], const split_def *def) {
  unsigned inference = BIT(SERVING), training = counts_as_training[def->training], other = rnd & ~training;
  if (def->rl_is_inference)
    inference |= BIT(RL_ROLLOUTS);
  else
    training |= BIT(RL_ROLLOUTS);
  if (def->unexplained == UNEXPLAINED_INFERENCE) inference |= BIT(UNEXPLAINED);
  if (def->unexplained == UNEXPLAINED_TRAINING) training |= BIT(UNEXPLAINED);
  if (def->other_ai) other |= BIT(OTHER_AI);
  split out = {0};
  for (int c = 0; c < FC_CATEGORY_COUNT; c++) {
    double x = category[c].v[def->metric];
    if (inference & 1u << c) out.inference += x;
    if (training & 1u << c) out.training += x;
    if (other & 1u << c) out.other += x;
  }
  return out;
}

/* A quotient that does not exist is an empty field. */
static void put_quotient(table *t, double a, double b) {
  if (b > 0)
    fc_table_number(t, a / b);
  else
    fc_table_text(t, "");
}

static void put_row(table *t, const char *scope, const period *p, const split_def *def, const split *s) {
  fc_table_text(t, p->label);
  fc_table_text(t, p->stock ? "stock" : "flow");
  fc_table_text(t, scope);
  fc_table_text(t, fc_report_metric[def->metric].name);
  fc_table_text(t, fc_report_metric[def->metric].unit);
  fc_table_text(t, fc_report_training_text[def->training]);
  fc_table_text(t, def->rl_is_inference ? "inference" : "training");
  fc_table_text(t, fc_report_unexplained_text[def->unexplained]);
  fc_table_text(t, def->other_ai ? "in" : "out");
  fc_table_number(t, s->inference);
  fc_table_number(t, s->training);
  fc_table_number(t, s->other);
  put_quotient(t, s->inference, s->inference + s->training + s->other);
  put_quotient(t, s->inference, s->inference + s->training);
  put_quotient(t, s->inference, s->training);
  fc_table_text(t, QUANTILE);
  fc_table_end_row(t);
}

fc_status fc_report_split_table(table *t, const fc_fleet_result *result) {
  fc_table_header(
      t, "period,flow_or_stock,scope,metric,unit,training_definition,rl_rollouts,unexplained,other_ai,"
         "inference,training,other,share,share_of_two,ratio_inference_to_training,quantile");
  const char *scope = fc_fleet_result_def(result)->scope;
  periods ps = fc_report_periods(result);
  fc_status status = ps.at ? FC_OK : FC_E_NOMEM;
  for (size_t i = 0; !status && i < ps.n; i++) {
    totals sums;
    status = fc_report_totals(&sums, result, &ps.at[i]);
    if (status) break;
    enum { CASES = METRIC_COUNT * TRAINING_COUNT * UNEXPLAINED_COUNT * 4 };
    for (int k = 0; k < CASES; k++) {
      split_def def = {.other_ai = k % 2,
                       .unexplained = (unexplained_id)(k / 2 % UNEXPLAINED_COUNT),
                       .rl_is_inference = k / 2 / UNEXPLAINED_COUNT % 2,
                       .training = (training_id)(k / 4 / UNEXPLAINED_COUNT % TRAINING_COUNT),
                       .metric = (metric_id)(k / 4 / UNEXPLAINED_COUNT / TRAINING_COUNT)};
      split s = fc_report_split(sums.category, &def);
      put_row(t, scope ? scope : "", &ps.at[i], &def, &s);
    }
    free(sums.account);
  }
  free(ps.at);
  return status;
}
