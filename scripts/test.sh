#!/usr/bin/env bash
# Everything that must hold before a change goes in. Every step runs, also after a failed one; the summary comes last.
#
# A check that cannot run here prints a line "SKIPPED: why". With CI=true such a line is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/checks.sh

if ! command -v cargo > /dev/null; then
    echo "cargo is not on the PATH: install Rust from https://rustup.rs, then try again" >&2
    exit 1
fi

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
logs=$(cd "$target" && pwd)/test-logs
rm -rf "$logs" && mkdir -p "$logs"
# Whatever the tests start lives below this directory, so that what stays behind can be found.
scratch=$(mktemp -d /tmp/art.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
summary=()
broken=()
failed=0

say() { printf '\n== %s\n' "$*"; }

# step NAME COMMAND...: runs it, shows what it prints, remembers how it ended.
step() {
    local name=$1 began=$SECONDS log="$logs/${1// /-}.log"
    shift
    say "$name"
    if "$@" > >(tee "$log") 2>&1; then
        summary+=("ok      $name ($((SECONDS - began)) s)")
    else
        summary+=("FAILED  $name ($((SECONDS - began)) s; see $log)")
        broken+=("$log")
        failed=1
    fi
}

# Put in place what is missing and can be had.
prepare() {
    if ! cargo fmt --version > /dev/null 2>&1 || ! cargo clippy --version > /dev/null 2>&1; then
        command -v rustup > /dev/null && rustup component add rustfmt clippy || true
    fi
    [ "$(uname)" = Linux ] || return 0
    install bwrap bubblewrap
    install strace strace
    install git git
    install chromium chromium
}

# install PROGRAM PACKAGE: from Debian's packages, where that is possible.
install() {
    command -v "$1" > /dev/null && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        echo "installing $2"
        { retry apt-get update -qq && DEBIAN_FRONTEND=noninteractive retry apt-get install -qq -y "$2"; } \
            >> "$logs/apt.log" 2>&1 || echo "$2 cannot be installed; see $logs/apt.log"
    else
        echo "$2 is not installed; tests that need it say SKIPPED"
    fi
}

# Half an hour: a test that hangs is a failed test, and the summary still comes.
limit() {
    if command -v timeout > /dev/null; then timeout -k 30 "$@"; else shift && "$@"; fi
}

tests() {
    local log="$logs/cargo-test.log" status=0
    limit 1900 cargo test --locked --no-fail-fast -- --show-output > "$log" 2>&1 || status=$?
    # The whole log is long; this is what one wants to see of it.
    grep -E '^(test .* \.\.\. (FAILED|ignored)|test result|SKIPPED|     Running|   Doc-tests|error|warning: unused)' "$log" || true
    if [ "$status" != 0 ]; then
        echo "--- the end of $log"
        sed -n '/^failures:/,$p' "$log" | tail -n 150
        [ "$status" = 124 ] && echo "the tests were stopped after 1900 s"
        tail -n 20 "$log"
        # Last, where the summary finds it: which ones failed, and of what.
        grep -A 2 -E "panicked at" "$log" | cut -c 1-300 | tail -n 12 || true
        grep -E '^test .* \.\.\. FAILED' "$log" || true
    fi
    return "$status"
}

leftovers() {
    local left
    # Processes that were told to end need a moment.
    for _ in $(seq 50); do
        left=$(LEFTOVERS_OF=$scratch bash scripts/leftovers.sh)
        [ -z "$left" ] && return 0
        sleep 0.2
    done
    echo "still running after the tests:"
    echo "$left"
    return 1
}

prepare
step "format" cargo fmt --check
step "lints" cargo clippy --locked --all-targets -- -D warnings
step "duplicate crates" bash scripts/duplicates.sh
export TMPDIR=$scratch
step "tests" tests
# Against the server that the tests built.
step "clients" limit 1900 bash scripts/clients.sh
step "modal" limit 1900 bash scripts/modal.sh
unset TMPDIR
step "no process left" leftovers

skipped=$(grep -hE '^SKIPPED' "$logs"/*.log 2> /dev/null | sort | uniq || true)
count=$(grep -cE '^SKIPPED' <<< "$skipped" || true)

say "summary"
printf '%s\n' "${summary[@]}"
passed=$(awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed", passed, failed }' "$logs/cargo-test.log")
echo "tests: $passed"
if [ "$count" -gt 0 ]; then
    echo "skipped: $count"
    sed 's/^/  /' <<< "$skipped"
    if [ "${CI:-}" = true ]; then
        echo "CI=true: nothing may be skipped"
        failed=1
    fi
else
    echo "skipped: 0"
fi
if [ "$failed" != 0 ]; then
    # Once more, and last: of a long output somebody sees the end.
    for log in "${broken[@]}"; do
        echo "--- the end of $log:"
        tail -n 25 "$log" | cut -c 1-300
    done
    echo "FAILED after $SECONDS s"
    exit 1
fi
echo "all is well after $SECONDS s"
