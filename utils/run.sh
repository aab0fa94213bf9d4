#!/bin/sh
# run.sh -- Starts the server in the foreground with kv.conf and ./data: `run.sh <kv-server> <port>`. A used port names who holds it.
# SPDX-License-Identifier: BSD-3-Clause
set -eu
server=$1 port=$2

# The socket that listens on the port, from /proc alone: no tool has to be there. Prints its inode.
listening_inode() {
    hex=$(printf '%04X' "$port")
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v end=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == end { print $10; exit }'
}

# The process that has this socket open ("name (pid)"); only root sees those of other users.
holder() {
    pid=$(find /proc/[0-9]*/fd -maxdepth 1 -lname "socket:\[$1\]" 2>/dev/null | head -n 1 | cut -d / -f 3)
    if [ -n "$pid" ]; then
        echo "$(cat "/proc/$pid/comm") (pid $pid)"
    else
        echo "a process of another user"
    fi
}

case "$port" in
'' | *[!0-9]* | 0* | ??????*) valid=no ;;
*) [ "$port" -le 65535 ] && valid=yes || valid=no ;;
esac
if [ $valid = no ]; then
    echo "make run: PORT=$port is not a port (1 to 65535)" >&2
    exit 2
fi
inode=$(listening_inode)
if [ -n "$inode" ]; then
    free=$port
    while [ "$free" -lt 65535 ]; do
        free=$((free + 1))
        port=$free
        [ -n "$(listening_inode)" ] || break
    done
    echo "Port $2 is in use by $(holder "$inode"). Choose another one: make run PORT=$free" >&2
    exit 1
fi
mkdir -p data
echo "kv listens on port $port, its data is in ./data. Try: redis-cli -p $port    Stop it with Ctrl-C."
exec "$server" kv.conf --port "$port" --dir data
