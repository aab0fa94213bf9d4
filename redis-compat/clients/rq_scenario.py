# rq_scenario.py -- rq: jobs, dependencies, retries, scheduled jobs; jobs outlive the server.
# SPDX-License-Identifier: BSD-3-Clause
import os
import subprocess
import sys
from datetime import timedelta

import redis
from check import PORT, kill_server, same, scenario, until
from rq import Queue, Retry


def double(n):
    return 2 * n


def once_failing(marker, port):
    if redis.Redis(port=port).incr(marker) == 1:
        raise RuntimeError("first attempt")
    return "done"


def run():
    import rq_scenario as jobs
    client = redis.Redis(port=PORT)
    client.flushall()
    queue = Queue(connection=client)
    here = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, "-m", "rq.cli", "worker", "--url", f"redis://localhost:{PORT}", "--with-scheduler", "--quiet"]

    def work():
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": here}, cwd=here, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worker = work()
    try:
        first = queue.enqueue(jobs.double, 21)
        after = queue.enqueue(jobs.double, 4, depends_on=first)
        until("both jobs", lambda: first.get_status() == "finished" and after.get_status() == "finished")
        same(first.refresh() or first.result, 42)
        retried = queue.enqueue(jobs.once_failing, "marker", PORT, retry=Retry(max=2))
        until("the second attempt", lambda: retried.get_status() == "finished")
        later = queue.enqueue_in(timedelta(seconds=1), jobs.double, 5)
        until("the scheduled job", lambda: later.get_status() == "finished")
        # The worker ends first: a job that it has taken when the answer is cut off is in nobody's hands, as with Redis.
        worker.terminate()
        worker.wait(60)
        many = [queue.enqueue(jobs.double, i) for i in range(20)]
        kill_server()
        worker = work()
        until("every job", lambda: all(job.get_status() == "finished" for job in many))
    finally:
        worker.kill()
        worker.wait()


if __name__ == "__main__":
    scenario(run)
