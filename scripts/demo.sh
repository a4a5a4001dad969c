#!/usr/bin/env bash
# Paint the sample photograph in the manner of a Van Gogh, on a fresh machine with Python 3.11+.
# Usage: bash scripts/demo.sh [more flags of `nst-jax stylize`]
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh ""
nst-jax stylize docs/samples/china.jpg docs/samples/van_gogh_cafe_terrace.jpg \
  -o demo.png --overwrite --size 384 --steps 150 "$@"
