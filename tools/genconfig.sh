#!/usr/bin/env bash
# Write the sample configuration from the options themselves; with --check, fail
# where the one in the repository differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly SAMPLE=etc/blockworker.conf.sample

fresh=$(.venv/bin/blockworker config sample)

if [ "${1:-}" != --check ]; then
    printf '%s\n' "$fresh" >"$SAMPLE"
    echo "wrote $SAMPLE"
elif ! diff -u "$SAMPLE" - <<<"$fresh"; then
    echo "$SAMPLE is not what the options say; run: tox -e genconfig" >&2
    exit 1
fi
