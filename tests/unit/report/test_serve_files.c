/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "csv_rows.h"
#include "documented.h"
#include "fake_answer.h"
#include "scratch.h"

/* Of a single instance, of a cluster. */
static const char *const files[][6] = {
    {"latency.csv", "summary.csv", "breakdown.csv", "requests.csv", "timeline.csv"},
    {"latency.csv", "summary.csv", "breakdown.csv", "requests.csv", "replicas.csv", "cluster.csv"}};

static const fc_report_options options = {.version = "0.0", .command = "fleetcast serve fake.yaml"};

static void write_all(const char *folder, const fake *f) {
  char why[FC_REPORT_WHY];
  fc_serve_files *out;
  cr_assert_eq(
      fc_serve_files_open(
          &out, folder,
          &(fc_serve_files_def){.requests = true, .timeline = true, .cluster = f->def.cluster != NULL}, why),
      FC_OK);
  fc_cluster_record q = {.request = {.arrival = FC_SECOND,
                                     .admitted = FC_SECOND,
                                     .first_token = 2 * FC_SECOND,
                                     .finish = 4 * FC_SECOND,
                                     .input_tokens = 10,
                                     .output_tokens = 5,
                                     .slo_class = 1},
                         .attempts = 1};
  fc_serve_files_request(out, &f->def, &q);
  q.outcome = FC_OUTCOME_REFUSED;
  q.request.refused = FC_REFUSED_PROMPT;
  fc_serve_files_request(out, &f->def, &q);
  q.request.refused = FC_REFUSED_NOT;
  q.replica = -1;
  fc_serve_files_request(out, &f->def, &q);
  q.outcome = FC_OUTCOME_LOST;
  fc_serve_files_request(out, &f->def, &q);
  fc_serve_files_sample(out, &(fc_cluster_sample){.at = FC_SECOND});
  fc_serve_files_stretch(out, &(fc_replica_stretch){.start = 1, .end = 2, .iterations = 3});
  cr_assert_eq(fc_serve_files_commit(out, &f->answer, NULL, &options), FC_OK, "%s", why);
}

static double of(const csv *t, const char *metric, const char *of_what, const char *column) {
  for (size_t i = 0; i < t->n; i++)
    if (strcmp(get(t, i, "metric"), metric) == 0 && strcmp(get(t, i, "of"), of_what) == 0)
      return number(t, i, column);
  cr_assert(false, "no %s of '%s'", metric, of_what);
  return 0;
}

Test(serve_files, say_what_was_found) {
  fake f;
  char folder[SCRATCH_ROOM];
  fake_answer(&f, FAKE_ONE);
  scratch_new(folder);
  write_all(folder, &f);
  csv *t = read_csv(scratch_path(folder, "latency.csv"));
  cr_expect_eq(t->n, 16);
  cr_expect_str_eq(get(t, 1, "metric"), "ttft");
  cr_expect_str_eq(get(t, 1, "quantile"), "0.5");
  for (size_t i = 0; i < t->n; i++) cr_expect(number(t, i, "low") <= number(t, i, "value"), "row %zu", i);
  cr_expect_float_eq(number(t, 0, "value"), 0.1, 1e-9);
  cr_expect_float_eq(number(t, 4, "value"), 0.01, 1e-9);
  cr_expect_float_eq(number(t, 8, "value"), 0.01, 1e-9);
  cr_expect_float_eq(number(t, 12, "value"), 0.2, 1e-9);
  free_csv(t);
  t = read_csv(scratch_path(folder, "summary.csv"));
  cr_expect_float_eq(of(t, "good_share", "fast", "value"), 1, 0);
  cr_expect_float_eq(of(t, "good_share", "slow", "value"), 0, 0);
  cr_expect_float_eq(of(t, "output_tokens_rate", "", "value"), 11, 1e-6);
  cr_expect_float_eq(of(t, "output_tokens_rate_device", "", "value"), 5.5, 1e-6);
  /* two devices at 2 USD/h for 11 tokens/s */
  cr_expect_float_eq(of(t, "price_output", "", "value"), 1e6 * 4 / 3600 / 11, 1e-6);
  cr_expect_float_eq(of(t, "device_power", "", "value"), 200, 1e-9);
  cr_expect_float_eq(of(t, "busy_share", "whole", "value"), 0.5, 1e-12);
  cr_expect_float_eq(of(t, "kv_mean_share", "whole", "value"), 0.2, 1e-12);
  cr_expect_float_eq(of(t, "requests_refused", "prompt", "value"), 3, 0);
  cr_expect_float_eq(of(t, "requests_left_out", "", "value"), 112, 0); /* 7 of 62 batches of 16 */
  free_csv(t);
  t = read_csv(scratch_path(folder, "breakdown.csv"));
  double sum = 0;
  for (size_t i = 0; i < t->n; i++) sum += number(t, i, "share");
  cr_expect_float_eq(sum, 1, 1e-12);
  free_csv(t);
  t = read_csv(scratch_path(folder, "requests.csv"));
  cr_expect_float_eq(number(t, 0, "ttft_s"), 1, 0);
  cr_expect_float_eq(number(t, 0, "tpot_s"), 0.5, 0);
  cr_expect_float_eq(number(t, 0, "e2e_s"), 3, 0);
  cr_expect_str_eq(get(t, 0, "class"), "slow");
  cr_expect_str_eq(get(t, 1, "refused"), "prompt");
  cr_expect_str_eq(get(t, 1, "ttft_s"), "");
  cr_expect_str_eq(get(t, 2, "refused"), "router");
  cr_expect_str_eq(get(t, 2, "replica"), "");
  cr_expect_str_eq(get(t, 3, "refused"), "lost");
  free_csv(t);
  scratch_remove(folder);
  fake_free(&f);
}

Test(serve_files, on_demand_files_are_left_out_and_rows_of_them_ignored) {
  fake f;
  char folder[SCRATCH_ROOM], why[FC_REPORT_WHY];
  fake_answer(&f, FAKE_APART);
  scratch_new(folder);
  fc_serve_files *out;
  cr_assert_eq(fc_serve_files_open(&out, folder, &(fc_serve_files_def){0}, why), FC_OK);
  fc_serve_files_request(out, &f.def, &(fc_cluster_record){0});
  fc_serve_files_sample(out, &(fc_cluster_sample){0});
  fc_serve_files_stretch(out, &(fc_replica_stretch){0});
  cr_assert_eq(fc_serve_files_commit(out, &f.answer, NULL, &options), FC_OK);
  cr_expect_neq(access(scratch_path(folder, "requests.csv"), F_OK), 0);
  cr_expect_neq(access(scratch_path(folder, "timeline.csv"), F_OK), 0);
  cr_expect_eq(access(scratch_path(folder, "manifest.yaml"), F_OK), 0);
  csv *t = read_csv(scratch_path(folder, "latency.csv"));
  cr_expect_str_eq(get(t, 8, "metric"), "itl");
  cr_expect_str_eq(get(t, 8, "low"), "", "apart: gaps are known at the end alone");
  free_csv(t);
  scratch_remove(folder);
  fake_free(&f);
}

Test(serve_files, a_number_that_is_not_finite_leaves_nothing) {
  fake f;
  char folder[SCRATCH_ROOM], why[FC_REPORT_WHY];
  fake_answer(&f, FAKE_ONE);
  scratch_new(folder);
  const char *new = scratch_path(folder, "new");
  f.result->parts.dense_s = (double)NAN;
  fc_serve_files *out;
  cr_assert_eq(fc_serve_files_open(&out, new, &(fc_serve_files_def){.requests = true}, why), FC_OK);
  cr_expect_eq(fc_serve_files_commit(out, &f.answer, NULL, &options), FC_E_LAW);
  cr_expect_str_eq(why, "INV-9: a number of breakdown.csv is not finite");
  cr_expect_neq(access(new, F_OK), 0);
  scratch_remove(folder);
  fake_free(&f);
}

Test(serve_files, the_page_tells_the_same) {
  fake f;
  fake_answer(&f, FAKE_APART);
  f.answer.verdict = FC_VERDICT_OVERLOADED;
  fc_text page = {0};
  cr_assert_eq(fc_report_serve_page(&page, &f.answer), FC_OK);
  static const char *const wanted[] = {"fake\nhow fast?\n",
                                       "TTFT: first token - arrival",
                                       "2 malformed rows skipped",
                                       "refused: 6 (the prompt",
                                       "OVERLOADED",
                                       "22 % (decode), 11 % (prompts)",
                                       "prefix cache: 50.0 %",
                                       "shortened to input_max",
                                       "1 x prefill on 2: tp2",
                                       "USD for a million output",
                                       "fast   1000  20.0"};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    cr_expect(strstr(page.bytes, wanted[i]) != NULL, "no '%s' in\n%s", wanted[i], page.bytes);
  fc_text_fini(&page);
  fake_free(&f);
}

/* --- docs/csv.md --- */

Test(serve_files, the_docs_list_exactly_the_columns_and_metrics) {
  static const fake_kind kinds[] = {FAKE_ONE, FAKE_CLUSTER, FAKE_APART};
  documented_names names;
  bool seen[DOCUMENTED] = {false};
  char *docs = documented_text();
  size_t n = documented(names, docs, "\n### serve: metrics of summary.csv\n", NULL);
  for (int kind = 0; kind < 3; kind++) {
    fake f;
    char folder[SCRATCH_ROOM];
    fake_answer(&f, kinds[kind]);
    scratch_new(folder);
    write_all(folder, &f);
    for (int i = 0; kind < 2 && i < 6 && files[kind][i]; i++)
      expect_documented_columns(docs, "### serve: ", folder, files[kind][i]);
    expect_documented_manifest(docs, "### serve: ", folder);
    csv *t = read_csv(scratch_path(folder, "summary.csv"));
    for (size_t i = 0; i < t->n; i++) {
      size_t k = 0;
      while (k < n && strcmp(names[k], get(t, i, "metric")) != 0) k++;
      cr_assert_lt(k, n, "metric %s is not in docs/csv.md", get(t, i, "metric"));
      seen[k] = true;
    }
    free_csv(t);
    scratch_remove(folder);
    fake_free(&f);
  }
  for (size_t k = 0; k < n; k++) cr_expect(seen[k], "docs/csv.md: metric %s is never written", names[k]);
  free(docs);
}

/* Two of two devices: one is down for half of the time, and paid for. */
Test(serve_files, a_cluster_adds_up) {
  fake f;
  char folder[SCRATCH_ROOM];
  fake_answer(&f, FAKE_CLUSTER);
  scratch_new(folder);
  write_all(folder, &f);
  csv *t = read_csv(scratch_path(folder, "summary.csv"));
  cr_expect_float_eq(of(t, "replicas", "up", "value"), 1.5, 1e-12);
  cr_expect_float_eq(of(t, "replicas", "down", "value"), 0.5, 1e-12);
  cr_expect_float_eq(of(t, "price_output", "", "value"), 1e6 * 8 / 3600 / 11, 1e-6);
  cr_expect_float_eq(of(t, "kv_mean_share", "whole", "value"), 0.1, 1e-12);
  cr_expect_float_eq(of(t, "requests_lost", "", "value"), 1, 0);
  free_csv(t);
  t = read_csv(scratch_path(folder, "replicas.csv"));
  cr_expect_eq(t->n, 2);
  cr_expect_float_eq(number(t, 1, "down_s"), 500, 0);
  cr_expect_float_eq(number(t, 1, "kv_peak_share"), 0.5, 0);
  free_csv(t);
  scratch_remove(folder);
  fake_free(&f);
}
