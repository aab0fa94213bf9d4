# redis_py.py -- redis-py: values, pipelines, locks, messages, scripts.
# SPDX-License-Identifier: BSD-3-Clause
import redis
from check import PORT, kill_server, same, scenario, until
from redis.backoff import ConstantBackoff
from redis.retry import Retry


def run():
    client = redis.Redis(port=PORT, decode_responses=True, retry=Retry(ConstantBackoff(0.05), 200),
                         retry_on_error=[redis.ConnectionError, redis.BusyLoadingError])
    client.flushall()
    same(client.set("a", 1, ex=100, nx=True), True)
    same(client.set("a", 2, nx=True), None)
    same(client.mset({"b": 2, "c": 3}), True)
    same(client.mget("a", "b", "nothing"), ["1", "2", None])
    same(client.hset("h", mapping={"x": 1, "y": 2}), 2)
    same(client.hgetall("h"), {"x": "1", "y": "2"})
    same(client.zadd("z", {"one": 1, "two": 2.5}), 2)
    same(client.zrange("z", 0, -1, withscores=True), [("one", 1.0), ("two", 2.5)])
    same(client.xadd("stream", {"field": "value"}, id="1-1"), "1-1")
    same(client.xread({"stream": "0"}), [["stream", [("1-1", {"field": "value"})]]])
    with client.pipeline() as pipe:
        same(pipe.incr("n").incr("n").execute(), [1, 2])
        pipe.watch("n")
        client.incr("n")
        pipe.multi()
        pipe.incr("n")
        try:
            pipe.execute()
            same("executed", "refused", "WATCH")
        except redis.WatchError:
            same(client.get("n"), "3")
    lock = client.lock("lock", timeout=10)
    same(lock.acquire(), True)
    same(client.lock("lock").acquire(blocking=False), False)
    lock.extend(20)
    lock.release()
    same(client.exists("lock"), 0)
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    same(add(keys=["sum"], args=[5]), 5)
    listener = client.pubsub()
    listener.psubscribe("n*")
    same(listener.get_message(timeout=10)["type"], "psubscribe")
    client.publish("news", "hello")
    same(listener.get_message(timeout=10)["data"], "hello")
    same(sorted(client.scan_iter(match="?", count=1)), ["a", "b", "c", "h", "n", "z"])
    same(client.info()["redis_mode"], "standalone")
    kill_server()
    until("what was acknowledged", lambda: client.get("sum") == "5")


scenario(run)
