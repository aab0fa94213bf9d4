#!/bin/sh
# tidy.sh -- clang-tidy over the C files that changed since it last passed on them: `tidy.sh "<flags>" file.c...`
# SPDX-License-Identifier: BSD-3-Clause
#
# A file is asked again when it, a header of its folder or .clang-tidy is newer than its mark below build/tidy/.
set -eu
flags=$1
shift
stale=
for file in "$@"; do
    mark=build/tidy/$file.ok
    if [ ! -e "$mark" ] || [ -n "$(find "$file" .clang-tidy "$(dirname "$file")"/*.h -newer "$mark" 2>/dev/null)" ]; then
        stale="$stale $file"
    fi
done
[ -n "$stale" ] || exit 0
export flags
# shellcheck disable=SC2016
if printf '%s\n' $stale | xargs -P "$(nproc)" -n 1 sh -c '
    mkdir -p "build/tidy/$(dirname "$1")"
    if clang-tidy --quiet --warnings-as-errors="*" "$1" -- $flags >"build/tidy/$1.log" 2>/dev/null; then
        touch "build/tidy/$1.ok"
    else
        cat "build/tidy/$1.log"
        exit 1
    fi' sh; then
    echo "tidy: clean"
else
    echo "tidy: see above" >&2
    exit 1
fi
