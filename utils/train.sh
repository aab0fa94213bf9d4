#!/bin/sh
# train.sh -- Runs an instrumented kv-server under typical load, so that the compiler knows what is hot: `train.sh <build> <objects>`.
# SPDX-License-Identifier: BSD-3-Clause
#
# WHY: a command crosses four layers of small functions with a way out for each error; which of them are taken, only a run
# tells. Pipelined commands need 5 to 25 % less of a core when gcc knows.
#
# The counts (.gcda) go beside the objects that are compiled with them. They need not be of just these sources: a function that
# has changed since is compiled as if there were none. redis-benchmark is the load, over a socket of its own: no port is taken.
# A build must not fail for want of a profile: this says what went wrong and ends with 0. Either way <objects>/profile says that
# there has been a training; remove it, and make trains again. With CHECK=<requests> the load is that short, counts are neither
# removed nor copied, and what goes wrong is status 1. A load ends after 20 s, a server after 300. One training at a time.
set -uf # no globs: XADD has a star
build=$(cd "$1" && pwd) || exit 2
objects=$(mkdir -p "$2" && cd "$2" && pwd) || exit 2
profile=$2/profile # as it is called where make runs
dir=$build/training # the current directory below: a socket's path is short
server=
value=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
script="redis.call('set',KEYS[1],ARGV[1])return(redis.call('get',KEYS[1]))" # one word

without() { # why
    if [ -n "${CHECK-}" ]; then
        echo "training: $1" >&2
        exit 1
    fi
    echo "training: $1; kv is built without a profile. To train again: rm $profile; make" >&2
    touch "$objects/profile"
    exit 0
}

start() { # option...
    timeout 300 "$build/kv-server" --port 0 --unixsocket socket --dir data --save '' "$@" >>log 2>&1 9>&- &
    server=$!
    tries=0
    until [ "$(redis-cli -s data/socket ping 2>/dev/null)" = PONG ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] && kill -0 "$server" 2>/dev/null || without "the server does not start ($dir/log)"
        sleep 0.1
    done
}

stop() { # its counts are written when it ends
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null
    wait "$server"
    server=
}

load() { # pipeline requests
    while read -r words; do
        # shellcheck disable=SC2086
        timeout 20 redis-benchmark -s data/socket -q -c 50 -r 100000 -P "$1" -n "${CHECK:-$2}" $words >>log 2>&1 9>&- ||
            without "the load fails ($dir/log): $words"
    done <<END
SET key:__rand_int__ $value
GET key:__rand_int__
MSET key:__rand_int__ $value key:__rand_int__ $value key:__rand_int__ $value
MGET key:__rand_int__ key:__rand_int__ key:__rand_int__
SET due:__rand_int__ $value EX 100
EXPIRE key:__rand_int__ 100
INCR count:__rand_int__
LPUSH list $value
LPOP list
RPUSH list:__rand_int__ $value
LRANGE list 0 9
SADD set member:__rand_int__
SISMEMBER set member:__rand_int__
SPOP set
HSET hash field:__rand_int__ $value
HGET hash field:__rand_int__
HSET record:__rand_int__ name $value mail $value age 42 seen __rand_int__ score 17
HGETALL record:__rand_int__
ZADD zset __rand_int__ member:__rand_int__
ZSCORE zset member:__rand_int__
ZRANGE zset 0 9
XADD stream MAXLEN ~ 1000 * field $value
PUBLISH channel $value
SETBIT bits 1000 1
EVAL $script 1 key:__rand_int__ $value
DEL key:__rand_int__
END
}

exec 9>"$build/training.lock"
flock 9
[ -z "${CHECK-}" ] && [ -e "$objects/profile" ] && exit 0 # another one made it meanwhile
trap 'stop; rm -rf "$dir/data"' EXIT # the log stays, for whoever has to know
trap 'exit 130' INT TERM HUP
command -v redis-benchmark >/dev/null 2>&1 || without "there is no redis-benchmark"
[ -n "${CHECK-}" ] || find "$build/obj" -name '*.gcda' -delete
rm -rf "$dir"
mkdir -p "$dir/data"
cd "$dir" || without "no $dir"

start --threads 1 --appendonly no
load 1 2000
load 16 20000
load 100 40000
stop
start --threads 2
load 1 2000
load 16 20000
stop
start --threads 2 # and reads its log
stop
rm -rf "$dir"
[ -z "${CHECK-}" ] || exit 0
cd "$build/obj" || without "no $build/obj"
[ -n "$(find . -name '*.gcda' | head -n 1)" ] || without "no counts came to $build/obj (compiled elsewhere? rm -r $1)"
find . -name '*.gcda' | while read -r counts; do
    mkdir -p "$objects/${counts%/*}" && cp "$counts" "$objects/$counts" || exit 1
done || without "the counts could not be copied to $objects"
touch "$objects/profile"
