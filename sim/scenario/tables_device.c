/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "field.h"
#include "reader.h"

#define AT(member) .offset = offsetof(fc_device, member)

const char *const fc_dtype_words[] = {
#define WORD(name, text, bytes) text,
    FC_DTYPE_MAP(WORD)
#undef WORD
};

static const fc_field peak_fields[] = {
#define PEAK(name, text, bytes)                                                                              \
  {.key = (text),                                                                                            \
   .kind = FC_FIELD_NUMBER,                                                                                  \
   AT(peak_flop_per_s[FC_DTYPE_##name]),                                                                     \
   .dim = DIM_FLOP_PER_S,                                                                                    \
   .min = 0,                                                                                                 \
   .max = 1e18,                                                                                              \
   .help = "Peak dense rate; 0 or absent: the format is not supported."},
    FC_DTYPE_MAP(PEAK)
#undef PEAK
};

static const fc_schema peak = {"peak",      "Peak rates by number format: dense, no sparsity.",
                               0,           FC_COUNT_OF(peak_fields),
                               peak_fields, NULL};

static const fc_field scaleup_fields[] = {
    {.key = "bandwidth",
     .kind = FC_FIELD_NUMBER,
     AT(scaleup_bytes_per_s),
     .dim = DIM_BYTES_PER_S,
     .min = 0,
     .max = 1e14,
     .example = "900 GB/s",
     .help = "A device's total over NVLink, xGMI, ICI or NeuronLink, both directions added."},
    {.key = "devices",
     .kind = FC_FIELD_COUNT,
     AT(scaleup_devices),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e6,
     .def = "1",
     .help = "Devices in one scale-up domain."},
};
static const fc_schema scaleup = {
    "scaleup", "The fast network inside a node or rack.", 0, FC_COUNT_OF(scaleup_fields), scaleup_fields,
    NULL};

static const fc_field scaleout_fields[] = {
    {.key = "bandwidth",
     .kind = FC_FIELD_NUMBER,
     AT(scaleout_bytes_per_s),
     .dim = DIM_BYTES_PER_S,
     .min = 0,
     .max = 1e14,
     .example = "50 GB/s",
     .help = "A device's share of the network between domains, one direction."},
};
static const fc_schema scaleout = {
    "scaleout", "The network between scale-up domains.", 0, FC_COUNT_OF(scaleout_fields), scaleout_fields,
    NULL};

static const fc_field power_fields[] = {
    {.key = "tdp",
     .kind = FC_FIELD_NUMBER,
     AT(tdp_w),
     .dim = DIM_WATTS,
     .min = 1,
     .max = 1e5,
     .required = true,
     .help = "Thermal design power of the device."},
    {.key = "idle",
     .kind = FC_FIELD_NUMBER,
     AT(idle_w),
     .dim = DIM_WATTS,
     .min = 0,
     .max = 1e5,
     .example = "70 W",
     .help = "What the device draws when idle."},
    {.key = "server",
     .kind = FC_FIELD_NUMBER,
     AT(server_w),
     .dim = DIM_WATTS,
     .min = 0,
     .max = 1e5,
     .example = "1275 W",
     .help = "IT power of the whole server at full load, per device; 0: the device's own alone."},
};
static const fc_schema power = {"power", "Electrical power.", 0, FC_COUNT_OF(power_fields), power_fields,
                                NULL};

static const fc_field fields[] = {
    {.key = "name",
     .kind = FC_FIELD_TEXT,
     AT(name),
     .help = "Short name; default the file's name without .yaml."},
    {.key = "title",
     .kind = FC_FIELD_TEXT,
     AT(title),
     .help = "Name for people, such as 'NVIDIA H100 SXM5 80 GB'."},
    {.key = "vendor", .kind = FC_FIELD_TEXT, AT(vendor), .required = true, .help = "Who makes it."},
    {.key = "release", .kind = FC_FIELD_DATE, AT(release), .help = "First volume availability."},
    {.key = "peak",
     .kind = FC_FIELD_STRUCT,
     .sub = &peak,
     .required = true,
     .help = "Peak rates by number format."},
    {.key = "memory",
     .kind = FC_FIELD_NUMBER,
     AT(memory_bytes),
     .dim = DIM_BYTES,
     .min = 1e8,
     .max = 1e14,
     .required = true,
     .help = "Capacity of the device memory (HBM)."},
    {.key = "memory_bandwidth",
     .kind = FC_FIELD_NUMBER,
     AT(memory_bytes_per_s),
     .dim = DIM_BYTES_PER_S,
     .min = 1e8,
     .max = 1e15,
     .required = true,
     .help = "Peak bandwidth of the device memory."},
    {.key = "l2_cache",
     .kind = FC_FIELD_NUMBER,
     AT(l2_bytes),
     .dim = DIM_BYTES,
     .min = 0,
     .max = 1e12,
     .example = "50 MB",
     .help = "Last on-chip cache before the device memory; 0: unknown."},
    {.key = "compute_units",
     .kind = FC_FIELD_COUNT,
     AT(compute_units),
     .min = 1,
     .max = 1e6,
     .required = true,
     .example = "132",
     .help = "What tiles are scheduled on: SMs, CUs, cores."},
    {.key = "clock",
     .kind = FC_FIELD_NUMBER,
     AT(clock_hz),
     .dim = DIM_PER_S,
     .min = 0,
     .max = 1e11,
     .example = "1.98 GHz",
     .help = "Highest clock of the compute units: fixed times of kernels scale with it when a profile is "
             "moved to "
             "another device; 0: unknown."},
    {.key = "scaleup",
     .kind = FC_FIELD_STRUCT,
     .sub = &scaleup,
     .help = "The fast network inside a node or rack."},
    {.key = "scaleout",
     .kind = FC_FIELD_STRUCT,
     .sub = &scaleout,
     .help = "The network between scale-up domains."},
    {.key = "node_devices",
     .kind = FC_FIELD_COUNT,
     AT(node_devices),
     .dim = DIM_DEVICES,
     .min = 1,
     .max = 1e4,
     .def = "8",
     .example = "8",
     .help = "Devices in one server: the unit of placement and of host failure."},
    {.key = "power", .kind = FC_FIELD_STRUCT, .sub = &power, .required = true, .help = "Electrical power."},
    {.key = "rent",
     .kind = FC_FIELD_SERIES,
     AT(rent_usd_per_s),
     .dim = DIM_USD_PER_S,
     .min = 0,
     .max = 1,
     .help = "Market price of one device by date."},
    {.key = "purchase",
     .kind = FC_FIELD_SERIES,
     AT(purchase_usd),
     .dim = DIM_USD,
     .min = 0,
     .max = 1e8,
     .help = "Price of one device alone, by date."},
    {.key = "system",
     .kind = FC_FIELD_SERIES,
     AT(system_usd),
     .dim = DIM_USD,
     .min = 0,
     .max = 1e8,
     .help = "Capital per device of a whole cluster: server, network, storage; by date."},
};

static void check(fc_reader *r, void *object, const fc_node *map) {
  const fc_device *d = object;
  double best = 0;
  for (int i = 0; i < FC_DTYPE_COUNT; i++) best = fmax(best, d->peak_flop_per_s[i]);
  if (!(best > 0)) (void)fc_reader_error(r, fc_node_find(map, "peak"), "'peak' gives no rate at all");
  if (d->idle_w > d->tdp_w)
    (void)fc_reader_error(r, fc_node_find(map, "power"), "'idle' = %g W is above 'tdp' = %g W", d->idle_w,
                          d->tdp_w);
}

const fc_schema fc_schema_device = {
    "device", "An accelerator as its datasheet states it.", sizeof(fc_device), FC_COUNT_OF(fields), fields,
    check};
