# celery_scenario.py -- Celery with kv as broker and result backend: groups, chords, countdowns, retries; tasks outlive the server.
# SPDX-License-Identifier: BSD-3-Clause
import os
import subprocess
import sys

from celery import Celery, chord, group
from check import PORT, kill_server, same, scenario, until

URL = os.environ.get("KV_URL") or f"redis://localhost:{PORT}/0"
app = Celery("celery_scenario", broker=URL, backend=URL)
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, broker_connection_retry=True, worker_prefetch_multiplier=1,
                broker_connection_max_retries=None, broker_transport_options={"visibility_timeout": 5},
                result_backend_always_retry=True, redis_retry_on_timeout=True, worker_hijack_root_logger=False)


@app.task
def double(n):
    return 2 * n


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3, default_retry_delay=0.1)
def second_time(self):
    if self.request.retries == 0:
        raise self.retry()
    return "done"


def run():
    environment = {**os.environ, "KV_URL": URL, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}
    command = [sys.executable, "-m", "celery", "-A", "celery_scenario", "worker", "--concurrency", "2", "--loglevel", "error",
               "--without-gossip", "--without-mingle", "--without-heartbeat"]

    def work():
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worker = work()
    try:
        same(double.delay(21).get(timeout=60), 42)
        same(group(double.s(i) for i in range(50))().get(timeout=60), [2 * i for i in range(50)])
        same(chord((double.s(i) for i in range(10)), total.s())().get(timeout=60), 90)
        same(second_time.delay().get(timeout=60), "done")
        same(double.apply_async((4,), countdown=1).get(timeout=60), 8)
        # The worker ends first: a task that BRPOP has taken when its answer is cut off is in nobody's hands, as with Redis.
        worker.terminate()
        worker.wait(60)
        results = [double.delay(i) for i in range(200)]
        kill_server()
        worker = work()
        until("every task", lambda: all(r.ready() for r in results), 120)
        same([r.get() for r in results], [2 * i for i in range(200)])
    finally:
        worker.terminate()
        worker.wait(30)


if __name__ == "__main__":
    scenario(run)
