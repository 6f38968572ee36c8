/* SPDX-License-Identifier: Apache-2.0 */
#include "input.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/base/file.h>

#include "reader.h"

/* --- kinds --- */

static const char *const kind_words[] = {"any",      "device", "model", "profile", "shape",
                                         "scenario", "serve",  "plan",  "train",   "train_plan"};

const char *fc_input_kind_text(fc_input_kind kind) {
  return kind_words[kind];
}

const fc_schema *fc_schema_of(fc_input_kind kind) {
  static const fc_schema *const schema[FC_INPUT_KINDS] = {[FC_INPUT_DEVICE] = &fc_schema_device,
                                                          [FC_INPUT_MODEL] = &fc_schema_model,
                                                          [FC_INPUT_PROFILE] = &fc_schema_profile,
                                                          [FC_INPUT_SHAPE] = &fc_schema_shape,
                                                          [FC_INPUT_SCENARIO] = &fc_schema_scenario,
                                                          [FC_INPUT_SERVE] = &fc_schema_serve,
                                                          [FC_INPUT_PLAN] = &fc_schema_plan,
                                                          [FC_INPUT_TRAIN] = &fc_schema_train,
                                                          [FC_INPUT_TRAIN_PLAN] = &fc_schema_train_search};
  FC_ASSERT(schema[kind]);
  return schema[kind];
}

/* --- the file system --- */

static fc_status read_from_disk(void *context, char **bytes, size_t *length, const char *path) {
  (void)context;
  return fc_file_read(bytes, length, path, FC_TREE_BYTES);
}

static void list_on_disk(void *context, const char *folder, void (*each)(void *to, const char *name),
                         void *to) {
  (void)context;
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (const struct dirent *entry; (entry = readdir(dir));) each(to, entry->d_name);
  (void)closedir(dir);
}

const fc_input_files fc_input_disk = {.read = read_from_disk, .list = list_on_disk};
static const fc_input_files no_files = {0};

/* --- growing lists --- */

void *fc_grown_add(fc_grown *g, fc_arena *arena, size_t size) {
  if (g->n == g->capacity) {
    size_t capacity = g->capacity ? 2 * g->capacity : 16;
    void *items = fc_arena_array(arena, capacity, size);
    if (!items) return NULL;
    if (g->n) memcpy(items, g->items, g->n * size);
    g->items = items;
    g->capacity = capacity;
  }
  return (char *)g->items + g->n++ * size;
}

/* --- one file into one object --- */

static const char *stem_of(fc_input *input, const char *path) {
  const char *slash = strrchr(path, '/');
  const char *base = slash ? slash + 1 : path;
  const char *dot = strrchr(base, '.');
  return fc_arena_text(&input->arena, base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
}

/* Takes `kind` out of the mapping. */
static fc_status take_kind(fc_input *input, fc_node *root, fc_input_kind expect, fc_input_kind *kind) {
  fc_node *node = fc_node_find(root, "kind");
  const char *wanted = expect == FC_INPUT_ANY ? "scenario" : kind_words[expect];
  if (!node)
    return fc_diag_error(input->diags, root->source, root->at,
                         "the file does not say what it is; begin it with 'kind: %s'", wanted);
  if (node->kind != FC_NODE_SCALAR)
    return fc_diag_error(input->diags, node->source, node->at, "'kind' must be a word, not %s",
                         fc_node_word(node));
  *kind = FC_INPUT_ANY;
  for (int k = FC_INPUT_ANY + 1; k < FC_INPUT_KINDS; k++)
    if (strcmp(node->text, kind_words[k]) == 0) *kind = (fc_input_kind)k;
  if (*kind == FC_INPUT_ANY) {
    const char *near = fc_diag_nearest(node->text, kind_words + 1, FC_INPUT_KINDS - 1);
    if (near)
      return fc_diag_error(input->diags, node->source, node->at, "'kind' = '%.40s'; did you mean '%s'?",
                           node->text, near);
    return fc_diag_error(input->diags, node->source, node->at,
                         "'kind' = '%.40s' is not one of device, model, profile, shape, scenario, serve, "
                         "plan, train, train_plan",
                         node->text);
  }
  bool planned = expect == FC_INPUT_PLAN && *kind == FC_INPUT_TRAIN_PLAN;
  if (expect != FC_INPUT_ANY && *kind != expect && !planned)
    return fc_diag_error(input->diags, node->source, node->at, "a %s, but a %s is wanted here",
                         kind_words[*kind], kind_words[expect]);
  fc_node_remove(root, node);
  return FC_OK;
}

static fc_status read_object(fc_input *input, fc_input_kind kind, const char *path, const char *prefix,
                             const fc_node *root, void **out) {
  const fc_schema *schema = fc_schema_of(kind);
  void *object = fc_arena_alloc(&input->arena, schema->size);
  const char *stem = stem_of(input, path);
  if (!object || !stem) return FC_E_NOMEM;
  fc_reader reader = {.input = input, .arena = &input->arena, .diags = input->diags, .root = root};
  int n = snprintf(reader.path, sizeof reader.path, "%s", prefix);
  reader.path_length = n < 0 ? 0 : (size_t)n < sizeof reader.path ? (size_t)n : sizeof reader.path - 1;
  bool ok = fc_read_struct(&reader, schema, object, root);
  if (!ok && reader.status == FC_OK) reader.status = FC_E_INPUT;
  const fc_field *name = fc_schema_find(schema, "name");
  const char **target = (const char **)((char *)object + name->offset);
  if (!*target) *target = stem;
  *out = reader.status == FC_OK ? object : NULL;
  return reader.status;
}

/* --- references --- */

/* "DIR/devices/NAME.yaml" */
static char *path_in(fc_arena *arena, const char *dir, fc_input_kind kind, const char *name) {
  size_t room = strlen(dir) + strlen(kind_words[kind]) + strlen(name) + 16;
  char *path = fc_arena_alloc(arena, room);
  if (path) (void)snprintf(path, room, "%s/%ss/%s.yaml", dir, kind_words[kind], name);
  return path;
}

/* FC_OK if it can be read, FC_E_IO if not. */
static fc_status try_read(const fc_input *input, const char *path) {
  char *bytes;
  size_t length;
  if (!input->fs->read) return FC_E_IO;
  fc_status status = input->fs->read(input->fs->context, &bytes, &length, path);
  if (status == FC_OK) free(bytes);
  return status;
}

/* Names become paths: nothing that could leave the folder. */
static bool is_plain_name(const char *name) {
  size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
  return n > 0 && n < 128 && name[n] == '\0' && name[0] != '.';
}

/* The first that can be read, or NULL: then `*status` says whether memory ran out. */
static const char *find_file(fc_input *input, fc_input_kind kind, const char *name, fc_status *status) {
  *status = FC_OK;
  for (size_t i = 0; i < input->options->n_data_dirs && *status != FC_E_NOMEM; i++) {
    const char *path = path_in(&input->arena, input->options->data_dirs[i], kind, name);
    *status = path ? try_read(input, path) : FC_E_NOMEM;
    if (*status == FC_OK) return path;
  }
  return NULL;
}

enum { NAMES_MAX = 512 };

typedef struct {
  fc_arena *arena;
  const char *name[NAMES_MAX];
  size_t n;
} name_list;

static void add_name(void *to, const char *file) {
  name_list *names = to;
  size_t n = strlen(file);
  if (n <= 5 || strcmp(file + n - 5, ".yaml") != 0 || names->n == NAMES_MAX) return;
  const char *copy = fc_arena_text(names->arena, file, n - 5);
  if (copy) names->name[names->n++] = copy;
}

static fc_status told_missing(fc_input *input, fc_input_kind kind, const char *name, const fc_node *at) {
  name_list names = {.arena = &input->arena};
  for (size_t i = 0; i < input->options->n_data_dirs && input->fs->list; i++) {
    char folder[1024];
    int n = snprintf(folder, sizeof folder, "%s/%ss", input->options->data_dirs[i], kind_words[kind]);
    if (n > 0 && (size_t)n < sizeof folder) input->fs->list(input->fs->context, folder, add_name, &names);
  }
  const char *near = fc_diag_nearest(name, names.name, names.n);
  if (near)
    return fc_diag_error(input->diags, at->source, at->at, "no %s '%.64s'; did you mean '%s'?",
                         kind_words[kind], name, near);
  if (input->options->n_data_dirs == 1)
    return fc_diag_error(input->diags, at->source, at->at,
                         "no %s '%.64s' beside the file, and no data directory was given", kind_words[kind],
                         name);
  return fc_diag_error(input->diags, at->source, at->at, "no %s '%.64s': there is no %ss/%.64s.yaml in %.64s",
                       kind_words[kind], name, kind_words[kind], name,
                       input->options->data_dirs[input->options->n_data_dirs - 1]);
}

static fc_status load_reference(fc_input *input, fc_input_kind kind, const char *name, const fc_node *at,
                                void **object) {
  fc_status status;
  const char *path = find_file(input, kind, name, &status);
  if (!path) return status == FC_E_NOMEM ? status : told_missing(input, kind, name, at);
  fc_node *root;
  status = fc_input_read_tree(input, path, &root);
  if (!root) return status == FC_E_IO ? FC_E_INPUT : status;
  fc_input_kind found;
  fc_status told = take_kind(input, root, kind, &found);
  if (told != FC_OK) return told;
  char prefix[192];
  (void)snprintf(prefix, sizeof prefix, "%s %s: ", kind_words[kind], name);
  told = read_object(input, kind, path, prefix, root, object);
  if (status != FC_OK) *object = NULL;
  return told != FC_OK ? told : status;
}

fc_status fc_input_resolve(fc_input *input, fc_input_kind kind, const char *name, const fc_node *at,
                           const void **out) {
  *out = NULL;
  if (!is_plain_name(name))
    return fc_diag_error(input->diags, at->source, at->at, "'%.64s' cannot be the name of a %s", name,
                         kind_words[kind]);
  const fc_loaded *known = input->loaded.items;
  for (size_t i = 0; i < input->loaded.n; i++)
    if (known[i].kind == kind && strcmp(known[i].name, name) == 0) {
      *out = known[i].object;
      return *out || !input->fs->read ? FC_OK : FC_E_INPUT;
    }
  if (!input->fs->read) return FC_OK;
  void *object = NULL;
  fc_status status = load_reference(input, kind, name, at, &object);
  if (status == FC_E_NOMEM) return status;
  const char *copy = fc_arena_text(&input->arena, name, strlen(name));
  fc_loaded *entry = copy ? fc_grown_add(&input->loaded, &input->arena, sizeof *entry) : NULL;
  if (!entry) return FC_E_NOMEM;
  *entry = (fc_loaded){kind, copy, object};
  *out = object;
  return status;
}

/* --- the main file --- */

static fc_status apply_overrides(fc_input *input, fc_node *root) {
  fc_status status = FC_OK;
  for (size_t i = 0; i < input->options->n_set; i++) {
    char source[32];
    int n = snprintf(source, sizeof source, "<--set %zu>", i + 1);
    const char *kept = fc_arena_text(&input->arena, source, (size_t)n);
    if (!kept) return FC_E_NOMEM;
    fc_status one = fc_tree_set(root, &input->arena, kept, input->options->set[i], input->diags);
    if (one == FC_E_NOMEM) return one;
    if (one != FC_OK) status = one;
  }
  return status;
}

/* The options, with the file's own folder as the first data directory. */
static fc_status adopt_options(fc_input *input, const fc_load_options *given, const char *path,
                               fc_load_options *own) {
  if (given) *own = *given;
  const char *slash = strrchr(path, '/');
  const char *folder =
      slash ? fc_arena_text(&input->arena, path, slash == path ? 1 : (size_t)(slash - path)) : ".";
  const char **dirs = fc_arena_array(&input->arena, own->n_data_dirs + 1, sizeof *dirs);
  if (!folder || !dirs) return FC_E_NOMEM;
  dirs[0] = folder;
  for (size_t i = 0; i < own->n_data_dirs; i++) dirs[i + 1] = own->data_dirs[i];
  own->data_dirs = dirs;
  own->n_data_dirs++;
  input->options = own;
  return FC_OK;
}

static fc_status finish(fc_input *input, const char *path, fc_node *root, fc_status status) {
  fc_status one = fc_input_convert_config(input, root);
  if (one != FC_OK) return one;
  one = apply_overrides(input, root);
  if (one != FC_OK) status = one;
  if (status == FC_E_NOMEM) return status;
  one = take_kind(input, root, input->options->expect, &input->kind);
  if (one != FC_OK) return one;
  one = read_object(input, input->kind, path, "", root, &input->object);
  return one != FC_OK ? one : status;
}

static fc_input *new_input(fc_diags *d) {
  fc_input *input = calloc(1, sizeof *input);
  if (input) input->diags = d;
  return input;
}

/* Hands out the input when all is well; what served loading only is forgotten. */
static fc_status deliver(fc_input **out, fc_input *input, fc_status status) {
  *out = NULL;
  if (status != FC_OK) {
    fc_input_free(input);
    return status;
  }
  input->options = NULL;
  input->fs = NULL;
  input->diags = NULL;
  *out = input;
  return FC_OK;
}

fc_status fc_input_load(fc_input **out, const char *path, const fc_load_options *options, fc_diags *d) {
  *out = NULL;
  fc_input *input = new_input(d);
  if (!input) return FC_E_NOMEM;
  fc_load_options own = {0};
  input->fs = options && options->files ? options->files : &fc_input_disk;
  fc_status status = adopt_options(input, options, path, &own);
  fc_node *root = NULL;
  if (status == FC_OK) {
    const char *kept = fc_arena_text(&input->arena, path, strlen(path));
    status = kept ? fc_input_read_tree(input, kept, &root) : FC_E_NOMEM;
    if (root) status = finish(input, kept, root, status);
  }
  return deliver(out, input, status);
}

fc_status fc_input_parse(fc_input **out, const char *source, const char *bytes, size_t length,
                         const fc_load_options *options, fc_diags *d) {
  *out = NULL;
  fc_input *input = new_input(d);
  if (!input) return FC_E_NOMEM;
  fc_load_options own = {0};
  input->fs = options && options->files ? options->files : &no_files;
  fc_status status = adopt_options(input, options, source, &own);
  const char *kept = status == FC_OK ? fc_arena_text(&input->arena, source, strlen(source)) : NULL;
  fc_node *root = NULL;
  if (!kept)
    status = FC_E_NOMEM;
  else
    status = fc_tree_parse(&root, &input->arena, kept, bytes, length, d);
  if (root && root->kind != FC_NODE_MAP) {
    status =
        fc_diag_error(d, kept, root->at, "a file must be a mapping (key: value), not %s", fc_node_word(root));
    root = NULL;
  }
  if (root) {
    fc_status included = fc_input_include(input, kept, root);
    if (included != FC_OK) status = included;
    if (status != FC_E_NOMEM) status = finish(input, kept, root, status);
  }
  return deliver(out, input, status);
}

void fc_input_free(fc_input *input) {
  if (!input) return;
  fc_arena_fini(&input->arena);
  free(input);
}

/* --- getters --- */

fc_input_kind fc_input_kind_of(const fc_input *input) {
  return input->kind;
}

static const void *object_if(const fc_input *input, fc_input_kind kind) {
  return input->kind == kind ? input->object : NULL;
}

const fc_device *fc_input_device(const fc_input *input) {
  return object_if(input, FC_INPUT_DEVICE);
}

const fc_model *fc_input_model(const fc_input *input) {
  return object_if(input, FC_INPUT_MODEL);
}

const fc_profile *fc_input_profile(const fc_input *input) {
  return object_if(input, FC_INPUT_PROFILE);
}

const fc_shape *fc_input_shape(const fc_input *input) {
  return object_if(input, FC_INPUT_SHAPE);
}

const fc_fleet_def *fc_input_fleet(const fc_input *input) {
  return object_if(input, FC_INPUT_SCENARIO);
}

const fc_serve_def *fc_input_serve(const fc_input *input) {
  return object_if(input, FC_INPUT_SERVE);
}

const fc_plan_def *fc_input_plan(const fc_input *input) {
  return object_if(input, FC_INPUT_PLAN);
}

const fc_train_def *fc_input_train(const fc_input *input) {
  return object_if(input, FC_INPUT_TRAIN);
}

const fc_train_plan_def *fc_input_train_plan(const fc_input *input) {
  return object_if(input, FC_INPUT_TRAIN_PLAN);
}

size_t fc_input_n_files(const fc_input *input) {
  return input->files.n;
}

const fc_input_file *fc_input_file_at(const fc_input *input, size_t i) {
  FC_ASSERT(i < input->files.n);
  return (const fc_input_file *)input->files.items + i;
}

size_t fc_input_n_sources(const fc_input *input) {
  return input->sources.n;
}

const fc_input_source *fc_input_source_at(const fc_input *input, size_t i) {
  FC_ASSERT(i < input->sources.n);
  return (const fc_input_source *)input->sources.items + i;
}

size_t fc_input_n_uncertain(const fc_input *input) {
  return input->slots.n;
}

const fc_input_uncertain *fc_input_uncertain_at(const fc_input *input, size_t i) {
  FC_ASSERT(i < input->slots.n);
  return &((const fc_slot *)input->slots.items + i)->is;
}
