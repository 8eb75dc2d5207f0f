"use strict";
// The page itself: what to show at each step, and the controls. The graph is read from the JSON block of the page; every text of
// the user's goes through textContent.

const $ = (id) => document.getElementById(id);
const MINUS = "\u2212", TIMES = "\u00d7", ARROW = "\u2192", DOTS = "\u2026";

/** An element: h("td.num", {title: "x"}, children...). Text children become text nodes. */
function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}
function s(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// ---- Numbers as text, as Python's format(x, ".4g") ------------------------------------------------------------------------
function short(x, digits = 4) {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return "0";
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
  const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const e = Number(exponent);
  if (e < -4 || e >= digits) return `${trim(mantissa)}e${e < 0 ? "-" : "+"}${String(Math.abs(e)).padStart(2, "0")}`;
  return trim(x.toFixed(Math.max(0, digits - 1 - e)));
}
const signed = (text) => (text.startsWith("-") ? `(${text})` : text);
const norm = (a) => Math.sqrt(a.data.reduce((t, x) => t + x * x, 0));
const size = (a) => a.data.reduce((t, x) => t + Math.abs(x), 0);
const isScalar = (a) => a.data?.length === 1 && a.shape.length === 0;
const shapeText = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;

function rowsText(a, digits) {
  const width = a.shape.at(-1) ?? 1;
  const rows = [];
  for (let k = 0; k < a.data.length; k += width) rows.push(`[${[...a.data.slice(k, k + width)].map((x) => short(x, digits)).join(", ")}]`);
  return a.shape.length < 2 ? rows[0] ?? "[]" : `[${rows.join(", ")}]`;
}
/** An array on one line. */
function line(a, digits = 4) {
  if (!a) return "";
  if (!a.data) return a.line;
  if (!a.shape.length) return short(a.data[0], digits);
  return a.shape.length <= 2 && a.data.length > 0 && a.data.length <= 6 ? rowsText(a, digits) : `${shapeText(a.shape)} norm ${short(norm(a), digits)}`;
}
/** An array in a box of the drawing: a value by its mean, a gradient by how much of it flows. */
function boxed(a, isGradient) {
  if (!a) return "";
  if (a.data && (!a.shape.length || (a.shape.length === 1 && a.data.length <= 3 && a.data.length))) return line(a, 3 + !a.shape.length);
  if (isGradient) return `norm ${a.data ? short(norm(a), 3) : a.norm}`;
  if (!a.data) { const mean = a.summary?.find(([k]) => k === "mean" || k === "all"); return mean ? mean.join(" ") : a.line; }
  return a.data.length ? `mean ${short(a.data.reduce((t, x) => t + x, 0) / a.data.length, 3)}` : "empty";
}

// ---- The graph ----------------------------------------------------------------------------------------------------------
const graph = JSON.parse($("data").textContent);
graph.of = Object.fromEntries(graph.values.map((v) => [v.id, v]));
const recorded = graph.arrays.map(decode);
const read = (place) => (place === null || place === undefined ? null : recorded[place]);
graph.values.forEach((v) => {
  Object.assign(v, { value: read(v.value), gradient: read(v.gradient), accumulated: read(v.accumulated), edges: [], uses: [] });
});
graph.edges.forEach((e, key) => {
  Object.assign(e, { key, contribution: read(e.contribution), local: read(e.local) });
  e.flows = Boolean(e.contribution);
  graph.of[e.target].edges.push(e);
});
for (const v of [...graph.values].reverse()) for (const e of v.edges) graph.of[e.source].uses.push(e);
const root = graph.of[graph.output];

// Labels: the user's name; a number; else a short expression; else the row in the order of the program.
const INFIX = { add: ["+", 1], subtract: [MINUS, 1], multiply: [TIMES, 2], divide: ["/", 2], power: ["**", 4], matmul: ["@", 2] };
const LONG = 26;
let row = 0;
for (const v of graph.values) {
  const number = v.kind === "constant" && v.value?.data && isScalar(v.value);
  if (!number) row++;
  const parts = v.edges.map((e) => graph.of[e.source]);
  const infix = parts.length === 2 && INFIX[v.op];
  const wrap = (p, least) => (p.tight < least ? `(${p.label})` : p.label);
  v.expression = !v.op ? "" : infix
    ? `${wrap(parts[0], infix[1])} ${infix[0]} ${wrap(parts[1], infix[1] + 1)}`
    : v.op === "negative" ? `${MINUS}${wrap(parts[0], 3)}`
    : `${v.op}(${parts.map((p) => p.label).join(", ")}${v.asked ? `${parts.length ? ", " : ""}${v.asked}` : ""})`;
  v.row = row;
  v.label = v.name || (number ? line(v.value, 7) : v.op && v.expression.length <= LONG && !v.expression.includes("#") ? v.expression : `#${row}`);
  v.tight = v.name || !v.op || v.label.startsWith("#") ? 5 : infix ? infix[1] : v.op === "negative" ? 3 : 5;
}
const top_ = root.name || "L";
const bare = (v) => (v.tight < 5 ? `(${v.label})` : v.label);
const d = (v) => `\u2202${top_}/\u2202${bare(v)}`;

// ---- State --------------------------------------------------------------------------------------------------------------
const state = {
  step: 0, playing: null, selected: null, open: new Set(), down: false, mistake: "", leaves: new Map(), now: null, view: null,
};
const valueOf = (v) => state.now?.y.get(v.id) ?? v.value;
const gradientOf = (v) => state.now?.gradients.get(v.id) ?? v.gradient;
const partOf = (e) => state.now?.parts.get(e) ?? e.contribution;
const localOf = (e) => state.now?.locals.get(e) ?? e.local;

// Steps: every operation forward, the start of the backward pass, every contribution in the engine's order.
const steps = graph.values.filter((v) => v.op).map((v) => ({ pass: "forward", v }));
const forwardSteps = steps.length;
if (root.gradient) {
  steps.push({ pass: "seed", v: root });
  for (const v of [...graph.values].reverse()) for (const e of v.edges) if (e.flows) steps.push({ pass: "backward", v, e });
}
graph.values.forEach((v) => { v.made = 0; });
steps.forEach((step, k) => {
  if (step.pass === "forward") step.v.made = k + 1;
  if (step.pass === "seed") step.v.seeded = k + 1;
  if (step.pass === "backward") step.e.step = k + 1;
});
const flowing = (v) => v.uses.filter((e) => e.flows);
const isKnown = (v, at = state.step) => at >= v.made;

/** The gradient of v as far as it has been added up by step `at`: {sum, terms, complete}. */
function soFar(v, at = state.step) {
  const arrived = flowing(v).filter((e) => e.step <= at);
  const complete = v === root ? at >= v.seeded : arrived.length === flowing(v).length && arrived.length > 0;
  if (complete) return { sum: gradientOf(v), terms: arrived.length, complete };
  let sum = null;
  for (const e of arrived) sum = plus(sum, partOf(e));
  return { sum, terms: arrived.length, complete };
}
function plus(a, b) {
  if (!a || !b?.data || !a.data) return a ? null : b;
  return make(b.shape, a.data.map((x, k) => (b.dtype === "float32" || a.dtype === "float32" ? Math.fround(x + b.data[k]) : x + b.data[k])));
}
/** The contributions to v in order, added up as the engine adds them. */
const ledgerSum = (v) => flowing(v).reduce((t, e) => {
  const part = partOf(e);
  return t === undefined ? { ...part, dtype: v.dtype } : t && part.data && t.data ? { ...plus({ ...t, dtype: v.dtype }, part), dtype: v.dtype } : null;
}, undefined);

// ---- What if ------------------------------------------------------------------------------------------------------------
function recompute(leaves) {
  const y = forward(graph, (v) => leaves.get(v.id) ?? v.value);
  return { y, ...backward(graph, y) };
}
/** Recomputing must give the recorded numbers before anybody may trust it with others. */
function distrust() {
  const why = obstacle(graph);
  if (why) return why;
  const now = recompute(new Map());
  for (const v of graph.values) {
    const close = v.dtype === "float32" ? 1e-4 : 1e-11;
    const got = now.gradients.get(v.id);
    if (difference(now.y.get(v.id), v.value) > close || (v.gradient && (!got || difference(got, v.gradient) > close * 10))) {
      return `computing ${v.label} again gives other numbers than the record (a hook, or a value that was changed)`;
    }
  }
  return "";
}
const whyNot = distrust();
const isFree = (v) => !whyNot && !v.op && (v.kind === "parameter" || v.kind === "input") && /^float/.test(v.dtype) && v.value.data.length <= 64;

function change(id, numbers) {
  const v = graph.of[id];
  if (!isFree(v)) throw new Error(`${v.label} cannot be changed: ${whyNot || "it is no input or parameter of real numbers"}`);
  const data = Float64Array.from([numbers].flat(Infinity));
  if (data.length !== v.value.data.length) throw new Error(`${v.label} has ${v.value.data.length} numbers, got ${data.length}`);
  state.leaves.set(id, round(make(v.value.shape, data), v.dtype));
  state.now = recompute(state.leaves);
  refresh();
}
function resetWhatIf() {
  state.leaves.clear();
  state.now = null;
  refresh();
  showValue(true);
  say("Back to the recorded numbers.");
}

// ---- Mistakes -----------------------------------------------------------------------------------------------------------
/** What a use sends back for any upstream gradient: by the rule, or else by the recorded local gradient. */
function sender() {
  if (!whyNot) {
    const y = state.now?.y ?? new Map(graph.values.map((v) => [v.id, v.value]));
    return (e, g) => contribution(graph, e, g, y);
  }
  const able = graph.edges.every((e) => !e.flows || (e.local?.data && e.contribution.data && same(e.local.shape, e.contribution.shape)));
  return able ? (e, g) => elementwise((a, b) => a * b, g, e.local) : null;
}
let wrong = null; // {grads, visits} of the mistake that is shown

function setMistake(key) {
  state.mistake = key;
  $("mistake").value = key;
  wrong = null;
  if (key) {
    pause();
    const send = sender();
    if (send) wrong = MISTAKES[key].run(graph, send);
    show(steps.length);
  } else refresh();
}
const isWrong = (v) => wrong && gradientOf(v) && !(wrong.grads.get(v.id) && difference(wrong.grads.get(v.id), gradientOf(v)) < 1e-9);
/** How many times "recursion" visits a value in all: the number of paths from the output, over all values. */
function pathsWalked() {
  const paths = new Map([[root.id, 1]]);
  let total = 0;
  for (const v of [...graph.values].reverse()) {
    total += paths.get(v.id) ?? 0;
    for (const e of v.edges) if (e.flows) paths.set(e.source, (paths.get(e.source) ?? 0) + (paths.get(v.id) ?? 0));
  }
  return total;
}

// ---- Folding ------------------------------------------------------------------------------------------------------------
const FEW = [45, 30, 20, 12, 6, 0], MOST = 400, READABLE = 0.55;
graph.groups.forEach((g, k) => Object.assign(g, { id: `g${k}`, items: [], depth: 0 }));
graph.groups.forEach((g) => { g.depth = g.parent === null ? 0 : graph.groups[g.parent].depth + 1; });
const chain = (v) => {
  const found = [];
  for (let k = v.group; k !== null && k !== undefined; k = graph.groups[k].parent) found.unshift(graph.groups[k]);
  return found;
};
graph.values.forEach((v) => { v.chain = chain(v); });
/** What stands for v in the drawing: itself, or the outermost closed group around it. */
const shown = (v) => v.chain.find((g) => !state.open.has(g.id)) ?? v;
const inside = (g) => graph.values.filter((v) => v.chain.includes(g));
const holding = (g) => { const members = inside(g); return `${members.length} values, ${members.filter((v) => v.op).length} operations`; };
const boxCount = () => new Set(graph.values.map((v) => shown(v).id)).size;

/** Open groups, outermost first, while no more than `most` boxes are there. */
function openUpTo(most) {
  for (const g of [...graph.groups].sort((a, b) => a.depth - b.depth)) {
    if (g.parent !== null && !state.open.has(`g${g.parent}`)) continue;
    state.open.add(g.id);
    if (boxCount() > most) state.open.delete(g.id);
  }
}
function toggle(id) {
  if (state.open.has(id)) state.open.delete(id); else state.open.add(id);
  const g = graph.groups.find((x) => x.id === id);
  redraw();
  if (scaleFor(bounds) < READABLE) focusOn(bounds.boxes.get(id));
  say(`${g.name} ${state.open.has(id) ? "opened" : "closed"}.`);
  ($("graph").querySelector(`[data-id="${id}"] .toggle`) ?? $("graph").querySelector(`[data-id="${id}"]`))?.focus();
}

// ---- The drawing --------------------------------------------------------------------------------------------------------
const ruler = document.createElement("canvas").getContext("2d");
function textWidth(text, font) {
  ruler.font = `${font} system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif`;
  return ruler.measureText(text).width;
}
const clipped = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1)}${DOTS}`);
const headline = (v) => clipped(v.label.startsWith("#") && v.op ? `${v.label} ${v.op}` : v.label, 26);
const subline = (v) => [v.op ? (v.label.startsWith("#") ? v.asked : v.op) : v.kind, v.shape?.length ? shapeText(v.shape) : ""].filter(Boolean).join("  ");

function sizeOf(v) {
  if (v.kind === "constant") return { width: Math.max(38, textWidth(constantText(v), "650 14px") + 20), height: 30 };
  const numbers = Math.max(...[v.value, v.gradient].map((a, k) => textWidth(boxed(a, k), "600 13px")), textWidth("-0.0000", "600 13px"));
  return { width: Math.ceil(Math.max(textWidth(headline(v), "650 14px"), textWidth(subline(v), "11px"), numbers + 44) + 24), height: 78 };
}
const constantText = (v) => (v.name ? v.name : v.value?.data && v.value.data.length <= 3 ? line(v.value) : `const ${shapeText(v.shape ?? [])}`);

let drawn = new Map(); // id of a value or group -> its elements
let arrows = []; // {path, tip, uses}: the uses of a value that one arrow stands for
let bounds = { width: 1, height: 1 };

/** The nested items to lay out, and the edges between what is visible. */
function visible() {
  const tree = { items: [] };
  const holders = new Map();
  const holder = (g) => {
    if (!holders.has(g.id)) {
      const item = { id: g.id, items: [] };
      holders.set(g.id, item);
      (g.parent === null ? tree : holder(graph.groups[g.parent])).items.push(item);
    }
    return holders.get(g.id);
  };
  const placed = new Set();
  for (const v of graph.values) {
    const item = shown(v);
    if (placed.has(item.id)) continue;
    placed.add(item.id);
    const parent = item === v ? v.chain.at(-1) : item.parent === null ? null : graph.groups[item.parent];
    const { width, height } = item === v ? sizeOf(v) : { width: Math.ceil(Math.max(textWidth(item.name, "650 14px") + 28, textWidth(holding(item), "11px")) + 26), height: 60 };
    (parent ? holder(parent) : tree).items.push({ id: item.id, width, height });
  }
  // Between two values each use is an arrow of its own; all uses of a value inside a closed module share one.
  const shared = new Map();
  for (const e of graph.edges) {
    const source = shown(graph.of[e.source]), target = shown(graph.of[e.target]);
    if (source === target) continue;
    const key = target.members ? `${e.source} ${target.id}` : e.key;
    if (!shared.has(key)) shared.set(key, { key: e.key, operand: e.operand, source: source.id, target: target.id, uses: [] });
    shared.get(key).uses.push(e);
  }
  return { tree, edges: [...shared.values()] };
}

function solve(down) {
  const { tree, edges } = visible();
  const orient = (item) => {
    if (item.items) item.items.forEach(orient);
    else Object.assign(item, down ? { length: item.height, breadth: item.width } : { length: item.width, breadth: item.height });
  };
  orient(tree);
  GAP.layer = down ? 44 : 68; // room for a number on an arrow
  const found = drawing(tree, edges, down);
  const turn = ([x, y]) => (down ? [y, x] : [x, y]);
  const boxes = new Map([...found.boxes].map(([id, b]) => [id, down
    ? { x: b.y, y: b.x, width: b.breadth, height: b.length } : { x: b.x, y: b.y, width: b.length, height: b.breadth }]));
  const paths = new Map([...found.paths].map(([key, points]) => [key, points.map(turn)]));
  return { boxes, paths, uses: new Map(edges.map((e) => [e.key, e.uses])), width: down ? found.breadth : found.length, height: down ? found.length : found.breadth };
}
const scaleFor = (l) => { const r = $("graph").getBoundingClientRect(); return Math.min(r.width / (l.width + 48), r.height / (l.height + 64)); };

function redraw(keepView = false) {
  const across = solve(false), downwards = solve(true);
  if (state.down === null) state.down = scaleFor(downwards) > scaleFor(across) * 1.15;
  const found = state.down ? downwards : across;
  bounds = found;
  drawn = new Map();
  arrows = [];
  const layer = () => s("g");
  const [frames, wires, boxes, chips] = [layer(), layer(), layer(), layer()];
  chips.id = "chips";
  for (const g of graph.groups) if (state.open.has(g.id) && found.boxes.has(g.id)) frames.append(frame(g, found.boxes.get(g.id)));
  for (const [key, points] of found.paths) {
    const path = s("path", { class: "wire", d: curve(points, state.down) });
    const [x, y] = points.at(-1);
    const tip = s("path", { class: "tip", d: state.down ? `M${x},${y}l-4.5,-9h9z` : `M${x},${y}l-9,-4.5v9z` });
    wires.append(path, tip);
    arrows.push({ path, tip, uses: found.uses.get(key) });
  }
  const order = new Set(graph.values.map(shown));
  for (const item of order) boxes.append(item.members ? moduleBox(item, found.boxes.get(item.id)) : valueBox(item, found.boxes.get(item.id)));
  $("graph").replaceChildren(s("g", {}, frames, wires, boxes, chips));
  if (!keepView) fit();
  refresh();
}

/** A smooth line through the points: straight where two lie level, else leaving and arriving along the graph's direction. */
function curve(points, down) {
  let text = `M${points[0].map((x) => x.toFixed(1))}`;
  for (let k = 1; k < points.length; k++) {
    const [x0, y0] = points[k - 1], [x, y] = points[k];
    const middle = down ? (y0 + y) / 2 : (x0 + x) / 2;
    text += (down ? x0 === x : y0 === y) ? `L${x.toFixed(1)},${y.toFixed(1)}`
      : down ? `C${x0.toFixed(1)},${middle.toFixed(1)} ${x.toFixed(1)},${middle.toFixed(1)} ${x.toFixed(1)},${y.toFixed(1)}`
      : `C${middle.toFixed(1)},${y0.toFixed(1)} ${middle.toFixed(1)},${y.toFixed(1)} ${x.toFixed(1)},${y.toFixed(1)}`;
  }
  return text;
}

const activate = (action) => ({
  click: (event) => { event.stopPropagation(); if (!dragged) action(); },
  keydown: (event) => { if (event.key === "Enter") { event.preventDefault(); action(); } },
});
function listen(node, handlers) {
  for (const [name, f] of Object.entries(handlers)) node.addEventListener(name, f);
  return node;
}

const ring = (b, rx) => s("rect", { class: "ring", x: -5, y: -5, width: b.width + 10, height: b.height + 10, rx });

function valueBox(v, b) {
  const g = s("g", { class: `box ${v.kind}`, transform: `translate(${b.x},${b.y})`, tabindex: "0", role: "button", "data-id": v.id });
  const radius = v.kind === "input" ? 14 : v.kind === "constant" ? 8 : 4;
  g.append(ring(b, radius + 4), s("rect", { class: "body", width: b.width, height: b.height, rx: radius }));
  const parts = { g };
  if (v.kind === "parameter") g.append(s("rect", { class: "second", x: 3, y: 3, width: b.width - 6, height: b.height - 6, rx: 2 }));
  const text = (x, y, cls, content, anchor = "start") => {
    const node = s("text", { x, y, class: cls, "text-anchor": anchor });
    node.textContent = content;
    g.append(node);
    return node;
  };
  if (v.kind === "constant") {
    parts.only = text(b.width / 2, 20, "head", constantText(v), "middle");
  } else {
    text(12, 20, "head", headline(v));
    text(12, 35, "sub", subline(v));
    parts.valueLabel = text(12, 53, "label value-row", "value");
    parts.value = text(b.width - 12, 53, "num value-number value-row", "", "end");
    parts.gradientLabel = text(12, 70, "label", "");
    parts.gradient = text(b.width - 12, 70, "num gradient-number", "", "end");
  }
  listen(g, activate(() => select(v.id)));
  drawn.set(v.id, parts);
  return g;
}

function moduleBox(item, b) {
  const g = s("g", {
    class: "box module", transform: `translate(${b.x},${b.y})`, tabindex: "0", role: "button", "data-id": item.id, "aria-expanded": "false",
    "aria-label": `Module ${item.name}, closed: ${holding(item)}. Enter opens it.`,
  });
  g.append(ring(b, 8), s("path", { class: "second", d: `M5,-4H${b.width + 4}V${b.height - 5}` }), s("rect", { class: "body", width: b.width, height: b.height, rx: 4 }));
  const name = s("text", { x: 12, y: 25, class: "head" });
  name.textContent = item.name;
  const sub = s("text", { x: 12, y: 45, class: "sub" });
  sub.textContent = holding(item);
  const sign = s("text", { x: b.width - 12, y: 27, class: "head", "text-anchor": "end", "aria-hidden": "true" });
  sign.textContent = "+";
  g.append(name, sub, sign);
  listen(g, activate(() => toggle(item.id)));
  drawn.set(item.id, { g });
  return g;
}

function frame(item, b) {
  const g = s("g", { class: "frame", transform: `translate(${b.x},${b.y})`, "data-id": item.id });
  g.append(s("rect", { class: "ground", width: b.width, height: b.height, rx: 8 }), s("rect", { width: b.width, height: b.height, rx: 8 }));
  const name = s("text", { x: 40, y: 23, class: "sub" });
  name.textContent = item.name;
  const sign = s("text", { x: 20, y: 25, "text-anchor": "middle", class: "head" });
  sign.textContent = MINUS;
  const button = s("g", { class: "toggle", role: "button", tabindex: "0", "aria-expanded": "true", "aria-label": `Close module ${item.name}` },
    s("rect", { x: 8, y: 8, width: 24, height: 24, rx: 6 }), sign);
  listen(button, activate(() => toggle(item.id)));
  g.append(button, name);
  return g;
}

// ---- Looking around -----------------------------------------------------------------------------------------------------
function setView(view) {
  state.view = view;
  $("graph").setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
}
function fit() {
  const r = $("graph").getBoundingClientRect();
  const scale = Math.min(scaleFor(bounds), 1.5) || 1;
  const width = r.width / scale, height = r.height / scale;
  setView({ x: (bounds.width - width) / 2, y: (bounds.height - height) / 2 + 10 / scale, width, height });
}
/** A box as large as fits, but no larger than life. */
function focusOn(box) {
  const r = $("graph").getBoundingClientRect();
  const scale = Math.min(r.width / (box.width + 40), r.height / (box.height + 70), 1);
  setView({ x: box.x + box.width / 2 - r.width / scale / 2, y: box.y + box.height / 2 - r.height / scale / 2 + 12 / scale, width: r.width / scale, height: r.height / scale });
}
function zoom(factor, clientX, clientY) {
  const r = $("graph").getBoundingClientRect(), v = state.view;
  const fx = clientX === undefined ? 0.5 : (clientX - r.left) / r.width, fy = clientY === undefined ? 0.5 : (clientY - r.top) / r.height;
  const width = Math.min(Math.max(v.width * factor, 120), 20 * Math.max(bounds.width, 400)), height = width * (v.height / v.width);
  setView({ x: v.x + (v.width - width) * fx, y: v.y + (v.height - height) * fy, width, height });
}
/** The current box, or else the beginning, at a size that can be read. */
function approach() {
  const item = shown(current()?.v ?? graph.values[0]), box = bounds.boxes.get(item.id), r = $("graph").getBoundingClientRect();
  setView({ x: box.x + box.width / 2 - r.width / 1.6, y: box.y + box.height / 2 - r.height / 1.6, width: r.width / 0.8, height: r.height / 0.8 });
}
/** Bring a box into sight, if it is out of it. */
function reveal(item) {
  const box = bounds.boxes.get(item.id), v = state.view;
  if (!box || (box.x >= v.x && box.y >= v.y && box.x + box.width <= v.x + v.width && box.y + box.height <= v.y + v.height)) return;
  setView({ ...v, x: box.x + box.width / 2 - v.width / 2, y: box.y + box.height / 2 - v.height / 2 });
}
const fingers = new Map();
let dragged = false;
listen($("graph"), {
  wheel: (event) => { event.preventDefault(); zoom(Math.exp(event.deltaY * 0.0015), event.clientX, event.clientY); },
  pointerdown: (event) => { fingers.set(event.pointerId, event); if (fingers.size === 1) dragged = false; },
  pointermove: (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const before = [...fingers.values()];
    if (!dragged && before.length === 1 && Math.hypot(event.clientX - last.clientX, event.clientY - last.clientY) < 4) return;
    if (!dragged) $("graph").setPointerCapture(event.pointerId);
    dragged = true;
    fingers.set(event.pointerId, event);
    const unit = state.view.width / $("graph").getBoundingClientRect().width;
    if (before.length === 1) {
      setView({ ...state.view, x: state.view.x - (event.clientX - last.clientX) * unit, y: state.view.y - (event.clientY - last.clientY) * unit });
    } else {
      const gap = ([p, q]) => Math.hypot(p.clientX - q.clientX, p.clientY - q.clientY);
      zoom(gap(before) / Math.max(gap([...fingers.values()]), 1), (before[0].clientX + before[1].clientX) / 2, (before[0].clientY + before[1].clientY) / 2);
    }
  },
  pointerup: (event) => fingers.delete(event.pointerId),
  pointercancel: (event) => fingers.delete(event.pointerId),
  click: () => { if (!dragged) select(null); },
});

// ---- Showing a step -----------------------------------------------------------------------------------------------------
const still = matchMedia("(prefers-reduced-motion: reduce)");
const current = () => steps[state.step - 1];
const say = (text) => { $("live").textContent = text; };

function show(step) {
  state.step = Math.max(0, Math.min(step, steps.length));
  refresh();
  const now = current();
  if (now) {
    reveal(shown(now.v));
    pulse(now);
  }
  say(spoken());
}

/** Everything that depends on the step, the selection, what-if or a mistake. */
function refresh() {
  if (state.mistake) { const send = sender(); wrong = send && MISTAKES[state.mistake].run(graph, send); }
  const now = state.mistake ? undefined : current();
  const chosen = graph.of[state.selected];
  const onPath = chosen ? pathEdges(chosen) : new Set();
  for (const v of graph.values) if (drawn.has(v.id)) showBox(v, now);
  for (const g of graph.groups) {
    const box = drawn.get(g.id);
    if (!box) continue;
    const holds = (v) => v.chain.includes(g);
    box.g.classList.toggle("forward", Boolean(now && now.pass === "forward" && holds(now.v)));
    box.g.classList.toggle("backward", Boolean(now && now.pass !== "forward" && holds(now.v)));
    box.g.classList.toggle("receiving", Boolean(now?.e && !holds(now.v) && holds(graph.of[now.e.source])));
  }
  const chips = [];
  for (const { path, tip, uses } of arrows) {
    const isForward = now?.pass === "forward" && uses.some((e) => e.target === now.v.id), isBackward = uses.includes(now?.e);
    for (const [node, cls] of [[path, "wire"], [tip, "tip"]]) {
      node.setAttribute("class", `${cls}${uses.some((e) => onPath.has(e)) ? " path" : ""}${isForward ? " forward" : ""}${isBackward ? " backward" : ""}`);
    }
    const from = graph.of[uses[0].source];
    const told = from === chosen ? uses.filter((e) => e.flows && state.step >= e.step) : uses.filter((e) => e === now?.e);
    if (told.length) chips.push(chip(path, told.length > 1 ? `${told.length} uses` : boxed(partOf(told[0]), true), "backward", chips));
    else if (isForward && valueOf(from) && from.kind !== "constant") chips.push(chip(path, boxed(valueOf(from)), "forward", chips));
  }
  document.getElementById("chips")?.replaceChildren(...chips);
  const slider = $("slider");
  slider.value = state.step;
  slider.setAttribute("aria-valuetext", now ? `Step ${state.step} of ${steps.length}, ${now.pass === "forward" ? "forward" : "backward"}` : "Start");
  for (const id of ["reset", "back"]) $(id).disabled = state.step === 0;
  for (const id of ["next", "end"]) $(id).disabled = state.step === steps.length;
  showStep();
  showValue(false);
  showCode();
  showBanner();
}

function showBox(v, now) {
  const box = drawn.get(v.id);
  const classes = [];
  if (!state.mistake && !isKnown(v)) classes.push("pending");
  if (now?.pass === "forward" && now.v === v) classes.push("forward");
  if (now && now.pass !== "forward" && now.v === v) classes.push("backward");
  if (now?.e?.source === v.id) classes.push("receiving");
  if (state.selected === v.id) classes.push("selected");
  box.g.setAttribute("class", ["box", v.kind, ...classes].join(" "));
  const known = isKnown(v), { sum, complete } = soFar(v);
  box.g.setAttribute("aria-label", [
    v.name || headline(v), v.op || v.kind, known ? `value ${line(valueOf(v)) || "not kept"}` : "not computed yet",
    sum ? `gradient ${complete ? "" : "so far "}${line(sum)}` : "", v.uses.length > 1 ? `used ${v.uses.length} times` : "",
  ].filter(Boolean).join(", "));
  if (!box.value) return;
  const put = (node, text, cls) => { node.textContent = text; if (cls) node.setAttribute("class", cls); };
  if (wrong && v.gradient) {
    const bad = isWrong(v), got = wrong.grads.get(v.id);
    put(box.valueLabel, bad ? "right" : "value", "label value-row");
    put(box.value, bad ? boxed(gradientOf(v), true) : boxed(valueOf(v)), `num value-row ${bad ? "gradient-number" : "value-number"}`);
    put(box.gradientLabel, bad ? "\u2717 wrong" : "\u2713 grad");
    put(box.gradient, bad ? (got ? boxed(got, true) : "none") : boxed(gradientOf(v), true), `num ${bad ? "wrong-number" : "gradient-number"}`);
    return;
  }
  put(box.valueLabel, v.later ? "now" : "value", "label value-row");
  put(box.value, known ? boxed(valueOf(v)) || "not kept" : DOTS, "num value-number value-row");
  put(box.gradientLabel, sum ? (complete ? "grad" : "so far") : "");
  put(box.gradient, sum ? boxed(sum, true) : "", `num gradient-number${complete ? "" : " partial"}`);
}

/** A number on an arrow, moved aside where another stands already. */
function chip(path, text, cls, others) {
  const middle = path.getPointAtLength(path.getTotalLength() / 2), width = textWidth(text, "650 12px") + 14;
  const x = middle.x + (state.down ? width / 2 + 5 : 0), beside = state.down ? 0 : -15;
  const clear = (y) => others.every((o) => Math.abs(o.at.x - x) >= (o.width + width) / 2 || Math.abs(o.at.y - y) >= 22);
  const y = [beside, beside - 22, beside + 22, beside + 30, beside - 44, beside + 44].map((move) => middle.y + move).find(clear) ?? middle.y;
  const label = s("text", { x, y: y + 4.5, "text-anchor": "middle" });
  label.textContent = text;
  const node = s("g", { class: `chip ${cls}` }, s("rect", { x: x - width / 2, y: y - 10, width, height: 20, rx: 10 }), label);
  return Object.assign(node, { at: { x, y }, width });
}

/** A dot that runs along the arrows of a step: with them forward, against them backward. */
function pulse(step) {
  if (still.matches) return;
  const running = arrows.filter(({ uses }) => (step.e ? uses.includes(step.e) : step.pass === "forward" && uses.some((e) => e.target === step.v.id)));
  for (const { path } of running) {
    const length = path.getTotalLength(), dot = s("circle", { class: `pulse ${step.pass}`, r: 6 });
    document.getElementById("chips").append(dot);
    const start = performance.now();
    const frame = (time) => {
      const t = Math.min((time - start) / 420, 1), eased = t * (2 - t);
      const at = path.getPointAtLength(length * (step.e ? 1 - eased : eased));
      dot.setAttribute("cx", at.x);
      dot.setAttribute("cy", at.y);
      if (t < 1 && dot.isConnected) requestAnimationFrame(frame); else dot.remove();
    };
    requestAnimationFrame(frame);
  }
}

/** The edges on all paths from v to the output along which its gradient came. */
function pathEdges(v) {
  const reached = new Set([v.id]), found = new Set();
  for (const w of graph.values) for (const e of w.edges) {
    if (e.flows && reached.has(e.source)) { reached.add(w.id); found.add(e); }
  }
  return found;
}

// ---- The cards ----------------------------------------------------------------------------------------------------------
const num = (text) => h("span.num", {}, text);
function formula(e) {
  if (!e.formula) return num(e.rule);
  return document.importNode(new DOMParser().parseFromString(e.formula, "text/html").body.firstChild, true);
}
/** A number under its name; of a larger array, its norm and shape. */
function tile(what, a, cls = "") {
  const inline = !a || (a.data && a.shape.length <= 2 && a.data.length <= 6);
  const text = !a ? "not kept" : inline ? line(a) : `norm ${a.data ? short(norm(a)) : a.norm}`;
  return h(`div.tile${cls && `.${cls}`}`, {}, h("div.what", {}, [what].flat().flatMap((t, k) => (k ? [h("br"), t] : [t]))),
    h(`div.num${text.length > 14 ? ".long" : inline ? "" : ".norm"}`, {}, text), inline ? "" : h("div.what", {}, shapeText(a.shape)));
}
const sign = (text) => h("div.sign", {}, text);
/** "a = x = 3, b = 4": what the letters of a formula stand for; of larger arrays, the name. */
function letters(v, e) {
  const equals = (letter, name, a) => {
    const number = a?.data && a.data.length <= 4 ? line(a) : "";
    return h("span", {}, h("i", {}, letter), name ? [" = ", name] : "", number && number !== name ? [" = ", num(number)] : "");
  };
  const told = e ? [equals("g", "upstream", gradientOf(v))] : [];
  if (e && /\by\b/.test(e.rule)) told.push(equals("y", v.label, valueOf(v)));
  told.push(...v.edges.map((x) => equals(v.operands[x.operand] ?? `operand ${x.operand + 1}`, graph.of[x.source].label, valueOf(graph.of[x.source]))));
  return told.flatMap((t, k) => (k ? [", ", t] : [t]));
}

function spoken() {
  const now = current();
  if (!now) return "Start: inputs and parameters are given. Press space to play, right arrow to step.";
  const count = `Step ${state.step} of ${steps.length}.`;
  if (now.pass === "forward") return `${count} Forward: ${now.v.label} = ${now.v.expression} = ${line(valueOf(now.v)) || "not kept"}.`;
  if (now.pass === "seed") return `${count} Backward starts at ${root.label} with gradient ${line(gradientOf(root))}.`;
  const into = graph.of[now.e.source], local = localOf(now.e);
  return `${count} Backward through ${now.v.label} to ${into.label}: upstream ${line(gradientOf(now.v))} ${local ? `times local ${line(local)}` : `by the rule ${now.e.rule}`} `
    + `gives ${line(partOf(now.e))}.${flowing(into).length > 1 ? ` ${runningText(now.e)}` : ""}`;
}
/** "0.2 + 0.39 = 0.59" at a fan-out. */
function runningText(e) {
  const into = graph.of[e.source];
  const before = soFar(into, e.step - 1).sum, after = soFar(into, e.step).sum;
  return before ? `${line(before)} + ${signed(line(partOf(e)))} = ${line(after)}` : `0 + ${signed(line(partOf(e)))} = ${line(after)}`;
}

function showStep() {
  if (state.mistake) { showMistake(); return; }
  const now = current(), card = $("step");
  const head = (cls, eyebrow, text) => [h(`p.eyebrow.${cls}`, {}, eyebrow), h("h2", { id: "step-heading" }, text)];
  if (!now) {
    const leaves = graph.values.filter((v) => !v.op && v.kind !== "constant").length;
    card.replaceChildren(...head("faint", `Start, ${steps.length} steps`, "Inputs and parameters are given"),
      h("p.line", {}, `${leaves} leaves are known. The forward pass computes ${forwardSteps} operations in the order of the program; `
        + (root.gradient ? "the backward pass then carries the gradient back, one use at a time." : "no gradients were recorded.")),
      h("p.line.faint", {}, "Press ", h("kbd", {}, "space"), " to play, ", h("kbd", {}, "\u2192"), " to step."));
    return;
  }
  const { v, e } = now, place = `step ${state.step} of ${steps.length}`;
  if (now.pass === "forward") {
    const operands = v.edges.flatMap((x, k) => [k ? sign(INFIX[v.op]?.[0] ?? ",") : null, tile(graph.of[x.source].label, valueOf(graph.of[x.source]))]);
    card.replaceChildren(...head("forward", `Forward, ${place}`, `${v.name ? `${v.name} = ` : ""}${v.expression}`),
      h("div.tiles", {}, v.edges.length === 2 && INFIX[v.op] ? operands : [sign(`${v.op}(`), ...operands, sign(")")], sign("="), tile(v.label, valueOf(v), "forward")),
      h("p.line", {}, h("span.faint", {}, "operation "), num(v.op), v.math ? [h("span.faint", {}, " computes "), num(v.math)] : "", v.asked ? [h("span.faint", {}, " with "), num(v.asked)] : ""),
      v.edges.length ? h("p.line", {}, h("span.faint", {}, "where "), letters(v)) : "");
    return;
  }
  if (now.pass === "seed") {
    card.replaceChildren(...head("backward", `Backward, ${place}`, `Start at ${v.label}`),
      h("div.tiles", {}, tile(d(v), gradientOf(v), "backward")),
      h("p.line", {}, isScalar(gradientOf(v)) && gradientOf(v).data[0] === 1 ? "The output changes by exactly as much as itself: the first upstream gradient is 1." : "The upstream gradient that backward was given."));
    return;
  }
  const into = graph.of[e.source], local = localOf(e), uses = flowing(into);
  const many = uses.length > 1 && (() => {
    const k = uses.indexOf(e) + 1;
    return h("div.running", {}, h("div", {}, h("span.num", {}, runningText(e))),
      h("div.faint", {}, `${into.label} is used ${uses.length} times: contributions add up (${k} of ${uses.length}${k === uses.length ? ", complete" : " so far"})`));
  })();
  card.replaceChildren(...head("backward", `Backward, ${place}`, `${v.label} ${ARROW} ${into.label}`),
    h("div.tiles", {}, tile(["upstream", d(v)], gradientOf(v)), sign(local ? TIMES : "by"),
      local ? tile(["local", `\u2202${bare(v)}/\u2202${bare(into)}`], local)
        : h("div.tile", {}, h("div.what", {}, "the rule", h("br"), v.op), formula(e)),
      sign(ARROW), tile(["contribution", `to ${d(into)}`], partOf(e), "backward")),
    h("p.line", {}, h("span.faint", {}, "rule "), h("span.rule", {}, formula(e)), v.gate ? h("span.faint", {}, ` ${v.gate}`) : ""),
    h("p.line", {}, h("span.faint", {}, "where "), letters(v, e)),
    many || "");
}

function showMistake() {
  const mistake = MISTAKES[state.mistake], card = $("step");
  const asked = graph.values.filter((v) => v.gradient);
  const bad = asked.filter(isWrong);
  const heading = [h("p.eyebrow.wrong", {}, "Classic mistake"), h("h2", { id: "step-heading" }, mistake.name)];
  const listing = h("pre", { tabindex: "0", "aria-label": "The mistake in code" }, mistake.code.map((text, k) => h(k === mistake.wrong ? "span.bad" : "span", {}, text)));
  if (!wrong) {
    card.replaceChildren(...heading, listing, h("p.line", {}, mistake.why),
      h("p.flag", {}, `The wrong numbers are not shown for this graph: ${whyNot || "it has too many uses"}.`));
    return;
  }
  const walked = pathsWalked().toLocaleString("en");
  const visits = state.mistake === "recursion"
    ? `Calls: ${wrong.visits >= MOST_VISITS ? `stopped after ${MOST_VISITS.toLocaleString("en")} of ${walked}` : wrong.visits.toLocaleString("en")}, for ${asked.length} values; in a topological order ${asked.length} visits do.`
    : `Visits: ${wrong.visits}, for ${asked.length} values.`;
  const rows = bad.slice(0, 40).map((v) => h("tr", {},
    h("td", {}, h("button.link", { type: "button", onclick: () => select(v.id) }, v.label)), h("td.num", {}, line(gradientOf(v))),
    h("td.num", {}, h("span.wrong-number", {}, `\u2717 ${wrong.grads.get(v.id) ? line(wrong.grads.get(v.id)) : "none"}`))));
  const table = h("table", { id: "wrong" }, h("thead", {}, h("tr", {}, ...["value", "right", "wrong"].map((text, k) => h(k ? "th.num" : "th", { scope: "col" }, text)))), h("tbody", {}, rows));
  card.replaceChildren(...heading, listing, h("p.line", { role: "status" }, bad.length
    ? [h("span.wrong-number", {}, `\u2717 ${bad.length} of ${asked.length} gradients are wrong`), bad.length > rows.length ? `; the first ${rows.length}:` : ":"]
    : "\u2713 Here it happens to give the right gradients: no paths meet where it matters."),
  bad.length ? h("div.scroll", { tabindex: "0", role: "group", "aria-label": "Wrong gradients" }, table) : "", h("p.line", {}, mistake.why), h("p.line", {}, visits));
}

function showCode() {
  const now = current(), v = state.mistake ? null : now?.v ?? null, card = $("code");
  const [file, at] = v?.line ?? [];
  const heading = h("h2", { id: "code-heading" }, file === undefined ? "Code" : `${graph.files[file].name}, line ${at}`);
  if (!graph.files.length) {
    card.hidden = true;
    $("cards").classList.add("codeless");
    return;
  }
  if (file === undefined) {
    const { name, lines } = graph.files[0];
    card.replaceChildren(heading, h("p.faint", {}, name), h("pre", { tabindex: "0", "aria-label": "Source code" }, lines.slice(0, 9).map(([n, text]) => h("span", {}, h("i", {}, String(n)), text || " "))));
    return;
  }
  const near = graph.files[file].lines.filter(([n]) => Math.abs(n - at) <= 4);
  card.replaceChildren(heading, h("p.faint", {}, now.pass === "forward" ? "runs" : "ran forward here; its rule runs now"),
    h("pre", { tabindex: "0", "aria-label": "Source code" }, near.map(([n, text]) => h(n === at ? "span.here" : "span", n === at ? { "aria-current": "step" } : {}, h("i", {}, String(n)), text || " "))));
}

function showBanner() {
  const banner = $("banner");
  banner.hidden = !state.leaves.size;
  if (banner.hidden) return;
  const told = [...state.leaves].slice(0, 4).map(([id, a]) => `${graph.of[id].label} = ${line(a)} instead of ${line(graph.of[id].value)}`);
  banner.replaceChildren(h("span", {}, h("b", {}, "What if "), told.join("; "), ` ${ARROW} ${root.label} = ${line(valueOf(root))}`),
    h("button", { type: "button", id: "recorded", onclick: resetWhatIf }, "Reset to recorded"));
}

// ---- A selected value ---------------------------------------------------------------------------------------------------
function select(id) {
  state.selected = id;
  if (id) {
    const v = graph.of[id];
    if (shown(v) !== v) {
      v.chain.forEach((g) => state.open.add(g.id));
      redraw();
      if (scaleFor(bounds) < READABLE) focusOn(bounds.boxes.get(id));
    }
  }
  refresh();
  showValue(true);
  if (id) say(`${graph.of[id].label} selected. ${ledgerText(graph.of[id])}`);
}
const ledgerText = (v) => {
  const uses = flowing(v);
  return uses.length ? `Its gradient is ${uses.map((e) => signed(line(partOf(e)))).slice(0, 6).join(" + ")} = ${line(gradientOf(v))}.` : "";
};

let valueShown = null; // while a what-if control has the focus, the card around it is updated, not built anew
function showValue(anew) {
  const card = $("value"), v = graph.of[state.selected];
  const key = state.selected;
  const slot = card.querySelector("#numbers");
  if (!anew && key === valueShown && slot && v) { slot.replaceChildren(...numbersOf(v)); return; }
  if (!anew && key === valueShown && !v && card.childElementCount) return;
  valueShown = key;
  if (!v) {
    card.replaceChildren(h("h2", { id: "value-heading" }, "Select a value"),
      h("p.line.faint", {}, "Click a box, or move to it with the tab key and press Enter: its array, its gradient ledger, its paths to ", root.label, "."),
      whyNot ? h("p.line.faint", { id: "whatif-off" }, `What-if is not available for this graph: ${whyNot}.`)
        : h("p.line.faint", { id: "whatif-on" }, "What if? Select an input or a parameter and move its slider: values and gradients are computed again in this page."),
      notes());
    return;
  }
  const facts = [v.op ? `${v.op}` : v.kind === "parameter" ? "asks for a gradient" : v.kind, v.shape?.length ? shapeText(v.shape) : "scalar", v.dtype, v.module, v.unseen ? `${v.unseen} more uses were left out` : ""];
  card.replaceChildren(h("h2", { id: "value-heading" }, v.name ? `${v.name}${v.op ? ` = ${v.expression}` : ""}` : v.op ? v.expression : v.label),
    h("p.faint", {}, facts.filter(Boolean).join(" \u00b7 ")), whatIfControl(v) ?? "", h("div", { id: "numbers" }, numbersOf(v)));
}

function notes() {
  const told = [];
  if (graph.hidden) told.push(`${graph.hidden} values further from the output are left out.`);
  if (graph.note) told.push(graph.note);
  if (!graph.differentiated) told.push("No gradients were recorded: call backward() first, or pass gradient=.");
  if (!graph.files.length) told.push("Record inside `with mg.inspect():` to see the source line of every step.");
  return h("div", {}, told.map((text) => h("p.line.faint", {}, text)));
}

function numbersOf(v) {
  const known = isKnown(v) || state.mistake, gradient = gradientOf(v);
  const out = [h("div.pair", {}, h("div.stat", {}, h("h3", {}, v.later ? "Value (its present one)" : "Value"), known ? arrayView(valueOf(v), "value") : h("p.faint", {}, "not computed yet")),
    gradient ? h("div.stat", {}, h("h3", {}, `Gradient ${d(v)}`), arrayView(gradient, "gradient")) : "")];
  if (!gradient && graph.differentiated) out.push(h("p.line.faint", {}, v.kind === "parameter" || v.op ? "No gradient reaches it, or it was not kept." : "It does not ask for a gradient."));
  if (v.accumulated) out.push(h("p.line", {}, ".grad also holds other backward passes: ", num(line(v.accumulated))));
  if (gradient) out.push(...ledger(v), ...paths(v));
  return out;
}

function ledger(v) {
  const uses = flowing(v);
  if (v === root && !uses.length) return [h("h3", {}, "Gradient ledger"), h("p", {}, "The backward pass starts here.")];
  if (!uses.length) return [];
  const sum = ledgerSum(v), gradient = gradientOf(v);
  const exact = sum?.data && gradient.data && sum.data.every((x, k) => Object.is(x, gradient.data[k]) || x === gradient.data[k]);
  const equal = exact ? "equals the gradient, bit for bit" : !sum?.data ? "" : v === root || v.unseen ? "plus what is not shown" : "differs from the gradient: a hook changed it";
  const parts = uses.map(partOf);
  const total = parts.every((p) => p.data) ? parts.reduce((t, p) => t + size(p), 0) : 0;
  const left = sum?.data ? size(sum) / total : 1;
  return [
    h("h3", {}, "Gradient ledger: where it came from"),
    h("div.scroll", { tabindex: "0", role: "group", "aria-label": "Gradient ledger" }, h("table", { id: "ledger" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "used by"), h("th", { scope: "col" }, "rule"), h("th.num", { scope: "col" }, "upstream"), h("th.num", { scope: "col" }, "contribution"))),
      h("tbody", {}, uses.map((e) => h("tr", {},
        h("td", {}, h("button.link", { type: "button", onclick: () => select(e.target) }, graph.of[e.target].label)),
        h("td", {}, formula(e)), h("td.num", {}, line(gradientOf(graph.of[e.target]))), h("td.num.gradient-number", {}, line(partOf(e)))))),
      h("tfoot", {}, h("tr", {}, h("th", { scope: "row", colspan: "3" }, "sum"), h("td.num.gradient-number", { id: "ledger-sum" }, line(sum ?? gradient)))))),
    equal ? h("p.facts", {}, `${exact ? "\u2713 " : ""}${equal}`) : "",
    uses.length > 1 && total > 0 && left < 0.1 ? h("p.flag", {}, `The contributions nearly cancel: their sum is ${short(100 * left, 2)} % of their sizes added up.`) : "",
  ];
}

const FEW_PATHS = 6;
function paths(v) {
  if (v === root) return [];
  let routes = [[]], ends = [v];
  for (let guard = 0; guard < 200 && ends.some((end) => end !== root); guard++) {
    const next = [], nextEnds = [];
    routes.forEach((route, k) => {
      if (ends[k] === root) { next.push(route); nextEnds.push(root); return; }
      for (const e of flowing(ends[k])) { next.push([...route, e]); nextEnds.push(graph.of[e.target]); }
    });
    [routes, ends] = [next, nextEnds];
    if (routes.length > FEW_PATHS) break;
  }
  const edges = pathEdges(v);
  if (routes.length > FEW_PATHS || ends.some((end) => end !== root)) return [h("h3", {}, `Paths to ${root.label}`), h("p", {}, `More than ${FEW_PATHS}, along ${edges.size} arrows: dotted in the drawing.`)];
  const scalar = graph.edges.filter((e) => edges.has(e)).every((e) => localOf(e) && isScalar(localOf(e)) && isScalar(partOf(e)));
  return [h("h3", {}, routes.length === 1 ? `Its path to ${root.label}` : `Its ${routes.length} paths to ${root.label}: the products add up to the gradient`),
    h("ol.paths", {}, routes.map((route) => {
      const chainText = [v.label, ...route.map((e) => graph.of[e.target].label)].join(` ${ARROW} `);
      if (!scalar) return h("li", {}, chainText);
      const seed = gradientOf(root).data[0], locals = route.map((e) => localOf(e).data[0]);
      const factors = [...(seed === 1 ? [] : [seed]), ...locals];
      return h("li", {}, chainText, h("br"), num(`${factors.map((x) => signed(short(x))).join(` ${TIMES} `)} = ${short(locals.reduce((p, x) => p * x, seed))}`));
    }))];
}

function arrayView(a, cls) {
  if (!a) return h("p.faint", {}, "not kept: record inside mg.inspect()");
  if (!a.data) return h("div", {}, heat(a), h("p.facts", {}, a.summary.map(([k, text]) => `${k} ${text}`).join(", ")));
  if (!a.shape.length) return h(`div.num.big.${cls}-number`, { title: String(a.data[0]) }, short(a.data[0], 7));
  const width = a.shape.at(-1), rows = width ? a.data.length / width : 0;
  if (a.shape.length <= 2 && rows <= 6 && width <= 6 && a.data.length) {
    return h("div.scroll", {}, h(`table.matrix.num.${cls}`, {}, h("tbody", {}, Array.from({ length: rows }, (_, r) =>
      h("tr", {}, Array.from({ length: width }, (_, c) => h("td", { title: String(a.data[r * width + c]) }, short(a.data[r * width + c]))))))));
  }
  return h("div", {}, heat(a), h("p.facts", {}, summaryText(a)));
}
function summaryText(a) {
  const finite = a.data.filter(Number.isFinite), n = a.data.length;
  const bad = n - finite.length, zeros = a.data.filter((x) => x === 0).length;
  if (!finite.length) return `${n} numbers, none finite`;
  const mean = finite.reduce((t, x) => t + x, 0) / finite.length;
  return [`mean ${short(mean)}`, `min ${short(finite.reduce((p, x) => Math.min(p, x)))}`, `max ${short(finite.reduce((p, x) => Math.max(p, x)))}`,
    zeros ? `zeros ${zeros} of ${n}` : "", bad ? `not finite ${bad} of ${n}` : ""].filter(Boolean).join(", ");
}

/** A heat map: blue below zero, orange above (told apart by the colour-blind), white at zero; crossed where not finite. */
function heat(a) {
  let rows, columns, at;
  if (a.data) {
    columns = a.shape.at(-1) ?? 1;
    rows = columns ? a.data.length / columns : 0;
    at = (k) => a.data[k];
  } else if (a.heat) {
    ({ rows, columns } = a.heat);
    const codes = Uint8Array.from(atob(a.heat.codes), (c) => c.charCodeAt(0));
    at = (k) => (codes[k] === 255 ? NaN : a.heat.lo + ((a.heat.hi - a.heat.lo) * codes[k]) / 254);
  }
  if (!rows || !columns || rows * columns > 65536) return "";
  const cell = Math.max(2, Math.min(18, Math.floor(300 / columns), Math.floor(180 / rows)));
  const canvas = h("canvas", { width: columns * cell, height: rows * cell, role: "img", "aria-label": `Heat map of an array of shape ${shapeText(a.shape)}` });
  const pen = canvas.getContext("2d");
  let most = 0;
  for (let k = 0; k < rows * columns; k++) if (Number.isFinite(at(k))) most = Math.max(most, Math.abs(at(k)));
  for (let k = 0; k < rows * columns; k++) {
    const x = at(k), t = most ? Math.abs(x) / most : 0;
    const mix = (to) => `rgb(${to.map((c) => Math.round(255 + (c - 255) * t))})`;
    pen.fillStyle = !Number.isFinite(x) ? "#000000" : x < 0 ? mix([0, 91, 148]) : mix([213, 94, 0]);
    pen.fillRect((k % columns) * cell, Math.floor(k / columns) * cell, cell, cell);
  }
  return canvas;
}

function whatIfControl(v) {
  if (v.op || v.kind === "constant") return null;
  if (!isFree(v)) return h("p.facts", { id: "whatif-off" }, `What-if is not available: ${whyNot || "it has more than 64 numbers, or none that are real"}.`);
  const now = () => Array.from(valueOf(v).data);
  let place = 0;
  const range = h("input", { type: "range", id: "whatif", step: "any", "aria-label": `What if ${v.label} were`, oninput: () => set(place, Number(range.value)) });
  const cells = now().map((x, k) => h("input", {
    type: "number", step: "any", value: String(v.dtype === "float32" ? Number(x.toPrecision(7)) : x), class: "cell", "aria-label": v.value.data.length === 1 ? `${v.label} as a number` : `${v.label}, number ${k + 1}`,
    onfocus: () => { place = k; span(); }, oninput: () => { const y = Number(cells[k].value); if (cells[k].value !== "" && Number.isFinite(y)) set(k, y, true); },
  }));
  const span = () => {
    const middle = v.value.data[place], reach = Math.max(1, 2 * Math.abs(middle)) || 1;
    Object.assign(range, { min: Math.min(middle - reach, now()[place]), max: Math.max(middle + reach, now()[place]) });
    range.value = now()[place];
  };
  const set = (k, x, typed = false) => {
    const numbers = now();
    numbers[k] = x;
    change(v.id, numbers);
    if (!typed) cells[k].value = String(Number(x.toPrecision(12)));
    range.value = x;
  };
  span();
  return h("div.whatif", {}, h("h3", {}, "What if"), range, cells.length === 1 ? cells[0] : h("div.cells", {}, cells));
}

// ---- Controls -----------------------------------------------------------------------------------------------------------
function pause() {
  clearInterval(state.playing);
  state.playing = null;
  $("play").textContent = "Play";
}
function play() {
  if (state.playing) { pause(); return; }
  if (state.mistake) setMistake("");
  if (state.step === steps.length) show(0);
  const tick = () => { show(state.step + 1); if (state.step === steps.length) pause(); };
  state.playing = setInterval(tick, Number($("speed").value));
  $("play").textContent = "Pause";
  tick();
}
function go(step) {
  pause();
  if (state.mistake) { state.mistake = ""; $("mistake").value = ""; wrong = null; }
  show(step);
}
const KEYS = {
  " ": play, ArrowRight: () => go(state.step + 1), ArrowLeft: () => go(state.step - 1), Home: () => go(0), End: () => go(steps.length),
  "?": () => $("guide").showModal(), f: fit, "+": () => zoom(0.8), "-": () => zoom(1.25), Escape: () => select(null),
};
document.addEventListener("keydown", (event) => {
  const on = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || $("guide").open) return;
  if (on.matches?.("input[type=number], select") || (on.matches?.("input[type=range]") && event.key !== "?" && event.key !== " ")) return;
  if (event.key === " " && on.matches?.("button")) return;
  const action = KEYS[event.key];
  if (action) { event.preventDefault(); action(); }
});
listen($("slider"), { input: () => go(Number($("slider").value)) });
listen($("play"), { click: play });
listen($("next"), { click: KEYS.ArrowRight });
listen($("back"), { click: KEYS.ArrowLeft });
listen($("reset"), { click: KEYS.Home });
listen($("end"), { click: KEYS.End });
listen($("speed"), { change: () => { if (state.playing) { pause(); play(); } } });
listen($("fit"), { click: fit });
listen($("in"), { click: () => zoom(0.8) });
listen($("out"), { click: () => zoom(1.25) });
listen($("turn"), { click: () => { state.down = !state.down; redraw(); } });
listen($("expand"), { click: () => {
  openUpTo(MOST);
  redraw();
  if (scaleFor(bounds) < READABLE) approach();
  say(graph.groups.every((g) => state.open.has(g.id)) ? "All modules are open." : `More than ${MOST} boxes: the innermost modules stay closed.`);
} });
listen($("collapse"), { click: () => { state.open.clear(); redraw(); say("All modules are closed."); } });
listen($("mistake"), { change: () => setMistake($("mistake").value) });
listen($("help"), { click: KEYS["?"] });
const theme = (dark) => {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = dark ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", dark ? "Light colours" : "Dark colours");
};
const night = matchMedia("(prefers-color-scheme: dark)");
night.addEventListener("change", () => theme(night.matches));
listen($("theme"), { click: () => theme(document.documentElement.dataset.theme !== "dark") });
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; state.down = null; redraw(); } });

function guide() {
  const key = (name, text) => [h("dt", {}, name.map((k) => h("kbd", {}, k)).flatMap((k, i) => (i ? [" ", k] : [k]))), h("dd", {}, text)];
  const kind = (name, text) => [h("dt", {}, name), h("dd", {}, text)];
  $("guide").replaceChildren(h("h2", { id: "guide-heading" }, "Help"),
    h("dl", {}, key(["space"], "play or pause"), key(["\u2190", "\u2192"], "one step back or on"), key(["Home", "End"], "to the start or the end"),
      key(["tab"], "from box to box; Enter selects, or opens a module"), key(["Esc"], "select nothing"), key(["f"], "fit the graph"), key(["+", "\u2212"], "zoom; or wheel, or two fingers"), key(["?"], "this help")),
    h("dl", {}, kind("rounded", "an input"), kind("double border", "asks for a gradient (a parameter)"), kind("dashed", "a constant"), kind("thick border", "the output"), kind("stacked, +", "a module that is closed"),
      kind("green", "forward: values"), kind("orange, dashed", "backward: gradients and contributions"), kind("blue, dotted", "the paths of the selected value to the output")),
    h("form", { method: "dialog" }, h("button.primary", {}, "Close")));
}

// ---- Start --------------------------------------------------------------------------------------------------------------
document.title = graph.title || `${root.label}, step by step`;
$("title").textContent = graph.title || (root.name ? `${root.name}${root.expression.length < 60 ? ` = ${root.expression}` : ""}` : root.label);
$("subtitle").textContent = [`${graph.values.length} values`, `${forwardSteps} operations`, root.gradient ? `${steps.length - forwardSteps} backward steps` : "forward only",
  graph.hidden ? `${graph.hidden} values left out` : ""].filter(Boolean).join(" \u00b7 ");
for (const [key, { name }] of Object.entries(MISTAKES)) $("mistake").append(h("option", { value: key }, name));
$("mistake").disabled = !root.gradient;
$("slider").max = steps.length;
$("forward-part").style.flexBasis = `${(100 * forwardSteps) / Math.max(steps.length, 1)}%`;
$("backward-part").hidden = !root.gradient;
for (const id of ["expand", "collapse"]) $(id).hidden = !graph.groups.length;
theme(night.matches);
guide();
showValue(true);
for (const few of FEW) { // as much open as can be read without zooming
  state.open.clear();
  openUpTo(few);
  state.down = null;
  redraw();
  if (scaleFor(bounds) > READABLE || !graph.groups.length) break;
}
/** For the console: the graph, the state, `show(step)`, `change(id, numbers)`, `numbers()`. */
window.minigrad = {
  graph, state, steps, show: go, change, reset: resetWhatIf, select, mistake: setMistake, whyNot,
  numbers: () => Object.fromEntries(graph.values.map((v) => [v.id, [valueOf(v), gradientOf(v)].map((a) => (a?.data ? Array.from(a.data, String) : null))])),
};
