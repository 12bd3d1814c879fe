#!/usr/bin/env bash
# Makes .venv with exactly the locked dependencies. Needs Python 3.11 or later; uv does the rest.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(command -v python3.11 || command -v python3) || { echo "Python 3.11 is missing: apt-get install python3 python3-venv" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "$python is older than 3.11" >&2; exit 1; }

if [ ! -x .venv/bin/python ]; then
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian ships venv and pip apart from Python.
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
    echo "Installing python3-venv"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
  fi
  echo "Making .venv"
  "$python" -m venv .venv
fi
if [ ! -x .venv/bin/uv ]; then
  .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
fi
echo "Installing the locked dependencies (about 5 GB the first time, from the cache afterwards)"
.venv/bin/uv pip sync --quiet --require-hashes requirements/dev.txt
.venv/bin/uv pip install --quiet --no-deps --editable .
