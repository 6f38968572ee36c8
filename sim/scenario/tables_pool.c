/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "input.h"
#include "tables_plan.h"

#define AT(member) .offset = offsetof(fc_delivery, member)

static const fc_field delivery_fields[] = {
    {.key = "date", .kind = FC_FIELD_DATE, AT(date), .required = true, .help = "First day of the delivery."},
    {.key = "over",
     .kind = FC_FIELD_NUMBER,
     AT(over_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 20 * FC_YEAR_S,
     .def = "0 s",
     .example = "91.25 d",
     .help = "Spread evenly from 'date' over this long; 0: all at once."},
    {.key = "count",
     .kind = FC_FIELD_NUMBER,
     AT(devices),
     .dim = DIM_DEVICES,
     .min = 0,
     .max = 1e10,
     .required = true,
     .help = "How many devices."},
};
static const fc_schema delivery = {"delivery",          "A lot of devices.",
                                   sizeof(fc_delivery), FC_COUNT_OF(delivery_fields),
                                   delivery_fields,     NULL};

#undef AT
#define AT(member) .offset = offsetof(fc_pool_def, member)

static const char *pool_device(const void *object) {
  const fc_profile *profile = ((const fc_pool_def *)object)->profile;
  return profile ? profile->device_name : NULL;
}

static const fc_field pool_fields[] = {
    {.key = "name", .kind = FC_FIELD_TEXT, AT(name), .required = true, .help = "Name, unique among pools."},
    {.key = "device",
     .kind = FC_FIELD_REF,
     .offset = FC_NOWHERE,
     .refers = FC_INPUT_DEVICE,
     .required = true,
     .name_of = pool_device,
     .help = "The device that the pool is made of."},
    {.key = "profile",
     .kind = FC_FIELD_REF,
     AT(profile),
     .refers = FC_INPUT_PROFILE,
     .help = "How its kernels perform; default the profile named like the device."},
    {.key = "deliveries",
     .kind = FC_FIELD_LIST,
     AT(deliveries),
     .count_offset = offsetof(fc_pool_def, n_deliveries),
     .sub = &delivery,
     .max_items = 10000,
     .required = true,
     .min_items = 1,
     .help = "Lots of devices; those before the scenario's start are installed at the start."},
    {.key = "lag",
     .kind = FC_FIELD_NUMBER,
     AT(lag_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 5 * FC_YEAR_S,
     .def = "0 s",
     .example = "91.25 d",
     .help = "From delivery (sale) to running."},
    {.key = "life",
     .kind = FC_FIELD_NUMBER,
     AT(life_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = 50 * FC_YEAR_S,
     .def = "0 s",
     .example = "6 yr",
     .help = "Service life, after which devices are retired; 0: never."},
    {.key = "mtbf",
     .kind = FC_FIELD_NUMBER,
     AT(device_mtbf_s),
     .dim = DIM_SECONDS,
     .min = 60,
     .max = 1e12,
     .never = true,
     .def = "50700 h",
     .example = "50700 h",
     .help = "Mean time between failures of one device (default: Llama 3 405B, arXiv:2407.21783), or never."},
    {.key = "repair",
     .kind = FC_FIELD_NUMBER,
     AT(repair_s),
     .dim = DIM_SECONDS,
     .min = 0,
     .max = FC_YEAR_S,
     .def = "24 h",
     .example = "24 h",
     .help = "Mean time out of service after a failure."},
    {.key = "pue",
     .kind = FC_FIELD_NUMBER,
     AT(pue),
     .min = 1,
     .max = 5,
     .def = "1.35",
     .example = "1.35",
     .help = "Facility over IT energy (default: SemiAnalysis)."},
    {.key = "tariff",
     .kind = FC_FIELD_NUMBER,
     AT(tariff_usd_per_j),
     .dim = DIM_USD_PER_J,
     .min = 0,
     .max = 1e-5,
     .def = "0.087 USD/kWh",
     .help = "Price of electricity (default: SemiAnalysis)."},
    {.key = "hosting",
     .kind = FC_FIELD_NUMBER,
     AT(hosting_usd_per_w_s),
     .dim = DIM_USD_PER_J,
     .min = 0,
     .max = 1e-5,
     .def = "150 USD/kW/month",
     .example = "150 USD/kW/month",
     .help = "Colocation by IT power and time (default: SemiAnalysis)."},
    {.key = "depreciation",
     .kind = FC_FIELD_NUMBER,
     AT(depreciation_s),
     .dim = DIM_SECONDS,
     .min = 86400,
     .max = 50 * FC_YEAR_S,
     .def = "5 yr",
     .example = "5 yr",
     .help = "Straight-line life of the capital."},
    {.key = "rent",
     .kind = FC_FIELD_SERIES,
     AT(rent_usd_per_s),
     .dim = DIM_USD_PER_S,
     .min = 0,
     .max = 1,
     .help = "Price of one device by date, instead of the device's market price."},
};

/* Without `profile` the one named like the device; with it, it must be of that device. */
static void check_pool(fc_reader *r, void *object, const fc_node *map) {
  fc_pool_def *pool = object;
  const fc_node *device = fc_node_find(map, "device"), *profile = fc_node_find(map, "profile");
  if (!profile) {
    const void *found = NULL;
    fc_status status = fc_input_resolve(r->input, FC_INPUT_PROFILE, device->text, device, &found);
    if (status != FC_OK) (void)fc_reader_fail(r, status);
    pool->profile = found;
  }
  if (pool->profile && strcmp(pool->profile->device_name, device->text) != 0)
    (void)fc_reader_error(r, profile ? profile : device, "profile '%.48s' is of device '%.48s', not '%.48s'",
                          pool->profile->name, pool->profile->device_name, device->text);
}

const fc_schema fc_schema_pool = {"pool",
                                  "Devices of one kind that are bought, run and paid for alike.",
                                  sizeof(fc_pool_def),
                                  FC_COUNT_OF(pool_fields),
                                  pool_fields,
                                  check_pool};
