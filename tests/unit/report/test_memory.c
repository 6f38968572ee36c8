/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <unistd.h>

#include <fleetcast/report/write.h>

#include "exhaust.h"
#include "fake_result.h"
#include "scratch.h"

static fc_status page_life(void *subject) {
  fc_text page = {0};
  fc_status status = fc_report_page(&page, subject, 1);
  fc_text_fini(&page);
  return status;
}

/* A life that writes a folder: whole, or not at all. */
typedef struct {
  const char *folder;
  const fc_fleet_result *answer;
} writing;

static fc_status files_life(void *subject) {
  static const fc_report_options options = {.version = "0", .command = "test"};
  const writing *w = subject;
  char why[FC_REPORT_WHY];
  fc_status status = fc_report_write(w->folder, w->answer, NULL, &options, why);
  if (status != FC_OK) cr_assert_neq(access(w->folder, F_OK), 0, "a refusal leaves a folder");
  return status;
}

Test(report, every_allocation_of_the_page_may_fail) {
  fc_fleet_result r = fake_result();
  fc_exhaust(&(fc_exhaustion){.life = page_life, .subject = &r});
}

Test(report, every_allocation_of_the_files_may_fail) {
  fc_fleet_result r = fake_result();
  char folder[SCRATCH_ROOM];
  scratch_new(folder);
  writing w = {scratch_path(folder, "new"), &r};
  fc_exhaust(&(fc_exhaustion){.life = files_life, .subject = &w, .least = 21});
  scratch_remove(folder);
}
