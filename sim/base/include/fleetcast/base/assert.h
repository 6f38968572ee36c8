/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_ASSERT_H
#define FC_BASE_ASSERT_H

/** Programmer errors.  FC_ASSERT guards arguments and stays in release builds; FC_VALIDATE guards costly
 *  invariants and vanishes with NDEBUG. */

#if defined(__GNUC__)
__attribute__((noreturn, cold))
#endif
void fc_assert_failed(const char *expression, const char *file, int line, const char *function);

#define FC_ASSERT(e) ((e) ? (void)0 : fc_assert_failed(#e, __FILE__, __LINE__, __func__))
#ifdef NDEBUG
#define FC_VALIDATE(e) ((void)0)
#else
#define FC_VALIDATE(e) FC_ASSERT(e)
#endif

#endif
