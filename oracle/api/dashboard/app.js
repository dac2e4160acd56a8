// The frame: which view is shown, the live state that feeds it, and the token that the node may ask for.
import { h, section, show } from "./dom.js";
import { setChainTime, tick } from "./words.js";
import { nodeView } from "./node.js";

const main = document.getElementById("main");
const health = document.getElementById("health");
const foot = document.getElementById("foot");
const later = (file, name) => async (...given) => (await import(file))[name](...given);

// Each view: a function of (state, the rest of the address, fetch) that gives elements.
const VIEWS = {
  "": nodeView,
  requests: later("./requests.js", "requestsView"),
  disputes: later("./games.js", "disputesView"),
  money: later("./money.js", "moneyView"),
  watch: later("./rest.js", "watchView"),
  engines: later("./rest.js", "enginesView"),
  keys: later("./rest.js", "keysView"),
};

let state = null;
let token = sessionStorage.getItem("token") ?? "";
let drawing = 0;
let drawnAt = -Infinity; // nothing is drawn yet: the first state is, at once
let waiting = null;

const PAUSE_MILLISECONDS = 3000; // between two draws because of news: some views read the journal

export class Refused extends Error {}

async function ask(path) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const reply = await fetch(path, { headers });
  if (reply.status === 401) askForToken();
  if (!reply.ok) {
    const said = await reply.json().catch(() => ({}));
    const why = typeof said.detail === "string" ? said.detail : `the node answered ${reply.status}`;
    throw new Refused(why);
  }
  return reply;
}

const read = async (path) => (await ask(path)).json();

// Whoever links here may write anything behind the #.
function place() {
  let parts = [];
  try {
    parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {} // half an escape
  const [view = "", ...rest] = parts;
  return Object.hasOwn(VIEWS, view) ? [view, rest] : ["", []];
}

async function draw() {
  if (!state) return;
  const mine = ++drawing;
  drawnAt = performance.now();
  const [view, rest] = place();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let wanted;
  try {
    wanted = [await VIEWS[view](state, rest, read)];
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    wanted = [section("Not shown", "", h("p", { class: "alarm" }, error.message))];
  }
  if (mine !== drawing) return; // somebody has gone on to another view
  if (main.dataset.view !== view) {
    main.replaceChildren();
    main.dataset.view = view;
  }
  show(main, wanted);
  tick();
}

function takeState(next) {
  state = next;
  setChainTime(state.chain.timestamp ?? 0, state.chain.age_seconds);
  const word = state.ready ? "ready" : "not ready";
  show(health, [h("span", { class: state.ready ? "good" : "bad" }, word),
    state.dry_run && h("span", { class: "quiet" }, " \u00b7 dry run: nothing is signed")]);
  document.title = `Didyma node: ${word}`;
  foot.textContent = `Didyma ${state.version}. This page only reads. It asks nobody but this node.`;
  const pause = ["", "engines", "keys"].includes(place()[0]) ? 0 : PAUSE_MILLISECONDS;
  clearTimeout(waiting);
  waiting = setTimeout(draw, Math.max(0, drawnAt + pause - performance.now()));
}

function askForToken() {
  const form = h("form", { onsubmit: (event) => {
    event.preventDefault();
    token = form.elements.token.value;
    sessionStorage.setItem("token", token);
    location.reload();
  } }, h("label", null, "The node's api_token", h("input", { type: "password", name: "token", autocomplete: "off",
    required: true })), h("button", null, "Open"));
  main.replaceChildren(section("A token is needed", "", h("p", null, "It stays in this tab."), form));
  health.textContent = "locked";
  throw new Refused("a token is needed");
}

// Server-sent events, read by hand: `EventSource` cannot send the token.
async function listen() {
  const reader = (await ask("/view/live")).body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Refused("the node has closed the connection");
    const events = (kept + value).split("\n\n");
    kept = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) takeState(JSON.parse(data.slice(6)));
    }
  }
}

async function keepListening() {
  for (let pause = 1; ; pause = Math.min(pause * 2, 30)) {
    const began = performance.now();
    try {
      await listen();
    } catch (error) {
      if (health.textContent === "locked") return;
      show(health, [h("span", { class: "bad" }, `no news: ${error.message}`)]);
    }
    if (performance.now() - began > 10_000) pause = 1;
    await new Promise((resolve) => setTimeout(resolve, pause * 1000));
  }
}

addEventListener("hashchange", () => {
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
  draw();
});
setInterval(tick, 1000);
keepListening();
