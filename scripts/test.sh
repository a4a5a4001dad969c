#!/usr/bin/env bash
# Install the test extra and run the suite, on a fresh machine with Python 3.11+: the quick tests,
# or all of them with -m "".
# Each core gets a part of the tests, four at most: a part takes up to 2 GB of memory.
# Usage: bash scripts/test.sh [flags of pytest]
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh "[test]"
python -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
