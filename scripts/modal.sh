#!/usr/bin/env bash
# What is said of Modal here, held against its official SDKs. modal.sh [drift | sdks | provider]...: only these.
#
# What cannot run here prints a line "SKIPPED: why". All that is installed lies below target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p "${CARGO_TARGET_DIR:-target}"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
venv=$target/modal/venv
modules=$target/modal/node

# The official Python SDK in an environment of its own.
python_sdk() {
    # Debian has ensurepip in a package of its own, and no virtual environment without it.
    if ! python3 -m ensurepip --version > /dev/null 2>&1; then
        echo "SKIPPED: Modal's Python SDK: python3 with venv is not installed"
        return 1
    fi
    local lock=tests/modal/requirements.txt
    if ! cmp -s "$lock" "$venv/installed"; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$lock"
        cp "$lock" "$venv/installed"
    fi
}

# Our part of the API is theirs.
check_drift() {
    python_sdk || return 0
    "$venv/bin/python" tests/modal/drift.py
}

# The official SDKs work against the emulator, and send it what they were seen to send elsewhere.
check_sdks() {
    python_sdk || return 0
    local program=${SERVER_UNDER_TEST:-$target/debug/agent-runtime} javascript=()
    if ! command -v bwrap > /dev/null; then
        echo "SKIPPED: the emulator of Modal: bubblewrap is not installed"
        return 0
    fi
    [ -x "$program" ] || cargo build --locked
    if node --version > /dev/null 2>&1 && npm --version > /dev/null 2>&1; then
        if ! cmp -s tests/modal/package-lock.json "$modules/installed"; then
            rm -rf "$modules"
            mkdir -p "$modules"
            cp tests/modal/package.json tests/modal/package-lock.json "$modules"
            # Without the optional packages, which only make things faster and are not to be had everywhere.
            (cd "$modules" && npm install --no-audit --no-fund --ignore-scripts --omit=optional --loglevel=error)
            cp tests/modal/package-lock.json "$modules/installed"
        fi
        cp tests/modal/drive.mjs "$modules"
        javascript=("$modules/drive.mjs")
    else
        echo "SKIPPED: Modal's JavaScript SDK: Node.js with npm is not installed"
    fi
    "$venv/bin/python" tests/modal/sdks.py "$program" "$target/test-cache" ${javascript[@]+"${javascript[@]}"}
}

# What our provider sends is what the official SDKs send, but for differences that are explained.
check_provider() {
    python_sdk || return 0
    if ! command -v bwrap > /dev/null; then
        echo "SKIPPED: the emulator of Modal: bubblewrap is not installed"
        return 0
    fi
    "$venv/bin/python" tests/modal/provider.py "${SERVER_UNDER_TEST:-$target/debug/agent-runtime}"
}

failed=0
[ $# -gt 0 ] || set -- drift sdks provider
for name in "$@"; do
    began=$SECONDS
    echo "-- $name"
    # In a shell of its own: what fails there ends it, and the others still run.
    set +e
    (set -e; "check_$name")
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        echo "-- $name: $((SECONDS - began)) s"
    else
        echo "-- $name FAILED after $((SECONDS - began)) s"
        failed=1
    fi
done
exit "$failed"
