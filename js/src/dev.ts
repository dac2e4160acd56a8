/** A local network with the whole oracle for tests: `didyma dev` of the Python package, started and stopped. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Address, createTestClient, type Hex, http } from "viem";

import type { Deployment } from "./client.js";
import { DidymaError } from "./errors.js";

/** `didyma dev` did not get ready; the message has its last words. */
export class NotReady extends DidymaError {
  override readonly name = "NotReady";
}

/** What `deployment.json` of a running network says. */
export interface DevDeployment extends Deployment {
  readonly rpc_url: string;
  readonly service: Hex;
  readonly lens: Address;
}

/** A running network. */
export interface DevNetwork {
  readonly deployment: DevDeployment;
  readonly rpcUrl: string;
  /** The one service, of the shipped model. */
  readonly service: Hex;
  /** Moves the chain's clock ahead. The nodes go on: they go by the chain's clock. */
  passTime(seconds: number): Promise<void>;
  /** Ends it, and removes its files. */
  stop(): Promise<void>;
}

/** How the network is started. */
export interface DevOptions {
  /** The command, `didyma` if not given. */
  readonly command?: string;
  /** More options of `didyma dev`. */
  readonly options?: readonly string[];
  /** 300 if not given. */
  readonly timeoutSeconds?: number;
}

const POLL_MILLIS = 200;
const LAST_BYTES = 4000;

/**
 * The network around this process, as `didyma dev -- COMMAND` tells of it; else one that is started on a free port, in a
 * folder of its own. Throws NotReady.
 */
export async function startDev({ command = "didyma", options = [], timeoutSeconds = 300 }: DevOptions = {}): Promise<DevNetwork> {
  const around = process.env["DIDYMA_DEPLOYMENT"];
  if (around !== undefined && process.env["DIDYMA_SERVICE"] !== undefined) return networkOf(around, async () => {});
  const folder = mkdtempSync(join(tmpdir(), "didyma-dev-"));
  const words = ["dev", "--folder", folder, "--port", String(await freePort()), ...options];
  const process_ = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"] });
  const kill = (): void => void process_.kill("SIGINT");
  process.once("exit", kill);
  const said = listening(process_);
  const stop = async (): Promise<void> => {
    process.off("exit", kill);
    if (process_.exitCode === null && process_.signalCode === null && process_.pid !== undefined) {
      const ended = new Promise((resolve) => process_.once("exit", resolve));
      kill();
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  const file = join(folder, "deployment.json");
  for (let waited = 0; !existsSync(file); waited += POLL_MILLIS) {
    const failed = said.failure ?? (process_.exitCode === null ? null : `it ended with status ${process_.exitCode}`);
    if (failed !== null || waited >= timeoutSeconds * 1000) {
      await stop();
      throw new NotReady(`${command} dev is not ready: ${failed ?? `waited ${timeoutSeconds} s`}. It said:\n${said.text}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLIS));
  }
  return networkOf(file, stop);
}

function networkOf(file: string, stop: () => Promise<void>): DevNetwork {
  const deployment = JSON.parse(readFileSync(file, "utf8")) as DevDeployment;
  const rpcUrl = deployment.rpc_url;
  const passTime = async (seconds: number): Promise<void> => {
    const chain = createTestClient({ mode: "anvil", transport: http(rpcUrl) });
    await chain.increaseTime({ seconds });
    await chain.mine({ blocks: 1 });
  };
  return { deployment, rpcUrl, service: deployment.service, passTime, stop };
}

interface Said {
  text: string;
  failure: string | null;
}

function listening(child: ChildProcess): Said {
  const said: Said = { text: "", failure: null };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      said.text = (said.text + chunk.toString()).slice(-LAST_BYTES);
    });
  }
  child.once("error", (error) => {
    said.failure = `${error.message}: \`pip install didyma\` brings it`;
  });
  return said;
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const found = server.address();
      server.close(() => (found === null || typeof found === "string" ? reject(new Error("no port")) : resolve(found.port)));
    });
  });
}
