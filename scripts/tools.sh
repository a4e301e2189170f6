#!/bin/sh
# Installs the tools that tests run into the directory given; npm has to be there.
set -eu
dir=${1:?usage: scripts/tools.sh DIRECTORY}
mkdir -p "$dir"
npm install --prefix "$dir" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error @bufbuild/buf@1.75.0
