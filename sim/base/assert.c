/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

void fc_assert_failed(const char *expression, const char *file, int line, const char *function) {
  /* advice: place a debugger breakpoint right here */
  (void)fprintf(stderr, "%s:%d: %s: assertion '%s' failed: this is a bug in fleetcast\n", file, line,
                function, expression);
  abort();
}
