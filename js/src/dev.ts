/** A local network with the whole oracle for tests: `didyma dev` of the Python package, started and stopped. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Address, createTestClient, type Hex, http } from "viem";

import type { Deployment } from "./client.js";
import { DidymaError } from "./errors.js";
import { serviceOf } from "./given.js";

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
const NO_SUCH_COMMAND = 127; // as shells say it
/** For sh: runs a command, and kills its process group once this process is gone, however it ended. */
const TIED = 'exec 3<&0 </dev/null; (read -r _ <&3; kill -9 0) & exec "$@" 3<&-';

/**
 * The network around this process, as `didyma dev -- COMMAND` tells of it; else one that is started on a free port, in a
 * folder of its own. Throws NotReady.
 */
export async function startDev({ command = "didyma", options = [], timeoutSeconds = 300 }: DevOptions = {}): Promise<DevNetwork> {
  const { DIDYMA_DEPLOYMENT: around, DIDYMA_SERVICE: service, DIDYMA_RPC_URLS: urls } = process.env;
  if (around !== undefined && service !== undefined) {
    return networkOf(around, async () => {}, urls === undefined ? { service } : { service, rpc_url: urls });
  }
  const folder = mkdtempSync(join(tmpdir(), "didyma-dev-"));
  const words = [command, "dev", "--folder", folder, "--port", "0", ...options];
  // Its own group: Ctrl-C is for this process, which then ends it.
  const child = spawn("/bin/sh", ["-c", TIED, "sh", ...words], { stdio: ["pipe", "pipe", "pipe"], detached: true });
  const kill = (): void => void child.kill("SIGINT");
  process.once("exit", kill);
  const said = listening(child);
  const stop = async (): Promise<void> => {
    process.off("exit", kill);
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      kill();
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  const file = join(folder, "deployment.json");
  for (let waited = 0; !existsSync(file); waited += POLL_MILLIS) {
    const failed = whyEnded(child, command);
    if (failed !== null || waited >= timeoutSeconds * 1000) {
      await stop();
      throw new NotReady(`${command} dev is not ready: ${failed ?? `waited ${timeoutSeconds} s`}. It said:\n${said.text}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLIS));
  }
  return networkOf(file, stop);
}

/** Where a network is, beside its contracts. */
interface Place {
  readonly rpc_url?: string;
  readonly service?: string;
}

/** The network that a deployment file tells of. place: what is known better. Throws NotReady, BadArgument. */
function networkOf(file: string, stop: () => Promise<void>, place: Place = {}): DevNetwork {
  const found = { ...read(file), ...place };
  if (found.rpc_url === undefined || found.service === undefined) {
    throw new NotReady(`${file} names no endpoint or no service: set DIDYMA_RPC_URLS and DIDYMA_SERVICE`);
  }
  const service = serviceOf(found.service);
  const rpcUrl = found.rpc_url.trim().split(/[\s,]+/)[0] ?? "";
  const passTime = async (seconds: number): Promise<void> => {
    const chain = createTestClient({ mode: "anvil", transport: http(rpcUrl) });
    await chain.increaseTime({ seconds });
    await chain.mine({ blocks: 1 });
  };
  return { deployment: { ...found, rpc_url: rpcUrl, service }, rpcUrl, service, passTime, stop };
}

function read(file: string): Omit<DevDeployment, keyof Place> & Place {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new NotReady(`DIDYMA_DEPLOYMENT names no deployment (${why}): if its network has ended, unset the variable`);
  }
}

/** Null while it runs. */
function whyEnded(child: ChildProcess, command: string): string | null {
  if (child.exitCode === null) return child.signalCode === null ? null : `it was ended by ${child.signalCode}`;
  const hint = child.exitCode === NO_SUCH_COMMAND ? `: is ${command} on the PATH? The wheel brings it` : "";
  return `it ended with status ${child.exitCode}${hint}`;
}

interface Said {
  text: string;
}

function listening(child: ChildProcess): Said {
  const said: Said = { text: "" };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      said.text = (said.text + chunk.toString()).slice(-LAST_BYTES);
    });
  }
  child.once("error", (error) => {
    said.text += error.message;
  });
  return said;
}
