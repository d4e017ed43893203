#!/usr/bin/env bash
# All checks in one command: installs dependencies, then checks format, lint and types and runs the
# tests.  For Debian and Ubuntu; missing system packages are installed as root or with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
python3 -c "import ensurepip" 2>/dev/null || missing+=(python3-venv)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
for library in libEGL.so.1:libegl1 libGL.so.1:libgl1 dri/swrast_dri.so:libgl1-mesa-dri; do
  compgen -G "/usr/lib/*/${library%%:*}" >/dev/null || missing+=("${library##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
  sudo=$(command -v sudo || true)
  $sudo apt-get update -q
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy "${missing[@]}"
fi

[ -d .venv-test ] || python3 -m venv .venv-test
.venv-test/bin/pip install -q --disable-pip-version-check -e ".[train,dev]"
.venv-test/bin/ruff format --check .
.venv-test/bin/ruff check .
.venv-test/bin/mypy
# Two processes share the files of tests; one thread each leaves the cores to them.
OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest -n 2 --dist loadfile "$@"
