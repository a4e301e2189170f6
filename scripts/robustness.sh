#!/usr/bin/env bash
# The robustness runs at full size, one line a figure. Sizes are arguments or environment, for example:
#
#   scripts/robustness.sh KILLS=1000 CLAUDE_KILLS=100 RESUMES=10000 PAUSES=100 POWER=200 SEED=7
#
# KILLS= are those of short turns, and again those that long turns live through, three each at least; CLAUDE_KILLS= the same
# with the real CLI.
# MUTANTS=0 leaves out the servers that are broken on purpose, another text takes those whose names hold it; KEEP=1 keeps
# the histories of good runs too; RELEASE=1 takes the optimised server. Fails on any violation; the history of a run that
# failed stays in target/robustness/SEED, and `HISTORY=target/robustness/SEED/history.jsonl scripts/robustness.sh` judges
# it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for given in "$@"; do
    export "${given?}"
done

profile=(${RELEASE:+--release})
tests() { cargo test --locked "${profile[@]}" --test robustness -- --nocapture --test-threads=1 "$@"; }
log=${CARGO_TARGET_DIR:-target}/robustness.log
mkdir -p "$(dirname "$log")"

if [ -n "${HISTORY:-}" ]; then
    HISTORY=$(realpath "$HISTORY") tests --exact mutants::a_history_is_judged_again_from_its_file
    exit
fi

export KILLS=${KILLS:-1000} CLAUDE_KILLS=${CLAUDE_KILLS:-100} RESUMES=${RESUMES:-10000} PAUSES=${PAUSES:-50} POWER=${POWER:-200} MUTANTS=${MUTANTS:-1}
[ "$MUTANTS" != 0 ] || MUTANTS=
began=$SECONDS status=0
tests > "$log" 2>&1 || status=$?
grep -aE '^(kills|living|claude_kills|previous|resumes|pauses|power|lying_disk|mutants|recorded_mutants|compacted_mutants|source_mutants?|etcd_[0-9]+)[= ].*=' "$log" \
    | grep -avE '^(kills|living|claude_kills|previous|resumes|pauses|power) ' || true
if [ "$status" != 0 ]; then
    grep -aE '^test .* FAILED' "$log" || true
    grep -a -A 12 'violations in \|panicked at' "$log" | head -n 80 || true
    echo "FAILED after $((SECONDS - began)) s; see $log"
    exit 1
fi
echo "all is well after $((SECONDS - began)) s"
