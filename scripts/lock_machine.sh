#!/bin/bash
# Resolve deploy/requirements.in for the machine (its Python, its platform), with the hash of every file.
set -euo pipefail
cd "$(dirname "$0")/.."
uv pip compile deploy/requirements.in --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url \
  --no-emit-find-links --python-version 3.12 --python-platform x86_64-unknown-linux-gnu --output-file deploy/requirements.lock "$@"
