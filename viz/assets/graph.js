"use strict";
// What the page knows: the recorded graph, its steps, and the state of the page. Every text of the user's goes through textContent.

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

// ---- Numbers as text, as Python's format(x, ".4g") --------------------------------------------------------------------------
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

// ---- The graph --------------------------------------------------------------------------------------------------------------
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

// ---- State ------------------------------------------------------------------------------------------------------------------
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

// ---- What if ----------------------------------------------------------------------------------------------------------------
function recompute(leaves) {
  const y = forward(graph, (v) => leaves.get(v.id) ?? v.value);
  return { y, ...backward(graph, y) };
}
const gradientScale = Math.max(0, ...graph.values.map((v) => largest(v.gradient)));
/** Recomputing must give the recorded numbers before anybody may trust it with others. */
function distrust() {
  const why = obstacle(graph);
  if (why) return why;
  const now = recompute(new Map());
  for (const v of graph.values) {
    const close = v.dtype === "float32" ? 1e-4 : 1e-11;
    const got = now.gradients.get(v.id);
    const operands = Math.max(0, ...v.edges.map((e) => largest(graph.of[e.source].value)));
    if (difference(now.y.get(v.id), v.value, operands) > close || (v.gradient && (!got || difference(got, v.gradient, gradientScale) > close * 10))) {
      return `computing ${v.label} again gives other numbers than the record (a hook, or a value that was changed)`;
    }
  }
  return "";
}
const whyNot = distrust();
const isFree = (v) => !whyNot && !v.op && (v.kind === "parameter" || v.kind === "input") && /^float/.test(v.dtype) && v.value.data.length <= 64;

/** Other numbers for some leaves, by id; the others keep what they have. */
function changeAll(numbers) {
  for (const [id, given] of Object.entries(numbers)) {
    const v = graph.of[id];
    if (!isFree(v)) throw new Error(`${v.label} cannot be changed: ${whyNot || "it is no input or parameter of real numbers"}`);
    const data = Float64Array.from(typeof given === "number" ? [given] : [...given].flat(Infinity));
    if (data.length !== v.value.data.length) throw new Error(`${v.label} has ${v.value.data.length} numbers, got ${data.length}`);
    state.leaves.set(id, round(make(v.value.shape, data), v.dtype));
  }
  state.now = recompute(state.leaves);
  refresh();
}
const change = (id, numbers) => changeAll({ [id]: numbers });
function resetWhatIf() {
  state.leaves.clear();
  state.now = null;
  refresh();
  showValue(true);
  say("Back to the recorded numbers.");
}

// ---- Mistakes ---------------------------------------------------------------------------------------------------------------
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
const isWrong = (v) => wrong && gradientOf(v) && !(wrong.grads.get(v.id) && difference(wrong.grads.get(v.id), gradientOf(v), gradientScale * 1e-6) < 1e-6);
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
