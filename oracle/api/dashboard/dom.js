// Elements from values. Whatever a stranger wrote becomes text, never markup: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function made(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : readable(String(child)));
  }
  return node;
}

// Control characters and marks that turn the direction of writing become visible.
export function readable(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export const h = (tag, properties, ...children) => made(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) => made(document.createElementNS(SVG, tag), properties, children);

// Makes what is shown equal to `wanted`, and touches nothing that is the same: focus and selection stay.
export function show(parent, wanted) {
  const nodes = wanted.flat(Infinity).filter((node) => node);
  nodes.forEach((node, index) => {
    const old = parent.childNodes[index];
    if (!old) parent.append(node);
    else if (!same(old, node)) old.replaceWith(node);
    else if (old.nodeType === Node.TEXT_NODE) { if (old.data !== node.data) old.data = node.data; }
    else update(old, node);
  });
  while (parent.childNodes.length > nodes.length) parent.lastChild.remove();
}

function same(old, node) {
  return old.nodeType === node.nodeType && old.nodeName === node.nodeName && !node.hasAttribute?.("data-new")
    && old.getAttribute?.("data-key") === node.getAttribute?.("data-key");
}

function update(old, node) {
  for (const { name } of [...old.attributes]) if (!node.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of [...node.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  show(old, [...node.childNodes]);
}

export const section = (title, size, ...children) => {
  const id = `s-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return h("section", { class: size, "aria-labelledby": id }, h("h2", { id }, title), children);
};

export const facts = (...pairs) =>
  h("dl", null, pairs.filter((pair) => pair).map(([name, ...value]) => [h("dt", null, name), h("dd", null, value)]));

// columns: [name, row => cell, "number" or nothing]. Where they have no room, each row becomes a small list.
export function table(caption, columns, rows, none = "None.") {
  if (!rows.length) return h("p", { class: "quiet" }, none);
  return h("table", { class: columns.length > 9 ? "wide many" : "wide" }, h("caption", null, caption),
    h("thead", null, h("tr", null, columns.map(([name, , kind]) => h("th", { scope: "col", class: kind }, name)))),
    h("tbody", null, rows.map((row) => h("tr", null, columns.map(([name, cell, kind]) =>
      h("td", { "data-label": name, class: kind }, h("span", null, cell(row))))))));
}

export const badge = (text, kind) => h("span", { class: `badge ${kind ?? ""} ${text.length > 24 ? "long" : ""}` }, text);

// A horizontal bar; share from 0 to 1.
export const bar = (share, kind, label) => svg("svg", { class: "bar", viewBox: "0 0 100 4", preserveAspectRatio: "none",
  role: "img", "aria-label": label }, svg("rect", { class: "track", width: 100, height: 4, rx: 1 }),
  svg("rect", { class: kind, width: Math.max(0, Math.min(1, share)) * 100, height: 4, rx: 1 }));
