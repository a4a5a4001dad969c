#!/usr/bin/env bash
# Install the test extra and run the suite, on a fresh machine with Python 3.11+.
# Usage: bash scripts/test.sh [flags of pytest]
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh "[test]"
python -m pytest "$@"
