#!/usr/bin/env bash
# Installs the tools that tests run into the directory given; npm has to be there.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
dir=${1:?usage: scripts/tools.sh DIRECTORY}
mkdir -p "$dir"
retry npm install --prefix "$dir" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error @bufbuild/buf@1.75.0
