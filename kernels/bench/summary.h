/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_SUMMARY_H
#define FC_BENCH_SUMMARY_H

#include <stdio.h>

#include "row.h"

/** What a pass found, for people: a line a kernel and implementation; on a GPU also the published figures. */
void fc_summary_print(FILE *to, const fc_rows *rows);

#endif
