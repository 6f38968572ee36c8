/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_DEVICE_H
#define FC_CLI_DEVICE_H

#include <stdbool.h>

#include "verbs.h"

/* Devices for `fit` and `calibrate`: by file, by name, by what a GPU calls itself, by a CPU's own
 * measurements.  What is wrong is told on stderr; results are exit statuses of the program. */

enum { MACHINE_WORD = 128 };

/* What the sidecar of a measurement file (docs/kernels.md#file) says. */
typedef struct {
  char backend[16], gpu[MACHINE_WORD], finished[32];
  double units, cache_bytes, memory_bytes;
} machine;

/* `--device`: a file (its name ends in .yaml or has a slash), else NAME of the first data folder that has
 * devices/NAME.yaml.  `*out` is the caller's to fc_input_free(); NULL on failure. */
int cli_load_device(fc_input **out, const char *word, const data_dirs *data, const settings *s);

/* The shipped device whose name is a word of the GPU's ("NVIDIA H100 80GB HBM3": h100), if compute units and
 * memory are that product's; else what to write is told. */
int cli_match_gpu(fc_input **out, const machine *m, const data_dirs *data, const settings *s);

/* "Intel(R) Xeon(R) Processor" with 2 threads: "intel-xeon-2t". */
void cli_name_cpu(char out[MACHINE_WORD], const machine *m);
/* Describes a CPU by its measurements: best product, best bandwidth of the largest buffers, what the system
 * tells.  A file at `path` that no calibration made, or whose first line was removed, stays. */
int cli_write_cpu(const char *path, const char *name, const machine *m, const char *measurements);

/* The folders above `path`, made where they are missing. */
bool cli_make_folders(const char *path);

#endif
