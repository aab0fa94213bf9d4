# exporter.py -- prometheus-redis-exporter: one scrape without an error, with the figures of a server that works.
# SPDX-License-Identifier: BSD-3-Clause
import os
import socket
import subprocess
import urllib.request

import redis
from check import PORT, kill_server, same, scenario, until


def scrape(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return {}
    return dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))


def run():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    exporter = subprocess.Popen([os.environ["KV_EXPORTER"], "-redis.addr", f"redis://127.0.0.1:{PORT}", "-web.listen-address", f"127.0.0.1:{port}",
                                 "-check-keys", "db0=counted*", "-include-system-metrics"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=PORT)
        client.flushall()
        client.set("counted", "12345", ex=1000)
        client.lpush("list", 1, 2, 3)
        until("the first scrape", lambda: scrape(port))
        seen = scrape(port)
        same(seen["redis_up"], "1")
        same(seen["redis_exporter_last_scrape_error{err=\"\"}"], "0")
        same(seen["redis_db_keys{db=\"db0\"}"], "2")
        same(seen["redis_db_keys_expiring{db=\"db0\"}"], "1")
        for name in ("redis_memory_used_bytes", "redis_commands_processed_total", "redis_connected_clients", "redis_uptime_in_seconds",
                     "redis_keyspace_hits_total", "redis_commands_total{cmd=\"set\"}", "redis_slowlog_length"):
            same(float(seen[name]) >= 0, True, name)
        same(seen["redis_key_size{db=\"db0\",key=\"counted\"}"], "5")
        kill_server()
        until("it is up again", lambda: scrape(port).get("redis_up") == "1")
        same(scrape(port)["redis_exporter_last_scrape_error{err=\"\"}"], "0")
        same(scrape(port)["redis_db_keys{db=\"db0\"}"], "2")
    finally:
        exporter.kill()
        exporter.wait()


scenario(run)
