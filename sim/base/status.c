/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/status.h>

const char *fc_status_text(fc_status status) {
  switch (status) {
#define FC_STATUS_TEXT(name, text)                                                                           \
  case FC_##name: return text;
    FC_STATUS_MAP(FC_STATUS_TEXT)
#undef FC_STATUS_TEXT
  }
  return "unknown status";
}
