#!/bin/bash
# seeded-bugs.sh -- Judges the judges: each deliberate bug must make a test fail. `seeded-bugs.sh [build/bugs] [bug...]`
# SPDX-License-Identifier: BSD-3-Clause
#
# The programs of <dir> are built with KV_SEEDED_BUGS (make V=bugs); KV_BUG=name switches one bug on, in the test program itself
# and in the servers it starts. For each bug the suites or tests below run, one after the other, until one fails. First all of
# them run without a bug and must pass: a suite that fails anyway catches nothing. A bug in the code that is not in the table, or
# the other way round, is an error. Last line: "N bugs, N caught"; status 0 when these are equal. SEED=n as everywhere.
set -u
cd "$(dirname "$0")/../.." || exit 2
dir=${1:-build/bugs}
shift || true

# bug                           program:suite-or-test ...
table='
exec.bug_append_after_unlock    crash:order
exec.bug_blocked_lifo           integration:test_blocking_across_connections
exec.bug_claimed_forgotten      integration:test_claimed_then_other_key
exec.bug_effects_verbatim       crash:export
exec.bug_expired_not_logged     crash:kill9
exec.bug_flush_no_floor        crash:kill9_gates crash:kill9
exec.bug_lock_order             integration:test_strings_survive_kill
exec.bug_multi_split            crash:export
exec.bug_no_select              crash:kill9
exec.bug_ready_missed           integration:test_blocking_across_connections
exec.bug_rename_ttl             crash:kill9
exec.bug_replay_expires         crash:kill9
exec.bug_served_twice           integration:test_several_keys crash:order
exec.bug_ungated_error          crash:kill9_gates crash:kill9
exec.bug_ungated_event          crash:kill9_gates crash:kill9
exec.bug_ungated_handover       crash:kill9_gates crash:kill9
exec.bug_ungated_invalidation   integration:test_gated
exec.bug_ungated_message        crash:kill9_gates crash:kill9
exec.bug_ungated_nil            crash:kill9_gates crash:kill9
exec.bug_ungated_read           crash:kill9_gates crash:kill9
exec.bug_unsettled_count        integration:test_counts_wait
exec.bug_untracked_read         integration:test_told_once
exec.bug_watch_missed           integration:test_watch crash:order
net.bug_gate_falls              unit:net_turn unit:net crash:kill9
net.bug_gate_off_by_one         unit:gates_release_in_order
net.bug_short_write_lost        unit:net unit:net_turn
store.bug_expire_moved          unit:store_expire unit:store_keyspace
store.bug_split_loses           unit:store_table
wal.bug_body_unchecked          unit:wal_recover unit:wal_torn
wal.bug_history_goes_on         unit:test_history_forks
wal.bug_lost_wakeup             crash:test_wake
wal.bug_names_not_synced        crash:test_names_found
wal.bug_no_barrier              crash:powerloss_wal crash:powerloss
wal.bug_no_dir_sync             crash:powerloss_wal crash:powerloss
wal.bug_proofs_ignored          unit:wal_recover unit:wal_repair
wal.bug_publish_early           crash:powerloss_wal crash:kill9
wal.bug_publish_unordered       unit:test_published_in_order
wal.bug_remains_kept            unit:wal_repair unit:wal_recover
wal.bug_stale_accepted          unit:wal_recover
wal.bug_switch_unsynced         crash:test_segment_left
wal.bug_synced_upto             unit:test_failed_group_is_cut
wal.bug_tail_not_rewritten      unit:wal_repair crash:powerloss_wal
'

known() {
    "$dir/kv-server" --list-fault-points | grep -F .bug_ | sort
}
in_table() {
    awk 'NF { print $1 }' <<<"$table" | sort
}
if ! diff <(known) <(in_table); then
    echo "seeded-bugs: the table and the code differ (< code, > table)"
    exit 1
fi

run() { # program name, quietly; a test that hangs has failed as well (status 124)
    "$dir/$1-tests" --has "$2" || {
        echo "seeded-bugs: there is no test $2 in $1-tests"
        exit 1
    }
    timeout -k 5 60 "$dir/$1-tests" "$2" >"$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log" "$log.hung"' EXIT

if [ $# -eq 0 ]; then
    echo "without a bug:"
    for judge in $(awk '{ for (i = 2; i <= NF; i++) print $i }' <<<"$table" | sort -u); do
        if ! run "${judge%%:*}" "${judge#*:}"; then
            cat "$log"
            echo "seeded-bugs: $judge fails without any bug"
            exit 1
        fi
        echo "  $judge passes"
    done
fi

bugs=0 caught=0
while read -r bug judges; do
    [ -n "$bug" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $bug "* ]] || continue
    bugs=$((bugs + 1))
    by=
    for judge in $judges; do
        KV_BUG=$bug run "${judge%%:*}" "${judge#*:}"
        status=$?
        if [ "$status" -eq 124 ]; then # on a loaded machine that may be no catch
            cp "$log" "$log.hung"
            run "${judge%%:*}" "${judge#*:}" || continue
            mv "$log.hung" "$log"
            judge="$judge (hung)"
        fi
        if [ "$status" -ne 0 ]; then
            by="$judge $(grep -oE ':[FE]:[^:]*:[a-z][a-z0-9_]+:' "$log" | sed 's/:$//; s/.*://' | sort -u | head -n 3 | tr '\n' ' ')"
            break
        fi
    done
    if [ -n "$by" ]; then
        caught=$((caught + 1))
        printf '%-30s caught by %s\n' "$bug:" "$by"
    else
        printf '%-30s NOT CAUGHT (%s)\n' "$bug:" "$judges"
    fi
done <<<"$table"
echo "$bugs bugs, $caught caught"
[ "$bugs" -eq "$caught" ]
