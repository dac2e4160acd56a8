/**
 * The least automaton of what may be answered, and its table. The same as `oracle/client/patterns/automaton.py` and
 * `table.py`, whose comments say why; docs/answers.md has the layout.
 */

import { Refused } from "./errors.js";

/** What may be answered: a byte of some ranges, parts in a row, one of several, or the same several times. */
export type Expression =
  | { readonly bytes: readonly Range[] }
  | { readonly row: readonly Expression[] }
  | { readonly either: readonly Expression[] }
  | { readonly part: Expression; readonly least: number; readonly most: number };
export type Range = readonly [low: number, high: number];

type Move = readonly [low: number, high: number, target: number];
interface Automaton {
  readonly rows: readonly (readonly Move[])[];
  readonly ends: readonly boolean[];
}

const MOST_PARTS = 50_000;
const MOST_SETS = 16_384;
const MOST_STATES = 4_096;
const MOST_WORK = 1_000_000;
const MOST_RANGES = 16;
const RELATIVE = 1 << 15;
const NOWHERE = RELATIVE - 1;
const MOST_SHAPES = 255;
const MOST_PLACE = (1 << 16) - 1;
const PARTNERS = 6;

/** A pattern's table, and how many bytes its answers have. */
export interface Table {
  readonly table: Uint8Array;
  readonly shortest: number;
  readonly longest: number;
}

/** spelled: whether a token of the model spells a byte alone. Throws Refused where there is no answer, or no table. */
export function compiled(expression: Expression, spelled: (byte: number) => boolean): Table {
  if (partsOf(expression) > MOST_PARTS) {
    throw new Refused("the pattern is too large: its repeats written out have more than 50,000 parts");
  }
  const made = least(...trimmed(...determined(expression, spelled)));
  const needs = needsOf(made);
  return { table: tableOf(made, needs), shortest: needs[0] as number, longest: longestOf(made) };
}

function partsOf(expression: Expression): number {
  if ("bytes" in expression) return 1;
  if ("part" in expression) return 1 + expression.most * partsOf(expression.part);
  return 1 + ("row" in expression ? expression.row : expression.either).reduce((sum, part) => sum + partsOf(part), 0);
}

type Step = readonly [ranges: readonly Range[], target: number];

class Branching {
  readonly steps: Step[][] = [];
  readonly skips: number[][] = [];
  readonly end: number;

  constructor(expression: Expression) {
    this.end = this.#add(expression, this.#state());
  }

  #state(): number {
    this.steps.push([]);
    this.skips.push([]);
    return this.steps.length - 1;
  }

  #add(expression: Expression, start: number): number {
    if ("row" in expression) return expression.row.reduce((end, part) => this.#add(part, end), start);
    if ("bytes" in expression) {
      const end = this.#state();
      at(this.steps, start).push([expression.bytes, end]);
      return end;
    }
    if ("either" in expression) {
      const end = this.#state();
      for (const part of expression.either) {
        const begin = this.#state();
        at(this.skips, start).push(begin);
        at(this.skips, this.#add(part, begin)).push(end);
      }
      return end;
    }
    let from = start;
    for (let times = 0; times < expression.least; times += 1) from = this.#add(expression.part, from);
    const end = this.#state();
    for (let times = expression.least; times < expression.most; times += 1) {
      at(this.skips, from).push(end);
      from = this.#add(expression.part, from);
    }
    at(this.skips, from).push(end);
    return end;
  }
}

type Moves = Map<number, number>[];

function determined(expression: Expression, spelled: (byte: number) => boolean): [Moves, boolean[], Map<number, number>] {
  const many = new Branching(expression);
  const classes = classesOf(many, spelled);
  const byClass = many.steps.map((steps) =>
    steps.flatMap(([ranges, target]) =>
      [...classes.keys()].filter((low) => ranges.some(([a, b]) => a <= low && low <= b)).map((low) => [low, target] as const),
    ),
  );
  let work = 0;
  const reached = (states: Iterable<number>): number[] => {
    const found = new Set(states);
    for (const state of found) {
      const skips = at(many.skips, state);
      work += 1 + skips.length;
      if (work > MOST_WORK) throw new Refused("the pattern is too intricate: it has too many ways to read the same bytes");
      for (const other of skips) found.add(other);
    }
    return [...found].filter((state) => at(many.steps, state).length > 0 || state === many.end).sort((a, b) => a - b);
  };
  const queue = [reached([0])];
  const numbers = new Map([[String(queue[0]), 0]]);
  const moves: Moves = [];
  for (const states of queue) {
    const targets = new Map<number, Set<number>>();
    for (const state of states) {
      work += at(byClass, state).length;
      for (const [low, target] of at(byClass, state)) ofKey(targets, low, () => new Set<number>()).add(target);
    }
    const row = new Map<number, number>();
    for (const low of [...targets.keys()].sort((a, b) => a - b)) {
      const after = reached(targets.get(low) ?? []);
      const key = String(after);
      if (!numbers.has(key)) {
        if (numbers.size === MOST_SETS) throw new Refused("the pattern is too large: it takes more than 16,384 states");
        numbers.set(key, numbers.size);
        queue.push(after);
      }
      row.set(low, numbers.get(key) as number);
    }
    moves.push(row);
  }
  return [moves, queue.map((states) => states.includes(many.end)), classes];
}

/** Runs of bytes that mean the same everywhere: the highest by the lowest. */
function classesOf(many: Branching, spelled: (byte: number) => boolean): Map<number, number> {
  const borders = new Set([0]);
  for (const [ranges] of many.steps.flat()) for (const [low, high] of ranges) borders.add(low).add(high + 1);
  for (let byte = 1; byte < 256; byte += 1) if (spelled(byte) !== spelled(byte - 1)) borders.add(byte);
  const inner = [...borders].filter((border) => border < 256).sort((a, b) => a - b);
  const runs = inner.map((low, index) => [low, (inner[index + 1] ?? 256) - 1] as const);
  return new Map(runs.filter(([low]) => spelled(low)));
}

function trimmed(moves: Moves, ends: boolean[], classes: Map<number, number>): [Moves, boolean[], Map<number, number>] {
  const before: number[][] = moves.map(() => []);
  moves.forEach((row, state) => row.forEach((target) => at(before, target).push(state)));
  const alive = new Set(ends.flatMap((end, state) => (end ? [state] : [])));
  for (const state of alive) for (const other of at(before, state)) alive.add(other);
  if (!alive.has(0)) throw new Refused("no answer matches the pattern");
  const kept = [...alive].sort((a, b) => a - b);
  const numbers = new Map(kept.map((state, number) => [state, number]));
  const rows = kept.map((state) => {
    const row = [...at(moves, state)].flatMap(([low, target]) => {
      const number = numbers.get(target);
      return number === undefined ? [] : [[low, number] as const];
    });
    return new Map(row);
  });
  return [rows, kept.map((state) => at(ends, state)), classes];
}

function least(moves: Moves, ends: boolean[], classes: Map<number, number>): Automaton {
  const blockOf = blocksOf(moves, ends);
  if (Math.max(...blockOf) >= MOST_STATES) throw new Refused("the pattern is too large: it takes more than 4,096 states");
  const one = new Map<number, number>();
  blockOf.forEach((block, state) => one.has(block) || one.set(block, state));
  const rowOf = (block: number) => [...at(moves, one.get(block) as number)].sort(([a], [b]) => a - b);
  const order = orderOf((block) => rowOf(block).map(([, target]) => at(blockOf, target)), at(blockOf, 0));
  const numbers = new Map(order.map((block, number) => [block, number]));
  const rows = order.map((block) => {
    const row: [number, number, number][] = [];
    for (const [low, target] of rowOf(block)) {
      const number = numbers.get(at(blockOf, target)) as number;
      const last = row.at(-1);
      if (last !== undefined && last[2] === number && last[1] === low - 1) last[1] = classes.get(low) as number;
      else row.push([low, classes.get(low) as number, number]);
    }
    return row;
  });
  return { rows, ends: order.map((block) => at(ends, one.get(block) as number)) };
}

/** Hopcroft's. */
function blocksOf(moves: Moves, ends: boolean[]): number[] {
  const before = new Map<number, Map<number, number[]>>();
  moves.forEach((row, state) => {
    for (const [low, target] of row) {
      const into = ofKey(before, low, () => new Map<number, number[]>());
      ofKey(into, target, () => []).push(state);
    }
  });
  const blocks = [true, false]
    .map((which) => new Set(ends.flatMap((end, state) => (end === which ? [state] : []))))
    .filter((block) => block.size > 0);
  const blockOf = moves.map((_, state) => blocks.findIndex((block) => block.has(state)));
  const waiting = new Set(blocks.flatMap((_, number) => [...before.keys()].map((low) => number * 256 + low)));
  for (const next of waiting) {
    waiting.delete(next);
    const into = before.get(next % 256) as Map<number, number[]>;
    const hit = new Map<number, Set<number>>();
    for (const target of at(blocks, Math.floor(next / 256))) {
      for (const state of into.get(target) ?? []) {
        const block = at(blockOf, state);
        ofKey(hit, block, () => new Set<number>()).add(state);
      }
    }
    for (const [other, states] of hit) {
      const whole = at(blocks, other);
      if (states.size === whole.size) continue;
      const rest = new Set([...whole].filter((state) => !states.has(state)));
      const [small, large] = states.size <= rest.size ? [states, rest] : [rest, states];
      blocks[other] = large;
      blocks.push(small);
      for (const state of small) blockOf[state] = blocks.length - 1;
      for (const low of before.keys()) waiting.add((blocks.length - 1) * 256 + low);
    }
  }
  return blockOf;
}

function orderOf(after: (state: number) => number[], start: number): number[] {
  const seen = new Set([start]);
  const left: number[] = [];
  const stack = [{ state: start, targets: after(start), next: 0 }];
  while (stack.length > 0) {
    const top = stack.at(-1) as (typeof stack)[number];
    const target = top.targets[top.next];
    top.next += 1;
    if (target === undefined) left.push((stack.pop() as typeof top).state);
    else if (!seen.has(target)) {
      seen.add(target);
      stack.push({ state: target, targets: after(target), next: 0 });
    }
  }
  return left.reverse();
}

function needsOf(made: Automaton): number[] {
  const before: number[][] = made.rows.map(() => []);
  made.rows.forEach((row, state) => row.forEach(([, , target]) => at(before, target).push(state)));
  const needs = made.ends.map((end): number => (end ? 0 : -1));
  const queue = needs.flatMap((need, state) => (need === 0 ? [state] : []));
  for (const state of queue) {
    for (const other of at(before, state)) {
      if (at(needs, other) >= 0) continue;
      needs[other] = at(needs, state) + 1;
      queue.push(other);
    }
  }
  return needs;
}

/** No schema has a circle, so all targets stand behind their state. */
function longestOf(made: Automaton): number {
  const found = made.rows.map(() => 0);
  for (let state = made.rows.length - 1; state >= 0; state -= 1) {
    for (const [, , target] of at(made.rows, state)) found[state] = Math.max(at(found, state), at(found, target) + 1);
  }
  return at(found, 0);
}

type Painted = readonly (readonly [low: number, high: number, target: number | null])[];

function tableOf(made: Automaton, needs: readonly number[]): Uint8Array {
  const [shapeOf, shapes] = shapesOf(made.rows.map(painted));
  if (shapes.length > MOST_SHAPES) throw new Refused("the pattern is too irregular: it takes more than 255 kinds of states");
  const states = shapeOf.flatMap((shape, state) => [shape, ...word(at(needs, state))]);
  const start = 3 + states.length + 2 * shapes.length;
  const places: number[] = [];
  const ranges: number[] = [];
  for (const shape of shapes) {
    if (start + ranges.length > MOST_PLACE) throw new Refused("the pattern is too large: its table has more than 65,535 bytes");
    places.push(...word(start + ranges.length));
    ranges.push(shape.length, ...shape.flatMap(([low, high, target]) => [low, high, ...word(target)]));
  }
  return Uint8Array.from([...word(made.rows.length), shapes.length, ...states, ...places, ...ranges]);
}

function painted(row: readonly Move[]): Painted {
  const parts: [number, number, number | null][] = [];
  for (const [low, high, target] of row) {
    const last = parts.at(-1);
    if (last !== undefined && last[1] + 1 < low) parts.push([last[1] + 1, low - 1, null]);
    parts.push([low, high, target]);
  }
  const found = parts.length < 2 * MOST_RANGES ? strokes(parts.map(([, , target]) => target)) : null;
  if (found === null || found.length > MOST_RANGES) {
    throw new Refused(
      "in one place of an answer more than 16 ranges of bytes lead to different places: let fewer letters begin what may follow there",
    );
  }
  return found.map(([first, last]) => [at(parts, first)[0], at(parts, last)[1], at(parts, first)[2]]);
}

type Strokes = readonly (readonly [first: number, last: number])[];
interface Begun {
  readonly inner: Strokes;
  readonly end: number;
  readonly rest: Strokes;
}

/** The fewest strokes, upper ones first, that paint parts in their colours; null is bare where no stroke covers it. */
function strokes(colours: readonly (number | null)[]): Strokes {
  const known = new Map<string, Strokes>();
  const knownBegun = new Map<string, Begun>();
  const allOf = (first: number, last: number, covered: boolean): Strokes => {
    if (first > last) return [];
    const key = `${first} ${last} ${covered}`;
    let found = known.get(key);
    if (found === undefined) {
      if (colours[first] === null && !covered) found = allOf(first + 1, last, covered);
      else {
        const { inner, end, rest } = begun(first, last, covered);
        found = [...inner, [first, end], ...rest];
      }
      known.set(key, found);
    }
    return found;
  };
  const begun = (from: number, last: number, covered: boolean): Begun => {
    const key = `${from} ${last} ${covered}`;
    let best = knownBegun.get(key);
    if (best !== undefined) return best;
    best = { inner: [], end: from, rest: allOf(from + 1, last, covered) };
    for (let other = from + 2; other <= last; other += 1) {
      if (colours[other] !== colours[from]) continue;
      const { inner, end, rest } = begun(other, last, covered);
      const found = { inner: [...allOf(from + 1, other - 1, true), ...inner], end, rest };
      if (found.inner.length + found.rest.length < best.inner.length + best.rest.length) best = found;
    }
    knownBegun.set(key, best);
    return best;
  };
  return allOf(0, colours.length - 1, false);
}

function shapesOf(rows: readonly Painted[]): [number[], Move[][]] {
  const keyOf = (row: Painted) => row.map(([low, high, target]) => `${low} ${high} ${target === null}`).join();
  const alike = new Map<string, number[]>();
  rows.forEach((row, state) => ofKey(alike, keyOf(row), () => []).push(state));
  const shapeOf = rows.map(() => -1);
  const shapes: Move[][] = [];
  for (const [state, row] of rows.entries()) {
    if (at(shapeOf, state) >= 0) continue;
    const left = (alike.get(keyOf(row)) ?? []).filter((other) => at(shapeOf, other) < 0);
    let best = { shape: written(row, state, new Set()), states: [state] };
    for (const other of left.slice(1, 1 + PARTNERS)) {
      const relative = common(row, state, at(rows, other), other);
      if (relative === null) continue;
      const shape = written(row, state, relative);
      const same = left.filter((each) => String(written(at(rows, each), each, relative)) === String(shape));
      if (same.length > best.states.length) best = { shape, states: same };
    }
    for (const each of best.states) shapeOf[each] = shapes.length;
    shapes.push(best.shape);
    if (shapes.length > MOST_SHAPES) break;
  }
  return [shapeOf, shapes];
}

function common(row: Painted, state: number, otherRow: Painted, other: number): Set<number> | null {
  const relative = new Set<number>();
  for (const [index, [, , target]] of row.entries()) {
    const otherTarget = at(otherRow, index)[2];
    if (target === otherTarget) continue;
    if (target === null || otherTarget === null || target < state || target - state !== otherTarget - other) return null;
    relative.add(index);
  }
  return relative;
}

function written(row: Painted, state: number, relative: ReadonlySet<number>): Move[] {
  return row.map(([low, high, target], index) => {
    const to = target === null ? NOWHERE : relative.has(index) ? RELATIVE + target - state : target;
    return [low, high, to];
  });
}

function word(value: number): [number, number] {
  return [value >> 8, value & 255];
}

function ofKey<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}

function at<Value>(row: readonly Value[], index: number): Value {
  return row[index] as Value;
}
