#!/usr/bin/env bash
# Install the Cinder that the services ring runs into build/cinder, in an environment of its own:
# what it needs and what we need need not agree. tests/cinder/packages.txt says which versions.
#
# Wheels alone, none of them resolved: seconds. Nothing is done where they are there already.
#
#   PYTHON=python3.12   another interpreter
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PYTHON="${PYTHON:-python3}"
readonly PLACE=build/cinder
readonly PACKAGES=tests/cinder/packages.txt
readonly STAMP=$PLACE/.stamp

# An environment knows the folder that it was made in.
fingerprint() { { cat "$PACKAGES" && "$PYTHON" --version && pwd; } | sha256sum | cut -d ' ' -f 1; }

[ ! -f "$STAMP" ] || [ "$(cat "$STAMP")" != "$(fingerprint)" ] || exit 0

printf 'setup: installing Cinder for the tests into %s\n' "$PLACE"
rm -rf "$PLACE"
"$PYTHON" -m venv --without-pip "$PLACE"
# Our own versions are not Cinder's. It compiles what it imports when it is first started, here.
env -u PIP_CONSTRAINT .venv/bin/python -m pip --python "$PLACE/bin/python" install -qq \
    --disable-pip-version-check --no-deps --only-binary :all: --no-compile --requirement "$PACKAGES"
# Each test's Cinder begins with a copy of an empty database.
env -u PYTHONDONTWRITEBYTECODE PYTHONWARNINGS=ignore \
    OS_DATABASE__CONNECTION="sqlite:///$PWD/$PLACE/empty.sqlite" \
    "$PLACE/bin/cinder-manage" --config-file /dev/null db sync >"$PLACE/db-sync.log" 2>&1 || {
    cat "$PLACE/db-sync.log"
    exit 1
}
fingerprint >"$STAMP"
