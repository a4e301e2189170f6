#!/usr/bin/env bash
# The clients in other languages: their generated code is what the contract gives, their sources are tidy, and their tests pass
# against the server that `cargo build` made, or SERVER_UNDER_TEST. clients.sh [STEP]...: only these of the steps below, check_STEP.
#
# What cannot run here prints a line "SKIPPED: why". All that is installed lies below target/ and in node_modules.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/checks.sh

mkdir -p "${CARGO_TARGET_DIR:-target}"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
export SERVER_UNDER_TEST=${SERVER_UNDER_TEST:-$target/debug/agent-runtime}
# What is compiled of a module is then the same wherever it lies: the test of the package has it elsewhere.
export GOFLAGS="${GOFLAGS:-} -trimpath"
# The tests of the packages install them, and what comes over the network fails now and then.
export PIP_RETRIES=10 npm_config_fetch_retries=5
scratch=$(mktemp -d "${TMPDIR:-/tmp}/art-clients.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

check_generated() {
    has "the clients' generated code" go npm python3 || return 0
    bash scripts/gen.sh "$scratch/gen"
    local folder
    for folder in clients/go/agentruntimev1 clients/typescript/src/gen clients/python/src/agentruntime/v1; do
        if ! diff -r --brief -x __pycache__ "$folder" "$scratch/gen/$folder"; then
            echo "$folder is not what the contract gives: run make gen"
            return 1
        fi
        echo "$folder is what the contract gives: $(find "$scratch/gen/$folder" -type f | wc -l) files"
    done
}

# The Python environment that the Python client and what compares the clients run in; `$bin` is where its programs are.
prepare_python() {
    bin=$target/clients-python/bin
    python_environment "$target/clients-python" clients/python/requirements-dev.txt
}

check_python() {
    has "the Python client" python3 openssl || return 0
    prepare_python
    cd clients/python
    "$bin/ruff" check --no-cache
    "$bin/ruff" format --no-cache --check
    "$bin/mypy" --cache-dir "$scratch/mypy"
    "$bin/pytest" -p no:cacheprovider --quiet
}

check_go() {
    has "the Go client" go openssl || return 0
    cd clients/go
    local untidy
    untidy=$(gofmt -l .)
    [ -z "$untidy" ] || { echo "gofmt would change: $untidy"; return 1; }
    echo "gofmt changes nothing"
    retry go mod download
    go vet ./...
    echo "go vet finds nothing"
    # Go says itself whether it has the compiler that this takes.
    local race=()
    [ "$(go env CGO_ENABLED)" != 1 ] || race=(-race)
    go test ${race[@]+"${race[@]}"} -count=1 -parallel 8 -json ./... > "$scratch/go.json" || {
        grep -o '"Output":".*"' "$scratch/go.json" | grep -vE '"(=== | *--- PASS)' | cut -c 1-600 | tail -n 60
        return 1
    }
    echo "go test ${race[*]-}: $(grep -c '"Action":"pass".*"Test":' "$scratch/go.json") passed"
}

check_typescript() {
    has "the TypeScript client" node npm openssl || return 0
    node_tests test
}

check_browser() {
    has "the browser page" node npm chromium || return 0
    CHROMIUM=$(command -v chromium) node_tests test:browser
}

# What the lock names, installed here; anew when the lock is another one.
node_modules() {
    if ! cmp -s package-lock.json node_modules/.package-lock.installed; then
        retry locked_modules
        cp package-lock.json node_modules/.package-lock.installed
    fi
}

# A package that is only there for this kind of machine, as the one with esbuild's program, may be missing without an error.
locked_modules() {
    npm ci --no-audit --no-fund --ignore-scripts --loglevel=error && node_modules/.bin/esbuild --version > /dev/null
}

# node_tests SCRIPT: one of package.json that runs tests, with what it needs installed.
node_tests() {
    cd clients/typescript
    node_modules
    npm run --silent "$1" > "$scratch/node.log" || {
        if grep -q '^ *not ok' "$scratch/node.log"; then
            grep -E -A 40 '^ *not ok' "$scratch/node.log" | grep -vE '^ *(# Subtest|ok )' | head -n 120
        else
            tail -n 60 "$scratch/node.log"
        fi
        grep -E '^# (tests|pass|fail)' "$scratch/node.log" || true
        return 1
    }
    grep -E '^# (tests|pass|fail|skipped)' "$scratch/node.log"
}

# The first programs of all languages, with the files that the checks above built.
check_first() {
    has "the first programs" go node npm python3 || return 0
    prepare_python
    "$bin/ruff" check --no-cache --config clients/python/pyproject.toml clients/first
    "$bin/ruff" format --no-cache --check --config clients/python/pyproject.toml clients/first
    cargo build --quiet --locked --example first
    (cd clients/typescript && node_modules && npm run --silent pretest)
    "$bin/python" clients/first/compare.py
}

# The transcript of the project's README, by the real program.
check_grpcurl() {
    has "grpcurl" go python3 || return 0
    local version=v1.9.3 folder=$target/grpcurl
    if [ "$(cat "$folder/installed" 2> /dev/null)" != "$version" ]; then
        GOBIN=$folder retry go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version"
        echo "$version" > "$folder/installed"
    fi
    prepare_python
    "$bin/ruff" check --no-cache --config clients/python/pyproject.toml clients/grpcurl
    "$bin/ruff" format --no-cache --check --config clients/python/pyproject.toml clients/grpcurl
    "$bin/python" clients/grpcurl/transcript.py "$folder/grpcurl"
}

if [ ! -x "$SERVER_UNDER_TEST" ]; then
    echo "there is no server at $SERVER_UNDER_TEST: run cargo build first" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- generated python go typescript browser first grpcurl
each "$@"
