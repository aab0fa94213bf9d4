#!/bin/sh
# format.sh -- Are these C files formatted as .clang-format says? `format.sh file...`
# SPDX-License-Identifier: BSD-3-Clause
#
# Other major versions of clang-format than 14 format some things differently, so they are not asked.
set -eu
version=$(clang-format --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [ "$version" != 14 ]; then
    echo "format-check: not done, it needs clang-format 14 (this is $version)"
    exit 0
fi
[ $# -gt 0 ] || exit 0
if ! clang-format --dry-run -Werror "$@" >build/format.log 2>&1; then
    grep ': error:' build/format.log | cut -d: -f1 | sort | uniq -c
    echo "format-check: make format mends it"
    exit 1
fi
echo "format-check: $# files are formatted"
