/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_MANIFEST_H
#define FC_BENCH_MANIFEST_H

#include "session.h"

/** Where a measurement file comes from: OUT.yaml beside OUT, with date, device, versions, seed, what the
 * checks and the sentinels said.
 *  @param out  the measurement file; no manifest where it is no regular file
 *  @return FC_OK | FC_E_IO | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_manifest_write(const char *out, const fc_session *s);

#endif
