// ioredis.mjs -- ioredis as applications use it.
// SPDX-License-Identifier: BSD-3-Clause
import Redis from "ioredis";
import { killServer, port, same, scenario, until } from "./check.mjs";

async function values(redis) {
  same(await redis.set("a", "1", "EX", 100, "NX"), "OK");
  same(await redis.set("a", "2", "NX"), null);
  same(await redis.incrby("a", 41), 42);
  same(await redis.mset({ b: "2", c: "3" }), "OK");
  same(await redis.mget("a", "b", "nothing"), ["42", "2", null]);
  same(await redis.hset("h", { x: 1, y: 2 }), 2);
  same(await redis.hgetall("h"), { x: "1", y: "2" });
  same(await redis.zadd("z", 1, "one", 2, "two", "+inf", "many"), 3);
  same(await redis.zrange("z", 0, -1, "WITHSCORES"), ["one", "1", "two", "2", "many", "inf"]);
  same(await redis.setBuffer("bytes", Buffer.from([0, 255, 13, 10])), Buffer.from("OK"));
  same(await redis.getBuffer("bytes"), Buffer.from([0, 255, 13, 10]));
  await redis.lpush("l", "x").then(() => redis.get("l")).then(
    () => same(true, false, "a list is no string"),
    (error) => same(error.message, "WRONGTYPE Operation against a key holding the wrong kind of value"));
}

async function pipelines(redis) {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 1000; i++) {
    pipeline.set(`p:${i}`, i).get(`p:${i}`);
  }
  const replies = await pipeline.exec();
  same(replies.length, 2000);
  same(replies[1999], [null, "999"]);
  same(await redis.multi().incr("n").incr("n").exec(), [[null, 1], [null, 2]]);
  await redis.watch("n");
  await redis.duplicate().incr("n");
  same(await redis.multi().incr("n").exec(), null);
  const found = new Set();
  for await (const keys of redis.scanStream({ match: "p:*", count: 100 })) {
    keys.forEach((key) => found.add(key));
  }
  same(found.size, 1000);
}

async function scripts(redis) {
  redis.defineCommand("addTo", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  same(await redis.addTo("sum", 5), 5);
  same(await redis.script("FLUSH"), "OK");
  same(await redis.addTo("sum", 5), 10); // NOSCRIPT, then EVAL
  same(await redis.pipeline().addTo("sum", 1).addTo("sum", 1).exec(), [[null, 11], [null, 12]]);
}

async function messages(redis) {
  const listener = redis.duplicate();
  const got = [];
  listener.on("message", (channel, text) => got.push([channel, text]));
  listener.on("pmessage", (pattern, channel, text) => got.push([pattern, channel, text]));
  same(await listener.subscribe("news"), 1);
  same(await listener.psubscribe("n?ws"), 2);
  same(await redis.publish("news", "hello"), 2);
  await until("two messages", () => got.length === 2);
  same(got, [["news", "hello"], ["n?ws", "news", "hello"]]);
  await redis.config("SET", "notify-keyspace-events", "KEA");
  await listener.subscribe("__keyevent@0__:expired");
  await redis.set("short", 1, "PX", 30);
  await until("an expired event", () => got.some((m) => m[0] === "__keyevent@0__:expired" && m[1] === "short"));
  listener.disconnect();
}

async function blocking(redis) {
  const waiter = redis.duplicate();
  const popped = waiter.blpop("queue", 10);
  await until("a blocked client", async () => (await redis.info("clients")).includes("blocked_clients:1"));
  await redis.rpush("queue", "job");
  same(await popped, ["queue", "job"]);
  same(await waiter.blpop("queue", 0.05), null);
  const read = waiter.xread("BLOCK", 10000, "STREAMS", "stream", "$");
  await until("a blocked client", async () => (await redis.info("clients")).includes("blocked_clients:1"));
  await redis.xadd("stream", "1-1", "field", "value");
  same(await read, [["stream", [["1-1", ["field", "value"]]]]]);
  waiter.disconnect();
}

// Nothing that was acknowledged is lost, and commands on the way are sent again.
async function survives(redis) {
  await redis.set("acknowledged", "before");
  const restarted = killServer();
  const late = redis.get("acknowledged");
  await restarted;
  same(await late, "before");
  same(await redis.get("sum"), "12");
}

await scenario(async () => {
  const redis = new Redis({ port, maxRetriesPerRequest: null, retryStrategy: () => 50 });
  redis.on("error", () => {});
  await redis.flushall();
  await values(redis);
  await pipelines(redis);
  await scripts(redis);
  await messages(redis);
  await blocking(redis);
  await survives(redis);
});
