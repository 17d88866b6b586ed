#!/usr/bin/env bash
# Write the sample configuration and the sample policy from the options and rules
# themselves; with --check, fail where one in the repository differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wrong=0
sample() { # FILE COMMAND …: what the command prints is the file
    local file=$1 fresh
    shift
    fresh=$("$@")
    if [ "$check" != --check ]; then
        printf '%s\n' "$fresh" >"$file"
        echo "wrote $file"
    elif ! diff -u "$file" - <<<"$fresh"; then
        echo "$file is not what the code says; run: tox -e genconfig" >&2
        wrong=1
    fi
}

readonly check=${1:-}
sample etc/blockworker.conf.sample .venv/bin/blockworker config sample
sample etc/policy.yaml.sample .venv/bin/oslopolicy-sample-generator --namespace blockworker
exit "$wrong"
