// Money in and out, by week and service.
import { facts, h, section, table } from "./dom.js";
import { amount, breakEven, change, count, gwei, id, lost } from "./words.js";
import { moneyPlot } from "./plot.js";
import { figure } from "./node.js";

const UP = { fees: "fees", callbacks: "callbacks", votes: "votes on panels", disputes: "paid out by disputes" };
const DOWN = { gas: "gas", fines: "fines", slashed: "bonds lost", paid_in: "bonds paid in" };

export async function moneyView(state, [weeks = "26"], read) {
  const money = await read(`/view/money?weeks=${Number(weeks) || 26}`);
  return [
    section("Money", "", sumsOf(money, state)),
    section("By week", "", money.lines.length ? [moneyPlot(byWeek(money.lines)), legend()]
      : h("p", { class: "quiet" }, "Nothing was earned or paid yet.")),
    section("By week and service", "", table("In ether; the gas price at which a line nets nothing in gwei", [
      ["Week of", (l) => l.begins],
      ["Service", (l) => l.service ? id(l.service) : "several, or none"],
      ["Fees", (l) => change(l.fees_wei), "number"],
      ["Callbacks", (l) => change(l.callbacks_wei), "number"],
      ["Votes", (l) => change(l.votes_wei), "number"],
      ["Disputes", (l) => change(l.disputes_wei), "number"],
      ["Fines", (l) => lost(l.fines_wei), "number"],
      ["Bonds lost", (l) => lost(l.slashed_wei), "number"],
      ["Bonds paid in", (l) => lost(l.paid_in_wei), "number"],
      ["Gas", (l) => lost(l.gas_wei), "number"],
      ["Net", (l) => change(l.net_wei), "number"],
      ["Break-even", (l) => breakEven(l.break_even_wei), "number"],
    ], [...money.lines].reverse())),
  ];
}

function sumsOf(money, state) {
  return [h("div", { class: "figures" },
    figure("Net, ether", change(money.total.net_wei)),
    figure("Gas, ether", lost(money.total.gas_wei)),
    figure("Transactions", count(money.total.transactions)),
    figure("Break-even gas price, gwei", breakEven(money.total.break_even_wei)),
    figure("Gas price now, gwei", gwei(state.chain.base_fee_wei))),
  h("h3", null, "Bound and to collect"), facts(
    ["In answers", amount(money.answers_wei), " of bonds until they are final"],
    ["In challenges", amount(money.challenges_wei), " of bonds until they end"],
    ["Rewards", amount(money.rewards_wei), " wait to be fetched"],
    ["To settle", `${money.to_settle} games that give a bond back, and perhaps a share`],
    ["Credit", state.keys.map((key) => h("div", null, `${key.name}: `, amount(key.credit_wei)))],
  )];
}

function byWeek(lines) {
  const weeks = new Map();
  for (let week = lines[0].week; week <= lines.at(-1).week; week += 1) {
    weeks.set(week, { begins: new Date((week * 7 - 3) * 86_400_000).toISOString().slice(0, 10), up: {}, down: {}, net: 0n });
  }
  for (const line of lines) {
    const week = weeks.get(line.week);
    for (const name of Object.keys(UP)) week.up[name] = (week.up[name] ?? 0n) + BigInt(line[`${name}_wei`]);
    for (const name of Object.keys(DOWN)) week.down[name] = (week.down[name] ?? 0n) + BigInt(line[`${name}_wei`]);
    week.net += BigInt(line.net_wei);
  }
  return [...weeks.values()];
}

const legend = () => h("ul", { class: "legend", "aria-label": "Colours" }, Object.entries({ ...UP, ...DOWN }).map(
  ([name, text]) => h("li", null, h("i", { class: name }), text)), h("li", null, "line: net"));
