// History with search, and one request's life.
import { badge, bar, facts, h, section, table } from "./dom.js";
import { amount, chainNow, clock, count, id, span, when } from "./words.js";
import { judgement, requestTable, stateBadge, workList } from "./node.js";
import { disputeParts } from "./games.js";

const STATES = ["open", "answered", "disputed", "final", "undelivered", "left", "refunded", "cancelled"];

export async function requestsView(state, [wanted], read) {
  if (wanted?.startsWith("0x")) return requestPage(state, wanted, read);
  const asked = new URLSearchParams(wanted ?? "");
  const found = await read(`/view/requests?${asked}`);
  const form = h("form", { role: "search", onsubmit: searched }, h("label", null, "Request, service, payer or operator",
    h("input", { type: "search", name: "search", value: asked.get("search") ?? "", pattern: "(0x)?[0-9a-fA-F]{4,64}",
      title: "4 to 64 hexadecimal digits: how it begins", autocomplete: "off", spellcheck: "false" })),
  h("label", null, "State", h("select", { name: "state" }, h("option", { value: "" }, "any"),
    STATES.map((each) => h("option", { value: each, selected: asked.get("state") === each }, each)))),
  h("button", null, "Search"));
  const next = new URLSearchParams(asked);
  if (found.next) next.set("before", found.next);
  return [section("Requests", "", form, requestTable(found.requests, "The newest first", none(asked, found)),
    h("p", null, asked.has("before") && [h("a", { href: address(asked, "before") }, "Newest"), " "],
      found.next && h("a", { href: address(next) }, found.requests.length ? "Older" : "Search on"))),
  ];
}

function none(asked, found) {
  if (found.next) return "None of the newest fits; older ones were not looked at yet.";
  return asked.get("search") || asked.get("state") ? "No request fits." : "There was no request yet.";
}

function searched(event) {
  event.preventDefault();
  const entered = new URLSearchParams();
  for (const [name, value] of new FormData(event.target)) if (value.trim()) entered.set(name, value.trim());
  location.hash = address(entered);
}

// `without`: a part of the query to leave out.
function address(query, without) {
  const kept = new URLSearchParams(query);
  if (without) kept.delete(without);
  return `#/requests/${encodeURIComponent(String(kept))}`;
}

async function requestPage(state, wanted, read) {
  const r = await read(`/view/requests/${wanted}`);
  const work = state.jobs.filter((job) => job.request_id === r.request_id);
  return [
    section("Request", "half", lifeLine(r), facts(
      ["Id", h("code", null, r.request_id)],
      ["State", stateBadge(r.state), r.is_private && " private: sealed to keys inside TEEs"],
      ["Service", id(r.service)],
      ["Payer", h("code", null, r.payer)],
      ["Asked", when(r.posted_at)],
      ["Prompt", `${count(r.prompt_bytes)} bytes, digest `, id(r.prompt_digest)],
      ["Most tokens", count(r.max_tokens)],
      ["Fee", amount(r.fee_wei), " at most"],
      r.callback_wei !== "0" && ["Callback", amount(r.callback_wei)],
      ["Bond", amount(r.bond_wei), " of an answer"],
    )),
    section("Clocks", "half", clocksOf(r)),
    section("Answer", "half", r.answer ? answerOf(r) : h("p", { class: "quiet" }, "None stands.")),
    work.length > 0 && section("In hand", "half", workList(work)),
    section("This node's transactions", "half", table("About this request and its disputes", [
      ["What", (t) => t.key.split(":")[0]],
      ["State", (t) => badge(t.state, { failed: "bad", reverted: "bad", final: "good", mined: "good" }[t.state])],
      ["Why", (t) => t.reason || "\u2013"],
      ["Block", (t) => t.mined_block === null ? "\u2013" : count(t.mined_block), "number"],
      ["Transaction", (t) => t.tx_hash ? id(t.tx_hash) : "\u2013"],
    ], r.transactions)),
    disputeParts(r),
  ];
}

function lifeLine(r) {
  const closed = !["open", "answered", "disputed"].includes(r.state);
  const disputed = r.games.length + r.panels.length + r.refuted.length > 0;
  const steps = [["asked", "done"], ["answered", r.answer ? (r.state === "answered" ? "here" : "done")
    : r.state === "open" ? "here" : ""]];
  if (disputed) steps.push(["disputed", r.state === "disputed" ? "here" : "done"]);
  steps.push([closed ? r.state : "final", closed ? (r.state === "final" ? "done" : "lost") : ""]);
  return h("ol", { class: "life", "aria-label": "Life of the request" }, steps.map(([name, kind]) =>
    h("li", { class: kind, "aria-current": kind === "here" ? "step" : null }, name)));
}

function clocksOf(r) {
  const now = chainNow();
  if (r.state === "open") {
    const turn = r.first_turn + Math.max(0, Math.floor((now - r.round_starts_at) / r.turn_seconds));
    const ends = r.round_starts_at + (turn - r.first_turn + 1) * r.turn_seconds;
    return [clockBar(`Turn ${turn}`, ends - r.turn_seconds, Math.min(ends, r.deadline), "node"),
      clockBar("Deadline for an answer", r.posted_at, r.deadline, "challenger")];
  }
  if (r.state === "answered") {
    return clockBar("Window for a challenge", r.answer.closes_at - r.window_seconds, r.answer.closes_at, "node");
  }
  if (r.state === "disputed") return h("p", null, "The dispute's clocks run: see below.");
  return h("p", { class: "quiet" }, "No clock runs any more.");
}

function clockBar(name, begins, ends, kind) {
  const share = (chainNow() - begins) / Math.max(1, ends - begins);
  return h("div", null, h("p", null, `${name}: `, clock(ends)), bar(share, share > 0.9 ? "late" : kind,
    `${name}: ${span(ends - chainNow())} of ${span(ends - begins)} left`));
}

function answerOf(r) {
  const a = r.answer;
  return facts(
    ["By", `seat ${a.seat} in turn ${a.turn}: `, h("code", null, a.operator)],
    ["Tokens", count(a.token_count)],
    ["Output", `${count(a.output_bytes)} bytes, digest `, id(a.output_digest)],
    ["Window closes", when(a.closes_at)],
    ["This node found", judgement(a.judgement), r.reason && ` ${r.reason}`],
  );
}
