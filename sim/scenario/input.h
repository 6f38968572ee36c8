/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_INPUT_H
#define FC_SCENARIO_INPUT_H

#include <fleetcast/base/arena.h>
#include <fleetcast/scenario/load.h>

#include "field.h"
#include "tree.h"

/** Inside an fc_input: what was loaded, and the lists that grow while loading. */

/* An array that grows in the arena; items never move once their owner is done, pointers into it do. */
typedef struct {
  void *items;
  size_t n, capacity;
} fc_grown;

typedef struct fc_slot {
  fc_input_uncertain is;
  fc_field_kind kind; /* NUMBER or COUNT: what target points to */
  double min, max;    /* the key's range */
  void *target;
} fc_slot;

/** A file loaded once: the main one, or one that a reference named. */
typedef struct fc_loaded {
  fc_input_kind kind;
  const char *name;
  const void *object; /* NULL: it was in error, and that was told */
} fc_loaded;

struct fc_input {
  fc_arena arena;
  fc_input_kind kind;
  void *object;
  fc_grown files;   /* fc_input_file */
  fc_grown sources; /* fc_input_source */
  fc_grown slots;   /* fc_slot */
  fc_grown loaded;  /* fc_loaded */

  /* while loading only */
  size_t n_includes; /* files included so far, a file each time */
  const fc_load_options *options;
  const fc_input_files *fs;
  fc_diags *diags;
};

/** Room for one more item of `size` bytes, zeroed; NULL: out of memory. */
void *fc_grown_add(fc_grown *grown, fc_arena *arena, size_t size);

/** The object that a reference names, loaded now if it is not yet.  `*out` stays NULL when files are not
 *  accessible at all.  @return FC_OK | FC_E_INPUT (told at `at`) | FC_E_NOMEM */
fc_status fc_input_resolve(fc_input *input, fc_input_kind kind, const char *name, const fc_node *at,
                           const void **out);
/** Reads `path`, parses it, and merges what it includes (include.c). */
fc_status fc_input_read_tree(fc_input *input, const char *path, fc_node **out);
/** A Hugging Face config.json (`model_type`, no `kind`) becomes a model file; others stay as they are (hf.c).
 */
fc_status fc_input_convert_config(fc_input *input, fc_node *root);
/** Merges what an already parsed file includes. */
fc_status fc_input_include(fc_input *input, const char *path, fc_node *root);

#endif
