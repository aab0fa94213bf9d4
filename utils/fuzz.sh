#!/bin/sh
# fuzz.sh -- Runs the fuzzers of build/fuzz one after another: `fuzz.sh <seconds each> [name]`
# SPDX-License-Identifier: BSD-3-Clause
#
# Inputs that reach new code are kept in build/fuzz/corpus/<name>, starting from tests/fuzz/corpus/<name>; an input that makes one fail is
# left as build/fuzz/crash-* and shown. Ends with "fuzz: N passed, N failed"; the status is 0 when no fuzzer failed.
set -u
cd "$(dirname "$0")/.." || exit 2
seconds=$1
only=${2-}
passed=0 failed=0
for fuzzer in build/fuzz/fuzz_*; do
    [ -x "$fuzzer" ] && [ ! -d "$fuzzer" ] || continue
    name=${fuzzer##*/fuzz_}
    [ -z "$only" ] || [ "$name" = "$only" ] || continue
    corpus=build/fuzz/corpus/$name
    seeds=tests/fuzz/corpus/$name
    mkdir -p "$corpus"
    [ -d "$seeds" ] || seeds=
    echo "== fuzz $name for $seconds s"
    # shellcheck disable=SC2086
    if "$fuzzer" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix=build/fuzz/crash-"$name"- "$corpus" $seeds >build/fuzz/"$name".log 2>&1; then
        grep -E 'stat::(number_of_executed_units|new_units_added)' build/fuzz/"$name".log
        passed=$((passed + 1))
    else
        tail -n 60 build/fuzz/"$name".log
        failed=$((failed + 1))
    fi
done
if [ $((passed + failed)) -eq 0 ]; then
    echo "fuzz: no fuzzer${only:+ named $only} (tests/fuzz/fuzz_*.c)" >&2
    exit 1
fi
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
