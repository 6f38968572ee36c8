/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/scenario/train.h>

#include "input.h"
#include "tables_file.h"
#include "tables_plan.h"
#include "tables_train.h"

/* Kind train: one training run. */

enum { RAMP_MAX = 32, VARIANTS_MAX = 16 };

/* --- phases --- */

#define AT(member) .offset = offsetof(fc_train_ramp, member)

static const fc_field ramp_fields[] = {
    {.key = "until",
     .kind = FC_FIELD_NUMBER,
     AT(until_tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e18,
     .required = true,
     .example = "469 B tokens",
     .help = "Tokens of the phase up to which it holds."},
    {.key = "global_batch",
     .kind = FC_FIELD_COUNT,
     AT(global_batch),
     .min = 1,
     .max = 1e8,
     .required = true,
     .example = "3072",
     .help = "Sequences of one step."},
};
static const fc_schema ramp = {
    "ramp", "A stretch with another batch.", sizeof(fc_train_ramp), FC_COUNT_OF(ramp_fields), ramp_fields,
    NULL};

#undef AT
#define AT(member) .offset = offsetof(fc_train_rollouts, member)

static const fc_field rollout_fields[] = {
    {.key = "tokens",
     .kind = FC_FIELD_NUMBER,
     AT(tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e18,
     .required = true,
     .example = "1 T tokens",
     .help = "Generated in the phase."},
    {.key = "request",
     .kind = FC_FIELD_STRUCT,
     AT(shape),
     .sub = &fc_schema_rollout,
     .help = "Lengths of a rollout."},
    {.key = "slo", .kind = FC_FIELD_STRUCT, AT(slo), .sub = &fc_schema_slo, .help = "Latency that is kept."},
    {.key = "deployment",
     .kind = FC_FIELD_STRUCT,
     AT(deployment),
     .sub = &fc_schema_deployment,
     .help = "How the model is served; absent: chosen."},
    {.key = "wait",
     .kind = FC_FIELD_NUMBER,
     AT(wait),
     .min = 1,
     .max = 100,
     .def = "1",
     .example = "1.5",
     .help = "Time of a batch of rollouts over that of its mean: the longest answer ends it."},
    {.key = "devices",
     .kind = FC_FIELD_COUNT,
     AT(devices),
     .min = 1,
     .max = 1e7,
     .example = "64",
     .help = "Of the run's devices, that generate while the others train; absent: all do both in turn."},
    {.key = "lag",
     .kind = FC_FIELD_COUNT,
     AT(lag),
     .min = 0,
     .max = 1000,
     .def = "0",
     .example = "1",
     .help = "Updates that the weights which generate may be behind, with `devices`; 0: on-policy."},
    {.key = "publish",
     .kind = FC_FIELD_NUMBER,
     AT(publish_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 1e5,
     .example = "10 s",
     .help = "New weights to the devices that generate; absent: each its share through its port."},
};

static void check_rollouts(fc_reader *r, void *object, const fc_node *map) {
  const fc_train_rollouts *rollouts = object;
  fc_check_deployment(r, &((fc_train_rollouts *)object)->deployment, fc_node_find(map, "deployment"));
  if (rollouts->devices == 0 && (rollouts->lag > 0 || rollouts->publish_s > 0))
    (void)fc_reader_error(r, map, "'lag' and 'publish' are of a pool apart: state its 'devices'");
}

static const fc_schema rollouts = {"training rollouts",
                                   "Generation between the updates on the same devices, or beside them.",
                                   sizeof(fc_train_rollouts),
                                   FC_COUNT_OF(rollout_fields),
                                   rollout_fields,
                                   check_rollouts};

#undef AT
#define AT(member) .offset = offsetof(fc_train_phase, member)

static const fc_field phase_fields[] = {
    {.key = "name", .kind = FC_FIELD_TEXT, AT(name), .required = true, .help = "Of the phase."},
    {.key = "tokens",
     .kind = FC_FIELD_NUMBER,
     AT(tokens),
     .dim = DIM_TOKENS,
     .min = 1,
     .max = 1e18,
     .example = "14.8 T tokens",
     .help = "Trained on; of reinforcement learning those of the updates."},
    {.key = "device_hours",
     .kind = FC_FIELD_NUMBER,
     AT(device_s),
     .dim = DIM_DEVICE_SECONDS,
     .min = 1,
     .max = 1e18,
     .example = "5 k GPU-h",
     .help = "Stated instead of tokens, where nothing more is known: taken as it is."},
    {.key = "setup",
     .kind = FC_FIELD_NUMBER,
     AT(setup_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 1e8,
     .def = "0 s",
     .example = "30 min",
     .help = "Relaunch before the first step."},
    {.key = "reported",
     .kind = FC_FIELD_NUMBER,
     AT(reported_device_s),
     .dim = DIM_DEVICE_SECONDS,
     .min = 1,
     .max = 1e18,
     .example = "2.664 M GPU-h",
     .help = "Published device-hours, to compare with."},
    {.key = "plan",
     .kind = FC_FIELD_STRUCT,
     AT(plan),
     .sub = &fc_schema_train_plan,
     .help =
         "Absent: the run's.  Given: degrees, schedule, recomputation and batch are its own or chosen, what "
         "else it does not state is the run's."},
    {.key = "ramp",
     .kind = FC_FIELD_LIST,
     AT(ramp),
     .count_offset = offsetof(fc_train_phase, n_ramp),
     .max_items = RAMP_MAX,
     .sub = &ramp,
     .help = "Batch sizes before the plan's own."},
    {.key = "rollouts",
     .kind = FC_FIELD_OWN,
     AT(rollouts),
     .sub = &rollouts,
     .help = "Generation of a phase of reinforcement learning."},
};

static void check_phase(fc_reader *r, void *object, const fc_node *map) {
  const fc_train_phase *p = object;
  if (!(p->tokens > 0) == !(p->device_s > 0))
    (void)fc_reader_error(r, map, "phase '%.48s' wants either 'tokens' or 'device_hours'", p->name);
  if (p->device_s > 0 && (p->n_ramp || p->rollouts))
    (void)fc_reader_error(
        r, map, "phase '%.48s': 'device_hours' are taken as they are, without 'ramp' or 'rollouts'", p->name);
  double before = 0;
  const fc_node *list = fc_node_find(map, "ramp");
  const fc_node *item = list ? list->first : NULL;
  for (size_t i = 0; i < p->n_ramp && item; i++, item = item->next) {
    if (!(p->ramp[i].until_tokens > before))
      (void)fc_reader_error(r, item, "'until' must ascend along the ramp");
    if (p->tokens > 0 && p->ramp[i].until_tokens > p->tokens)
      (void)fc_reader_error(r, item, "the ramp goes beyond the phase's tokens");
    before = p->ramp[i].until_tokens;
  }
}

static const fc_schema phase = {"training phase",       "A part of the run with a step of its own.",
                                sizeof(fc_train_phase), FC_COUNT_OF(phase_fields),
                                phase_fields,           check_phase};

/* --- variants --- */

#undef AT
#define AT(member) .offset = offsetof(fc_train_variant, member)

static const char *variant_device(const void *object) {
  const fc_profile *profile = ((const fc_train_variant *)object)->profile;
  return profile ? profile->device_name : NULL;
}

static const fc_field variant_fields[] = {
    {.key = "name", .kind = FC_FIELD_TEXT, AT(name), .required = true, .help = "Of the variant."},
    {.key = "model", .kind = FC_FIELD_REF, AT(model), .refers = FC_INPUT_MODEL, .help = "Another model."},
    FC_KEY_DEVICE(false, variant_device, "Another device."),
    FC_KEY_PROFILE,
    {.key = "devices",
     .kind = FC_FIELD_COUNT,
     AT(devices),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e8,
     .example = "2048",
     .help = "Another number of devices."},
    {.key = "plan",
     .kind = FC_FIELD_STRUCT,
     AT(plan),
     .sub = &fc_schema_train_plan,
     .help = "Key by key over the first phase's plan; with another model, degrees, schedule and "
             "recomputation that "
             "it does not state are chosen."},
};
static const fc_schema variant = {"variant",
                                  "The run with something changed: composed, not simulated.",
                                  sizeof(fc_train_variant),
                                  FC_COUNT_OF(variant_fields),
                                  variant_fields,
                                  NULL};

/* --- the file --- */

#undef AT
#define AT(member) .offset = offsetof(fc_train_def, member)

static const char *train_device(const void *object) {
  const fc_profile *profile = ((const fc_train_def *)object)->profile;
  return profile ? profile->device_name : NULL;
}

static const fc_field fields[] = {
    FC_KEY_FILE_NAME,
    FC_KEY_QUESTION,
    FC_KEY_SEED("Seed of all random numbers."),
    FC_KEY_MODEL("The model that is trained."),
    FC_KEY_DEVICE(true, train_device, "The device that it is trained on."),
    FC_KEY_PROFILE,
    {.key = "devices",
     .kind = FC_FIELD_COUNT,
     AT(devices),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e8,
     .required = true,
     .example = "2048",
     .help = "Devices of the run, spares not counted."},
    {.key = "plan",
     .kind = FC_FIELD_STRUCT,
     AT(plan),
     .sub = &fc_schema_train_plan,
     .help = "How the model is laid over them; what is not stated is chosen."},
    {.key = "phases",
     .kind = FC_FIELD_LIST,
     AT(phases),
     .count_offset = offsetof(fc_train_def, n_phases),
     .required = true,
     .min_items = 1,
     .max_items = FC_RECOVERY_PHASES,
     .sub = &phase,
     .help = "One after another: pre-training, context extension, post-training."},
    {.key = "failures",
     .kind = FC_FIELD_LIST,
     AT(hazards),
     .count_offset = offsetof(fc_train_def, n_hazards),
     .max_items = FC_RECOVERY_HAZARDS,
     .sub = &fc_schema_hazard,
     .help = "What stops the run or slows it down; absent: nothing does."},
    {.key = "recovery",
     .kind = FC_FIELD_STRUCT,
     AT(recovery),
     .sub = &fc_schema_train_recovery,
     .help = "Checkpoints, detection, restart, spare nodes."},
    {.key = "ledger",
     .kind = FC_FIELD_STRUCT,
     AT(ledger),
     .sub = &fc_schema_train_ledger,
     .help = "What the run costs."},
    {.key = "reported",
     .kind = FC_FIELD_STRUCT,
     AT(reported),
     .sub = &fc_schema_train_reported,
     .help = "Published figures, to compare with."},
    {.key = "variants",
     .kind = FC_FIELD_LIST,
     AT(variants),
     .count_offset = offsetof(fc_train_def, n_variants),
     .max_items = VARIANTS_MAX,
     .sub = &variant,
     .help = "The run with something changed, side by side."},
    {.key = "replications",
     .kind = FC_FIELD_COUNT,
     AT(replications),
     .min = 1,
     .max = 1e6,
     .def = "400",
     .example = "400",
     .help = "Lives of the run that are simulated."},
    {.key = "date", .kind = FC_FIELD_DATE, AT(date), .help = "Of prices; absent: the latest that is known."},
};

/* Without `profile` the one named like the device; with it, it must be of that device. */
static const fc_profile *profile_of(fc_reader *r, const fc_profile *given, const fc_node *map) {
  const fc_node *device = fc_node_find(map, "device"), *profile = fc_node_find(map, "profile");
  if (!device || device->kind != FC_NODE_SCALAR) return given;
  if (!profile) {
    const void *found = NULL;
    fc_status status = fc_input_resolve(r->input, FC_INPUT_PROFILE, device->text, device, &found);
    if (status != FC_OK) (void)fc_reader_fail(r, status);
    given = found;
  }
  if (given && strcmp(given->device_name, device->text) != 0)
    (void)fc_reader_error(r, profile ? profile : device, "profile '%.48s' is of device '%.48s', not '%.48s'",
                          given->name, given->device_name, device->text);
  return given;
}

/* --- what a plan takes over --- */

/* Keys of a plan that another model or length would want anew; all others are about formats and the stack. */
static bool is_degree(const char *key) {
  static const char *const degree[] = {
      "tp",          "pp",           "cp",       "ep",       "virtual_stages",
      "micro_batch", "global_batch", "sequence", "schedule", "recompute"};
  for (size_t i = 0; i < FC_COUNT_OF(degree); i++)
    if (strcmp(key, degree[i]) == 0) return true;
  return false;
}

static bool is_batch(const char *key) {
  return strcmp(key, "sequence") == 0 || strcmp(key, "global_batch") == 0;
}

/* Takes over from `from` what the mapping does not state; `formats`: and of these only formats, with `batch`
 * the batch too. */
static void take_over(fc_train_plan *to, const fc_train_plan *from, const fc_node *map, bool formats,
                      bool batch) {
  static const size_t size[] = {[FC_FIELD_NUMBER] = sizeof(double),
                                [FC_FIELD_COUNT] = sizeof(int64_t),
                                [FC_FIELD_INT] = sizeof(int),
                                [FC_FIELD_BOOL] = sizeof(bool),
                                [FC_FIELD_ENUM] = sizeof(int)};
  for (size_t i = 0; i < fc_schema_train_plan.n; i++) {
    const fc_field *f = &fc_schema_train_plan.fields[i];
    FC_ASSERT(f->kind < FC_COUNT_OF(size) && size[f->kind] > 0);
    if (map && fc_node_find(map, f->key)) continue;
    if (formats && is_degree(f->key) && !(batch && is_batch(f->key))) continue;
    memcpy((char *)to + f->offset, (const char *)from + f->offset, size[f->kind]);
  }
}

static const fc_node *next_of(const fc_node *item, const fc_node *list) {
  return item ? item->next : list ? list->first : NULL;
}

/* The mappings are this reader's own memory, const only to the definition's users. */
static void complete_phases(fc_train_def *def, const fc_node *map) {
  const fc_node *list = fc_node_find(map, "phases"), *item = NULL;
  for (size_t i = 0; i < def->n_phases; i++) {
    item = next_of(item, list);
    const fc_node *plan = item ? fc_node_find(item, "plan") : NULL;
    fc_train_phase *p = (fc_train_phase *)(uintptr_t)&def->phases[i];
    take_over(&p->plan, &def->plan, plan, plan != NULL, false);
  }
}

static void complete_variants(fc_reader *r, fc_train_def *def, const fc_node *map) {
  const fc_node *list = fc_node_find(map, "variants"), *item = NULL;
  for (size_t i = 0; i < def->n_variants; i++) {
    item = next_of(item, list);
    if (!item) return;
    fc_train_variant *v = (fc_train_variant *)(uintptr_t)&def->variants[i];
    v->profile = profile_of(r, v->profile, item);
    if (!fc_node_find(item, "device") && !v->profile) v->profile = def->profile;
    if (!v->model) v->model = def->model;
    if (v->devices == 0) v->devices = def->devices;
    take_over(&v->plan, &def->phases[0].plan, fc_node_find(item, "plan"), v->model != def->model, true);
  }
}

static void complete_hazards(fc_train_def *def, const fc_node *map) {
  const fc_node *list = fc_node_find(map, "failures"), *item = NULL;
  for (size_t i = 0; i < def->n_hazards; i++) {
    item = next_of(item, list);
    if (!item) return;
    fc_hazard *h = (fc_hazard *)(uintptr_t)&def->hazards[i];
    if (!fc_node_find(item, "detect")) h->detect_s = def->recovery.detect_s;
    if (!fc_node_find(item, "restart")) h->restart_s = def->recovery.restart_s;
  }
}

static fc_dist uniform(double low, double high) {
  return (fc_dist){
      .kind = FC_DIST_UNIFORM, .a = low, .b = high, .min = -(double)INFINITY, .max = (double)INFINITY};
}

static void check(fc_reader *r, void *object, const fc_node *map) {
  fc_train_def *def = object;
  const fc_node *ledger = fc_node_find(map, "ledger");
  def->profile = profile_of(r, def->profile, map);
  complete_phases(def, map);
  complete_variants(r, def, map);
  complete_hazards(def, map);
  const fc_node *variants = fc_node_find(map, "variants");
  if (def->n_variants && !(def->phases[0].tokens > 0))
    (void)fc_reader_key_error(r, variants, "variants compare the first phase, and that states no 'tokens'");
  for (int i = 0; i < FC_COST_COUNT; i++)
    def->ledger.stated[i] = ledger && fc_node_find(ledger, fc_cost_key((fc_cost)i));
  if (!def->ledger.stated[FC_COST_LIFE])
    def->ledger.cost[FC_COST_LIFE] = uniform(4 * FC_YEAR_S, 6 * FC_YEAR_S);
  if (!def->ledger.stated[FC_COST_UTILISATION]) def->ledger.cost[FC_COST_UTILISATION] = uniform(0.7, 0.9);
}

const fc_schema fc_schema_train = {"train",
                                   "One training run: its steps, failures, days and cost.",
                                   sizeof(fc_train_def),
                                   FC_COUNT_OF(fields),
                                   fields,
                                   check};
