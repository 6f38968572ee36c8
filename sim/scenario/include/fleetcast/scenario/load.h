/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_LOAD_H
#define FC_SCENARIO_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/base/dist.h>
#include <fleetcast/base/units.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/fleet/def.h>
#include <fleetcast/hw/device.h>
#include <fleetcast/scenario/plan.h>
#include <fleetcast/scenario/serve.h>
#include <fleetcast/scenario/text.h>
#include <fleetcast/scenario/train.h>
#include <fleetcast/scenario/train_plan.h>
#include <fleetcast/workload/shape.h>

/** Input files: YAML in, definitions out, with a diagnostic at file:line:column for whatever is wrong.
 *
 *  A file says what it is by its key `kind`.  It may `include` others (which it overrides), and refers to
 *  devices, models, profiles and shapes by name: `device: h100` is `devices/h100.yaml` in the first data
 *  directory that has it.  Each is loaded once.  The language is described in docs/input.md, which is
 * generated from the same tables that drive the parser.
 *
 *  One fc_input owns everything that its load produced; getters borrow.  Not thread-safe: one per thread. */

typedef enum fc_input_kind {
  FC_INPUT_ANY,
  FC_INPUT_DEVICE,
  FC_INPUT_MODEL,
  FC_INPUT_PROFILE,
  FC_INPUT_SHAPE,
  FC_INPUT_SCENARIO,
  FC_INPUT_SERVE,
  FC_INPUT_PLAN,
  FC_INPUT_TRAIN,
  FC_INPUT_TRAIN_PLAN,
  FC_INPUT_KINDS
} fc_input_kind;

/** "device", "model", …; the folder that holds them is the word with an s. */
const char *fc_input_kind_text(fc_input_kind kind);

typedef struct fc_input fc_input;

/** Where bytes come from; both members NULL: no file is ever opened. */
typedef struct fc_input_files {
  /** Reads a file whole, as fc_file_read does: `*bytes` is the receiver's, to free(). */
  fc_status (*read)(void *context, char **bytes, size_t *length, const char *path);
  /** Calls `each` for every entry of a folder; for "did you mean".  Nullable. */
  void (*list)(void *context, const char *folder, void (*each)(void *to, const char *name), void *to);
  void *context;
} fc_input_files;

/** The file system. */
extern const fc_input_files fc_input_disk;

typedef struct fc_load_options {
  fc_input_kind expect; /* another kind is an error; FC_INPUT_ANY takes what comes, FC_INPUT_PLAN a
                           FC_INPUT_TRAIN_PLAN too: both are planned */
  size_t n_data_dirs;   /* searched in order, each with devices/ models/ profiles/ shapes/ */
  const char *const *data_dirs;
  size_t n_set; /* overrides, "key.path=value", applied in order */
  const char *const *set;
  const fc_input_files *files; /* NULL: the file system for fc_input_load, none for fc_input_parse.  Without
                                  a reader, references stay NULL and includes are errors */
} fc_load_options;

/** Loads a file; a Hugging Face config.json too, as a model (deepseek_v3, kimi_k2, llama, mistral, qwen2,
 *  qwen3, qwen3_moe, gpt_oss).  All strings of `options` may die after the call.
 *  @param[out] out   NULL unless FC_OK
 *  @param options    nullable: any kind, no data directories, no overrides
 *  @return FC_OK | FC_E_INPUT (told to d) | FC_E_IO (the file itself cannot be read; told to d) | FC_E_NOMEM
 */
FC_NODISCARD
fc_status fc_input_load(fc_input **out, const char *path, const fc_load_options *options, fc_diags *d);

/** The same from memory; `source` names the text in messages, and includes are relative to it. */
FC_NODISCARD
fc_status fc_input_parse(fc_input **out, const char *source, const char *bytes, size_t length,
                         const fc_load_options *options, fc_diags *d);
void fc_input_free(fc_input *input);

fc_input_kind fc_input_kind_of(const fc_input *input);
/** What was loaded, NULL if it is of another kind. */
const fc_device *fc_input_device(const fc_input *input);
const fc_model *fc_input_model(const fc_input *input);
const fc_profile *fc_input_profile(const fc_input *input);
const fc_shape *fc_input_shape(const fc_input *input);
const fc_fleet_def *fc_input_fleet(const fc_input *input);
const fc_serve_def *fc_input_serve(const fc_input *input);
const fc_plan_def *fc_input_plan(const fc_input *input);
const fc_train_def *fc_input_train(const fc_input *input);
const fc_train_plan_def *fc_input_train_plan(const fc_input *input);

/** A file that was read. */
typedef struct fc_input_file {
  const char *path; /* as given or composed */
  char sha256[65];
  size_t bytes;
} fc_input_file;

/** A number and where it comes from. */
typedef struct fc_input_source {
  const char *path;   /* "pools[0].lag"; of a referenced file "device h100: memory" */
  const char *value;  /* as written */
  const char *source; /* its own `source:`, else that of the nearest mapping around it */
} fc_input_source;

/** A number that was given as a distribution; the definition holds its median until fc_input_set_uncertain.
 */
typedef struct fc_input_uncertain {
  const char *path;
  const char *file;
  fc_pos at;
  fc_dist dist; /* truncated to the range of the key */
  fc_dim dim;
} fc_input_uncertain;

size_t fc_input_n_files(const fc_input *input);
const fc_input_file *fc_input_file_at(const fc_input *input, size_t i);
size_t fc_input_n_sources(const fc_input *input);
const fc_input_source *fc_input_source_at(const fc_input *input, size_t i);
size_t fc_input_n_uncertain(const fc_input *input);
const fc_input_uncertain *fc_input_uncertain_at(const fc_input *input, size_t i);
/** Writes a sampled value into the definition (all getters see it); a whole-number key is rounded. */
void fc_input_set_uncertain(fc_input *input, size_t i, double value);

/** Every value, defaults included, as YAML that loads to the same definition (references by name). */
fc_status fc_input_dump(const fc_input *input, fc_text *out);

/** What a key means: unit, default, range.  `key` is a word ("memory") or a path ("device.memory").
 *  @return FC_OK | FC_E_INPUT (no such key; the nearest is told to d) | FC_E_NOMEM */
fc_status fc_input_explain(const char *key, fc_text *out, fc_diags *d);
/** JSON Schema (draft 2020-12) of a kind, for editors.  @pre kind is not FC_INPUT_ANY */
fc_status fc_input_schema(fc_input_kind kind, fc_text *out);
/** The reference page, docs/input.md. */
fc_status fc_input_docs(fc_text *out);

#endif
