// A plot of money by week: what came in above zero, what went out below, and the sum as a line.
import { svg } from "./dom.js";
import { ether } from "./words.js";

const WIDEST = 720, HEIGHT = 240, LEFT = 64, BOTTOM = 22, TOP = 10;
const LABEL = 54, LINE = 14; // room for a date's and a number's text

// weeks: [{begins, up: {name: wei}, down: {name: wei}, net: wei}], amounts as BigInt.
export function moneyPlot(weeks) {
  const WIDTH = Math.max(240, Math.min(WIDEST, innerWidth - 48)); // text keeps its size on a small screen
  const sum = (parts) => Object.values(parts).reduce((a, b) => a + b, 0n);
  const high = weeks.map((week) => sum(week.up)).concat(weeks.map((week) => week.net), [1n]).reduce(max);
  const low = weeks.map((week) => sum(week.down)).concat(weeks.map((week) => -week.net), [0n]).reduce(max);
  const inner = HEIGHT - TOP - BOTTOM;
  const y = (wei) => TOP + inner * (1 - Number((wei + low) * 10000n / (high + low)) / 10000);
  const slot = (WIDTH - LEFT) / weeks.length;
  const x = (index) => LEFT + slot * index;
  const bars = weeks.map((week, index) => [stack(week.up, 1n), stack(week.down, -1n)].flat().map(([name, from, to]) =>
    svg("rect", { class: name, x: x(index) + slot * 0.15, width: slot * 0.7, y: Math.min(y(from), y(to)),
      height: Math.abs(y(from) - y(to)) }, svg("title", null,
      `week of ${week.begins}: ${name.replace("_", " ")} ${ether(String(to - from))} ether`))));
  const middle = (index) => x(index) + slot / 2;
  const line = weeks.map((week, index) => `${middle(index)},${y(week.net)}`).join(" ");
  const every = Math.ceil(weeks.length / Math.floor((WIDTH - LEFT) / (1.6 * LABEL)));
  const within = (at) => Math.min(Math.max(at, LEFT + LABEL / 2), WIDTH - LABEL / 2);
  const marks = [0n, high > 1n && high, low && -low].filter((wei, index) => !index || wei && Math.abs(y(wei) - y(0n)) > LINE);
  return svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": `Money by week, from ${weeks[0].begins} to ${weeks.at(-1).begins}; the table below has the figures` },
  marks.map((wei) => [
    svg("line", { class: wei ? "axis" : "zero", x1: LEFT, x2: WIDTH, y1: y(wei), y2: y(wei) }),
    svg("text", { x: LEFT - 6, y: y(wei) + 4, "text-anchor": "end" }, brief(wei))]),
  bars, svg("polyline", { class: "net", points: line }),
  weeks.map((week, index) => svg("circle", { class: "dot", cx: middle(index), cy: y(week.net), r: Math.min(3, slot / 2) },
    svg("title", null, `week of ${week.begins}: net ${ether(String(week.net))} ether`))),
  weeks.map((week, index) => index % every === 0 && svg("text", { x: within(middle(index)), y: HEIGHT - 4, "text-anchor": "middle" },
    week.begins.slice(2))));
}

// Ether in a few letters.
function brief(wei) {
  const amount = Number(wei) / 1e18;
  const text = amount && Math.abs(amount) < 0.001 ? amount.toExponential(1)
    : amount.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
  return text.replace("-", "\u2212");
}

const max = (a, b) => a > b ? a : b;

function stack(parts, sign) {
  let at = 0n;
  return Object.entries(parts).filter(([, wei]) => wei > 0n).map(([name, wei]) => {
    const from = at;
    at += sign * wei;
    return [name, from, at];
  });
}
