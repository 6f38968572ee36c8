/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "terminal.h"

/* --- the tables --- */

#define AT(member) offsetof(settings, member)
#define SET                                                                                                  \
  { "set", "KEY.PATH=VALUE", "override a value; may be repeated", AT(set), OPTION_LIST, 0 }
#define DATA                                                                                                 \
  { "data", "DIR", "look for devices/ models/ profiles/ shapes/ here too", AT(data), OPTION_LIST, 0 }
#define COLOR                                                                                                \
  { "color", "WHEN", "auto (a terminal, and no NO_COLOR), always, never", AT(color), OPTION_COLOR, 0 }
#define HELP                                                                                                 \
  { "help", NULL, "this text", AT(help), OPTION_FLAG, 'h' }

#define JOBS                                                                                                 \
  { "jobs", "N", "threads (default: all); results do not depend on it", AT(jobs), OPTION_COUNT, 'j' }

static const option run_options[] = {
    {"out", "DIR", "folder for the results (default: out/NAME)", AT(out), OPTION_TEXT, 'o'},
    {"seed", "N", "of the random streams (default: the scenario's)", AT(seed), OPTION_SEED, 0},
    JOBS,
    {"no-cache", NULL, "simulate serving anew, keep nothing (docs/surface.md)", AT(no_cache), OPTION_FLAG, 0},
    SET,
    DATA,
    {"quiet", NULL, "no progress, no closing remark", AT(quiet), OPTION_FLAG, 'q'},
    COLOR,
    HELP,
};

static const option serve_options[] = {
    {"trace", "FILE", "recorded requests instead of the file's own", AT(trace), OPTION_TEXT, 0},
    {"out", "DIR", "folder for the results (default: out/NAME)", AT(out), OPTION_TEXT, 'o'},
    {"seed", "N", "of the random streams (default: the file's)", AT(seed), OPTION_SEED, 0},
    {"requests", NULL, "write requests.csv too: a row a request", AT(requests), OPTION_FLAG, 0},
    {"timeline", NULL, "write timeline.csv too: a row a stretch of iterations", AT(timeline), OPTION_FLAG, 0},
    JOBS,
    SET,
    DATA,
    {"quiet", NULL, "no progress, no closing remark", AT(quiet), OPTION_FLAG, 'q'},
    COLOR,
    HELP,
};

static const option check_options[] = {
    SET, DATA, {"quiet", NULL, "only what is wrong", AT(quiet), OPTION_FLAG, 'q'}, COLOR, HELP,
};

static const option bench_options[] = {
    {"backend", "NAME", "cpu or cuda (default: cuda where there is a GPU)", AT(backend), OPTION_TEXT, 0},
    {"quick", NULL, "about a third of the points", AT(quick), OPTION_FLAG, 0},
    {"out", "FILE", "measurement file; without it rows go to stdout", AT(out), OPTION_TEXT, 'o'},
    {"kernel", "NAME", "only this kernel, as the column `kernel` names it", AT(kernel), OPTION_TEXT, 0},
    {"seed", "N", "of the data and the order (default: the time)", AT(seed), OPTION_SEED, 0},
    {"check", NULL, "check every kernel, time nothing", AT(check), OPTION_FLAG, 0},
    {"table", "FILE", "measure nothing: the table of a measurement file", AT(table), OPTION_TEXT, 0},
    {"again", NULL, "measure anew what FILE already holds", AT(again), OPTION_FLAG, 0},
    {"quiet", NULL, "no progress, no table", AT(quiet), OPTION_FLAG, 'q'},
    HELP,
};

static const option plan_options[] = {
    {"out", "DIR", "folder for the results (default: out/NAME)", AT(out), OPTION_TEXT, 'o'},
    {"seed", "N", "of the random streams (default: the file's)", AT(seed), OPTION_SEED, 0},
    JOBS,
    SET,
    DATA,
    {"quiet", NULL, "no progress, no closing remark", AT(quiet), OPTION_FLAG, 'q'},
    COLOR,
    HELP,
};

static const option train_options[] = {
    {"out", "DIR", "folder for the results (default: out/NAME)", AT(out), OPTION_TEXT, 'o'},
    {"seed", "N", "of the random streams (default: the file's)", AT(seed), OPTION_SEED, 0},
    JOBS,
    SET,
    DATA,
    {"quiet", NULL, "no progress, no closing remark", AT(quiet), OPTION_FLAG, 'q'},
    COLOR,
    HELP,
};

static const option fit_options[] = {
    {"device", "NAME|FILE", "what was measured: a known device, or FILE.yaml", AT(device), OPTION_TEXT, 0},
    {"out", "PROFILE.yaml", "the profile", AT(out), OPTION_TEXT, 'o'},
    {"impl", "NAME", "only this implementation (default: all, kept apart)", AT(impl), OPTION_TEXT, 0},
    {"base", "PROFILE.yaml", "what is not measured (default: the nearest device's)", AT(base), OPTION_TEXT,
     0},
    {"anchors", "N", "most anchors a kernel's local correction has (default 400)", AT(anchors), OPTION_COUNT,
     0},
    {"report", "FILE.html", "a page about the fit", AT(report), OPTION_TEXT, 0},
    JOBS,
    DATA,
    {"quiet", NULL, "no progress, no table", AT(quiet), OPTION_FLAG, 'q'},
    COLOR,
    HELP,
};

static const option calibrate_options[] = {
    {"backend", "NAME", "cpu or cuda (default: cuda where there is a GPU)", AT(backend), OPTION_TEXT, 0},
    {"device", "NAME|FILE", "a known device, or FILE.yaml (default: found)", AT(device), OPTION_TEXT, 0},
    {"quick", NULL, "about a third of the points", AT(quick), OPTION_FLAG, 0},
    {"kernel", "NAME", "only this kernel, as the column `kernel` names it", AT(kernel), OPTION_TEXT, 0},
    {"out", "PROFILE.yaml", "the profile (default: profiles/NAME.yaml)", AT(out), OPTION_TEXT, 'o'},
    {"report", "FILE.html", "a page about it (default: NAME.html)", AT(report), OPTION_TEXT, 0},
    {"measurements", "FILE.csv", "kept points (default: NAME.csv)", AT(measurements), OPTION_TEXT, 0},
    {"seed", "N", "of the data and the order (default: the time)", AT(seed), OPTION_SEED, 0},
    {"again", NULL, "measure anew what the file already holds", AT(again), OPTION_FLAG, 0},
    JOBS,
    DATA,
    {"quiet", NULL, "no progress, no table", AT(quiet), OPTION_FLAG, 'q'},
    COLOR,
    HELP,
};

static const option predict_options[] = {
    {"profile", "FILE.yaml", "the profile", AT(profile), OPTION_TEXT, 0},
    {"out", "FILE.csv", "the rows with predicted_us,low_us,high_us behind", AT(out), OPTION_TEXT, 'o'},
    {"by-impl", NULL, "a line an implementation and format, not a kernel", AT(by_impl), OPTION_FLAG, 0},
    JOBS,
    DATA,
    {"quiet", NULL, "no closing remark", AT(quiet), OPTION_FLAG, 'q'},
    COLOR,
    HELP,
};

static const option validate_options[] = {
    {"out", "FILE.csv", "the cases with predictions, their 90 % intervals and reasons behind", AT(out),
     OPTION_TEXT, 'o'},
    JOBS,
    DATA,
    {"quiet", NULL, "no progress", AT(quiet), OPTION_FLAG, 'q'},
    COLOR,
    HELP,
};

static const option help_options[] = {HELP};

#define OPTIONS(table) .n_options = sizeof(table) / sizeof *(table), .options = (table)

static const char validate_notes[] = "CASES.csv has the columns of public serving measurements: model, "
                                     "system, backend, gemm_quant, moe_quant,\n"
                                     "mode (agg or disagg), isl, osl, concurrency, tp, attention_dp, moe_tp, "
                                     "moe_ep, n_gpus, ttft_ms, tpot_ms, and\n"
                                     "prefill_* and decode_* where the two are apart.  Each is run request "
                                     "by request (docs/validate.md#truth); a case\n"
                                     "that cannot be modelled is a row with a reason.\n";

static const char run_notes[] =
    "SCENARIO.yaml may be - for stdin.  A page of results goes to stdout; DIR gets timeseries.csv,\n"
    "summary.csv, split.csv, jobs.csv, events.csv, serving.csv, training.csv and manifest.yaml\n"
    "(docs/csv.md), all or none.  Same scenario and seed, same bytes.\n\n"
    "  fleetcast run scenarios/baseline.yaml -o out/baseline --set 'services[0].slo.tpot=20 ms'\n";

static const char serve_notes[] =
    "SERVE.yaml may be - for stdin; it describes a deployment and a load (docs/serve.md).  A page of answers "
    "goes to\nstdout; DIR gets latency.csv, summary.csv, breakdown.csv and manifest.yaml (docs/csv.md), all "
    "or "
    "none.\n"
    "TTFT: first token - arrival; TPOT: (last - first token) / (output tokens - 1); ITL: each gap between "
    "two "
    "tokens;\nE2E: last token - arrival.  Every percentile comes with its 95 % interval.\n\n"
    "  fleetcast serve scenarios/serve/llama-2-7b-a100.yaml --set load.rate='4 /s'\n";

static const char plan_notes[] =
    "PLAN.yaml may be - for stdin.  Of kind plan it names a model, devices with prices, a load and an "
    "objective; of kind\ntrain_plan a model, devices, counts, tokens and limits of days and cost "
    "(docs/plan.md).  A page goes to stdout: the best\ndeployment or the best way to train, why the "
    "runner-up lost, the Pareto front; DIR gets plans.csv, pareto.csv or counts.csv\nand front.svg, and "
    "manifest.yaml, all or none.  Exit status 1: nothing meets the objective.\n\n"
    "  fleetcast plan scenarios/plan/llama-3.1-70b-chat.yaml --set slo.tpot='30 ms'\n"
    "  fleetcast plan scenarios/plan/deepseek-v3-training.yaml --set limits.days='40 d'\n";

static const char train_notes[] =
    "TRAIN.yaml may be - for stdin; it names a model, devices, phases, failures and prices (docs/train.md).  "
    "A page goes to\nstdout: step, memory, days and device-hours with intervals, a ledger beside what was "
    "published; DIR gets CSV files,\npictures and manifest.yaml (docs/csv.md), all or none.\n\n"
    "  fleetcast train scenarios/train/deepseek-v3.yaml --set 'phases[0].tokens=1 T tokens'\n";

static const char bench_notes[] =
    "Every kernel is checked on fresh random data against a double-precision reference, then timed "
    "(docs/kernels.md).\n"
    "Ctrl-C keeps the finished points in FILE.partial; the same command then goes on from there.  The "
    "benchmarks are\n"
    "a program of their own, fleetcast-bench, which stands beside fleetcast.\n\n"
    "  fleetcast bench --backend cpu -o cpu.csv\n";

static const char fit_notes[] = "M.csv may be gzip.  Each kernel, format and implementation is fitted on its "
                                "own (docs/calibrate.md); what was\n"
                                "not measured comes from --base, or from the shipped profile of the device "
                                "with the nearest datasheet, scaled.\n\n"
                                "  fleetcast fit h100.csv.gz --device h100 -o profiles/h100.yaml\n";

static const char calibrate_notes[] = "Measures (as bench does), then fits (as fit does): the one command on "
                                      "new hardware.  Ctrl-C keeps the finished\n"
                                      "points; the same command then goes on from there.\n\n"
                                      "  fleetcast calibrate\n";

static const char predict_notes[] =
    "M.csv may be gzip.  Errors are |predicted/measured - 1|; within_% is how many measured times lie in the "
    "90 %\n"
    "interval.\n\n"
    "  fleetcast predict --profile profiles/h100.yaml h100.csv.gz -o predicted.csv\n";

const verb cli_verbs[] = {
    {.name = "run",
     .operands = "SCENARIO.yaml",
     .summary = "fleet projection: CSV files, a manifest and a page of results",
     .min_operands = 1,
     .max_operands = 1,
     OPTIONS(run_options),
     .run = cli_run,
     .notes = run_notes},
    {.name = "serve",
     .operands = "SERVE.yaml",
     .summary = "request-level simulation of a deployment",
     .min_operands = 1,
     .max_operands = 1,
     OPTIONS(serve_options),
     .run = cli_serve,
     .notes = serve_notes},
    {.name = "plan",
     .operands = "PLAN.yaml",
     .summary = "the cheapest deployment, or way to train, that meets an objective",
     .min_operands = 1,
     .max_operands = 1,
     OPTIONS(plan_options),
     .run = cli_plan,
     .notes = plan_notes},
    {.name = "check",
     .operands = "FILE.yaml...",
     .summary = "validate input files of any kind; diagnostics only",
     .min_operands = 1,
     .max_operands = SIZE_MAX,
     OPTIONS(check_options),
     .run = cli_check},
    {.name = "bench",
     .operands = "",
     .summary = "microbenchmarks, each checked against its reference first",
     OPTIONS(bench_options),
     .run = cli_bench,
     .notes = bench_notes},
    {.name = "fit",
     .operands = "M.csv[.gz]...",
     .summary = "fit a device profile to measurements",
     .min_operands = 1,
     .max_operands = SIZE_MAX,
     OPTIONS(fit_options),
     .run = cli_fit,
     .notes = fit_notes},
    {.name = "calibrate",
     .operands = "",
     .summary = "bench, then fit: the one command on new hardware",
     OPTIONS(calibrate_options),
     .run = cli_calibrate,
     .notes = calibrate_notes},
    {.name = "predict",
     .operands = "M.csv[.gz]",
     .summary = "predict every row of a measurement file",
     .min_operands = 1,
     .max_operands = 1,
     OPTIONS(predict_options),
     .run = cli_predict,
     .notes = predict_notes},
    {.name = "schema",
     .operands = "KIND",
     .summary = "JSON Schema of a kind of input file, for editors",
     .min_operands = 1,
     .max_operands = 1,
     OPTIONS(help_options),
     .run = cli_schema,
     .notes = "KIND is device, model, profile, shape, scenario, serve, plan, train or train_plan.\n"},
    {.name = "explain",
     .operands = "KEY",
     .summary = "what a key of an input file means: unit, default, range",
     .min_operands = 1,
     .max_operands = 1,
     OPTIONS(help_options),
     .run = cli_explain,
     .notes = "KEY is a word (memory) or a path (device.memory).\n"},
    {.name = "version",
     .operands = "",
     .summary = "version, and what this program was built with",
     OPTIONS(help_options),
     .run = cli_version},
    {.name = "help",
     .operands = "[VERB]",
     .summary = "this list, or what a verb does",
     .max_operands = 1,
     OPTIONS(help_options),
     .run = cli_help},
    {.name = "train",
     .operands = "TRAIN.yaml",
     .summary = "one training run: step time, memory, goodput, cost",
     .min_operands = 1,
     .max_operands = 1,
     OPTIONS(train_options),
     .run = cli_train,
     .notes = train_notes},
    {.name = "validate",
     .operands = "CASES.csv",
     .summary = "measured serving cases against the shipped profiles",
     .min_operands = 1,
     .max_operands = 1,
     OPTIONS(validate_options),
     .run = cli_validate,
     .notes = validate_notes},
    {.name = "ensemble", .operands = "", .summary = "many runs: uncertainty"},
    {.name = "merge", .operands = "", .summary = "merge the shards of an ensemble"},
    {.name = "sensitivity", .operands = "", .summary = "Sobol indices of an ensemble"},
    {.name = "solve", .operands = "", .summary = "find the input that meets a target"},
    {.name = "compare", .operands = "", .summary = "paired differences between scenarios"},
    {.name = "export", .operands = "", .summary = "slice a finished run for a spreadsheet or a notebook"},
    {.name = "report", .operands = "", .summary = "self-contained HTML with plots"},
};

size_t cli_n_verbs(void) {
  return sizeof cli_verbs / sizeof *cli_verbs;
}

/* --- the short ones --- */

int cli_check(const settings *s) {
  int worst = EXIT_OK;
  for (size_t i = 0; i < s->operand.n; i++) {
    const char *path = s->operand.item[i];
    data_dirs data = cli_data(path, s);
    fc_input *input;
    int code = cli_load(&input, path, FC_INPUT_ANY, &data, s);
    if (code == EXIT_OK && !s->quiet)
      (void)fprintf(stderr, "%s: ok, a %s\n", path, fc_input_kind_text(fc_input_kind_of(input)));
    fc_input_free(input);
    cli_data_free(&data);
    if (code > worst) worst = code;
  }
  return worst;
}

static int print_text(fc_text *text, fc_status status) {
  if (!status) status = fc_text_status(text);
  if (status) (void)fprintf(stderr, "fleetcast: %s\n", fc_status_text(status));
  int code = status ? EXIT_FAILED : cli_print(text->bytes ? text->bytes : "");
  fc_text_fini(text);
  return code;
}

int cli_schema(const settings *s) {
  const char *names[FC_INPUT_KINDS];
  for (int k = FC_INPUT_ANY + 1; k < FC_INPUT_KINDS; k++) {
    names[k - 1] = fc_input_kind_text((fc_input_kind)k);
    if (strcmp(names[k - 1], s->operand.item[0]) != 0) continue;
    fc_text text = {0};
    return print_text(&text, fc_input_schema((fc_input_kind)k, &text));
  }
  cli_complain_word("kind", s->operand.item[0], names, FC_INPUT_KINDS - 1);
  return EXIT_USAGE;
}

int cli_explain(const settings *s) {
  fc_diags d;
  fc_diags_init(&d);
  fc_text text = {0};
  fc_status status = fc_input_explain(s->operand.item[0], &text, &d);
  for (size_t i = 0; i < d.n; i++) (void)fprintf(stderr, "fleetcast: %s\n", d.item[i].text);
  if (status != FC_E_INPUT) return print_text(&text, status);
  fc_text_fini(&text);
  return EXIT_USAGE;
}

int cli_version(const settings *s) {
  data_dirs data = cli_data("", &(settings){0});
  (void)s;
  (void)printf("fleetcast %s\nCUDA: %s\nMPI: %s\ndata: %s\n", FC_CLI_VERSION,
               FC_CLI_CUDA ? "benchmarks built" : "benchmarks not built",
               FC_CLI_MPI ? "found, not used in this version" : "not found",
               data.n > 1 ? data.dir[1] : "none found");
  cli_data_free(&data);
  return EXIT_OK;
}

int cli_help(const settings *s) {
  if (s->operand.n == 0) {
    cli_print_help(stdout);
    return EXIT_OK;
  }
  const char *names[32], *name = s->operand.item[0];
  const verb *v = cli_verb(name);
  if (v && v->run) {
    cli_print_verb_help(stdout, v);
    return EXIT_OK;
  }
  for (size_t i = 0; i < cli_n_verbs(); i++) names[i] = cli_verbs[i].name;
  if (v)
    (void)fprintf(stderr, "fleetcast: '%s' is not in this version\n", name);
  else
    cli_complain_word("verb", name, names, cli_n_verbs());
  return EXIT_USAGE;
}
