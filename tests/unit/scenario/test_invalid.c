/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* tests/invalid/<what-is-wrong>/: input.yaml, perhaps set (one override a line), and expect: the diagnostics
 * as they are rendered, to the letter.  FC_UPDATE_EXPECT=1 writes expect anew; read the difference before you
 * commit. */

enum { TEXT_MAX = 16384 };

static size_t read_text(char out[TEXT_MAX], const char *path) {
  FILE *f = fopen(path, "r");
  size_t n = f ? fread(out, 1, TEXT_MAX - 1, f) : 0;
  out[n] = '\0';
  if (f) (void)fclose(f);
  return n;
}

static void write_text(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  cr_assert_not_null(f);
  (void)fputs(text, f);
  (void)fclose(f);
}

static void render(char out[TEXT_MAX], const fc_diags *d) {
  size_t used = 0;
  out[0] = '\0';
  for (size_t i = 0; i < d->n && used + 512 < TEXT_MAX; i++) {
    used += fc_diag_format(out + used, TEXT_MAX - used, &d->item[i]);
    used += (size_t)snprintf(out + used, TEXT_MAX - used, "\n");
  }
}

static void check_folder(const char *name) {
  char overrides[TEXT_MAX], have[TEXT_MAX], want[TEXT_MAX];
  const char *dirs[] = {"../../support/data"}, *set[8];
  fc_load_options options = {.n_data_dirs = 1, .data_dirs = dirs, .set = set};
  read_text(overrides, "set");
  for (char *line = strtok(overrides, "\n"); line && options.n_set < 8; line = strtok(NULL, "\n"))
    set[options.n_set++] = line;
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  fc_status status = fc_input_load(&input, "input.yaml", &options, &d);
  cr_expect(status == FC_E_INPUT, "%s: %s", name, fc_status_text(status));
  cr_expect_null(input);
  fc_input_free(input);
  render(have, &d);
  if (getenv("FC_UPDATE_EXPECT")) write_text("expect", have);
  read_text(want, "expect");
  cr_expect(*want && strcmp(have, want) == 0, "%s:\nhave:\n%swant:\n%s", name, have, want);
}

Test(scenario, invalid_folders) {
  DIR *dir = opendir(FC_SOURCE_DIR "/tests/invalid");
  cr_assert_not_null(dir);
  size_t n = 0;
  for (const struct dirent *entry; (entry = readdir(dir));) {
    char path[1024];
    (void)snprintf(path, sizeof path, FC_SOURCE_DIR "/tests/invalid/%s", entry->d_name);
    if (entry->d_name[0] == '.' || chdir(path) != 0) continue;
    check_folder(entry->d_name);
    n++;
  }
  (void)closedir(dir);
  cr_expect(n >= 150, "only %zu folders were found", n);
}
