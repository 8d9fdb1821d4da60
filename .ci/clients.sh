#!/usr/bin/env bash
# Installs the clients that the end-to-end tests drive into the cache, in the versions that the repository pins.
#
#   .ci/clients.sh [CACHE]     -> CACHE/venv and CACHE/venv-genai (Python), and CACHE/clients (Node.js) [default: ~/.cache/onrecord]
set -euo pipefail

cache=${1:-${ONRECORD_CACHE:-$HOME/.cache/onrecord}}
pinned=$(cd "$(dirname "$0")/../crates/server/tests/clients" && pwd)
python=${ONRECORD_TEST_PYTHON:-$cache/venv/bin/python}

if ! "$python" -c '' 2>/dev/null; then
    python=$cache/venv/bin/python
    python3 -m venv "$cache/venv"
fi
# Does nothing where they are there already.
"$python" -m pip install -q --disable-pip-version-check -r "$pinned/requirements.txt"

# Instrumentations of which no environment can hold both.
if ! "$cache/venv-genai/bin/python" -c '' 2>/dev/null; then
    python3 -m venv "$cache/venv-genai"
fi
"$cache/venv-genai/bin/python" -m pip install -q --disable-pip-version-check -r "$pinned/requirements-genai.txt"

mkdir -p "$cache/clients"
if ! cmp -s "$pinned/package-lock.json" "$cache/clients/package-lock.json" || [[ ! -d $cache/clients/node_modules ]]; then
    cp "$pinned/package.json" "$cache/clients/"
    (cp "$pinned/package-lock.json" "$cache/clients/" && cd "$cache/clients" && npm ci --no-audit --no-fund)
fi
