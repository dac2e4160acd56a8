/** `startDev`: a network that is around, or one that it starts; here a command of the test's own stands in for `didyma`. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { NotReady, startDev } from "../src/dev.js";
import { BadArgument } from "../src/index.js";

const SERVICE = `0x${"07".repeat(32)}`;
const VARIABLES = ["DIDYMA_DEPLOYMENT", "DIDYMA_SERVICE", "DIDYMA_RPC_URLS"];
const kept = VARIABLES.map((name) => process.env[name]);
let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "didyma-test-"));
  for (const name of VARIABLES) delete process.env[name];
});

afterEach(() => {
  rmSync(folder, { recursive: true });
  for (const [index, name] of VARIABLES.entries()) {
    const value = kept[index];
    if (value !== undefined) process.env[name] = value;
  }
});

/** A command that is called as `didyma` is; its lines are run by sh, with the network's folder as $3. */
function standIn(...lines: string[]): string {
  const file = join(folder, "stand in");
  writeFileSync(file, ["#!/bin/sh", ...lines, ""].join("\n"), { mode: 0o755 });
  return file;
}

/** Says that it is ready and where its process and folder are, then waits. */
const RUNS = (where: string): string[] => [
  `echo "$$ $3" > '${where}'`,
  `echo '{"rpc_url": "http://127.0.0.1:1", "service": "${SERVICE}"}' > "$3/new" && mv "$3/new" "$3/deployment.json"`,
  "exec sleep 600",
];

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 50) {
    assert.ok(waited < 20_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function surroundings(content: string | null, service = SERVICE, urls?: string): void {
  const file = join(folder, "deployment.json");
  if (content !== null) writeFileSync(file, content);
  process.env["DIDYMA_DEPLOYMENT"] = file;
  process.env["DIDYMA_SERVICE"] = service;
  if (urls !== undefined) process.env["DIDYMA_RPC_URLS"] = urls;
}

test("startDev__around__is_that_network_and_stopping_leaves_it", async () => {
  surroundings(JSON.stringify({ rpc_url: "http://one", service: `0x${"08".repeat(32)}` }));
  const dev = await startDev({ command: "no-such-command" });
  assert.deepEqual([dev.rpcUrl, dev.service], ["http://one", SERVICE]);
  await dev.stop();
  assert.ok(existsSync(join(folder, "deployment.json")));
});

test("startDev__deployment_of_another_chain__is_where_the_variables_say", async () => {
  surroundings('{"chain_id": 7}', SERVICE, "http://one, http://two");
  const { deployment, rpcUrl, service } = await startDev();
  assert.deepEqual([deployment.chain_id, deployment.rpc_url, rpcUrl, service], [7, "http://one", "http://one", SERVICE]);
});

test("startDev__around_has_ended_or_is_malformed__says_what_to_do", async () => {
  for (const content of [null, "", "\0"]) {
    surroundings(content);
    await assert.rejects(startDev(), (error) => error instanceof NotReady && /unset the variable/.test(error.message));
  }
  surroundings("{}");
  await assert.rejects(startDev(), (error) => error instanceof NotReady && /set DIDYMA_RPC_URLS/.test(error.message));
  surroundings('{"rpc_url": "http://one"}', "0x07");
  await assert.rejects(startDev(), (error) => error instanceof BadArgument && error.argument === "service");
});

test("startDev__nothing_around__starts_a_command_and_stops_it", async () => {
  const where = join(folder, "where");
  const dev = await startDev({ command: standIn(...RUNS(where)), options: ["--block-time", "2"] });
  const [pid = "", network = ""] = readFileSync(where, "utf8").trim().split(" ");
  assert.ok(isAlive(Number(pid)) && existsSync(network));
  await dev.stop();
  assert.ok(!isAlive(Number(pid)) && !existsSync(network));
  await dev.stop();
});

test("startDev__its_process_is_killed__so_is_the_network", async () => {
  const where = join(folder, "where");
  const module = new URL("../src/dev.js", import.meta.url).href;
  const script = `const { startDev } = await import(${JSON.stringify(module)}); await startDev({ command: process.argv[1] });`;
  const words = ["--input-type=module", "--eval", script, standIn(...RUNS(where))];
  const starter = spawn(process.execPath, words, { stdio: "ignore" });
  await until(() => existsSync(where) && readFileSync(where, "utf8").endsWith("\n"));
  const [pid = "", network = ""] = readFileSync(where, "utf8").trim().split(" ");
  assert.ok(isAlive(Number(pid)));
  starter.kill("SIGKILL");
  await until(() => !isAlive(Number(pid)));
  rmSync(network, { recursive: true });
});

test("startDev__no_such_command__says_what_brings_it", async () => {
  await assert.rejects(startDev({ command: "no-such-command" }), (error) => {
    return error instanceof NotReady && /no-such-command on the PATH\? The wheel brings it/.test(error.message);
  });
});

test("startDev__command_fails__is_not_ready_with_its_words", async () => {
  const command = standIn("echo 'port 8545 is taken' >&2", "exit 3");
  await assert.rejects(startDev({ command }), (error) => {
    return error instanceof NotReady && /it ended with status 3/.test(error.message) && /port 8545 is taken/.test(error.message);
  });
});

test("startDev__time_is_up__is_not_ready_and_the_command_is_stopped", async () => {
  const where = join(folder, "where");
  const command = standIn(`echo $$ > '${where}'`, "exec sleep 600");
  await assert.rejects(startDev({ command, timeoutSeconds: 0.4 }), (error) => error instanceof NotReady && /waited 0.4 s/.test(error.message));
  assert.ok(!isAlive(Number(readFileSync(where, "utf8"))));
});
