/* SPDX-License-Identifier: Apache-2.0 */
#include "scene.h"

#include <string.h>

void scene_set(scene *s) {
  memset(s, 0, sizeof *s);
  fake_profile_make(&s->profile, &fake_plain);
  s->delivery[0] = (fc_delivery){.date = START - FC_DAY, .devices = 100};
  s->pool[0] = fake_pool("a", &s->profile, s->delivery, 1);
  s->model = fake_model(1000, 1);
  s->def = (fc_fleet_def){.name = "test",
                          .start = START,
                          .end = START + 60 * FC_DAY,
                          .epoch_s = 3600,
                          .seed = 1,
                          .bucket = FC_BUCKET_DAY,
                          .n_pools = 1,
                          .pools = s->pool,
                          .services = s->service,
                          .runs = s->run,
                          .streams = s->stream,
                          .others = s->other,
                          .policies = s->policy};
}

fc_fleet_result *scene_run(const scene *s) {
  return look_run(&s->def, 1);
}
