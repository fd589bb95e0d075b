#!/bin/bash
# Resolve deploy/*.in for the machine (its Python, its platform, wheels only), with the hash of every file. Each lock is
# resolved from the public index alone, so nothing of the computer this runs on comes into it.
set -euo pipefail
cd "$(dirname "$0")/.."
for name in requirements requirements-vllm; do
  uv pip compile "deploy/$name.in" --quiet --no-config --default-index https://pypi.org/simple --generate-hashes --no-build \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.12 \
    --python-platform x86_64-manylinux_2_39 --output-file "deploy/$name.lock" "$@"
done
