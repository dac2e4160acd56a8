/**
 * What callers give the client. What no type of the contracts holds is refused by name; the chain is not asked. The same
 * words as `oracle/client/given.py`; tests/vectors/clients.json holds both to it. What a type can hold and a contract
 * refuses stays the contract's to refuse.
 */

import { type Address, getAddress, type Hex, hexToBytes, isAddress, isHex } from "viem";

import { BadArgument } from "./errors.js";
import type { Params } from "./requests.js";

const WORD = 256;
const ID = /^0x[0-9a-f]{64}$/i;
const CAPITALS = /^0x[0-9A-F]{40}$/;
const MOST_TEMPERATURE = 65_535;
/** The numbers of `IOracle.Params`, by their bits. */
const FIELDS = {
  maxTokens: 24,
  temperature: 32,
  cutoff: 32,
  callbackGas: 32,
  callbackGasPriceWei: 64,
  deadline: 48,
  valueFinney: 24,
} as const;

/** The functions here throw BadArgument. */
export function serviceOf(given: unknown): Hex {
  if (typeof given !== "string" || !ID.test(given)) throw new BadArgument("service", "is not an id: 32 bytes");
  return given as Hex;
}

export function requestOf(given: unknown): bigint {
  if (typeof given !== "bigint" || !fits(given, WORD)) {
    throw new BadArgument("requestId", "is not an id: a whole number of 256 bits");
  }
  return given;
}

export function addressOf(name: string, given: unknown): Address {
  if (typeof given !== "string" || !(isAddress(given) || CAPITALS.test(given))) {
    throw new BadArgument(name, "is not an address: 0x and 40 hexadecimal digits, whose capitals are a checksum");
  }
  return getAddress(given.toLowerCase());
}

export function promptOf(given: unknown): Uint8Array {
  if (!(given instanceof Uint8Array)) throw new BadArgument("prompt", "must be bytes");
  return given;
}

export function textOf(given: unknown): string {
  if (typeof given !== "string") throw new BadArgument("text", "must be a string");
  return given;
}

/** Bytes written in hexadecimal. */
export function hexOf(name: string, given: unknown): Uint8Array {
  if (!isHex(given) || given.length % 2 !== 0) throw new BadArgument(name, "must be bytes in hexadecimal: 0x and pairs of digits");
  return hexToBytes(given);
}

/** A number that so many bits hold; a bigint, or a number that JavaScript keeps exactly. */
export function whole(name: string, given: unknown, bits: number): bigint {
  const isExact = typeof given === "bigint" || (typeof given === "number" && Number.isSafeInteger(given));
  if (!isExact || !fits(BigInt(given), bits)) throw new BadArgument(name, `must be a whole number from 0 to 2^${bits} - 1`);
  return BigInt(given);
}

/** From the latest block to a deadline; negative for one that has passed. */
export function secondsOf(given: unknown): number {
  if (typeof given !== "number" || !Number.isSafeInteger(given)) throw new BadArgument("deadlineSeconds", "must be a whole number");
  return given;
}

export function temperatureOf(given: unknown): number {
  if (typeof given !== "number" || !(given >= 0 && given <= MOST_TEMPERATURE)) {
    throw new BadArgument("temperature", "must be a number from 0 to 65535");
  }
  return given;
}

export function marginOf(given: unknown): number {
  if (typeof given !== "number" || !(given >= 0)) throw new BadArgument("leastMargin", "must be a number, 0 or more");
  return given;
}

export function paramsOf(given: Params): Params {
  if (typeof given !== "object" || given === null) throw new BadArgument("params", "must have the fields of IOracle.Params");
  if (typeof given.isPrivate !== "boolean") throw new BadArgument("isPrivate", "must be true or false");
  for (const [name, bits] of Object.entries(FIELDS)) whole(name, given[name as keyof typeof FIELDS], bits);
  return given;
}

function fits(value: bigint, bits: number): boolean {
  return value >= 0n && value < 1n << BigInt(bits);
}
