/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TABLES_FILE_H
#define FC_SCENARIO_TABLES_FILE_H

#include "field.h"

/** Keys that several tables have, one text each; members are placed by the AT(member) of the table. */

#define FC_KEY_FILE_NAME                                                                                     \
  {                                                                                                          \
    .key = "name", .kind = FC_FIELD_TEXT, AT(name),                                                          \
    .help = "Short name; default the file's name without .yaml."                                             \
  }

#define FC_KEY_QUESTION                                                                                      \
  { .key = "question", .kind = FC_FIELD_TEXT, AT(question), .help = "The question that the file asks." }

#define FC_KEY_SEED(words)                                                                                   \
  {                                                                                                          \
    .key = "seed", .kind = FC_FIELD_COUNT, AT(seed), .min = 0, .max = 9007199254740992.0 /* 2^53 */,         \
    .def = "1", .example = "1", .help = (words)                                                              \
  }

#define FC_KEY_MODEL(words)                                                                                  \
  {                                                                                                          \
    .key = "model", .kind = FC_FIELD_REF, AT(model), .refers = FC_INPUT_MODEL, .required = true,             \
    .help = (words)                                                                                          \
  }

/** Checked and not stored: the profile knows it. */
#define FC_KEY_DEVICE(must, of, words)                                                                       \
  {                                                                                                          \
    .key = "device", .kind = FC_FIELD_REF, .offset = FC_NOWHERE, .refers = FC_INPUT_DEVICE,                  \
    .required = (must), .name_of = (of), .help = (words)                                                     \
  }

#define FC_KEY_PROFILE                                                                                       \
  {                                                                                                          \
    .key = "profile", .kind = FC_FIELD_REF, AT(profile), .refers = FC_INPUT_PROFILE,                         \
    .help = "How its kernels perform; default the profile named like the device."                            \
  }

#define FC_KEY_PRICE                                                                                         \
  {                                                                                                          \
    .key = "price", .kind = FC_FIELD_NUMBER, AT(price_usd_per_s), .dim = DIM_USD_PER_S, .min = 1e-9,         \
    .max = 1, .example = "2 USD/h", .help = "Of one device; absent: the device's market price."              \
  }

#define FC_KEY_MARKET_DATE                                                                                   \
  {                                                                                                          \
    .key = "date", .kind = FC_FIELD_DATE, AT(date),                                                          \
    .help = "Of market prices; absent: the latest that is known."                                            \
  }

/** A job of a scenario. */
#define FC_KEY_POOLS(type, words)                                                                            \
  {                                                                                                          \
    .key = "pools", .kind = FC_FIELD_NAMES, AT(pools), .count_offset = offsetof(type, n_pools),              \
    .target = "pools", .help = (words)                                                                       \
  }

#define FC_KEY_PRIORITY(usual)                                                                               \
  {                                                                                                          \
    .key = "priority", .kind = FC_FIELD_INT, AT(priority), .min = 0, .max = 9, .def = (usual),               \
    .example = (usual), .help = "0 is first, 9 last."                                                        \
  }

#define FC_KEY_PREEMPTIBLE                                                                                   \
  {                                                                                                          \
    .key = "preemptible", .kind = FC_FIELD_BOOL, AT(preemptible), .def = "true",                             \
    .help = "May be stopped for work of higher priority."                                                    \
  }

#endif
