# shellcheck shell=bash disable=SC2034 # used by those who source it
# Sourced by fetch and kmod: the folder for fetched things, and what happens when a tool is missing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Absolute, because builds change folder.
cache=$(realpath -m "${GPUFERRY_CACHE:-$root/.cache}")

say() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&2; }

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# need TOOL PACKAGE: install the Debian package where that is possible, else name it.
need() { command -v "$1" >/dev/null || install_package "$1" "$2"; }

# A compiler is of no use without the C library's headers, which are a package of their own.
need_compiler() {
    need gcc gcc
    echo '#include <sys/types.h>' | gcc -E - >/dev/null 2>&1 || install_package "the C library's headers" libc6-dev
}

install_package() { # install_package WHAT PACKAGE
    local output
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "missing: $1; install the Debian package $2"
    fi
    say "missing: $1; installing the Debian package $2"
    output=$({ [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -print -quit)" ] || apt-get -qq update; } 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$2" 2>&1) ||
        fail "cannot install the Debian package $2: $output"
}

# usage: print the caller's opening comment, which is its manual.
usage() { sed -n '2,${/^#/!q; s/^# \{0,1\}//p}' "$0"; }
