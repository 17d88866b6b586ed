#!/usr/bin/env bash
# Set up this checkout: system packages through apt, Python packages into .venv.
#
#   tools/setup.sh demo     what `make demo` needs
#   tools/setup.sh test     that, and what the tests and linters need
#   tools/setup.sh python   the Python half of test alone (tox asks for it)
#
# Tests also get a Cinder of their own, in build/cinder (tools/cinder-venv.sh).
# Nothing but apt's packages is written outside the checkout. Running it again
# installs what is missing and no more.
#
#   PYTHON=python3.12   another interpreter
#   PACKAGES=skip       take the system packages for granted (another system, other names)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PYTHON="${PYTHON:-python3}"
readonly OLDEST=3.11
readonly STAMP=.venv/.blockworker-setup

# pip reads these; relative, because it splits them at spaces. The first is for
# what is installed, the second for what builds it.
export PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# --- system packages -------------------------------------------------------

has_apt() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

# The lock is closed for it: a service that a package starts would keep it for ever.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@" 9<&-
    else
        sudo -n "$@" 9<&-
    fi
}

may_be_root() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

# Install packages, or print exactly which are missing and what to do.
install_packages() {
    local line="apt-get install --no-install-recommends $*"
    if ! has_apt; then
        fail "these system packages are missing, under Debian's names: $*" \
            "this system has no apt; install their likes by hand, then run it again with PACKAGES=skip"
    fi
    if ! may_be_root; then
        fail "these system packages are missing: $*" \
            "neither root nor sudo without a password is at hand; have an administrator run:" \
            "    $line" \
            "and run it again"
    fi
    say "installing $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update ||
        fail "apt-get update failed; its message is above"
    # shellcheck disable=SC2086 # one word per package
    as_root env DEBIAN_FRONTEND=noninteractive $line -qq --yes -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 >/dev/null ||
        fail "apt-get could not install them; its message is above"
}

# bindep's list for a profile, one package a line; empty when all are there.
missing_packages() {
    local found
    # It exits 1 when something is missing and prints the names; without a
    # package manager that it knows it ends in a traceback and prints none.
    found=$(.venv/bin/bindep --brief "$1" 2>/dev/null) && return
    if [ -z "$found" ]; then
        fail "cannot tell which system packages are missing; needed, under Debian's names:" \
            "    $(.venv/bin/bindep --list_all newline "$1" 2>/dev/null | tr '\n' ' ')" \
            "install their likes by hand (bindep.txt says what for), then run it again with PACKAGES=skip"
    fi
    printf '%s\n' "$found"
}

# dpkg alone answers in a tenth of bindep's time, for the list that bindep gave last.
still_installed() {
    local list=".venv/.blockworker-packages-$1" states
    [ "$list" -nt bindep.txt ] || return 1
    # shellcheck disable=SC2046 # one word per package
    states=$(dpkg-query --show --showformat='${db:Status-Status}\n' $(cat "$list") 2>/dev/null) || return 1
    [ "$(sort -u <<<"$states")" = installed ]
}

system_packages() {
    local missing
    [ "${PACKAGES:-}" != skip ] || return 0
    still_installed "$1" && return
    missing=$(missing_packages "$1")
    # shellcheck disable=SC2086 # one word per package
    [ -z "$missing" ] || install_packages $missing
    .venv/bin/bindep --list_all newline "$1" >".venv/.blockworker-packages-$1" || true
}

# --- Python packages -------------------------------------------------------

python_works() { "$PYTHON" -c 'import ensurepip, ssl, venv' 2>/dev/null; }

# A fresh Debian has no venv module, and bindep, which would say so, lives in one.
bootstrap_python() {
    if ! python_works && [ "$PYTHON" = python3 ] && [ "${PACKAGES:-}" != skip ]; then
        install_packages python3 python3-venv
    fi
    python_works || fail "$PYTHON is not there or lacks venv, ensurepip or ssl; name another with PYTHON="
    "$PYTHON" -c "import sys; sys.exit(sys.version_info < (${OLDEST/./, }))" ||
        fail "$("$PYTHON" --version) is too old; $OLDEST or newer is needed, name one with PYTHON="
}

# True for one made here: scripts of a folder that was moved or copied point to the old place.
venv_works() { grep -qsF "$PWD/.venv/" .venv/bin/pip && .venv/bin/python -m pip --version >/dev/null 2>&1; }

venv() {
    venv_works && return
    bootstrap_python
    say "making .venv with $("$PYTHON" --version)"
    "$PYTHON" -m venv --clear .venv
}

pip_install() {
    .venv/bin/python -m pip install -qq "$@" || fail "pip failed; its message is above"
}

fingerprint() { cat setup.cfg pyproject.toml constraints.txt | sha256sum | cut -d ' ' -f 1; }

# True when .venv holds this profile, or more, in today's versions.
stamped() {
    local have=""
    [ ! -f "$STAMP" ] || have=$(cat "$STAMP")
    [ "$have" = "test $(fingerprint) $PWD" ] || [ "$have" = "$1 $(fingerprint) $PWD" ]
}

# The tool that tells what the system lacks comes first: libvirt-python cannot
# be compiled before that is there.
bindep_first() {
    [ -x .venv/bin/bindep ] && return
    pip_install --upgrade pip bindep
}

python_packages() {
    local extras="setup"
    [ "$1" != test ] || extras="setup,test,lint,postgresql,mariadb,keys,keystone"
    say "installing Python packages into .venv (a few minutes the first time)"
    rm -f "$STAMP"
    pip_install --upgrade pip
    pip_install --editable ".[$extras]"
    printf '%s %s %s' "$1" "$(fingerprint)" "$PWD" >"$STAMP"
}

# --- the whole -------------------------------------------------------------

main() {
    local profile="${1:-}" packages=yes
    case "$profile" in
        demo | test) ;;
        python) profile=test packages=no ;;
        *) fail "usage: tools/setup.sh demo|test|python" ;;
    esac
    # One at a time: two would install into each other's half-made .venv.
    exec 9<tools/setup.sh
    flock 9
    if ! stamped "$profile"; then
        venv
        bindep_first
    fi
    [ "$packages" = no ] || system_packages "$profile"
    if ! stamped "$profile"; then
        python_packages "$profile"
        say "ready"
    fi
    [ "$profile" = demo ] || tools/cinder-venv.sh || fail "Cinder could not be installed; why is above"
}

main "$@"
