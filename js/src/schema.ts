/**
 * JSON schemas, as far as `Answers.sol` reads what they allow: every keyword is followed, or refused by its name. The same
 * as `oracle/client/patterns/schema.py`, but for strings with the format of a date.
 */

import { stringToBytes } from "viem";

import type { Expression, Range } from "./automaton.js";
import { Refused } from "./errors.js";

const SAYS_NOTHING = new Set(["$schema", "$id", "$comment", "$defs", "title", "description", "examples", "deprecated"]);
const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  boolean: [],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  null: [],
  object: ["properties", "required", "additionalProperties"],
  string: ["minLength", "maxLength"],
};
const MOST_LENGTH = 8_192;
const MOST_VALUES = 4_096;
const MOST_REFERENCES = 16;
const DIGIT: Expression = { bytes: [[0x30, 0x39]] };
const TAIL: Range = [0x80, 0xbf];
/** A character that stands for itself in a JSON string, as well-formed UTF-8 (Unicode, table 3-7). */
const PLAIN: Expression = {
  either: [
    { bytes: [[0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7f]] },
    ...[
      [[0xc2, 0xdf]],
      [[0xe0, 0xe0], [0xa0, 0xbf]],
      [[0xe1, 0xec], TAIL],
      [[0xed, 0xed], [0x80, 0x9f]],
      [[0xee, 0xef], TAIL],
      [[0xf0, 0xf0], [0x90, 0xbf], TAIL],
      [[0xf1, 0xf3], TAIL, TAIL],
      [[0xf4, 0xf4], [0x80, 0x8f], TAIL],
    ].map((row) => ({ row: [...row, TAIL].map((range) => ({ bytes: [range as unknown as Range] })) })),
  ],
};

type Schema = Readonly<Record<string, unknown>>;

/** Throws Refused for what contracts do not read. */
export function expressionOf(schema: unknown): Expression {
  const definitions = isObject(schema) && isObject(schema["$defs"]) ? schema["$defs"] : {};
  return valueOf(schema, "the schema", false, definitions, 0);
}

function valueOf(schema: unknown, where: string, inside: boolean, definitions: Schema, followed: number): Expression {
  if (!isObject(schema)) throw new Refused(`${where} is no schema: ${shown(schema)}`);
  const said = Object.keys(schema).filter((keyword) => !SAYS_NOTHING.has(keyword));
  if (has(schema, "$ref")) {
    only(said, ["$ref"], where);
    const name = typeof schema["$ref"] === "string" ? schema["$ref"].replace(/^#\/\$defs\//, "") : "";
    if (schema["$ref"] !== `#/$defs/${name}` || !has(definitions, name)) {
      throw new Refused(`${where} refers to ${shown(schema["$ref"])}: only a name in the schema's own $defs can be followed`);
    }
    if (followed === MOST_REFERENCES) throw new Refused(`${where} refers to itself`);
    return valueOf(definitions[name], where, inside, definitions, followed + 1);
  }
  const kind = schema["type"];
  if (has(schema, "type") && (typeof kind !== "string" || !has(KEYWORDS, kind))) {
    throw new Refused(`${where} has type ${shown(kind)}: a pattern has ${Object.keys(KEYWORDS).join(", ")}`);
  }
  for (const keyword of ["enum", "const"]) {
    if (!has(schema, keyword)) continue;
    only(said, ["type", keyword], where);
    return oneOf(keyword === "enum" ? schema["enum"] : [schema["const"]], kind as string | undefined, where);
  }
  only(said, ["type", ...(KEYWORDS[(kind as string | undefined) ?? ""] ?? [])], where);
  if (kind === undefined) throw new Refused(`${where} does not say its type: nothing in it bounds an answer`);
  if (kind === "boolean") return { either: [literal("true"), literal("false")] };
  if (kind === "null") return literal("null");
  if (kind === "integer") return integer(schema, where);
  if (kind === "string") return string(schema, where);
  if (inside) throw new Refused(`${where} is an object within an object, which contracts do not read: make it flat`);
  return object(schema, where, definitions);
}

function object(schema: Schema, where: string, definitions: Schema): Expression {
  const { properties, required, additionalProperties } = schema;
  if (!isObject(properties) || Object.keys(properties).length === 0) {
    throw new Refused(`${where} is an object without properties`);
  }
  if (!Array.isArray(required)) throw new Refused(`${where}: required must name every property, as answers have them all`);
  if (additionalProperties !== undefined && additionalProperties !== false) {
    throw new Refused(`${where}: additionalProperties must be false, as answers have no others`);
  }
  const names = Object.keys(properties);
  const odd = [...names.filter((name) => !required.includes(name)), ...required.filter((name) => !names.includes(name as string))];
  if (odd.length > 0 || new Set(required).size < required.length) {
    throw new Refused(`${where}: required must name every property once, and nothing else: ${shown((odd as unknown[]).concat(required)[0])}`);
  }
  const parts = names.flatMap((name, index) => {
    if (/^(0|[1-9][0-9]*)$/.test(name)) {
      throw new Refused(`the name ${shown(name)} is a number: JavaScript does not keep its place among others`);
    }
    const before = (index === 0 ? "{" : ",") + quoted(name, `the name ${shown(name)}`) + ":";
    return [literal(before), valueOf(properties[name], `property ${shown(name)}`, true, definitions, 0)];
  });
  return { row: [...parts, literal("}")] };
}

function string(schema: Schema, where: string): Expression {
  if (!has(schema, "maxLength")) throw new Refused(`${where} is a string without maxLength`);
  const least = has(schema, "minLength") ? whole(schema["minLength"], `${where}: minLength`) : 0;
  const most = whole(schema["maxLength"], `${where}: maxLength`);
  if (least < 0 || least > most || most > MOST_LENGTH) {
    throw new Refused(`${where}: minLength ${least} and maxLength ${most} must be rising, from 0 to 8,192`);
  }
  return { row: [literal('"'), { part: PLAIN, least, most }, literal('"')] };
}

function integer(schema: Schema, where: string): Expression {
  const bound = (name: string, exclusive: string, step: number): number => {
    if (has(schema, name) === has(schema, exclusive)) {
      throw new Refused(`${where} is an integer that must have ${name} or ${exclusive}`);
    }
    if (has(schema, name)) return whole(schema[name], `${where}: ${name}`);
    return whole(whole(schema[exclusive], `${where}: ${exclusive}`) + step, `${where}: ${exclusive}`);
  };
  const low = bound("minimum", "exclusiveMinimum", 1);
  const high = bound("maximum", "exclusiveMaximum", -1);
  if (low > high) throw new Refused(`${where}: no integer is at least ${low} and at most ${high}`);
  const negative: Expression[] = low < 0 ? [{ row: [literal("-"), naturals(Math.max(1, -high), -low)] }] : [];
  return { either: [...negative, ...(high >= 0 ? [naturals(Math.max(0, low), high)] : [])] };
}

function naturals(low: number, high: number): Expression {
  const [first, last] = [String(low), String(high)];
  if (first.length === last.length) return between(first, last);
  const parts = [between(first, "9".repeat(first.length)), between("1" + "0".repeat(last.length - 1), last)];
  if (last.length - first.length > 1) {
    parts.push({ row: [digits("1", "9"), { part: DIGIT, least: first.length, most: last.length - 2 }] });
  }
  return { either: parts };
}

/** Numbers between two of as many digits. */
function between(low: string, high: string): Expression {
  const [first, last] = [low[0] as string, high[0] as string];
  if (low.length === 1) return digits(first, last);
  if (first === last) return { row: [literal(first), between(low.slice(1), high.slice(1))] };
  const parts: Expression[] = [
    { row: [literal(first), beyond(low.slice(1), true)] },
    { row: [literal(last), beyond(high.slice(1), false)] },
  ];
  if (Number(last) - Number(first) > 1) {
    const free = Array.from({ length: low.length - 1 }, () => DIGIT);
    parts.push({ row: [digits(String(Number(first) + 1), String(Number(last) - 1)), ...free] });
  }
  return { either: parts };
}

/** Numbers of as many digits, from a border up or down. */
function beyond(border: string, above: boolean): Expression {
  let found: Expression = { either: [] };
  for (const [index, digit] of [...border].entries()) {
    const [low, high] = above ? [Number(digit) + 1, 9] : [0, Number(digit) - 1];
    const parts: Expression[] = [{ row: [found, DIGIT] }];
    if (low <= high) parts.push({ row: [literal(border.slice(0, index)), digits(String(low), String(high))] });
    found = { either: parts };
  }
  return { either: [literal(border), found] };
}

function digits(low: string, high: string): Expression {
  return { bytes: [[low.charCodeAt(0), high.charCodeAt(0)]] };
}

function literal(text: string): Expression {
  return { row: [...stringToBytes(text)].map((byte) => ({ bytes: [[byte, byte]] })) };
}

function oneOf(values: unknown, kind: string | undefined, where: string): Expression {
  if (!Array.isArray(values) || values.length === 0 || values.length > MOST_VALUES) {
    throw new Refused(`${where}: an enum is a list of 1 to 4,096 values`);
  }
  const texts = values.map((value) => written(value, kind, where));
  const twice = texts.findIndex((text, index) => texts.indexOf(text) !== index);
  if (twice >= 0) throw new Refused(`${where}: ${shown(values[twice])} is there twice`);
  return { either: texts.map(literal) };
}

/** A value in JSON. */
function written(value: unknown, kind: string | undefined, where: string): string {
  const found = value === null ? "null" : typeof value === "number" ? "integer" : typeof value;
  if (!["null", "boolean", "integer", "string"].includes(found)) {
    throw new Refused(`${where}: ${shown(value)} is no string, integer, true, false or null`);
  }
  const text = typeof value === "string" ? quoted(value, `${where}: ${shown(value)}`) : String(value);
  if (typeof value === "number") whole(value, where);
  if (kind !== undefined && kind !== found) throw new Refused(`${where}: ${shown(value)} is no ${kind}`);
  return text;
}

function quoted(text: string, where: string): string {
  if (/["\\\u0000-\u001f]/.test(text)) {
    throw new Refused(`${where} has a quotation mark, a backslash or a control character, which contracts do not read`);
  }
  if (/\p{Surrogate}/u.test(text)) throw new Refused(`${where} is no text: UTF-8 cannot say it`);
  return `"${text}"`;
}

function whole(value: unknown, where: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw new Refused(`${where} must be a whole number that JavaScript keeps exactly, not ${shown(value)}`);
  }
  return value + 0;
}

function only(said: readonly string[], known: readonly string[], where: string): void {
  const other = said.filter((keyword) => !known.includes(keyword)).sort()[0];
  if (other !== undefined) throw new Refused(`${where}: the keyword ${shown(other)} is not followed here, so it cannot be there`);
}

function has(object: object, name: string): boolean {
  return Object.hasOwn(object, name);
}

function isObject(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = typeof value === "bigint" ? `${value}n` : (JSON.stringify(value) ?? String(value));
  return text.length <= 80 ? text : `${text.slice(0, 80)}...`;
}
