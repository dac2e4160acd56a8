/** Verdicts: answers of ten bytes to typed questions. The same as `Verdict` of `oracle/engines/answer_types.py`. */

import type { Hex } from "viem";

import { hexOf, marginOf } from "./given.js";
import type { Choice } from "./prompts.js";

const VERDICT_BYTES = 10;
const MARGIN_BITS = 16;

/** What a choice was answered with. */
export interface Verdict {
  /** Which of the choices, from 0. */
  readonly index: number;
  /** The least by which a logit won over another that competed, as the contracts know it: 16 fraction bits. */
  readonly marginRaw: number;
  /** The same as a number. */
  readonly margin: number;
  /** Of the output tokens, the earliest at which the margin is reached. */
  readonly step: number;
  /** The token over which it is reached there. */
  readonly other: number;
}

/** The verdict that an output is; null for what is not ten bytes. Throws BadArgument for what is no hexadecimal. */
export function verdictOf(output: Hex): Verdict | null {
  const data = hexOf("output", output);
  if (data.length !== VERDICT_BYTES) return null;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const marginRaw = view.getUint32(1);
  return {
    index: view.getUint8(0),
    marginRaw,
    margin: marginRaw / 2 ** MARGIN_BITS,
    step: view.getUint16(5),
    other: (view.getUint16(7) << 8) | view.getUint8(9),
  };
}

/** A verdict in the dapp's words. */
export interface Decided<Label extends string> {
  /** "unknown" for what is no verdict, names no choice, or is below the margin asked for. */
  readonly label: Label | "unknown";
  readonly verdict: Verdict | null;
}

/**
 * What an output says in the words of a choice. leastMargin: as a number; below it the answer is "unknown". Throws
 * BadArgument.
 */
export function decide<Label extends string>(asked: Choice<Label>, output: Hex, leastMargin = 0): Decided<Label> {
  const least = marginOf(leastMargin);
  const verdict = verdictOf(output);
  const label = verdict === null || verdict.margin < least ? undefined : asked.labels[verdict.index];
  return { label: label ?? "unknown", verdict };
}
