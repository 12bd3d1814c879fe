#!/usr/bin/env bash
# Prints the path of a Python 3.11, the release that requirements/*.txt are locked for. Debian's comes first: the images
# have it, and one that is built from source without --enable-optimizations (as by pyenv) takes half as long again.
set -uo pipefail
for python in /usr/bin/python3.11 python3.11 python3; do
  path=$(command -v "$python") || continue
  if "$path" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    echo "$path"
    exit 0
  fi
done
found=$(python3 --version 2>/dev/null || echo "no Python 3")
echo "Python 3.11 is needed, found $found: use Debian 12 (apt-get install python3), or put a python3.11 on PATH." >&2
exit 1
