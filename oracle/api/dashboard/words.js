// Amounts, times and ids in words. Amounts come as decimal text in wei.
import { h } from "./dom.js";

const ETHER = 10n ** 18n;
const LONGEST = 12; // characters of a number: a longer one would be cut, and a part of a number is another number

export function ether(wei) {
  const amount = BigInt(wei);
  const whole = amount < 0n ? -amount : amount;
  let text = `${whole / ETHER}.${String(whole % ETHER).padStart(18, "0")}`.replace(/\.?0+$/, "");
  const [before, after = ""] = text.split(".");
  const lead = before === "0" ? after.match(/^0*/)[0].length : 0;
  text = after ? `${before}.${after.slice(0, Math.max(4, lead + 3))}`.replace(/\.?0+$/, "") : before;
  if (text.length > LONGEST) text = before !== "0" && before.length <= LONGEST ? before : powers(Number(whole) / 1e18);
  return `${amount < 0n ? "\u2212" : ""}${text}`;
}

// An amount that may be a loss: losses look like losses.
export function change(wei) {
  const amount = BigInt(wei);
  if (amount === 0n) return h("span", { class: "quiet" }, "0");
  const kind = amount < 0n ? "loss" : "gain";
  return h("span", { class: kind, title: `${wei} wei` }, amount > 0n ? "+" : "", ether(wei));
}

export const lost = (wei) => change(String(-BigInt(wei)));
export const amount = (wei) => h("span", { title: `${wei} wei` }, ether(wei), " ether");
const powers = (number) => number.toExponential(3).replace(/\.?0+e/, "e");

export function gwei(wei) {
  if (wei === null) return "\u2013";
  const number = Number((Number(BigInt(wei)) / 1e9).toPrecision(4));
  return String(number).length > LONGEST ? powers(number) : String(number);
}

// The price of gas at which something nets nothing: what was lost before gas was paid has none.
export const breakEven = (wei) => wei !== null && BigInt(wei) < 0n ? "none" : gwei(wei);

export const short = (hex) => hex.length > 14 ? `${hex.slice(0, 8)}\u2026${hex.slice(-4)}` : hex;
export const id = (hex, href) => href ? h("a", { href, title: hex, class: "code" }, short(hex))
  : h("code", { title: hex }, short(hex));
export const requestLink = (hex) => id(hex, `#/requests/${hex}`);

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

export function when(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return `${seconds} (Unix time)`;
  return h("time", { datetime: date.toISOString() }, `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`);
}

// The chain's time: the head's, and what has passed since it came. Turns, windows and clocks go by it.
let head = { timestamp: 0, at: 0 };
export function setChainTime(timestamp, ageSeconds) {
  head = { timestamp: timestamp + Math.min(ageSeconds, 60), at: performance.now() };
}
export const chainNow = () => head.timestamp + (performance.now() - head.at) / 1000;

// A running clock. `tick` below keeps all of them going.
export function clock(until, after = "over") {
  const node = h("span", { class: "clock", "data-until": until, "data-after": after });
  run(node);
  return node;
}

function run(node) {
  const left = Number(node.dataset.until) - chainNow();
  const text = left >= 0 ? `${span(left)} left` : node.dataset.after;
  if (node.textContent !== text) node.textContent = text;
  node.classList.toggle("late", left < 30);
}

export const tick = () => document.querySelectorAll("[data-until]").forEach(run);

export const bytes = (count) => count >= 1 << 30 ? `${(count / 2 ** 30).toFixed(1)} GiB` : `${Math.round(count / 2 ** 20)} MiB`;
export const count = (number) => Number(number).toLocaleString("en");
