#!/bin/sh
# tidy.sh -- clang-tidy over the C files that changed since it last passed on them: `tidy.sh [file.c...]`, all without names.
# SPDX-License-Identifier: BSD-3-Clause
#
# A file is asked again when it, a header, .clang-tidy or this script is newer than its mark below build/tidy/. Unit and integration tests are left
# out: Check's macros trip the analyzer. Needs no build; works outside of git too. The status is 0 when nothing was found.
set -eu
cd "$(dirname "$0")/../.."
folders="src utils tests/lib tests/crash tests/fuzz"
# max-nodes: the analyzer's default of 225,000 steps per function takes eight times as long and found nothing more here.
flags="-std=gnu11 -D_GNU_SOURCE= -DKV_DEBUG -DKV_FAULTS -Isrc -Itests/lib -Itests -isystem /usr/include/lua5.1 -Xclang -analyzer-config -Xclang max-nodes=20000"
if ! command -v clang-tidy >/dev/null; then
    echo "tidy: clang-tidy is not installed (deps/install.sh test)" >&2
    exit 1
fi

marks=build/tidy
mkdir -p "$marks"
# A header can change what any file means, so the newest of them stands for all.
# shellcheck disable=SC2086
if [ -n "$(find $folders .clang-tidy utils/check/tidy.sh \( -name '*.h' -o -name .clang-tidy -o -name tidy.sh \) -newer "$marks/common" 2>&1)" ]; then
    find "$marks" -name '*.ok' -exec rm -f {} +
    touch "$marks/common"
fi
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $(find $folders -name '*.c' | sort)
total=$#
for file in "$@"; do # keeps those to ask: each is taken from the front and put back at the end
    shift
    if [ -n "$(find "$file" -newer "$marks/$file.ok" 2>&1)" ]; then
        set -- "$@" "$file"
    fi
done
export flags marks
# shellcheck disable=SC2016
if [ $# -gt 0 ] && ! printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 sh -c '
    log=$marks/$1.log
    mkdir -p "${log%/*}"
    # shellcheck disable=SC2086
    if clang-tidy --quiet --warnings-as-errors="*" "$1" -- $flags >"$log" 2>"$log.err"; then
        touch "$marks/$1.ok"
    else
        cat "$log"
        grep -v "warnings\{0,1\} generated\|Suppressed\|Use -header-filter" "$log.err"
        exit 1
    fi' sh; then
    echo "tidy: see above" >&2
    exit 1
fi
echo "tidy: $total files are clean ($# asked)"
