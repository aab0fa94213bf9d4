// bullmq.mjs -- BullMQ: queues, workers, flows, delayed and repeated jobs, priorities, retries, rate limits; jobs outlive the server.
// SPDX-License-Identifier: BSD-3-Clause
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";
import { killServer, port, same, scenario, until } from "./check.mjs";

const connection = { port, maxRetriesPerRequest: null, retryStrategy: () => 50 };
const quiet = (thing) => thing.on("error", () => {});

async function plain() {
  const queue = quiet(new Queue("plain", { connection }));
  const events = quiet(new QueueEvents("plain", { connection }));
  await events.waitUntilReady();
  const seen = [];
  const worker = quiet(new Worker("plain", async (job) => {
    seen.push(job.name);
    await job.updateProgress(50);
    await job.log("half done");
    if (job.name === "twice" && job.attemptsMade === 0) {
      throw new Error("first attempt");
    }
    return job.data.n * 2;
  }, { connection, concurrency: 4 }));
  const job = await queue.add("one", { n: 21 });
  same(await job.waitUntilFinished(events, 20000), 42);
  same(await job.getState(), "completed");
  const twice = await queue.add("twice", { n: 1 }, { attempts: 2, backoff: { type: "fixed", delay: 50 } });
  same(await twice.waitUntilFinished(events, 20000), 2);
  same(seen.filter((name) => name === "twice").length, 2);
  const delayed = await queue.add("later", { n: 4 }, { delay: 300 });
  same(await delayed.getState(), "delayed");
  same(await delayed.waitUntilFinished(events, 20000), 8);
  const bulk = await queue.addBulk(Array.from({ length: 200 }, (_, n) => ({ name: "bulk", data: { n } })));
  await Promise.all(bulk.map((one) => one.waitUntilFinished(events, 20000)));
  same(seen.filter((name) => name === "bulk").length, 200);
  same((await queue.getJobLogs(job.id)).logs, ["half done"]);
  await worker.close();
  await queue.add("low", { n: 1 }, { priority: 10 });
  await queue.add("high", { n: 1 }, { priority: 1 });
  same((await queue.getJobCounts("prioritized", "wait")), { prioritized: 2, wait: 0 });
  const order = [];
  const single = quiet(new Worker("plain", async (one) => void order.push(one.name), { connection }));
  await until("both", () => order.length === 2);
  same(order, ["high", "low"]);
  await single.close();
  await queue.obliterate({ force: true });
  await events.close();
  await queue.close();
}

async function flows() {
  const flow = quiet(new FlowProducer({ connection }));
  const done = [];
  const child = quiet(new Worker("children", async (job) => (done.push(job.name), job.name.length), { connection }));
  const parent = quiet(new Worker("parents", async (job) => {
    done.push(job.name);
    return Object.values(await job.getChildrenValues()).sort();
  }, { connection }));
  const events = quiet(new QueueEvents("parents", { connection }));
  await events.waitUntilReady();
  const tree = await flow.add({
    name: "parent", queueName: "parents", data: {},
    children: [{ name: "a", queueName: "children", data: {} }, { name: "bb", queueName: "children", data: {} }],
  });
  same(await tree.job.waitUntilFinished(events, 20000), [1, 2]);
  same(done[2], "parent");
  await Promise.all([child.close(), parent.close(), events.close(), flow.close()]);
}

async function repeated() {
  const queue = quiet(new Queue("repeated", { connection }));
  let runs = 0;
  const worker = quiet(new Worker("repeated", async () => void runs++, { connection, limiter: { max: 50, duration: 1000 } }));
  await queue.upsertJobScheduler("each", { every: 100 }, { name: "tick" });
  await until("five runs", () => runs >= 5);
  same((await queue.getJobSchedulers()).length, 1);
  same(await queue.removeJobScheduler("each"), true);
  await worker.close();
  await queue.close();
}

async function limited() {
  const queue = quiet(new Queue("limited", { connection }));
  await queue.addBulk(Array.from({ length: 6 }, (_, n) => ({ name: "x", data: { n } })));
  const starts = [];
  const worker = quiet(new Worker("limited", async () => void starts.push(Date.now()), { connection, limiter: { max: 2, duration: 500 } }));
  await until("six jobs", () => starts.length === 6);
  same(starts[5] - starts[0] >= 900, true, "two at a time, 500 ms apart");
  await worker.close();
  await queue.close();
}

// Every job that was acknowledged is done, though the server is killed in the middle.
async function survives() {
  const queue = quiet(new Queue("survivors", { connection }));
  const done = new Set();
  const jobs = await queue.addBulk(Array.from({ length: 300 }, (_, n) => ({ name: "s", data: { n } })));
  same(jobs.length, 300);
  const worker = quiet(new Worker("survivors", async (job) => void done.add(job.data.n),
    { connection, concurrency: 2, lockDuration: 2000, stalledInterval: 1000, maxStalledCount: 5 }));
  await until("some of them", () => done.size > 20);
  await killServer();
  await until("all of them", () => done.size === 300);
  await worker.close();
  await queue.close();
}

await scenario(async () => {
  await plain();
  await flows();
  await repeated();
  await limited();
  await survives();
});
