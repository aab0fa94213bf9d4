#!/bin/sh
# test.sh -- Builds and runs test runners of one variant and adds up their counts: `test.sh <variant> <runner>...`
# SPDX-License-Identifier: BSD-3-Clause
#
# Runners: checks, surface (both are make targets), unit, integration, crash, compat. Each ends with a line "<name>: N passed, N failed[, N skipped]"; a runner
# without that line, or whose status says failed while its counts do not, counts as one failure. One that fails does not keep the
# others from running. The last line of all is "tests: N passed, N failed, N skipped"; the status is 0 when nothing failed.
# Environment: ONE=name (a suite, case or test: only runners that know it run), SEED=n.
set -u
cd "$(dirname "$0")/.." || exit 2
variant=$1
shift
out=build/$variant
[ "$variant" = release ] && out=build
make=${MAKE:-make}
passed=0 failed=0 skipped=0 known=0

# Sanitizers slow the tests down; Check multiplies its time limits by this. Reports must fail the test that caused them.
case "$variant" in
asan | ubsan | tsan) export CK_TIMEOUT_MULTIPLIER="${CK_TIMEOUT_MULTIPLIER:-5}" ;;
esac
# 99: none of kv's own statuses, so that no test takes a report for a refusal.
# The shims of the crash tests are preloaded before the runtime of ASan, which would refuse to start.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:verify_asan_link_order=0:exitcode=99}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:exitcode=99}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}"

run_targets() { # name target...
    runner=$1 ok=0 bad=0
    shift
    for target in "$@"; do
        if "$make" --no-print-directory V="$variant" "$target"; then
            ok=$((ok + 1))
        else
            echo "FAILED: make $target"
            bad=$((bad + 1))
        fi
    done
    echo "$runner: $ok passed, $bad failed"
    [ "$bad" -eq 0 ]
}

run_compat() {
    if [ -x redis-compat/run.sh ]; then
        redis-compat/run.sh "$out/kv-server"
    else
        echo "compat: 0 passed, 0 failed"
    fi
}

run_program() { # name
    "$make" --no-print-directory V="$variant" "$out/$1-tests" || return 1
    if [ -n "${ONE-}" ]; then
        "$out/$1-tests" --has "$ONE" || return 3
    fi
    "$out/$1-tests" ${ONE:+"$ONE"}
}

run_one() { # name
    case "$1" in
    checks | surface) [ -z "${ONE-}" ] || return 3 ;;
    esac
    case "$1" in
    checks) run_targets checks format-check check-layers check-lengths check-docs check-headers check-checks ;;
    surface) run_targets surface check-commands check-config check-info ;;
    compat) [ -n "${ONE-}" ] && ! [ -e "redis-compat/$ONE.sh" ] && return 3 || run_compat ;;
    *) run_program "$1" ;;
    esac
}

# Adds what the runner's last line says; "<name> <status> <log>".
add_counts() {
    counts=$(sed -n "s/^$1: \([0-9]*\) passed, \([0-9]*\) failed\(, \([0-9]*\) skipped\)\{0,1\}\$/\1 \2 \4/p" "$3" | tail -n 1)
    read -r p f s <<END
${counts:-0 1 0}
END
    [ -n "$counts" ] || echo "$1: ended without counts (status $2)"
    if [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; then
        echo "$1: status $2 although no test failed"
        f=1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
}

mkdir -p build/log
exec 9>build/log/lock # `make asan tsan` runs one after the other
flock 9
for name in "$@"; do
    log=build/log/$variant-$name.log
    echo "== $name ($variant)"
    { run_one "$name" 2>&1 9>&-; echo $? >"$log.status"; } | tee "$log"
    status=$(cat "$log.status")
    rm -f "$log.status"
    if [ "$status" -ne 3 ]; then
        known=1
        add_counts "$name" "$status" "$log"
    fi
done
if [ "$known" -eq 0 ]; then
    echo "no test is named ${ONE-}"
    failed=1
fi
echo "tests: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
