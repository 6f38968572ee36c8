#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tables in docs/train.md are what `fleetcast train scenarios/train/NAME.yaml` writes.
# train.sh FLEETCAST SOURCE_DIR; FC_UPDATE_DOCS=1 rewrites them.
# A table stands between `<!-- train KIND [NAME] -->` and `<!-- end -->`.
set -eu
fleetcast=$1 page=$2/docs/train.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$2"
for file in scenarios/train/*.yaml; do
  name=$(basename "$file" .yaml)
  "$fleetcast" train --quiet "$file" -o "$work/$name" >/dev/null
done

short='function short(v,  p, i) { p = " kMGT"; i = 1; while (v >= 999.5 && i < 5) { v /= 1000; i++ }
  return sprintf(v < 9.995 ? "%.2f%s" : v < 99.95 ? "%.1f%s" : "%.0f%s", v, i > 1 ? " " substr(p, i, 1) : "") }
  function inside(v, low, high) { return v >= low && v <= high ? "yes" : "no" }'

published() {
  echo "| run | figure | published | composed: median | 5 to 95 % | error | published inside |"
  echo "|---|---|---|---|---|---|---|"
  for file in scenarios/train/*.yaml; do
    name=$(basename "$file" .yaml)
    awk -F, -v name="$name" "$short"'
      NR > 1 && $7 != "" {
        what = $1; gsub("_", " ", what)
        printf "| `%s` | %s%s | %s | %s | %s to %s | %+.0f %% | %s |\n", name, what, $2 ? ", " $2 : "", short($7), short($5),
          short($4), short($6), 100 * $8, $9 == "1" ? "yes" : "no" }' "$work/$name/run.csv"
    awk -F, -v name="$name" "$short"'
      $1 == "reported" && $2 == "reported" { usd = $5 }
      $1 == "rent" && $2 == "run" { rent = $5; low = $4; high = $6 }
      $1 == "owner" && $2 == "run" { owner = $5; olow = $4; ohigh = $6 }
      END { if (usd) {
        printf "| `%s` | USD, at rent | %s | %s | %s to %s | %+.0f %% | %s |\n", name, short(usd), short(rent), short(low), short(high),
          100 * (rent / usd - 1), inside(usd, low, high)
        printf "| `%s` | USD, in an owner'"'"'s books | %s | %s | %s to %s | %+.0f %% | %s |\n", name, short(usd), short(owner),
          short(olow), short(ohigh), 100 * (owner / usd - 1), inside(usd, olow, ohigh) } }' "$work/$name/ledger.csv"
  done
}

reported() { # name
  echo "| line | USD: median | 5 to 95 % | share |"
  echo "|---|---|---|---|"
  awk -F, "$short"'
    $1 == "reported" { n++; line[n] = $2; low[n] = $4; median[n] = $5; high[n] = $6; if ($2 == "reported") all = $5 }
    END { for (i = 1; i <= n; i++) printf "| %s | %s | %s to %s | %.0f %% |\n", line[i], short(median[i]), short(low[i]), short(high[i]),
      100 * median[i] / all }' "$work/$1/ledger.csv"
}

ledger() { # name
  echo "| line | part | rent, USD: median | 5 to 95 % | owner, USD: median | 5 to 95 % |"
  echo "|---|---|---|---|---|---|"
  awk -F, "$short"'
    $1 != "rent" && $1 != "owner" { next }
    NR > 1 {
      if (!($2 in seen)) { seen[$2] = 1; n++; order[n] = $2 }
      part[$2] = $3; median[$1, $2] = $5; range[$1, $2] = short($4) " to " short($6); given[$1, $2] = $6 != 0 }
    END { for (i = 1; i <= n; i++) { l = order[i]
      if (!given["rent", l] && !given["owner", l]) { printf "| %s | %s | not stated | | not stated | |\n", l, part[l]; continue }
      printf "| %s | %s | %s | %s | %s | %s |\n", l, part[l],
        ("rent", l) in median ? short(median["rent", l]) : "", ("rent", l) in median ? range["rent", l] : "",
        ("owner", l) in median ? short(median["owner", l]) : "", ("owner", l) in median ? range["owner", l] : "" } }' "$work/$1/ledger.csv"
}

variants() { # name
  echo "| variant | format | step, s | MFU | device-hours | USD | over the first |"
  echo "|---|---|---|---|---|---|---|"
  awk -F, "$short"'
    NR > 1 && $5 == "1" { printf "| %s | %s | %.1f | %.0f %% | %s | %s | %.2f |\n", $1, $3, $6, 100 * $8, short($12), short($15), $16 }
    NR > 1 && $5 == "0" { printf "| %s | | | | cannot be | | |\n", $1 }' "$work/$1/variants.csv"
}

factors() { # name: the first four variants are MoE FP8, MoE BF16, dense FP8, dense BF16
  echo "| dearer by | factor |"
  echo "|---|---|"
  awk -F, '
    NR > 1 { h[NR - 1] = $12 }
    END {
      printf "| dense instead of MoE, in FP8 | %.1f |\n", h[3] / h[1]
      printf "| dense instead of MoE, in BF16 | %.1f |\n", h[4] / h[2]
      printf "| BF16 instead of FP8, MoE | %.2f |\n", h[2] / h[1]
      printf "| BF16 instead of FP8, dense | %.2f |\n", h[4] / h[3]
      printf "| both | %.1f |\n", h[4] / h[1]
      printf "| active parameters, dense over MoE | %.1f |\n", 671 / 37 }' "$work/$1/variants.csv"
}

sed -n 's/^<!-- train \(.*\) -->$/\1/p' "$page" | while read -r kind name; do "$kind" ${name:+"$name"} >"$work/$kind.txt"; done
awk -v work="$work" '
  /^<!-- train / { print; print ""; file = work "/" $3 ".txt"; while ((getline line < file) > 0) print line; print ""; skip = 1; next }
  /^<!-- end -->/ { skip = 0 }
  !skip' "$page" >"$work/train.md"
cmp -s "$work/train.md" "$page" && exit 0
if [ -n "${FC_UPDATE_DOCS:-}" ]; then
  cp "$work/train.md" "$page"
  exit 0
fi
echo "docs/train.md differs from what the scenarios give (FC_UPDATE_DOCS=1 rewrites it):"
diff "$page" "$work/train.md" || true
exit 1
