/**
 * Prompts as services take them: the first byte says of what kind they are, and nothing in a stranger's words can choose
 * it. The same bytes as `oracle/engines/exact/text_prompts.py` and `answer_types.py` make; tests/vectors/clients.json
 * holds both to it.
 */

import { bytesToHex, concatBytes, type Hex, stringToBytes } from "viem";

import { Refused } from "./errors.js";
import { hexOf, promptOf } from "./given.js";

/** A prompt's first byte, and a part's. */
export const PromptKind = { TEXT: 0, IDS: 1, PARTS: 2, TYPED: 3 } as const;

const ID_BYTES = 3;
export const LENGTH_BYTES = 3;
export const ROOT_BYTES = 4;
const CHOICE = 1;
export const PATTERN = 2;
const HEADER_BYTES = ROOT_BYTES + 1 + LENGTH_BYTES;
const LEAST_ROWS = 2;
const MOST_ROWS = 16;
const MOST_IDS = 16;

/** The prompt that asks a text. */
export function textPrompt(text: string | Uint8Array): Uint8Array {
  return concatBytes([Uint8Array.of(PromptKind.TEXT), bytesOf(text)]);
}

/** The prompt of token ids. Throws Refused for ids of more than three bytes. */
export function idsPrompt(ids: readonly number[]): Uint8Array {
  return concatBytes([Uint8Array.of(PromptKind.IDS), idBytes(ids)]);
}

/** A part of a prompt: words, or token ids. */
export type Part = { readonly text: string | Uint8Array } | { readonly ids: readonly number[] };

/** A row of words and of token ids, such as a chat with its markers. Throws Refused for a part of 16 MiB. */
export function partsPrompt(parts: readonly Part[]): Uint8Array {
  const made = parts.flatMap((part) => {
    const data = "text" in part ? bytesOf(part.text) : idBytes(part.ids);
    const kind = "text" in part ? PromptKind.TEXT : PromptKind.IDS;
    return [Uint8Array.of(kind), number(data.length, LENGTH_BYTES, "a part's length"), data];
  });
  return concatBytes([Uint8Array.of(PromptKind.PARTS), ...made]);
}

/** A prompt whose answer has a type. prompt: of any other kind. Throws BadArgument. */
export function typedPrompt(type: Hex, prompt: Uint8Array): Uint8Array {
  return concatBytes([Uint8Array.of(PromptKind.TYPED), hexOf("type", type), promptOf(prompt)]);
}

/** The type of an answer that is one of a few rows of token ids. root: of the vocabulary that the ids are of. */
export function choiceType(rows: readonly (readonly number[])[], root: Hex): Hex {
  const body = concatBytes([
    number(rows.length, 1, "how many choices there are"),
    ...rows.flatMap((row) => [number(row.length, 1, "a choice's length"), idBytes(row)]),
  ]);
  const header = [hexOf("root", root).slice(0, ROOT_BYTES), Uint8Array.of(CHOICE), number(body.length, LENGTH_BYTES, "a type's length")];
  return bytesToHex(concatBytes([...header, body]));
}

/**
 * The least `maxTokens` of a request with this prompt: of a typed one what the type says that an answer may need, of others 0.
 * Throws Refused for a type that nothing but an empty output answers.
 */
export function leastTokensOf(prompt: Uint8Array): number {
  if (prompt[0] !== PromptKind.TYPED) return 0;
  const end = 1 + HEADER_BYTES + numberIn(prompt, 1 + ROOT_BYTES + 1, LENGTH_BYTES);
  const type = prompt.slice(1, end);
  if (type.length < HEADER_BYTES || end > prompt.length) throw new Refused("the type is longer than the prompt");
  if (type[ROOT_BYTES] !== PATTERN) return longestOf(rowsOf(bytesToHex(type))) + 1;
  const table = type.slice(HEADER_BYTES);
  const states = numberIn(table, 0, 2);
  if (table.length < 3 || states === 0 || table.length < 3 + 3 * states + 2 * (table[2] ?? 0)) {
    throw new Refused("a pattern is how many states and shapes it has, and these, and the shapes' rows");
  }
  return numberIn(table, 4, 2) + 1;
}

/** What a question may be answered with: its type, and what each choice means to the dapp. */
export interface Choice<Label extends string> {
  readonly type: Hex;
  readonly labels: readonly Label[];
  /** The least `maxTokens` of a request that asks it. */
  readonly leastTokens: number;
}

/** Something that lists the words of an enumeration, such as `z.enum(["yes", "no"])` of zod. */
export interface Enumeration<Label extends string> {
  readonly options: readonly Label[];
}

/**
 * A choice of labels, for a constant that `choiceType` or the command line made of the same words in the same order.
 * Throws Refused where the constant is no choice, or one of another number of words.
 */
export function choice<const Label extends string>(type: Hex, labels: readonly Label[] | Enumeration<Label>): Choice<Label> {
  const names = "options" in labels ? labels.options : labels;
  const rows = rowsOf(type);
  if (rows.length !== names.length) {
    throw new Refused(`the type has ${rows.length} choices, and there are ${names.length} labels`);
  }
  if (new Set(names).size !== names.length) throw new Refused("two labels are the same");
  return { type, labels: names, leastTokens: longestOf(rows) + 1 };
}

function longestOf(rows: readonly (readonly number[])[]): number {
  return Math.max(...rows.map((row) => row.length));
}

function rowsOf(type: Hex): number[][] {
  const data = hexOf("type", type);
  const length = data.length < HEADER_BYTES ? -1 : HEADER_BYTES + numberIn(data, ROOT_BYTES + 1, LENGTH_BYTES);
  if (length !== data.length) throw new Refused("the type is not as long as it says");
  if (data[ROOT_BYTES] !== CHOICE) throw new Refused(`no choice has the form ${data[ROOT_BYTES]}`);
  const rows: number[][] = [];
  let at = HEADER_BYTES + 1;
  for (let count = data[HEADER_BYTES] ?? 0; count > 0; count -= 1) {
    const ids = data[at] ?? 0;
    rows.push(Array.from({ length: ids }, (_, index) => numberIn(data, at + 1 + index * ID_BYTES, ID_BYTES)));
    at += 1 + ids * ID_BYTES;
  }
  if (at !== data.length) throw new Refused("a choice is how many rows it has, and for each its length and so many ids");
  if (rows.length < LEAST_ROWS || rows.length > MOST_ROWS) {
    throw new Refused(`a choice has ${LEAST_ROWS} to ${MOST_ROWS} rows, not ${rows.length}`);
  }
  if (rows.some((row) => row.length < 1 || row.length > MOST_IDS)) {
    throw new Refused(`a row of a choice has 1 to ${MOST_IDS} ids`);
  }
  return rows;
}

function idBytes(ids: readonly number[]): Uint8Array {
  return concatBytes(ids.map((id) => number(id, ID_BYTES, "a token id")));
}

/** A text in UTF-8; lone surrogates become U+FFFD, as everywhere in JavaScript. */
function bytesOf(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? stringToBytes(text) : promptOf(text);
}

export function number(value: number, bytes: number, what: string): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * bytes)) {
    throw new Refused(`${what} is a whole number from 0 to ${2 ** (8 * bytes) - 1}, not ${value}`);
  }
  return Uint8Array.from({ length: bytes }, (_, at) => Math.floor(value / 2 ** (8 * (bytes - 1 - at))) % 256);
}

function numberIn(data: Uint8Array, at: number, bytes: number): number {
  return data.slice(at, at + bytes).reduce((value, byte) => value * 256 + byte, 0);
}
