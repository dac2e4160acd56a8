// Disputes: the list, and each game move by move as a tree, with both clocks, costs, and who won what.
import { badge, bar, facts, h, section, svg, table } from "./dom.js";
import { amount, change, chainNow, clock, ether, id, requestLink, short, span, when } from "./words.js";

export async function disputesView(state, [wanted], read) {
  const found = await read(`/view/disputes${wanted ? `?before=${Number(wanted)}` : ""}`);
  return [section("Disputes", "", table("The newest first", [
    ["Dispute", (d) => h("a", { href: `#/requests/${d.request_id}` }, d.kind === "game" ? "game " : "panel ", short(d.id))],
    ["State", (d) => badge(d.state, ["live", "voting", "undrawn"].includes(d.state) ? "warn" : "")],
    ["Request", (d) => requestLink(d.request_id)],
    ["Challenger", (d) => id(d.challenger)],
    ["Opened", (d) => when(d.opened_at)],
    ["This node", (d) => d.is_ours ? badge("is a side", "warn") : h("span", { class: "quiet" }, "looks on")],
  ], found.disputes, "There was no dispute yet."),
  found.next && h("p", null, h("a", { href: `#/disputes/${found.next}` }, "Older")))];
}

export function disputeParts(r) {
  const parts = [];
  if (r.refuted.length) parts.push(section("Shown wrong by its tokens alone", "", h("ol", { class: "tree" },
    r.refuted.map((step) => h("li", null, move(step, null))))));
  if (r.games.length) parts.push(section(r.games.length > 1 ? `${r.games.length} games` : "Dispute game", "",
    map(r.games), h("ol", { class: "tree", "aria-label": "Moves" }, grown(r.games).map(branch))));
  r.games.forEach((game) => parts.push(section(`Game ${short(game.game_id)}`, r.games.length > 1 ? "half" : "", sides(game))));
  r.panels.forEach((panel) => parts.push(section(`Panel case ${short(panel.case_id)}`, "", panelOf(panel))));
  return parts;
}

// Games about one answer that pick the same way share the branch; they part where their picks do.
function grown(games) {
  const roots = [];
  for (const game of games) {
    let siblings = roots;
    let here = null;
    game.steps.forEach((step, index) => {
      if (index === 0 || step.depth > game.steps[index - 1].depth) {
        here = siblings.find((each) => each.text === step.text && each.about === game.case_id);
        if (!here) siblings.push(here = { text: step.text, about: game.case_id, moves: [], below: [] });
        siblings = here.below;
      }
      here.moves.push({ step, game });
    });
  }
  const inOrder = (all) => all.forEach((each) => {
    each.moves.sort((a, b) => a.step.at - b.step.at);
    inOrder(each.below);
  });
  inOrder(roots);
  return roots;
}

const branch = (node) => h("li", null, node.moves.map(({ step, game }) => move(step, game)),
  node.below.length > 0 && h("ol", null, node.below.map(branch)));

function move(step, game) {
  const ending = step.who === "anybody";
  const who = { node: "The node", challenger: "The challenger" }[step.who] ?? "End:";
  return h("div", { class: `move ${step.who} ${ending ? "ending" : ""}` }, h("span", { class: "who" }, who), " ", step.text,
    h("small", null, when(step.at), game && !ending && ` \u00b7 clocks: node ${span(step.node_seconds)}, `
      + `challenger ${span(step.challenger_seconds)}`, step.gas_wei !== null && ` \u00b7 gas ${ether(step.gas_wei)} ether`,
    game && ` \u00b7 game ${short(game.game_id)}`));
}

// The shape of it all: a column for each game, a dot for each move, coloured by who made it and how it ended.
function map(games) {
  const most = Math.max(...games.map((game) => game.steps.length));
  const width = Math.max(games.length * 26 + 10, 60);
  const dots = games.map((game, column) => game.steps.map((step, row) => {
    const x = 14 + row * 22;
    const y = 14 + column * 22;
    const last = row === game.steps.length - 1 && game.outcome;
    const kind = last ? (game.outcome.includes("challenger lost") ? "kept" : "killed") : step.who;
    return svg("circle", { cx: x, cy: y, r: last ? 7 : 5, class: kind }, svg("title", null, `${step.who}: ${step.text}`));
  }));
  const lines = games.map((game, column) => game.steps.length > 1 && svg("line", { x1: 14, y1: 14 + column * 22,
    x2: 14 + (game.steps.length - 1) * 22, y2: 14 + column * 22 }));
  const label = `${games.length} game${games.length > 1 ? "s" : ""}, up to ${most} moves each`;
  return svg("svg", { class: "map", viewBox: `0 0 ${28 + (most - 1) * 22} ${6 + games.length * 22}`, width: 28 + (most - 1) * 22,
    height: 6 + games.length * 22, role: "img", "aria-label": label }, lines, dots);
}

function sides(game) {
  const whose = { node: "The node is to move", challenger: "The challenger is to move" }[game.to_move];
  return [
    h("p", null, game.outcome ? badge(game.outcome, game.outcome.includes("challenger lost") ? "good" : "bad")
      : game.state === "stranded" ? badge("waits to be settled", "warn") : badge(whose ?? "over", "warn"), " ",
    game.deadline && clock(game.deadline, "time is up: anybody may end it")),
    h("div", { class: "clocks" }, clockOf(game, "node"), clockOf(game, "challenger")),
    facts(
      ["Answer of", `seat ${game.seat}`, game.seat_is_ours && [" ", badge("ours", "warn")]],
      ["Challenger", h("code", null, game.challenger), game.challenger_is_ours && [" ", badge("ours", "warn")]],
      ["Opened", when(game.opened_at)],
      ["Challenger's bond", amount(game.bond_wei)],
      ["Openings", `${game.openings}: the challenger pays `, amount(game.openings_wei), " for them if it loses"],
    ),
    won(game.gains),
  ];
}

function clockOf(game, side) {
  const moving = game.to_move === side;
  const kept = game[`${side}_seconds`];
  const left = moving ? game.deadline - chainNow() : kept;
  const most = Math.max(kept, left, 1, ...game.steps.map((step) => step[`${side}_seconds`]));
  return h("div", { class: `side ${side} ${moving ? "moving" : ""}` }, h("b", null, side === "node" ? "Node" : "Challenger"), " ",
    moving ? clock(game.deadline, "out of time") : h("span", { class: "clock" }, `${span(kept)} kept`),
    bar(left / most, left < 30 && moving ? "late" : side, `${side}: ${span(left)}`));
}

const won = (gains) => gains.length > 0 && [h("h3", null, "Who won what"), table("In ether", [
  ["Who", (g) => g.who.startsWith("0x") ? id(g.who) : g.who],
  ["Amount", (g) => g.burnt ? h("span", { class: "quiet" }, ether(g.amount_wei)) : change(g.amount_wei), "number"],
  ["Why", (g) => g.why],
], gains)];

function panelOf(panel) {
  const open = panel.state === "voting";
  return [
    h("p", null, panel.ruling ? badge(`the answer was ${{ rejected: "rejected", upheld: "upheld", annulled: "annulled" }[
      panel.ruling] ?? panel.ruling}`, panel.ruling === "upheld" ? "good" : "bad") : badge(panel.state, "warn"), " ",
    open && panel.commit_ends_at >= chainNow() && ["to commit: ", clock(panel.commit_ends_at)],
    open && panel.commit_ends_at < chainNow() && ["to reveal: ", clock(panel.reveal_ends_at)]),
    facts(
      ["Challenger", h("code", null, panel.challenger), panel.challenger_is_ours && [" ", badge("ours", "warn")]],
      ["About", `the answer of turn ${panel.turn}`],
      ["Opened", when(panel.opened_at)],
    ),
    table("Members", [
      ["Seat", (seat) => seat],
      ["Committed", (seat) => panel.committed.includes(seat) ? badge("yes", "good") : "no"],
      ["Vote", (seat) => panel.votes[seat] ? badge(panel.votes[seat], panel.votes[seat] === "wrong" ? "bad" : "good") : "\u2013"],
    ], panel.members, "Nobody is drawn yet."),
    won(panel.gains),
  ];
}
