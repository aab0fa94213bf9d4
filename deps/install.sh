#!/bin/sh
# install.sh -- Installs the Debian packages that kv needs: `install.sh run` to build and run it, `install.sh test` for its tests, `install.sh
# clients` for the client software that redis-compat/clients.py points at it.
# SPDX-License-Identifier: BSD-3-Clause
#
# Silent and quick when nothing is missing. Uses sudo when not root and says what it does. Never touches the configured package
# sources, never installs a package that starts a service. Elsewhere than on Debian it prints the list and stops.
# Why each package is needed: deps/README.md (make check-docs compares the two lists).
set -eu

# package, or package=command: then the command on the PATH is enough, wherever it came from.
RUN_PACKAGES="gcc=gcc make=make libc6-dev libev-dev libjemalloc-dev libssl-dev libxxhash-dev liblua5.1-0-dev lua-cjson-dev liblzf-dev redis-tools=redis-check-rdb"
TEST_PACKAGES="check libhiredis-dev tcl=tclsh openssl=openssl python3=python3 procps=ps
clang=clang libclang-rt-dev clang-format=clang-format clang-tidy=clang-tidy"
CLIENT_PACKAGES="nodejs=node npm=npm python3-redis python3-celery python3-rq ruby=ruby ruby-sidekiq=sidekiq php-cli=php php-redis"

usage() {
    echo "usage: deps/install.sh run|test|clients" >&2
    exit 2
}

case "${1-}" in
run) wanted=$RUN_PACKAGES ;;
test) wanted="$RUN_PACKAGES $TEST_PACKAGES" ;;
clients) wanted=$CLIENT_PACKAGES ;;
*) usage ;;
esac

installed() { # package
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

all= missing=
for entry in $wanted; do
    package=${entry%%=*}
    all="$all $package"
    case "$entry" in
    *=*) command -v "${entry#*=}" >/dev/null 2>&1 || missing="$missing $package" ;;
    *) command -v dpkg-query >/dev/null 2>&1 && installed "$package" || missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1 || ! [ -e /etc/debian_version ]; then
    cat >&2 <<END
deps/install.sh knows Debian only. Install what these packages contain with your own package manager,
then run make with DEPS=no:
   $all
END
    exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "deps/install.sh: please install as root: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@"
}
install_missing() {
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $missing >"$log" 2>&1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "installing packages${as_root:+ (with sudo)}:$missing"
if ! install_missing; then
    # Most often the package lists are absent (containers) or older than the mirror.
    if ! apt update >"$log" 2>&1 || ! install_missing; then
        cat "$log" >&2
        echo "deps/install.sh: could not install:$missing (is the network there? is the list of package sources complete?)" >&2
        exit 1
    fi
fi
