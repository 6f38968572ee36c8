#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The table of docs/model.md#errors is what report_anchors prints from the shipped profiles.
# anchors.sh PROGRAM SOURCE_DIR; FC_UPDATE_DOCS=1 rewrites the table.
set -eu
program=$1 page=$2/docs/model.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$program" "$2/scenarios" | grep '^|' >"$work/now"
awk '/^\| figure \| unit \| published/ {on = 1} on && !/^\|/ {exit} on' "$page" >"$work/page"
cmp -s "$work/now" "$work/page" && exit 0
if [ -n "${FC_UPDATE_DOCS:-}" ]; then
  awk -v table="$work/now" '/^\| figure \| unit \| published/ {on = 1; while ((getline line < table) > 0) print line}
    on && !/^\|/ {on = 0} !on' "$page" >"$work/new"
  cp "$work/new" "$page"
  exit 0
fi
echo "docs/model.md#errors differs from what report_anchors prints (FC_UPDATE_DOCS=1 rewrites it):"
diff "$work/page" "$work/now" || true
exit 1
