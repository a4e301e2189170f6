#!/usr/bin/env bash
# Generates the clients' code from the contract: gen.sh [DIRECTORY], by default over the files that are checked in. The
# generators are pinned here and installed below target/gen-tools; Go, Node.js and Python have to be there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/checks.sh
out=${1:-.}

BUF=1.75.0
GO=v1.36.11
GO_GRPC=v1.6.2
ES=2.13.0
# What an older release generates runs with newer packages of protobuf and grpcio, and never the other way round.
GRPCIO_TOOLS=1.71.2
MYPY_PROTOBUF=5.1.0

tools=$(mkdir -p "${CARGO_TARGET_DIR:-target}/gen-tools" && cd "${CARGO_TARGET_DIR:-target}/gen-tools" && pwd)
bin=$tools/bin
want="$BUF $GO $GO_GRPC $ES $GRPCIO_TOOLS $MYPY_PROTOBUF"

install_tools() {
    rm -rf "$tools" && mkdir -p "$bin"
    retry node_tools
    GOBIN=$bin retry go install "google.golang.org/protobuf/cmd/protoc-gen-go@$GO"
    GOBIN=$bin retry go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$GO_GRPC"
    # Two, for the runtime that one needs is too old for the other.
    venv python "grpcio-tools==$GRPCIO_TOOLS" "setuptools<81"
    venv mypy "mypy-protobuf==$MYPY_PROTOBUF"
    ln -s "$tools/mypy/bin/protoc-gen-mypy" "$tools/mypy/bin/protoc-gen-mypy_grpc" "$bin/"
    echo "$want" > "$tools/installed"
}

# The program of buf is in a package for this kind of machine, which may be missing without an error.
node_tools() {
    rm -rf "$tools/npm"
    npm install --prefix "$tools/npm" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
        "@bufbuild/buf@$BUF" "@bufbuild/protoc-gen-es@$ES" && "$tools/npm/node_modules/.bin/buf" --version > /dev/null
}

venv() {
    python3 -m venv "$tools/$1"
    retry "$tools/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

[ "$(cat "$tools/installed" 2> /dev/null)" = "$want" ] || install_tools
export PATH=$bin:$tools/npm/node_modules/.bin:$PATH
rm -rf "$out/clients/go/agentruntimev1" "$out/clients/typescript/src/gen" "$out/clients/python/src/agentruntime/v1"
mkdir -p "$out/clients/python/src"
buf generate --output "$out"
"$tools/python/bin/python" -m grpc_tools.protoc -I proto --python_out="$out/clients/python/src" --grpc_python_out="$out/clients/python/src" \
    --mypy_out="quiet:$out/clients/python/src" --mypy_grpc_out="quiet:$out/clients/python/src" proto/agentruntime/v1/*.proto
# Packages, for Python.
touch "$out/clients/python/src/agentruntime/v1/__init__.py"
