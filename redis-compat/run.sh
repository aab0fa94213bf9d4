#!/bin/sh
# run.sh -- Runs the judges of kv's compatibility: `run.sh [--full] [--has NAME | KV-SERVER]`
# SPDX-License-Identifier: BSD-3-Clause
#
# Judges: tools (redis-cli, redis-benchmark), transcript, oracle, families, faults, upstream, clients (README.md says what each is). ONE=name runs one of them. --full, or
# KV_TORTURE=1, is the long form: the upstream suite, client software, more commands, coverage, the oracle's self-test. The last line is "compat: N passed, N failed".
# What they found is in build/compat/: report.md, one table of all judges, and the logs. The long form of all judges writes the table to
# redis-compat/report.md too.
set -u
cd "$(dirname "$0")/.." || exit 2
full=${KV_TORTURE:-}
while [ $# -gt 0 ]; do
    case "$1" in
    --full) full=1 ;;
    --has)
        case "$2" in tools | transcript | oracle | families | faults | upstream | upstream-valkey | clients) exit 0 ;; *) exit 1 ;; esac
        ;;
    *) KV_SERVER=$1 ;;
    esac
    shift
done
KV_SERVER=${KV_SERVER:-build/kv-server}
[ -x "$KV_SERVER" ] || ${MAKE:-make} --no-print-directory "$KV_SERVER" || exit 1
export KV_SERVER
reports=build/compat
mkdir -p "$reports"
passed=0 failed=0
{
    printf '# What the judges say\n\nWritten by `make test-compat`. Listed: explained in known-differences.md.\n\n'
    printf '| judge | asked | passed | listed | wrong |\n|---|---|---|---|---|\n'
} >"$reports/report.md"

judge() { # name command...: the command ends with "<name>: N passed, N failed"
    name=$1
    shift
    "$@" >"$reports/$name.out" 2>&1
    status=$?
    grep -v '^\(TOO FEW\|  found\)' "$reports/$name.out"
    counts=$(sed -n "s/^$name: \([0-9]*\) passed, \([0-9]*\) failed\$/\1 \2/p" "$reports/$name.out" | tail -n 1)
    [ -n "$counts" ] || echo "$name: ended without counts (status $status)"
    # shellcheck disable=SC2086
    set -- ${counts:-0 1}
    [ "$status" -eq 0 ] || [ "$2" -gt 0 ] || set -- "$1" 1
    passed=$((passed + $1)) failed=$((failed + $2))
    # A suite has a row for each unit: "<unit>: G of N passed, L listed, W wrong".
    rows=$(sed -n "s/^\([a-z:]*[a-z]\/[^ ]*\): \([0-9]*\) of \([0-9]*\) passed, \([0-9]*\) listed, \([0-9]*\) wrong.*/\1 \2 \3 \4 \5/p" "$reports/$name.out")
    echo "$name $1 $2 $rows" | awk '
        NR == 1 { name = $1; passed = $2; wrong = $3; asked = passed + wrong; $0 = $4 " " $5 " " $6 " " $7 " " $8 }
        NF == 5 { unit[++n] = $1; good[n] = $2; all[n] = $3; known[n] = $4; bad[n] = $5; total += $3; listed += $4 }
        END {
            printf "| **%s** | %d | %d | %d | %d |\n", name, (n > 0 ? total : asked), passed, listed, wrong
            for (i = 1; i <= n; i++) printf "| %s %s | %d | %d | %d | %d |\n", name, unit[i], all[i], good[i], known[i], bad[i]
        }' >>"$reports/report.md"
}

wanted() { [ -z "${ONE-}" ] || [ "$ONE" = "$1" ]; }

if wanted tools; then judge tools redis-compat/tools.py; fi
if wanted transcript; then judge transcript redis-compat/transcript.py; fi
if wanted oracle; then
    if [ -n "$full" ]; then
        judge oracle redis-compat/oracle.py --full
        judge oracle-self-test redis-compat/oracle.py --self-test
    else
        # The same commands each time, and a second look at a difference: the short form guards against what a change breaks. The long one
        # sends other commands each time, and one difference there is one to explain.
        judge oracle sh -c 'redis-compat/oracle.py --commands 20000 --seed 7 || redis-compat/oracle.py --commands 20000 --seed 7'
    fi
fi
if wanted families; then
    if [ -n "$full" ]; then
        judge families redis-compat/families.py --rounds 50 --reactors 4
        judge families redis-compat/families.py --rounds 50 --reactors 1
    else
        judge families redis-compat/families.py --rounds 3 --seed 7 --units 3000
    fi
fi
if wanted faults && [ -n "$full${ONE-}" ]; then # a release build has no fault points
    ${MAKE:-make} --no-print-directory V=test build/test/kv-server >/dev/null || exit 1
    if [ -n "$full" ]; then
        judge faults env KV_SERVER=build/test/kv-server redis-compat/faults.py --units 3000 --lives 1000
    else
        judge faults env KV_SERVER=build/test/kv-server redis-compat/faults.py --units 150 --lives 6 --seed 7
    fi
fi
if [ -n "$full" ] || [ "${ONE-}" = upstream ]; then judge upstream redis-compat/upstream.py; fi
if [ -n "$full" ] || [ "${ONE-}" = upstream-valkey ]; then judge upstream-valkey redis-compat/upstream.py --suite valkey; fi
if [ -n "$full" ] || [ "${ONE-}" = clients ]; then judge clients redis-compat/clients.py; fi
[ -z "$full" ] || [ -n "${ONE-}" ] || cp "$reports/report.md" redis-compat/report.md
echo "compat: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
