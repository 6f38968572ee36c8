#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/kernels.md names every measured operator and every column.  kernels.sh SOURCE_DIR
set -eu
page=$1/docs/kernels.md failed=0
for name in $(sed -n 's/^  X([A-Z_]*, "\([a-z_]*\)", [A-Z_]*).*/\1/p' "$1/kernels/include/fleetcast/kernels/problem.h"); do
  grep -q "\`$name\`" "$page" || { echo "docs/kernels.md does not name \`$name\`"; failed=1; }
done
for column in $(sed -n '/define FC_COLUMN_MAP/,/clang-format on/p' "$1/kernels/bench/row.h" | grep -o 'X([a-z_0-9]*)' | sed 's/X(\(.*\))/\1/' | sed -n '/latency_us/,$p'); do
  grep -q "$column" "$page" || { echo "docs/kernels.md does not name the column $column"; failed=1; }
done
exit $failed
