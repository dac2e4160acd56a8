/**
 * What goes wrong, as types. A contract's refusal carries its custom error's name and arguments, read by the ABI.
 */

import type { AbiParameterToPrimitiveType } from "viem";
import { BaseError, decodeErrorResult, type Hex, isHex } from "viem";

import { errorsAbi } from "./generated/abi.js";
import { advice } from "./generated/advice.js";

type Entry = (typeof errorsAbi)[number];

/** Names of all custom errors of the contracts. */
export type ErrorName = Entry["name"];

/** The arguments of a custom error, by name. */
export type ErrorArguments<Name extends ErrorName> = {
  readonly [Input in Extract<Entry, { name: Name }>["inputs"][number] as Input["name"]]: AbiParameterToPrimitiveType<Input>;
};

/** Every error that normal use can meet. The message says what to do. */
export class DidymaError extends Error {
  override readonly name: string = "DidymaError";
}

/** What is asked for cannot succeed; nothing was sent. */
export class Refused extends DidymaError {
  override readonly name: string = "Refused";
}

/** What a caller gave is nothing that a contract can be told: a malformed id or address, a number out of range. */
export class BadArgument extends Refused {
  override readonly name = "BadArgument";

  constructor(
    /** Its name, as the contracts have it. */
    readonly argument: string,
    what: string,
  ) {
    super(`${argument} ${what}`);
  }
}

/** A request was still open when the time was up. */
export class TimedOut extends DidymaError {
  override readonly name = "TimedOut";
}

/** A transaction was mined and reverted: what it met was no longer what it was simulated on. */
export class TransactionFailed extends DidymaError {
  override readonly name = "TransactionFailed";

  constructor(readonly hash: Hex) {
    super(
      `transaction ${hash} was mined and reverted: what it met was no longer what it was simulated on. ` +
        "It cost its gas and nothing else; try again",
    );
  }
}

/** A contract refused a call, before anything was sent. */
export class CallReverted extends DidymaError {
  override readonly name = "CallReverted";
  /** The custom error; null where none of these contracts knows it. */
  readonly errorName: ErrorName | null;
  /** Its arguments, by name. `is` tells their types. */
  readonly args: Readonly<Record<string, unknown>>;

  constructor(
    /** What the call reverted with. */
    readonly data: Hex,
    options?: ErrorOptions,
  ) {
    const found = read(data);
    super(explained(found, data), options);
    this.errorName = found?.name ?? null;
    this.args = found?.args ?? {};
  }

  /** Whether it is this error; then `args` are its arguments. */
  is<Name extends ErrorName>(name: Name): this is CallReverted & { readonly args: ErrorArguments<Name> } {
    return this.errorName === name;
  }
}

interface Read {
  readonly name: ErrorName;
  readonly args: Readonly<Record<string, unknown>>;
}

function read(data: Hex): Read | null {
  try {
    const { errorName, args, abiItem } = decodeErrorResult({ abi: errorsAbi, data });
    const values = (args ?? []) as readonly unknown[];
    const named = abiItem.inputs.map((input, at) => [input.name, values[at]] as const);
    return { name: errorName, args: Object.fromEntries(named) };
  } catch {
    return null;
  }
}

function explained(found: Read | null, data: Hex): string {
  if (found === null) {
    const what = data === "0x" ? "without a reason" : `for a reason that this version does not know (${data.slice(0, 10)})`;
    return `the contract refuses ${what}: is the deployment this chain's, and of this version?`;
  }
  const shown = Object.entries(found.args).map(([name, value]) => `${name}=${text(value)}`);
  const hint = advice[found.name];
  return `the contract refuses: ${found.name}(${shown.join(", ")})${hint === undefined ? "" : `; ${hint}`}`;
}

function text(value: unknown): string {
  const isHash = typeof value === "bigint" && value >= 1n << 160n; // ids of requests are numbers to a contract
  return isHash ? `0x${value.toString(16).padStart(64, "0")}` : String(value);
}

/** What a call of viem's reverted with; null if it failed for another reason. */
export function revertData(error: unknown): Hex | null {
  if (!(error instanceof BaseError)) return null;
  let data: Hex | null = null;
  error.walk((cause) => {
    const raw = cause as { raw?: unknown; data?: unknown };
    for (const each of [raw.raw, raw.data, (raw.data as { data?: unknown } | undefined)?.data]) {
      if (data === null && isHex(each)) data = each;
    }
    return false;
  });
  const isRevert = error.walk((cause) => (cause as Error).name === "ContractFunctionRevertedError") !== null;
  return data ?? (isRevert ? "0x" : null);
}

/** What `call` gives; a contract's refusal is thrown as CallReverted, anything else as it is. */
export async function refusals<Value>(call: () => Promise<Value>): Promise<Value> {
  try {
    return await call();
  } catch (error) {
    const data = revertData(error);
    throw data === null ? error : new CallReverted(data, { cause: error });
  }
}
