#!/usr/bin/env bash
# Fails when the program is built from two versions of one crate without a reason that stands here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# NAME: who keeps the older version.
allowed='
foldhash: petgraph, through hashbrown (build only)
getrandom: ring, rand and uuid each use their own
hashbrown: petgraph (build only), sqlx and indexmap each use their own
logos: protox-parse and prost-reflect
logos-codegen: as logos
logos-derive: as logos
syn: macros move to version 3 one by one
unicode-width: miette (build only)
'

duplicates=$(cargo tree --locked --duplicates --edges normal,build --prefix none --depth 0 |
    awk 'NF { print $1, $2 }' | sort -u | awk '{ seen[$1]++ } END { for (name in seen) if (seen[name] > 1) print name }' | sort)

failed=0
for name in $duplicates; do
    if ! grep -q "^$name: " <<< "$allowed"; then
        echo "two versions of $name: raise the older one's user, or say in scripts/duplicates.sh why that cannot be"
        cargo tree --locked --duplicates --edges normal,build --prefix none --depth 0 | grep "^$name v" | sort -u | sed 's/^/  /'
        failed=1
    fi
done
while IFS=: read -r name _; do
    if [ -n "$name" ] && ! grep -qx -e "$name" <<< "$duplicates"; then
        echo "there is one version of $name now: take it off the list in scripts/duplicates.sh"
        failed=1
    fi
done <<< "$allowed"
exit "$failed"
