// What the node checks of others, what computes, and what signs.
import { badge, facts, h, section, table } from "./dom.js";
import { amount, bytes, chainNow, clock, count, ether, id, span, when } from "./words.js";
import { figure, workList } from "./node.js";

export async function watchView(state, _rest, read) {
  const money = await read("/view/money?weeks=520");
  const sum = (name) => state.services.reduce((all, service) => all + service.checks[name], 0);
  return [
    section("Watching", "", h("p", null, state.tasks.includes("watch")
      ? (state.dry_run ? "It checks others' answers and only alerts: it has no key." : "It checks others' answers, and challenges wrong ones.")
      : "It does not check others' answers: the setting watch is false."),
    h("div", { class: "figures" },
      figure("Answers checked", count(sum("made"))),
      figure("Judged wrong", count(sum("wrong")), sum("wrong") ? "warn" : ""),
      figure("Unchecked", count(sum("late") + sum("unknown")), sum("late") + sum("unknown") ? "loss" : ""),
      figure("Bonds out, ether", ether(money.challenges_wei)),
      figure("Rewards that wait, ether", ether(money.rewards_wei)),
      figure("Games to settle", count(money.to_settle)),
      figure("Credit, ether", ether(String(state.keys.reduce((all, key) => all + BigInt(key.credit_wei), 0n)))))),
    section("Checks by service", "", table("Since the journal began", [
      ["Service", (s) => id(s.service)],
      ["Model", (s) => s.model_name || "\u2013"],
      ["Checked", (s) => count(s.checks.made), "number"],
      ["Wrong", (s) => h("span", { class: s.checks.wrong ? "loss" : "" }, count(s.checks.wrong)), "number"],
      ["Cannot tell", (s) => count(s.checks.unknown), "number"],
      ["Too late", (s) => h("span", { class: s.checks.late ? "loss" : "" }, count(s.checks.late)), "number"],
      ["Cost of a check", (s) => s.checks.seconds_each === null ? "\u2013" : `${s.checks.seconds_each.toFixed(2)} s`, "number"],
    ], state.services)),
  ];
}

export function enginesView(state) {
  return [section("Engines", "", h("div", { class: "cards" }, state.services.map((service) => {
    const e = service.engine;
    return h("div", { class: `card ${e.trouble ? "troubled" : ""}`, "data-key": service.service },
      h("h3", null, service.model_name || "a model that is not on this machine"),
      e.trouble && h("p", { class: "alarm" }, e.trouble),
      facts(
        ["Service", id(service.service)],
        ["Proof", e.proven ? [badge("proven", "good"), ` ${e.proven}`] : badge("not proven", "bad")],
        ["Batch", `${e.working} of ${e.together} places, ${count(e.waiting)} wait`],
        ["Throughput", e.busy_seconds ? `${(e.tokens / e.busy_seconds).toFixed(1)} tokens a second while it works` : "nothing done yet"],
        ["Done", `${count(e.jobs)} jobs, ${count(e.tokens)} tokens in ${span(e.busy_seconds)}`],
        ["Memory", e.memory_bytes ? bytes(e.memory_bytes) : "in the node's own process"],
        ["Workers lost", h("span", { class: e.restarts ? "loss" : "" }, count(e.restarts))],
      ));
  })), !state.services.length && h("p", { class: "quiet" }, "None.")),
  section("In hand", "", workList(state.jobs))];
}

export function keysView(state) {
  const served = state.services.filter((service) => service.tee);
  return [
    section("Keys", "", h("div", { class: "cards" }, state.keys.map((key) => h("div", { class: "card" },
      h("h3", null, key.name), key.holding && h("p", { class: "alarm" }, key.holding), facts(
        ["Address", h("code", null, key.address)],
        ["Balance", h("span", { class: BigInt(key.balance_wei) <= BigInt(state.reserve_wei) ? "loss" : "" }, amount(key.balance_wei)),
          ` (reserve ${ether(state.reserve_wei)})`],
        ["Credit", amount(key.credit_wei)],
        ["On their way", `${key.pending} transactions`],
      ))))),
    section("Keys inside a TEE", "", state.tee_trouble && h("p", { class: "alarm" }, state.tee_trouble),
      table("Each service counts a key's signatures until its end", [
        ["Service", (s) => id(s.service)],
        ["Model", (s) => s.model_name || "\u2013"],
        ["Ends", (s) => when(s.tee.until)],
        ["Left", (s) => clock(s.tee.until, "ended")],
      ], served, "No service counts a key of this node.")),
    section("Documents of the TEE's vendor", "", state.tee_documents_end === null
      ? h("p", { class: "quiet" }, "None were looked at.")
      : facts(["The first of them ends", when(state.tee_documents_end)], ["Left", clock(state.tee_documents_end, "ended")])),
  ];
}
