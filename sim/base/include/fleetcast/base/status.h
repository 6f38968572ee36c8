/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_STATUS_H
#define FC_BASE_STATUS_H

/** What a function that can fail returns.
 *
 *  Three kinds of error, three treatments: our own bug -> FC_ASSERT (assert.h); the user's input ->
 *  diagnostics with a position (diag.h), returned as FC_E_INPUT; the world -> a status, propagated
 *  unchanged. */

#define FC_STATUS_MAP(X)                                                                                     \
  X(OK, "success")                                                                                           \
  X(E_NOMEM, "out of memory")                                                                                \
  X(E_INPUT, "invalid input")                                                                                \
  X(E_DOMAIN, "argument outside the domain of the model")                                                    \
  X(E_INFEASIBLE, "no feasible solution")                                                                    \
  X(E_IO, "input/output error")                                                                              \
  X(E_LAW, "a law of the model was broken")                                                                  \
  X(E_CANCELLED, "interrupted")

typedef enum fc_status {
#define FC_STATUS_ENUM(name, text) FC_##name,
  FC_STATUS_MAP(FC_STATUS_ENUM)
#undef FC_STATUS_ENUM
} fc_status;

#if defined(__GNUC__)
#define FC_NODISCARD          __attribute__((warn_unused_result))
#define FC_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define FC_NODISCARD
#define FC_PRINTF(fmt, first)
#endif

/** The English text of a status; never NULL. */
const char *fc_status_text(fc_status status);

#endif
