# shellcheck shell=bash
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
need() {
    if command -v "$1" >/dev/null; then return; fi
    local how="$1 is missing; install the Debian package $2"
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then fail "$how"; fi
    say "$1 is missing; installing the Debian package $2"
    [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -print -quit)" ] || apt-get -qq update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$2" >/dev/null || fail "$how"
}

# usage: print the caller's opening comment, which is its manual.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }
