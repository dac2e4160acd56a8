/**
 * An answer's token ids, as its `tokensRoot` commits them: whoever holds the tokens can check that they are the ones that
 * were paid for. The same trees as `oracle/merkle/`.
 */

import { concatBytes, encodeAbiParameters, type Hex, keccak256, numberToBytes, toHex } from "viem";

import { Refused } from "./errors.js";

const LEAF_TAG = Uint8Array.of(0);
const NODE_TAG = Uint8Array.of(1);
const HASH_BYTES = 32;
const BEGINS = 2 ** 31;

/** Tokens of an answer that the dispute game judges. */
export interface Tokens {
  /** Ids of the prompt, the model's wrapper included. */
  readonly prompt: readonly number[];
  /** Ids of the output, the end token included. */
  readonly output: readonly number[];
  /** Where each output token ends in the output, in bytes. */
  readonly ends: readonly number[];
  /** Where each prompt token ends in the prompt's reading, and whether a piece of text begins with it; none: all zero. */
  readonly marks?: readonly { readonly end: number; readonly begins: boolean }[];
}

/** The `tokensRoot` of an answer that the dispute game judges. Throws Refused for rows of different lengths. */
export function tokensRoot(tokens: Tokens): Hex {
  const { prompt, output, ends } = tokens;
  const marks = tokens.marks ?? prompt.map(() => ({ end: 0, begins: false }));
  if (output.length === 0) throw new Refused("an answer holds at least one token");
  if (marks.length !== prompt.length || ends.length !== output.length) {
    throw new Refused("there is one mark for each prompt token, and one end for each output token");
  }
  const tails = [...marks.map((mark) => mark.end + (mark.begins ? BEGINS : 0)), ...ends];
  const entries = [...prompt, ...output].flatMap((id, at) => [word(id), word(tails[at] ?? 0)]);
  const root = rootOf(concatBytes(entries));
  return keccak256(encodeAbiParameters([{ type: "uint256" }, { type: "bytes32" }], [BigInt(prompt.length), root]));
}

/** The `tokensRoot` of an answer that a panel judges: over the output's ids alone. */
export function panelTokensRoot(output: readonly number[]): Hex {
  if (output.length === 0) throw new Refused("an answer holds at least one token");
  return rootOf(concatBytes(output.map(word)));
}

function word(value: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 32) {
    throw new Refused(`a token and its end are whole numbers below 2^32, not ${value}`);
  }
  return numberToBytes(value, { size: 4 });
}

/** The root over data in leaves of 32 bytes, the last padded with zeros. */
function rootOf(data: Uint8Array): Hex {
  let level: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += HASH_BYTES) {
    const leaf = new Uint8Array(HASH_BYTES);
    leaf.set(data.slice(at, at + HASH_BYTES));
    level.push(keccak256(concatBytes([LEAF_TAG, leaf]), "bytes"));
  }
  let missing = keccak256(concatBytes([LEAF_TAG, new Uint8Array(HASH_BYTES)]), "bytes");
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let at = 0; at < level.length; at += 2) {
      above.push(node(level[at] as Uint8Array, level[at + 1] ?? missing));
    }
    missing = node(missing, missing);
    level = above;
  }
  return toHex(level[0] as Uint8Array);
}

function node(left: Uint8Array, right: Uint8Array): Uint8Array {
  return keccak256(concatBytes([NODE_TAG, left, right]), "bytes");
}
