/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_CHAOS_MALLOC_H
#define FC_TESTS_CHAOS_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

/** Memory that runs out on demand; exhaust.h visits every out-of-memory path of a scenario with it.
 *
 *  Build: fc_chaos_malloc(test_<name>) adds this and exhaust.c to the test and passes -Wl,--wrap=... so that
 *  the calls of all statically linked code come here.  Shared libraries (Criterion, GSL) keep their own;
 * hence what one of them allocates and the code under test frees is counted as -1.  One thread. */

/** The allocation number `k`, counted from 0 and from now, fails; with `and_later` also every one after it.
 */
void fc_chaos_arm(size_t k, bool and_later);
/** Memory is plentiful again.  @return whether any allocation was refused */
bool fc_chaos_disarm(void);
/** Blocks allocated less blocks freed since the last arming. */
long fc_chaos_live(void);
/** Bytes asked for since the last arming, granted or not. */
size_t fc_chaos_bytes(void);

#endif
