/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sha2.h>

#include "input.h"

/* Reading a file and what it includes. */

enum { INCLUDE_DEPTH = 8, INCLUDE_MAX = 100 };

/* The files being read, innermost first. */
typedef struct chain {
  const char *path;
  const struct chain *up;
  unsigned depth;
} chain;

static fc_status record_file(fc_input *input, const char *path, const char *bytes, size_t length) {
  const fc_input_file *known = input->files.items;
  for (size_t i = 0; i < input->files.n; i++)
    if (strcmp(known[i].path, path) == 0) return FC_OK;
  const char *copy = fc_arena_text(&input->arena, path, strlen(path));
  fc_input_file *file = copy ? fc_grown_add(&input->files, &input->arena, sizeof *file) : NULL;
  if (!file) return FC_E_NOMEM;
  file->path = copy;
  file->bytes = length;
  (void)SHA256Data((const uint8_t *)bytes, length, file->sha256);
  return FC_OK;
}

/* Folder of `base` + `name`, without "./"; the arena's. */
static const char *beside(fc_input *input, const char *base, const char *name) {
  while (strncmp(name, "./", 2) == 0) name += 2;
  const char *slash = strrchr(base, '/');
  size_t folder = slash && *name != '/' ? (size_t)(slash - base) + 1 : 0, n = strlen(name);
  char *path = fc_arena_alloc(&input->arena, folder + n + 1);
  if (!path) return NULL;
  memcpy(path, base, folder);
  memcpy(path + folder, name, n + 1);
  return path;
}

static fc_status told_cycle(fc_input *input, const chain *up, const char *path, const fc_node *at) {
  char text[200];
  size_t used = 0;
  const chain *link[INCLUDE_DEPTH + 1];
  size_t n = 0;
  for (const chain *c = up; c && n < INCLUDE_DEPTH + 1; c = c->up) link[n++] = c;
  while (n > 0 && used < sizeof text) {
    int k = snprintf(text + used, sizeof text - used, "%s -> ", link[--n]->path);
    used += k > 0 ? (size_t)k : 0;
  }
  return fc_diag_error(input->diags, at->source, at->at, "files include each other: %s%s",
                       used < sizeof text ? text : "", path);
}

static fc_status read_chained(fc_input *input, const chain *c, const fc_node *at, fc_node **out);

static fc_status include_one(fc_input *input, const chain *up, const fc_node *name, fc_node *root) {
  if (name->kind != FC_NODE_SCALAR || name->length == 0)
    return fc_diag_error(input->diags, name->source, name->at,
                         "'include' must be a file name or a list of them");
  if (!input->fs->read)
    return fc_diag_error(input->diags, name->source, name->at, "cannot include '%.64s': no files here",
                         name->text);
  if (++input->n_includes > INCLUDE_MAX + 1) return FC_E_INPUT; /* told once */
  if (input->n_includes > INCLUDE_MAX)
    return fc_diag_error(input->diags, name->source, name->at, "more than %d files included", INCLUDE_MAX);
  const char *path = beside(input, up->path, name->text);
  if (!path) return FC_E_NOMEM;
  for (const chain *c = up; c; c = c->up)
    if (strcmp(c->path, path) == 0) return told_cycle(input, up, path, name);
  if (up->depth + 1 >= INCLUDE_DEPTH)
    return fc_diag_error(input->diags, name->source, name->at, "includes nest deeper than %d files",
                         INCLUDE_DEPTH);
  chain link = {path, up, up->depth + 1};
  fc_node *under;
  fc_status status = read_chained(input, &link, name, &under);
  if (!under) return status;
  const fc_node *theirs = fc_node_find(under, "kind"), *ours = fc_node_find(root, "kind");
  if (theirs && ours && theirs->kind == FC_NODE_SCALAR && ours->kind == FC_NODE_SCALAR &&
      strcmp(theirs->text, ours->text) != 0)
    status = fc_diag_error(input->diags, theirs->source, theirs->at, "a %.32s included by a %.32s",
                           theirs->text, ours->text);
  fc_tree_merge(root, under);
  return status;
}

static fc_status worst(fc_status a, fc_status b) {
  if (a == FC_E_NOMEM || b == FC_OK) return a;
  return b;
}

/* Later files of a list win over earlier ones, the including file over all: merge from the last. */
static fc_status merge_includes(fc_input *input, const chain *c, fc_node *root) {
  fc_node *include = root->kind == FC_NODE_MAP ? fc_node_find(root, "include") : NULL;
  if (!include) return FC_OK;
  fc_node_remove(root, include);
  if (include->kind != FC_NODE_LIST) return include_one(input, c, include, root);
  fc_status status = FC_OK;
  for (size_t i = include->n; i-- > 0 && status != FC_E_NOMEM;) {
    const fc_node *name = include->first;
    for (size_t k = 0; k < i; k++) name = name->next;
    status = worst(status, include_one(input, c, name, root));
  }
  return status;
}

static fc_status read_chained(fc_input *input, const chain *c, const fc_node *at, fc_node **out) {
  *out = NULL;
  char *bytes;
  size_t length;
  errno = 0;
  fc_status status = input->fs->read(input->fs->context, &bytes, &length, c->path);
  if (status != FC_OK) {
    if (status != FC_E_IO) return status;
    const char *why = errno == EFBIG ? "larger than 16 MiB" : errno ? strerror(errno) : "cannot be read";
    if (!at) return (void)fc_diag_error(input->diags, c->path, (fc_pos){0}, "%s", why), FC_E_IO;
    return fc_diag_error(input->diags, at->source, at->at, "cannot read '%.120s': %s", c->path, why);
  }
  fc_node *root = NULL;
  status = record_file(input, c->path, bytes, length);
  if (status == FC_OK) status = fc_tree_parse(&root, &input->arena, c->path, bytes, length, input->diags);
  free(bytes);
  if (!root) return status;
  if (root->kind != FC_NODE_MAP)
    return fc_diag_error(input->diags, c->path, root->at, "a file must be a mapping (key: value), not %s",
                         fc_node_word(root));
  status = worst(status, merge_includes(input, c, root));
  if (status != FC_E_NOMEM) *out = root;
  return status;
}

fc_status fc_input_read_tree(fc_input *input, const char *path, fc_node **out) {
  chain c = {path, NULL, 0};
  return read_chained(input, &c, NULL, out);
}

fc_status fc_input_include(fc_input *input, const char *path, fc_node *root) {
  chain c = {path, NULL, 0};
  return merge_includes(input, &c, root);
}
