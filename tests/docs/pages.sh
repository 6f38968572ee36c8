#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The pages in a document are what `fleetcast VERB FOLDER/NAME.yaml` prints.
# pages.sh FLEETCAST SOURCE_DIR DOCUMENT MARK VERB FOLDER; FC_UPDATE_DOCS=1 rewrites them.
# A page stands between `<!-- MARK NAME -->` and `<!-- end -->`, in a fenced block.
set -eu
fleetcast=$1 doc=$3 mark=$4 verb=$5 folder=$6
work=$(mktemp -d)
export FLEETCAST_CACHE= # none: everything is simulated
trap 'rm -rf "$work"' EXIT
cd "$2"
for name in $(sed -n "s/^<!-- $mark \(.*\) -->\$/\1/p" "$doc"); do
  "$fleetcast" "$verb" --quiet "$folder/$name.yaml" -o "$work/$name" >"$work/$name.txt"
done
awk -v work="$work" -v mark="$mark" '
  $1 == "<!--" && $2 == mark { print; file = work "/" $3 ".txt"; print "```"; while ((getline line < file) > 0) print line; print "```"; skip = 1; next }
  /^<!-- end -->/ { skip = 0 }
  !skip' "$doc" >"$work/doc.md"
cmp -s "$work/doc.md" "$doc" && exit 0
if [ -n "${FC_UPDATE_DOCS:-}" ]; then
  cp "$work/doc.md" "$doc"
  exit 0
fi
echo "$doc differs from what the scenarios print (FC_UPDATE_DOCS=1 rewrites it):"
diff "$doc" "$work/doc.md" || true
exit 1
