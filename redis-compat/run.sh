#!/bin/sh
# run.sh -- Runs the judges of kv's compatibility: `run.sh [--full] [--has NAME | KV-SERVER]`
# SPDX-License-Identifier: BSD-3-Clause
#
# Judges: tools (redis-cli, redis-benchmark), transcript, oracle, families, soak, faults, upstream, clients (README.md says what each is). ONE=name runs one of them. --full, or
# KV_TORTURE=1, is the long form: the upstream suite, client software, more commands, coverage, the oracle's self-test. The last line is "compat: N passed, N failed".
# What they found is in build/compat/: report.md, one table of all judges, and the logs. The long form of a judge renews its rows in
# redis-compat/report.md too; each says what commit it judged.
set -u
cd "$(dirname "$0")/.." || exit 2
full=${KV_TORTURE:-}
while [ $# -gt 0 ]; do
    case "$1" in
    --full) full=1 ;;
    --has)
        case "$2" in tools | transcript | oracle | families | soak | faults | upstream-self-test | upstream | upstream-valkey | clients) exit 0 ;; *) exit 1 ;; esac
        ;;
    *) KV_SERVER=$1 ;;
    esac
    shift
done
KV_SERVER=${KV_SERVER:-build/kv-server}
[ -x "$KV_SERVER" ] || ${MAKE:-make} --no-print-directory "$KV_SERVER" || exit 1
export KV_SERVER
reports=build/compat
rows=$reports/rows${full:+.full}
mkdir -p "$rows"
[ -n "${ONE-}" ] || rm -f "$rows"/*
commit=$(git rev-parse --short HEAD 2>/dev/null || echo -)
git status --porcelain -uno 2>/dev/null | grep -qv 'redis-compat/report.md$' && commit=$commit+
passed=0 failed=0

table() { # all rows there are, in the order of the judges
    printf '# What the judges say\n\nWritten by make test-compat. Listed: explained in known-differences.md. Raced, in none of the columns: README.md. Commit: what was judged.\n\n'
    printf '| judge | asked | passed | listed | wrong | commit |\n|---|---|---|---|---|---|\n'
    for name in $judges; do
        [ ! -f "$rows/$name" ] || cat "$rows/$name"
    done
}
judges='tools transcript oracle oracle-valkey oracle-self-test families families-1 soak faults upstream-self-test upstream upstream-valkey clients'

judge() { # row name command...: the command ends with "<name>: N passed, N failed"
    row=$1 name=$2
    shift 2
    "$@" >"$reports/$row.out" 2>&1
    status=$?
    grep -v '^\(TOO FEW\|  found\)' "$reports/$row.out"
    counts=$(sed -n "s/^$name: \([0-9]*\) passed, \([0-9]*\) failed\$/\1 \2/p" "$reports/$row.out" | tail -n 1)
    [ -n "$counts" ] || echo "$row: ended without counts (status $status)"
    # shellcheck disable=SC2086
    set -- ${counts:-0 1}
    [ "$status" -eq 0 ] || [ "$2" -gt 0 ] || set -- "$1" 1
    passed=$((passed + $1)) failed=$((failed + $2))
    # A suite has a row for each unit: "<unit>: G of N passed, L listed, W wrong".
    units=$(sed -n "s/^\([a-z:]*[a-z]\/[^ ]*\): \([0-9]*\) of \([0-9]*\) passed, \([0-9]*\) listed, \([0-9]*\) wrong.*/\1 \2 \3 \4 \5/p" "$reports/$row.out")
    echo "$row $1 $2 $units" | awk -v commit="$commit" '
        NR == 1 { name = $1; passed = $2; wrong = $3; asked = passed + wrong; $0 = $4 " " $5 " " $6 " " $7 " " $8 }
        NF == 5 { unit[++n] = $1; good[n] = $2; all[n] = $3; known[n] = $4; bad[n] = $5; total += $3; listed += $4 }
        END {
            printf "| **%s** | %d | %d | %d | %d | %s |\n", name, (n > 0 ? total : asked), passed, listed, wrong, commit
            for (i = 1; i <= n; i++) printf "| %s %s | %d | %d | %d | %d | |\n", name, unit[i], all[i], good[i], known[i], bad[i]
        }' >"$rows/$row"
    table >"$reports/report.md"
}

wanted() { [ -z "${ONE-}" ] || [ "$ONE" = "$1" ]; }

if wanted tools; then judge tools tools redis-compat/tools.py; fi
if wanted transcript; then judge transcript transcript redis-compat/transcript.py; fi
if wanted oracle; then
    if [ -n "$full" ]; then
        judge oracle oracle redis-compat/oracle.py --full
        judge oracle-valkey oracle redis-compat/oracle.py --full --reference valkey
        judge oracle-self-test oracle-self-test redis-compat/oracle.py --self-test
    else
        # The same commands each time, and a second look at a difference: the short form guards against what a change breaks. The long one
        # sends other commands each time, and one difference there is one to explain.
        judge oracle oracle sh -c 'redis-compat/oracle.py --commands 20000 --seed 7 || redis-compat/oracle.py --commands 20000 --seed 7'
    fi
fi
if wanted families; then
    if [ -n "$full" ]; then
        judge families families redis-compat/families.py --rounds 50 --reactors 4
        judge families-1 families redis-compat/families.py --rounds 50 --reactors 1
    else
        judge families families redis-compat/families.py --rounds 3 --seed 7 --units 3000
    fi
fi
if wanted soak; then
    if [ -n "$full" ]; then
        judge soak soak redis-compat/soak.py --seconds 60 --lives 20
    else
        judge soak soak redis-compat/soak.py --seconds 6 --lives 3
    fi
fi
if wanted faults && [ -n "$full${ONE-}" ]; then # a release build has no fault points
    ${MAKE:-make} --no-print-directory V=test build/test/kv-server >/dev/null || exit 1
    if [ -n "$full" ]; then
        judge faults faults env KV_SERVER=build/test/kv-server redis-compat/faults.py --units 3000 --lives 1000
    else
        judge faults faults env KV_SERVER=build/test/kv-server redis-compat/faults.py --units 150 --lives 6 --seed 7
    fi
fi
if wanted upstream-self-test || wanted upstream; then judge upstream-self-test upstream-self-test redis-compat/upstream-self-test.py; fi
if wanted upstream && [ -n "$full${ONE-}" ]; then judge upstream upstream redis-compat/upstream.py; fi
if wanted upstream-valkey && [ -n "$full${ONE-}" ]; then judge upstream-valkey upstream-valkey redis-compat/upstream.py --suite valkey; fi
if wanted clients && [ -n "$full${ONE-}" ]; then judge clients clients redis-compat/clients.py; fi
[ -z "$full" ] || cp "$reports/report.md" redis-compat/report.md
echo "compat: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
