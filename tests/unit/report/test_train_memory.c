/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <unistd.h>

#include "exhaust.h"
#include "fake_training.h"
#include "scratch.h"

static fc_status page_life(void *subject) {
  fc_text page = {0};
  fc_status status = fc_report_train_page(&page, subject);
  fc_text_fini(&page);
  return status;
}

/* A life that writes a folder: whole, or not at all. */
typedef struct {
  const char *folder;
  const fc_train_answer *answer;
} writing;

static fc_status files_life(void *subject) {
  static const fc_report_options options = {.version = "0", .command = "test"};
  const writing *w = subject;
  char why[FC_REPORT_WHY];
  fc_status status = fc_report_train_write(w->folder, w->answer, NULL, &options, why);
  if (status != FC_OK) cr_assert_neq(access(w->folder, F_OK), 0, "a refusal leaves a folder");
  return status;
}

Test(train_report_memory, every_allocation_of_the_page_may_fail) {
  static fake_training f;
  fake_train(&f);
  fc_exhaust(&(fc_exhaustion){.life = page_life, .subject = &f.answer});
}

Test(train_report_memory, every_allocation_of_the_files_may_fail) {
  static fake_training f;
  fake_train(&f);
  char folder[SCRATCH_ROOM];
  scratch_new(folder);
  writing w = {scratch_path(folder, "new"), &f.answer};
  fc_exhaust(&(fc_exhaustion){.life = files_life, .subject = &w, .least = 11});
  scratch_remove(folder);
}
