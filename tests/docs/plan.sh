#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The pages in docs/plan.md are what `fleetcast plan scenarios/plan/NAME.yaml` prints.
# plan.sh FLEETCAST SOURCE_DIR; FC_UPDATE_DOCS=1 rewrites them.
# A page stands between `<!-- plan NAME -->` and `<!-- end -->`, in a fenced block.
set -eu
fleetcast=$1 doc=$2/docs/plan.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$2"
for name in $(sed -n 's/^<!-- plan \(.*\) -->$/\1/p' "$doc"); do
  "$fleetcast" plan --quiet "scenarios/plan/$name.yaml" -o "$work/$name" >"$work/$name.txt"
done
awk -v work="$work" '
  /^<!-- plan / { print; file = work "/" $3 ".txt"; print "```"; while ((getline line < file) > 0) print line; print "```"; skip = 1; next }
  /^<!-- end -->/ { skip = 0 }
  !skip' "$doc" >"$work/plan.md"
cmp -s "$work/plan.md" "$doc" && exit 0
if [ -n "${FC_UPDATE_DOCS:-}" ]; then
  cp "$work/plan.md" "$doc"
  exit 0
fi
echo "docs/plan.md differs from what the scenarios print (FC_UPDATE_DOCS=1 rewrites it):"
diff "$doc" "$work/plan.md" || true
exit 1
