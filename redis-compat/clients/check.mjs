// check.mjs -- What the scenarios in JavaScript share: checks that count, and the runner's kill.
// SPDX-License-Identifier: BSD-3-Clause
import { deepStrictEqual } from "node:assert";

export const port = Number(process.argv[2]);
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

let checks = 0;

export function same(got, want, what) {
  deepStrictEqual(got, want, what);
  checks++;
}

// Waits for a condition, not for a time.
export async function until(what, condition) {
  for (let i = 0; i < 600; i++) {
    if (await condition()) {
      checks++;
      return;
    }
    await sleep(50);
  }
  throw new Error(`waited in vain for: ${what}`);
}

// The runner kills the server with SIGKILL, starts it again on its directory and says so.
export function killServer() {
  const restarted = new Promise((done) => process.stdin.once("data", done));
  console.log("kill");
  return restarted;
}

export async function scenario(run) {
  try {
    await run();
    console.log(`ok ${checks}`);
    process.exit(0);
  } catch (error) {
    console.log(`failed ${error.stack}`);
    process.exit(1);
  }
}
