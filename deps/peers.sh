#!/bin/sh
# peers.sh -- Prepares the reference servers and their test suites below build/peers/: `peers.sh [redis|valkey|redis-suite|valkey-suite|exporter]...`
# SPDX-License-Identifier: BSD-3-Clause
#
#   build/peers/redis/         redis-server 7.0.15, redis-cli, redis-benchmark: from the installed redis-tools, whose redis-check-rdb is the
#                              server under another name. The package redis-server is never installed: it would start a service.
#   build/peers/valkey/        valkey-server 8.0, valkey-cli, valkey-benchmark: packages of Debian backports, unpacked, not installed
#   build/peers/redis-suite/   the test suite of the source package redis, with src/ linked to the above
#   build/peers/valkey-suite/  likewise of valkey
#   build/peers/exporter/      prometheus-redis-exporter, unpacked, not installed: it would start a service
#
# Without names: the servers and the suites. What is there already is left alone. The package sources are derived from the configured ones (same mirrors, same
# keys; plus source packages and backports) into build/peers/apt/, with lists and caches of their own: nothing of /etc or /var changes and no
# root is needed.
set -eu
cd "$(dirname "$0")/.."
peers=$PWD/build/peers
apt=$peers/apt
mkdir -p "$peers"
work=$(mktemp -d "$peers/.work-XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
    echo "deps/peers.sh: $*" >&2
    exit 1
}

# ---- package sources ----

codename() {
    # shellcheck disable=SC1091
    . /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME-}"
}

# A paragraph of a .sources file that names this release: once with its source packages, once for backports.
derive_deb822() {
    awk -v suite="$1" 'BEGIN { RS = ""; FS = "\n" }
        function put(types, suites,    i) {
            for (i = 1; i <= NF; i++) {
                if ($i ~ /^Types:/) print "Types: " types
                else if ($i ~ /^Suites:/) print "Suites: " suites
                else if ($i !~ /^#/) print $i
            }
            print ""
        }
        /(^|\n)Enabled: *no/ { next }
        {
            named = 0
            for (i = 1; i <= NF; i++) {
                if ($i ~ /^Suites:/ && $i " " ~ "[: ]" suite " ") named = 1
            }
            if (named) {
                put("deb deb-src", suite)
                put("deb deb-src", suite "-backports")
            }
        }' "$2"
}

# The same for a line "deb [options] uri suite component..." of a .list file.
derive_line() {
    awk -v suite="$1" '$1 == "deb" {
            at = 2
            if ($2 ~ /^\[/) { while ($at !~ /\]$/) at++; at++ }
            if ($(at + 1) != suite) next
            head = ""
            for (i = 2; i <= at; i++) head = head " " $i
            print "deb" head " " suite " main"
            print "deb-src" head " " suite " main"
            print "deb" head " " suite "-backports main"
            print "deb-src" head " " suite "-backports main"
        }' "$2"
}

derive_sources() {
    suite=$(codename)
    [ -n "$suite" ] && command -v apt-get >/dev/null 2>&1 || fail "needs Debian: the reference servers and suites are Debian packages"
    mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial"
    : >"$apt/parts/derived.list"
    : >"$apt/parts/derived.sources"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ ! -e "$file" ] || derive_line "$suite" "$file" >>"$apt/parts/derived.list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$file" ] || derive_deb822 "$suite" "$file" >>"$apt/parts/derived.sources"
    done
    [ -s "$apt/parts/derived.list" ] || [ -s "$apt/parts/derived.sources" ] ||
        fail "no configured package source has the suite $suite"
}

apt() {
    apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$apt/parts" -o Dir::State::Lists="$apt/lists" \
        -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Debug::NoLocking=1 "$@" >"$work/log" 2>&1
}

lists_ready=no
ready_lists() {
    [ "$lists_ready" = no ] || return 0
    derive_sources
    apt update || {
        cat "$work/log" >&2
        fail "cannot read the package lists (is the network there?)"
    }
    lists_ready=yes
}

# Source packages of the next release, too.
newer=trixie
add_newer() {
    sed "s/^Types:.*/Types: deb-src/; s/^Suites:.*/Suites: $newer/" "$apt/parts/derived.sources" >"$apt/parts/newer.sources"
    sed "s/^deb /deb-src /; s/ $suite\(-backports\)\{0,1\} / $newer /" "$apt/parts/derived.list" | sort -u >"$apt/parts/newer.list"
    apt update
}

# Downloads into $work: fetch download|source name.
fetch() {
    ready_lists
    option=
    [ "$1" = download ] || option="--download-only --tar-only"
    # shellcheck disable=SC2086
    (cd "$work" && apt "$1" $option "$2") || {
        cat "$work/log" >&2
        fail "cannot download $2 (is the network there? does the mirror have it?)"
    }
}

# ---- the peers ----

prepare_redis() {
    deps/install.sh run
    server=$(command -v redis-check-rdb) || fail "redis-check-rdb is missing (package redis-tools)"
    cp "$(readlink -f "$server")" "$work/redis-server"
    "$work/redis-server" --version | grep -q 'Redis server' || fail "$server is not redis-server"
    mkdir "$work/redis"
    mv "$work/redis-server" "$work/redis/"
    for tool in redis-cli redis-benchmark redis-check-aof redis-check-rdb; do
        ln -s "$(command -v $tool)" "$work/redis/$tool"
    done
}

prepare_valkey() {
    for package in valkey-server valkey-tools; do
        fetch download "$package"
    done
    mkdir "$work/valkey"
    for file in "$work"/valkey-*.deb; do
        dpkg-deb -x "$file" "$work/valkey"
    done
    # The server is the same program as its checkers, as with redis.
    for tool in valkey-server valkey-cli valkey-benchmark valkey-check-aof valkey-check-rdb; do
        [ ! -e "$work/valkey/usr/bin/$tool" ] || cp "$work/valkey/usr/bin/$tool" "$work/valkey/$tool"
    done
    rm -rf "$work/valkey/usr" "$work/valkey/etc" "$work/valkey/lib" "$work/valkey/var"
    "$work/valkey/valkey-server" --version >/dev/null || fail "the unpacked valkey-server does not run here"
}

prepare_exporter() {
    fetch download prometheus-redis-exporter
    mkdir "$work/exporter"
    dpkg-deb -x "$work"/prometheus-redis-exporter_*.deb "$work/exporter"
}

# Mirrors drop what backports has superseded, and the suite of the release after valkey 8.0 has its checks and some more.
fetch_suite() {
    if [ "$1" = valkey ]; then
        ready_lists
        (cd "$work" && apt source --download-only --tar-only valkey) && return
        rm -f "$work"/valkey_*
        add_newer && (cd "$work" && apt source --download-only --tar-only "valkey/$newer") && return
    fi
    fetch source "$1"
}

prepare_suite() { # redis|valkey
    "$0" "$1"
    # A source tarball that was put into build/peers/ by hand spares the download.
    cp "$peers/$1"_*.orig.tar.* "$work/" 2>/dev/null || fetch_suite "$1"
    mkdir "$work/$1-suite"
    tar -xf "$work/$1"_*.orig.tar.* -C "$work/$1-suite" --strip-components=1
    (
        cd "$work/$1-suite"
        find . -mindepth 1 -maxdepth 1 ! -name tests ! -name 'runtest*' ! -name '*.conf' ! -name utils ! -name COPYING -exec rm -rf {} +
        mkdir src
        for program in "$peers/$1"/*; do
            ln -s "../../$1/$(basename "$program")" src/
        done
        ln -s "$1-server" "src/$1-sentinel"
    )
}

[ $# -gt 0 ] || set -- redis valkey redis-suite valkey-suite
for peer in "$@"; do
    [ ! -d "$peers/$peer" ] || continue
    echo "preparing build/peers/$peer"
    case "$peer" in
    redis | valkey | exporter) "prepare_$peer" ;;
    redis-suite | valkey-suite) prepare_suite "${peer%-suite}" ;;
    *) fail "unknown: $peer" ;;
    esac
    mv "$work/$peer" "$peers/$peer" # in one step: what has its name is complete
done
