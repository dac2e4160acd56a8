/**
 * Patterns: answers of the form that a JSON schema or a zod schema describes. The same bytes as
 * `oracle/client/patterns/`; tests/vectors/clients.json holds both to it.
 */

import { bytesToHex, concatBytes, type Hex } from "viem";

import { compiled } from "./automaton.js";
import { Refused } from "./errors.js";
import { hexOf } from "./given.js";
import { LENGTH_BYTES, number, PATTERN, ROOT_BYTES } from "./prompts.js";
import { expressionOf } from "./schema.js";

const MOST_TEXT = 8_192;
const RELATIVE = 1 << 15;

/** What a type must know of a model's vocabulary: `didyma type` with `--json` prints both. */
export interface Vocabulary {
  readonly root: Hex;
  /** Bytes that no token spells alone; answers do without. None if not given. */
  readonly unspelled?: Hex;
}

/** A schema of zod's, or of another library that describes itself. */
export interface SelfDescribing<Value> {
  /** What `parse` takes, where that is not what it gives. */
  toJSONSchema(of: { readonly io: "input" }): unknown;
  parse(value: unknown): Value;
}

/** What a question may be answered with. */
export interface Pattern<Value> {
  readonly type: Hex;
  /** The least `maxTokens` of a request that asks it. */
  readonly leastTokens: number;
  /** No answer needs more. */
  readonly mostTokens: number;
  /** What an output says. Throws Refused for one that is not of the form. */
  read(output: Hex): Value;
}

/**
 * A pattern that a JSON schema describes: one value, or a flat object. Throws Refused for what contracts do not read, by
 * the keyword, and for what is too large.
 */
export function pattern<Value>(schema: SelfDescribing<Value>, vocabulary: Vocabulary): Pattern<Value>;
export function pattern(schema: Readonly<Record<string, unknown>>, vocabulary: Vocabulary): Pattern<unknown>;
export function pattern(schema: SelfDescribing<unknown> | Readonly<Record<string, unknown>>, vocabulary: Vocabulary): Pattern<unknown> {
  const described = isSelfDescribing(schema) ? schema : null;
  const said = described === null ? schema : refusing("no JSON schema describes it", () => described.toJSONSchema({ io: "input" }));
  const missing = new Set(hexOf("unspelled", vocabulary.unspelled ?? "0x"));
  const { table, shortest, longest } = compiled(expressionOf(said), (byte) => !missing.has(byte));
  if (shortest > MOST_TEXT) throw new Refused(`the shortest answer has ${shortest} bytes, and answers have 8,192 at most`);
  const root = hexOf("root", vocabulary.root).slice(0, ROOT_BYTES);
  const header = [root, Uint8Array.of(PATTERN), number(table.length, LENGTH_BYTES, "a type's length")];
  return {
    type: bytesToHex(concatBytes([...header, table])),
    leastTokens: shortest + 1,
    mostTokens: longest + 1,
    read: (output) => {
      const data = hexOf("output", output);
      if (data.length > MOST_TEXT || !matches(table, data)) {
        throw new Refused(`${output.slice(0, 82)} is no answer of the type that was asked for`);
      }
      const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
      if (described === null) return value;
      return refusing(`${output.slice(0, 82)} is of the form that was asked for, and means nothing`, () => described.parse(value));
    },
  };
}

/** What a library says. Throws Refused with its reason where it does not. */
function refusing<Value>(what: string, say: () => Value): Value {
  try {
    return say();
  } catch (error) {
    throw new Refused(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function isSelfDescribing(schema: object): schema is SelfDescribing<unknown> {
  return "toJSONSchema" in schema && typeof schema.toJSONSchema === "function";
}

/** Whether a table leads an output to where it may end. */
function matches(table: Uint8Array, output: Uint8Array): boolean {
  const word = (at: number) => ((table[at] ?? 0) << 8) | (table[at + 1] ?? 0);
  const states = word(0);
  let state = 0;
  for (const byte of output) {
    const row = word(3 + 3 * states + 2 * (table[3 + 3 * state] ?? 0));
    let next = states;
    for (let at = row + 4 * (table[row] ?? 0) - 3; at > row; at -= 4) {
      if ((table[at] ?? 0) > byte || byte > (table[at + 1] ?? 0)) continue;
      const target = word(at + 2);
      next = target >= RELATIVE ? state + target - RELATIVE : target;
    }
    if (next >= states) return false;
    state = next;
  }
  return word(3 + 3 * state + 1) === 0;
}
