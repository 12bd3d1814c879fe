#!/usr/bin/env bash
# Makes .venv with exactly the locked dependencies. Needs Python 3.11; uv does the rest. Says what it does on stderr,
# since stdout belongs to results such as the kubeconfig's path.
set -euo pipefail
exec >&2
cd "$(dirname "$0")/.."

# Runs a command; where no terminal shows its own progress, a line every 20 seconds says that it still goes on.
patiently() {
  local title=$1 begun=$SECONDS beats=0
  shift
  echo "$title"
  if [ -t 2 ]; then
    "$@"
    return
  fi
  "$@" &
  trap "kill $! 2>/dev/null || true" EXIT # a background command does not hear Ctrl-C
  while kill -0 $! 2>/dev/null; do
    sleep 0.2
    ((++beats % 100)) || echo ".. $title: $((SECONDS - begun)) s so far"
  done
  wait $!
  trap - EXIT
}

python=$(bash dev/python.sh)
installed='import sys; print(sys.base_prefix)'

# Made by another Python, or by one that is gone.
if [ "$(.venv/bin/python -c "$installed" 2>/dev/null)" != "$("$python" -c "$installed")" ]; then
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian ships venv and pip apart from Python.
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
    patiently "Installing python3-venv" "$python" -m dev.cluster.installing python3-venv
  fi
  echo "Making .venv"
  "$python" -m venv --clear .venv
fi
if [ ! -x .venv/bin/uv ]; then
  patiently "Installing uv" \
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
fi
quiet=--quiet
[ -t 2 ] && quiet=--color=auto # uv's own bars
patiently "Installing the locked dependencies (about 5 GB the first time, from the cache afterwards)" \
  .venv/bin/uv pip sync "$quiet" --require-hashes requirements/dev.txt
.venv/bin/uv pip install --quiet --no-deps --editable .
