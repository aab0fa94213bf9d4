# check.py -- What the scenarios in Python share: checks that count, and the runner's kill.
# SPDX-License-Identifier: BSD-3-Clause
import sys
import time
import traceback

PORT = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 0
checks = 0


def same(got, want, what=""):
    global checks
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, wanted {want!r}")
    checks += 1


def until(what, condition, seconds=60):
    """Waits for a condition, not for a time."""
    global checks
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for: {what}")
        time.sleep(0.05)
    checks += 1


def kill_server():
    """The runner kills the server with SIGKILL and starts it again on its directory."""
    print("kill", flush=True)
    sys.stdin.readline()


def scenario(run):
    try:
        run()
    except BaseException:
        print("failed " + traceback.format_exc(), flush=True)
        raise SystemExit(1) from None
    print(f"ok {checks}", flush=True)
