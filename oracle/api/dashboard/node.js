// Is the node well, and why not; its chain, its services in words, and what it is at.
import { badge, bar, facts, h, section, table } from "./dom.js";
import { amount, clock, count, ether, gwei, id, requestLink, short, span } from "./words.js";

export function nodeView(state) {
  return [
    section("Health", "half", healthOf(state)),
    section("Chain", "half", chainOf(state.chain)),
    section("Services", "", h("div", { class: "cards" }, state.services.map(serviceCard)),
      !state.services.length && h("p", { class: "quiet" }, "No service has been read from the chain yet.")),
    section("Open requests", "", requestTable(state.open_requests), state.open_total > state.open_requests.length
      && h("p", { class: "quiet" }, `${count(state.open_total)} in all. `, h("a", { href: "#/requests" }, "All requests"))),
    section("Seats", "", seatTable(state)),
  ];
}

function healthOf(state) {
  return [
    h("p", null, badge(state.ready ? "ready" : "not ready", state.ready ? "good" : "bad"), " ",
      state.dry_run ? "It runs dry: it checks, and signs nothing." : `It ${listed(state.tasks) || "only follows"}.`),
    state.reasons.map((reason) => h("p", { class: "alarm" }, reason)),
    state.warnings.map((warning) => h("p", { class: "note" }, warning)),
    h("div", { class: "figures" },
      figure("Open requests", count(state.open_total)),
      figure("Disputes", count(state.disputes), state.disputes ? "warn" : ""),
      figure("Bonds out, ether", ether(state.bonds_out_wei)),
      figure("Jobs in hand", count(state.jobs.length))),
    state.games.map((game) => h("p", { class: "note" }, `This node is the ${game.side} in a dispute about `,
      requestLink(game.request_id), game.deadline ? [": its move is due, ", clock(game.deadline, "too late")]
        : ": the other side is to move.")),
  ];
}

// What is computed now, and how far it is.
export const workList = (jobs) => jobs.length ? h("ul", { class: "work" }, jobs.map((job) => h("li", { "data-key": job.key },
  job.doing, job.request_id && [" of ", requestLink(job.request_id)], job.far && h("span", { class: "quiet" }, ` \u00b7 ${job.far}`),
  job.total > 0 && bar(job.done / job.total, "node", `${job.doing}: ${job.far}`)))) : h("p", { class: "quiet" }, "Nothing.");

const listed = (words) => words.map((word) => ({ answer: "answers", watch: "watches", vote: "votes" })[word]).join(", ");
export const figure = (name, value, kind) => h("div", { class: "figure" }, h("b", { class: kind }, value), name);

function chainOf(chain) {
  return [facts(
    ["Head", chain.head === null ? "none yet" : `${count(chain.head)}, ${span(chain.age_seconds)} ago`],
    ["Read to", chain.read_to === null ? "nothing yet" : `${count(chain.read_to)} (${chain.confirmations} behind on purpose)`],
    ["To catch up", h("span", { class: chain.behind ? "warn" : "good" }, `${count(chain.behind)} blocks`)],
    ["Chain id", chain.chain_id],
    ["Oracle", h("code", null, chain.oracle)],
    ["Gas price", `${gwei(chain.base_fee_wei)} gwei`],
    chain.last_reorg_depth && ["Last reorganization", h("span", { class: "warn" }, `${chain.last_reorg_depth} blocks`)],
  ), h("h3", null, "Endpoints"), table("By their place in rpc_urls", [
    ["Endpoint", (e) => e.index],
    ["State", (e) => e.fresh ? badge("fresh", "good") : badge(e.trouble ?? "behind", "bad")],
    ["Head", (e) => e.head === null ? "\u2013" : count(e.head), "number"],
    ["Calls", (e) => count(e.requests), "number"],
  ], chain.endpoints)];
}

function serviceCard(service) {
  const queue = ["open", "answered", "disputed"].map((name) => `${service.queue[name] ?? 0} ${name}`).join(", ");
  return h("div", { class: `card ${service.troubles.length ? "troubled" : ""}`, "data-key": service.service },
    h("h3", null, service.model_name || "a model that is not on this machine"),
    service.troubles.map((trouble) => h("p", { class: "alarm" }, trouble)),
    facts(
      ["Service", id(service.service)],
      ["Judged by", service.mode],
      ["Price", `${ether(service.base_price_wei)} + ${ether(service.byte_price_wei)} a byte + `
        + `${ether(service.token_price_wei)} a token, in ether`],
      ["Bond", amount(service.bond_wei), ` of an answer, ${ether(service.challenge_bond_wei)} of a challenge`],
      ["Turn, window", `${span(service.turn_seconds)}, ${span(service.window_seconds)}`],
      ["Limits", `${count(service.max_prompt_bytes)} bytes of prompt, ${count(service.max_tokens)} tokens`],
      ["Seats", `${service.active_seats} that act`],
      ["Queue", queue],
      ["Engine", service.engine.proven ? [badge("proven", "good"), ` ${service.engine.proven}`]
        : badge("not proven", "bad")],
    ));
}

// What runs now: a request's clock goes to its deadline, an answer's to the end of its window.
export function requestTable(requests, caption = "Those in dispute first, then the oldest", none = "No request is open.") {
  return table(caption, [
    ["Request", (r) => requestLink(r.request_id)],
    ["State", (r) => stateBadge(r.state)],
    ["Service", (r) => id(r.service)],
    ["Prompt", (r) => `${count(r.prompt_bytes)} bytes`, "number"],
    ["Answer", (r) => r.answer ? `seat ${r.answer.seat}, ${count(r.answer.token_count)} tokens` : "\u2013"],
    ["This node found", (r) => judgement(r.answer?.judgement)],
    ["Clock", (r) => runningClock(r)],
  ], requests, none);
}

export const stateBadge = (word) => badge(word, { disputed: "bad", undelivered: "warn", refunded: "warn", left: "warn",
  final: "good" }[word] ?? "");
export const judgement = (word) => ({ right: badge("right", "good"), wrong: badge("wrong", "bad"),
  unknown: badge("cannot tell", "warn") })[word] ?? h("span", { class: "quiet" }, "\u2013");

export function runningClock(request) {
  if (request.state === "open") return [clock(request.deadline, "expired"), h("span", { class: "quiet" }, " to answer")];
  if (request.state === "answered") return [clock(request.answer.closes_at, "closed"), h("span", { class: "quiet" },
    " to challenge")];
  return "\u2013";
}

function seatTable(state) {
  return table("What each of this node's seats has done, and its stake in ether", [
    ["Seat", (s) => `${s.seat} of ${short(s.service)}`],
    ["State", (s) => badge(s.state, s.state === "active" ? "good" : "warn")],
    ["Free", (s) => s.free_wei === null ? "\u2013" : ether(s.free_wei), "number"],
    ["Locked", (s) => ether(s.locked_wei), "number"],
    ["Answered", (s) => count(s.answered), "number"],
    ["Final", (s) => count(s.finalized), "number"],
    ["Missed", (s) => h("span", { class: s.missed ? "loss" : "" }, count(s.missed)), "number"],
    ["Rejected", (s) => h("span", { class: s.rejected ? "loss" : "" }, count(s.rejected)), "number"],
  ], state.seats, "This node has no seat.");
}
