/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_FIELD_H
#define FC_SCENARIO_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/units.h>
#include <fleetcast/scenario/load.h>

#include "tree.h"

/** One table describes a struct: key, type, place, unit, range, default, help.  Parsing, dumping, explaining,
 *  the JSON Schema and the reference page all read it. */

typedef enum fc_field_kind {
  FC_FIELD_NUMBER,  /* double; may be a distribution */
  FC_FIELD_COUNT,   /* int64_t; may be a distribution */
  FC_FIELD_INT,     /* int */
  FC_FIELD_BOOL,    /* bool */
  FC_FIELD_ENUM,    /* an enum of the words' indices */
  FC_FIELD_TEXT,    /* const char *; absent: NULL */
  FC_FIELD_LINES,   /* the same, of several lines */
  FC_FIELD_DATE,    /* fc_time */
  FC_FIELD_SERIES,  /* fc_series */
  FC_FIELD_DIST,    /* fc_dist: the distribution itself is the value */
  FC_FIELD_NUMBERS, /* const double * and its size_t count */
  FC_FIELD_TEXTS,   /* const char *const * and its size_t count */
  FC_FIELD_STRUCT,  /* fields in `sub`, in the same or an embedded struct */
  FC_FIELD_OWN,     /* const struct *: a mapping read into a struct of its own; absent: NULL */
  FC_FIELD_LIST,    /* const struct * and its size_t count */
  FC_FIELD_REF,     /* const struct *: another file, by name */
  FC_FIELD_NAME,    /* int32_t: index of an item of the root's list `target`, by name; absent: -1 */
  FC_FIELD_NAMES,   /* const int32_t * and its size_t count; absent: all */
} fc_field_kind;

typedef struct fc_schema fc_schema;

/** Offset of a REF that is checked but not stored. */
#define FC_NOWHERE ((size_t)-1)

typedef struct fc_field {
  const char *key;
  const char *help; /* one sentence */
  fc_field_kind kind;
  fc_input_kind refers; /* REF */
  fc_dim dim;
  bool required;
  bool never; /* NUMBER: the word "never" means infinity */
  size_t offset;
  size_t count_offset; /* NUMBERS, TEXTS, LIST, NAMES: of the size_t */
  double min, max;     /* inclusive, in base units */
  const char *def;     /* default as a user would write it; NULL: 0, NULL, false, the first word */
  const char *example;
  const char *const *words; /* ENUM; BOOL with words of its own: false, true */
  size_t n_words;
  const int *values;                          /* ENUM: what the words stand for; NULL: their indices */
  const fc_schema *sub;                       /* STRUCT, OWN, LIST */
  size_t min_items, max_items;                /* NUMBERS, TEXTS, LIST; max 0: no limit but the file's */
  const char *target;                         /* NAME, NAMES */
  const char *(*name_of)(const void *object); /* REF that is stored elsewhere: its name, for the dump */
  bool (*is_set)(const void *object);         /* STRUCT that may be absent: is it there?  NULL: always */
} fc_field;

/** State of one file's reading; see reader.h. */
typedef struct fc_reader fc_reader;

struct fc_schema {
  const char *name; /* "pool": unique among schemas */
  const char *help; /* one sentence */
  size_t size;      /* of the struct; 0 where it is part of its parent */
  size_t n;
  const fc_field *fields;
  /** What no single field can say; called once all fields are read without error.  Nullable. */
  void (*check)(fc_reader *reader, void *object, const fc_node *map);
};

/* Dimensions as initialisers: a compound literal is no constant expression. */
#define DIM_NONE                                                                                             \
  { 0 }
#define DIM_BYTES                                                                                            \
  { .byte = 1 }
#define DIM_BYTES_PER_S                                                                                      \
  { .byte = 1, .second = -1 }
#define DIM_FLOP                                                                                             \
  { .flop = 1 }
#define DIM_FLOP_PER_S                                                                                       \
  { .flop = 1, .second = -1 }
#define DIM_SECONDS                                                                                          \
  { .second = 1 }
#define DIM_PER_S                                                                                            \
  { .second = -1 }
#define DIM_WATTS                                                                                            \
  { .joule = 1, .second = -1 }
#define DIM_USD                                                                                              \
  { .usd = 1 }
#define DIM_USD_PER_S                                                                                        \
  { .usd = 1, .second = -1 }
#define DIM_USD_PER_J                                                                                        \
  { .usd = 1, .joule = -1 }
#define DIM_TOKENS                                                                                           \
  { .token = 1 }
#define DIM_TOKENS_PER_S                                                                                     \
  { .token = 1, .second = -1 }
#define DIM_DEVICES                                                                                          \
  { .device = 1 }
#define DIM_DEVICE_SECONDS                                                                                   \
  { .device = 1, .second = 1 }

#define FC_COUNT_OF(array) (sizeof(array) / sizeof *(array))

extern const char *const fc_dtype_words[];
enum { FC_DTYPE_WORDS = FC_DTYPE_COUNT };

extern const fc_schema fc_schema_device, fc_schema_model, fc_schema_profile, fc_schema_shape,
    fc_schema_scenario, fc_schema_serve, fc_schema_plan, fc_schema_train, fc_schema_train_search;
/** The table of a kind.  @pre kind is not FC_INPUT_ANY */
const fc_schema *fc_schema_of(fc_input_kind kind);

/** An example of a quantity of that field, for messages: "3.35 TB/s". */
const char *fc_field_example(const fc_field *field);
/** Only things that are counted (tokens, devices, requests, users): the unit may be left out. */
bool fc_field_is_counted(const fc_field *field);
/** Field by key, or NULL. */
const fc_field *fc_schema_find(const fc_schema *schema, const char *key);

#endif
