/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_PASS_H
#define FC_BENCH_PASS_H

#include "session.h"

/** What the parts of a session share; private to them. */

/** Seconds of one core that the reference of one check may take: of an odd shape, of a point. */
#define FC_VET_BUDGET_S   0.06
#define FC_CHECK_BUDGET_S 0.02

/** Walks the implementations of an operator, best first.  Zero-initialise. */
typedef struct fc_cursor {
  size_t table, row;
} fc_cursor;
const fc_implementation *fc_session_next(const fc_session *s, fc_bench_op op, fc_cursor *at);

fc_bench_scale fc_session_scale(const fc_session *s);
bool fc_session_wants(const fc_session *s, fc_bench_op op);
bool fc_session_cancelled(const fc_session *s);
void fc_session_tell(const fc_session *s, size_t done, size_t total, const char *text);

/** Checks an implementation once.  @return FC_OK (`*out` says whether it is refused) | FC_E_... as
 * fc_session_check */
FC_NODISCARD
fc_status fc_session_vet(fc_session *s, const fc_implementation *impl, const fc_vetted **out);
/** Its entry, made if need be; NULL: there are too many. */
fc_vetted *fc_session_vetted(fc_session *s, const fc_implementation *impl);
/** FC_OK, or FC_E_IO when the device answers no more. */
FC_NODISCARD
fc_status fc_session_alive(fc_session *s);
/** See fc_session_options.guard; `row` is what the journal gets if the work hangs. */
void fc_session_guard(fc_session *s, const fc_journal *journal, const fc_row *row, const char *text);

/** Chains of operators as one recording, after the cases: rows `graph` (the whole) and `parts` (the sum of
 * its calls). */
FC_NODISCARD
fc_status fc_session_chains(fc_session *s, fc_journal *journal, size_t order);

#endif
