#!/usr/bin/env bash
# What is said of Modal here, held against its official SDKs. modal.sh [drift | sdks | provider]...: only these.
#
# What cannot run here prints a line "SKIPPED: why". All that is installed lies below target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/checks.sh

mkdir -p "${CARGO_TARGET_DIR:-target}"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
venv=$target/modal/venv
modules=$target/modal/node

# The official Python SDK in an environment of its own.
python_sdk() {
    has "Modal's Python SDK" python3 || return 1
    python_environment "$venv" tests/modal/requirements.txt
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
    has "the emulator of Modal" bwrap || return 0
    [ -x "$program" ] || cargo build --locked
    if has "Modal's JavaScript SDK" node npm; then
        if ! cmp -s tests/modal/package-lock.json "$modules/installed"; then
            rm -rf "$modules"
            mkdir -p "$modules"
            cp tests/modal/package.json tests/modal/package-lock.json "$modules"
            # Without the optional packages, which only make things faster and are not to be had everywhere.
            (cd "$modules" && retry npm install --no-audit --no-fund --ignore-scripts --omit=optional --loglevel=error)
            cp tests/modal/package-lock.json "$modules/installed"
        fi
        cp tests/modal/drive.mjs "$modules"
        javascript=("$modules/drive.mjs")
    fi
    "$venv/bin/python" tests/modal/sdks.py "$program" "$target/test-cache" ${javascript[@]+"${javascript[@]}"}
}

# What our provider sends is what the official SDKs send, but for differences that are explained.
check_provider() {
    python_sdk || return 0
    has "the emulator of Modal" bwrap || return 0
    "$venv/bin/python" tests/modal/provider.py "${SERVER_UNDER_TEST:-$target/debug/agent-runtime}"
}

[ $# -gt 0 ] || set -- drift sdks provider
each "$@"
