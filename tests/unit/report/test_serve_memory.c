/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <unistd.h>

#include "exhaust.h"
#include "fake_answer.h"
#include "scratch.h"

static fc_status study_life(void *none) {
  (void)none;
  fc_study *s;
  fc_status status = fc_study_new(&s, &(fc_study_def){.width = 0.05});
  fc_study_free(s);
  return status;
}

Test(serve_memory, every_allocation_of_a_study_may_fail) {
  fc_exhaust(&(fc_exhaustion){.life = study_life, .most = 100});
}

static fc_status page_life(void *subject) {
  fc_text page = {0};
  fc_status status = fc_report_serve_page(&page, subject);
  fc_text_fini(&page);
  return status;
}

/* A life that writes a folder: whole, or not at all. */
typedef struct {
  const char *folder;
  const fc_serve_answer *answer;
} writing;

static fc_status files_life(void *subject) {
  static const fc_report_options options = {.version = "0", .command = "test"};
  const writing *w = subject;
  char why[FC_REPORT_WHY];
  fc_serve_files *files;
  fc_status status = fc_serve_files_open(
      &files, w->folder, &(fc_serve_files_def){.requests = true, .timeline = true, .cluster = true}, why);
  if (status == FC_OK) status = fc_serve_files_commit(files, w->answer, NULL, &options);
  if (status != FC_OK) cr_assert_neq(access(w->folder, F_OK), 0, "a refusal leaves a folder");
  return status;
}

Test(serve_memory, every_allocation_of_the_page_may_fail) {
  fake f;
  fake_answer(&f, FAKE_CLUSTER);
  fc_exhaust(&(fc_exhaustion){.life = page_life, .subject = &f.answer});
  fake_free(&f);
}

Test(serve_memory, every_allocation_of_the_files_may_fail) {
  fake f;
  fake_answer(&f, FAKE_CLUSTER);
  char folder[SCRATCH_ROOM];
  scratch_new(folder);
  writing w = {scratch_path(folder, "new"), &f.answer};
  fc_exhaust(&(fc_exhaustion){.life = files_life, .subject = &w, .least = 11});
  scratch_remove(folder);
  fake_free(&f);
}
