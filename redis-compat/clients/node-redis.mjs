// node-redis.mjs -- node-redis with RESP2, RESP3 and client-side caching.
// SPDX-License-Identifier: BSD-3-Clause
import { createClient } from "redis";
import { killServer, port, same, scenario, until } from "./check.mjs";

async function connect(options) {
  const client = createClient({ url: `redis://localhost:${port}`, socket: { reconnectStrategy: 50 }, name: "scenario", ...options });
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function values(client) {
  same(await client.set("a", "1", { expiration: { type: "EX", value: 100 } }), "OK");
  same(await client.incrBy("a", 41), 42);
  same(await client.hSet("h", { x: 1, y: "two" }), 2);
  same({ ...(await client.hGetAll("h")) }, { x: "1", y: "two" });
  same(await client.zAdd("z", [{ score: 1.5, value: "one" }, { score: 2, value: "two" }]), 2);
  same(await client.zRangeWithScores("z", 0, -1), [{ value: "one", score: 1.5 }, { value: "two", score: 2 }]);
  same(await client.sAdd("s", ["1", "2", "x"]), 3);
  same((await client.sMembers("s")).sort(), ["1", "2", "x"]);
  same(await client.xAdd("stream", "1-1", { field: "value" }), "1-1");
  const entries = await client.xRange("stream", "-", "+");
  same(entries.map((entry) => [entry.id, { ...entry.message }]), [["1-1", { field: "value" }]]);
  same(await client.geoAdd("places", { longitude: 13.361389, latitude: 38.115556, member: "Palermo" }), 1);
  same((await client.geoSearch("places", { longitude: 13, latitude: 38 }, { radius: 100, unit: "km" })), ["Palermo"]);
  same(await client.eval("return {KEYS[1], ARGV[1]}", { keys: ["k"], arguments: ["v"] }), ["k", "v"]);
  same(await client.clientGetName(), "scenario");
  const found = [];
  for await (const keys of client.scanIterator({ MATCH: "?", COUNT: 2 })) {
    found.push(...keys);
  }
  same(found.sort(), ["a", "h", "s", "z"]);
}

async function transactions(client) {
  same(await client.multi().set("t", "1").incr("t").get("t").exec(), ["OK", 2, "2"]);
  const [first, second] = await Promise.all([client.incr("t"), client.incr("t")]);
  same([first, second], [3, 4]);
  await client.sendCommand(["LPUSH", "l", "x"]);
  await client.get("l").then(() => same(true, false), (error) => same(error.message.split(" ")[0], "WRONGTYPE"));
}

async function messages(client) {
  const listener = await client.duplicate().connect();
  const got = [];
  await listener.subscribe("news", (text, channel) => got.push([channel, text]));
  await listener.pSubscribe("n*", (text, channel) => got.push([channel, text]));
  await listener.sSubscribe("news", (text, channel) => got.push(["shard", text]));
  same(await client.publish("news", "hello"), 2);
  same(await client.sPublish("news", "hello"), 1);
  await until("three messages", () => got.length === 3);
  listener.destroy();
}

async function caching() {
  const cached = await connect({ RESP: 3, clientSideCache: { ttl: 0, maxEntries: 100, evictPolicy: "LRU" } });
  const other = await connect({});
  await other.set("cached", "1");
  same(await cached.get("cached"), "1");
  same(await cached.get("cached"), "1");
  await other.set("cached", "2");
  await until("the invalidation", async () => (await cached.get("cached")) === "2");
  cached.destroy();
  other.destroy();
}

async function survives(client) {
  await client.set("acknowledged", "before");
  await killServer();
  await until("the connection", () => client.isReady);
  same(await client.get("acknowledged"), "before");
}

await scenario(async () => {
  for (const RESP of [2, 3]) {
    const client = await connect({ RESP });
    await client.flushAll();
    await values(client);
    await transactions(client);
    await messages(client);
    await survives(client);
    client.destroy();
  }
  await caching();
});
