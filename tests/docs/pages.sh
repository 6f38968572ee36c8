#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The pages in README.md are what `fleetcast run scenarios/NAME.yaml` prints.
# pages.sh FLEETCAST SOURCE_DIR; FC_UPDATE_DOCS=1 rewrites them.
# In README.md a page stands between `<!-- page NAME -->` and `<!-- end -->`, in a fenced block.
set -eu
fleetcast=$1 readme=$2/README.md
work=$(mktemp -d)
export FLEETCAST_CACHE= # none: everything is simulated
trap 'rm -rf "$work"' EXIT
cd "$2"
for name in $(sed -n 's/^<!-- page \(.*\) -->$/\1/p' "$readme"); do
  "$fleetcast" run --quiet "scenarios/$name.yaml" -o "$work/$name" >"$work/$name.txt"
done
awk -v work="$work" '
  /^<!-- page / { print; file = work "/" $3 ".txt"; print "```"; while ((getline line < file) > 0) print line; print "```"; skip = 1; next }
  /^<!-- end -->/ { skip = 0 }
  !skip' "$readme" >"$work/README.md"
cmp -s "$work/README.md" "$readme" && exit 0
if [ -n "${FC_UPDATE_DOCS:-}" ]; then
  cp "$work/README.md" "$readme"
  exit 0
fi
echo "README.md differs from what the scenarios print (FC_UPDATE_DOCS=1 rewrites it):"
diff "$readme" "$work/README.md" || true
exit 1
