# shellcheck shell=bash
# What the scripts of this directory share. Sourced, never run: it moves to the top of the work tree.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

say() { printf '\n== %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Where Debian's package, and no other, puts the browser that the tests drive.
CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
export CHROMIUM
