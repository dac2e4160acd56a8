/** Requests as the oracle keeps them: the parameters of one, its id, and what the chain says of it. */

import { encodeAbiParameters, getAbiItem, type Hex, keccak256 } from "viem";

import { oracleAbi } from "./generated/abi.js";
import { paramsOf, secondsOf, temperatureOf, whole } from "./given.js";

/** `IOracle.Params`. */
export interface Params {
  readonly maxTokens: number;
  /** 16 fraction bits. */
  readonly temperature: number;
  /** 16 fraction bits. */
  readonly cutoff: number;
  readonly callbackGas: number;
  readonly callbackGasPriceWei: bigint;
  /** Unix time in seconds. */
  readonly deadline: number;
  /** In units of 10^15 wei. */
  readonly valueFinney: number;
  readonly isPrivate: boolean;
}

/** What a request is asked with, in a dapp's own terms. */
export interface Wishes {
  /** Most output tokens, the end token included. */
  readonly maxTokens: number;
  /** 0 for the most probable answer; more for variety. */
  readonly temperature?: number;
  /** Seconds from the latest block until the fee can be refunded if nobody has answered; 600 if not given. */
  readonly deadlineSeconds?: number;
  /** The value at stake. */
  readonly valueWei?: bigint;
  readonly isPrivate?: boolean;
  /** What `onAnswer` of the asking contract gets; 0 for no callback. */
  readonly callbackGas?: number;
  /** What each unit of it pays whoever finalizes: more than gas will cost then. */
  readonly callbackGasPriceWei?: bigint;
}

const FINNEY = 10n ** 15n;
const MOST_FINNEY = (1n << 24n) - 1n;
const DEADLINE_SECONDS = 600;

/** Parameters of a request. now: Unix time of the latest block. Throws BadArgument. */
export function paramsAt(now: bigint, wishes: Wishes): Params {
  const valueWei = whole("valueWei", wishes.valueWei ?? 0n, 256);
  const finney = (valueWei + FINNEY - 1n) / FINNEY;
  const callbackGas = wishes.callbackGas ?? 0;
  return paramsOf({
    maxTokens: wishes.maxTokens,
    temperature: nearestEven(temperatureOf(wishes.temperature ?? 0) * 65536),
    cutoff: 0,
    callbackGas,
    callbackGasPriceWei: callbackGas === 0 ? 0n : (wishes.callbackGasPriceWei ?? 0n),
    deadline: Number(now) + secondsOf(wishes.deadlineSeconds ?? DEADLINE_SECONDS),
    valueFinney: Number(finney < MOST_FINNEY ? finney : MOST_FINNEY),
    isPrivate: wishes.isPrivate ?? false,
  });
}

/** As Python rounds: a half goes to the even number. */
function nearestEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}

/** `IOracle.Request`. */
export interface Request {
  readonly service: Hex;
  readonly promptHash: Hex;
  readonly head: bigint;
  readonly rules: bigint;
  readonly money: bigint;
}

/** `IOracle.Answer`. */
export interface Answer {
  readonly head: bigint;
  readonly outputHash: Hex;
  readonly tokensRoot: Hex;
  readonly seedBlockHash: Hex;
}

const REQUEST = getAbiItem({ abi: oracleAbi, name: "cancel" }).inputs;

/** The id that a request has. */
export function requestIdOf(request: Request): bigint {
  return BigInt(keccak256(encodeAbiParameters(REQUEST, [request])));
}

/** Gas that a request's callback gets, as bought. */
export function callbackGasOf(request: Request): number {
  return Number((request.rules >> 88n) & 0xffffffffn);
}

/** How many output tokens an answer says it has, the end token included. */
export function tokenCountOf(answer: Answer): number {
  return Number((answer.head >> 96n) & 0xffffffn);
}
