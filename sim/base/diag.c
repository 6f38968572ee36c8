/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/diag.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fc_diags_init(fc_diags *d) {
  d->n = d->dropped = d->n_errors = 0;
}

static void keep_tail(char *out, size_t capacity, const char *path) {
  size_t length = strlen(path);
  if (length < capacity)
    memcpy(out, path, length + 1);
  else
    (void)snprintf(out, capacity, "...%s", path + length - (capacity - 4));
}

fc_status fc_diag_add(fc_diags *d, fc_severity severity, const char *source, fc_pos at, const char *format,
                      ...) {
  if (!d) return FC_E_INPUT;
  if (severity == FC_ERROR) d->n_errors++;
  if (d->n == FC_DIAG_MAX) {
    d->dropped++;
    return FC_E_INPUT;
  }
  fc_diag *item = &d->item[d->n++];
  item->severity = severity;
  item->at = at;
  keep_tail(item->source, sizeof item->source, source ? source : "");
  va_list args;
  va_start(args, format);
  (void)vsnprintf(item->text, sizeof item->text, format, args);
  va_end(args);
  return FC_E_INPUT;
}

bool fc_diags_full(const fc_diags *d) {
  return d && d->n_errors >= FC_DIAG_MAX;
}

size_t fc_diag_format(char *out, size_t capacity, const fc_diag *diag) {
  static const char *const word[] = {[FC_NOTE] = "note", [FC_WARNING] = "warning", [FC_ERROR] = "error"};
  char place[64] = "";
  if (diag->at.line) (void)snprintf(place, sizeof place, "%zu:%zu:", diag->at.line, diag->at.column);
  int n = snprintf(out, capacity, "%s%s%s%s%s: %s", diag->source, *diag->source ? ":" : "", place,
                   *diag->source || *place ? " " : "", word[diag->severity], diag->text);
  return n < 0 ? 0 : (size_t)n;
}

enum { WORD_MAX = 48 };

/* Optimal string alignment distance: insert, delete, replace, swap neighbours. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb) {
  size_t row[3][WORD_MAX + 1];
  for (size_t j = 0; j <= nb; j++) row[0][j] = j;
  for (size_t i = 1; i <= na; i++) {
    size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
    now[0] = i;
    for (size_t j = 1; j <= nb; j++) {
      size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);
      if (up[j] + 1 < best) best = up[j] + 1;
      if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
        best = up2[j - 2] + 1;
      now[j] = best;
    }
  }
  return row[na % 3][nb];
}

const char *fc_diag_nearest(const char *word, const char *const *candidates, size_t n) {
  size_t length = strlen(word);
  if (length == 0 || length > WORD_MAX) return NULL;
  size_t best = 2 + length / 4;
  if (best > length) best = length;
  size_t best_prefix = 0;
  const char *nearest = NULL;
  for (size_t i = 0; i < n; i++) {
    size_t other = strlen(candidates[i]), prefix = 0;
    if (other > WORD_MAX) continue;
    size_t distance = edit_distance(word, length, candidates[i], other);
    while (word[prefix] && word[prefix] == candidates[i][prefix]) prefix++;
    if (distance < best || (nearest && distance == best && prefix > best_prefix)) {
      best = distance;
      best_prefix = prefix;
      nearest = candidates[i];
    }
  }
  return nearest;
}
