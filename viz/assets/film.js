"use strict";
// A film of gradients: the model at one training step, every layer by training step, one layer by time step. Every text of the
// user's goes through textContent.

const $ = (id) => document.getElementById(id);
const film = JSON.parse($("data").textContent);
const INPUT = -1, LOSS = -2, BOX = { width: 148, height: 66, gap: 30, lane: 36, left: 26 };
const still = matchMedia("(prefers-reduced-motion: reduce)"), night = matchMedia("(prefers-color-scheme: dark)");
const state = { step: film.steps.length - 1, layer: 0, time: 0, measure: "gradient", level: film.start, timer: 0 };

function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) key.startsWith("on") ? node.addEventListener(key.slice(2), value) : node.setAttribute(key, value);
  node.append(...children);
  return node;
}
function s(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// ---- Numbers, as text and as colours ---------------------------------------------------------------------------------------------
const finite = (x) => typeof x === "number" && Number.isFinite(x);
const missing = (x) => x === null || x === undefined;
function short(x, digits = 3) {
  if (missing(x)) return "\u2013";
  if (!finite(x)) return x === "nan" ? "NaN" : x;
  if (x === 0) return "0";
  const size = Math.abs(x);
  return size < 1e-3 || size >= 1e5 ? x.toExponential(1).replace("e-", "e\u2212").replace("e+", "e") : String(Number(x.toPrecision(digits)));
}
const told = (x, measure) => (film.measures[measure].decades === 0 && finite(x) ? `${Math.round(100 * x)} %` : short(x));
const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
function blend(stops, t) {
  const at = Math.max(0, Math.min(1, t)) * (stops.length - 1), k = Math.min(Math.floor(at), stops.length - 2);
  const [a, b] = [rgb(stops[k]), rgb(stops[k + 1])];
  return a.map((x, c) => Math.round(x + (b[c] - x) * (at - k)));
}
const NONE = [190, 196, 202], BROKEN = [20, 20, 20];
/** The colour of a number: by how many decades it is above or below the middle, or by its share of 1. */
function colour(x, measure) {
  if (missing(x)) return NONE;
  if (!finite(x)) return BROKEN;
  const { middle, decades } = film.measures[measure];
  return decades === 0 ? blend(film.shades, x) : blend(film.stops, x > 0 ? 0.5 + Math.log10(x / middle) / (2 * decades) : 0);
}
const css = (c) => `rgb(${c.join(" ")})`;
function ink(c) {
  const [r, g, b] = c.map((x) => (x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#ffffff" : "#000000";
}

// ---- What is shown ----------------------------------------------------------------------------------------------------------------
const level = () => film.levels[state.level];
const shown = () => level().shown;
const layer = () => film.layers[shown()[state.layer]];
const value = (l, step = state.step, measure = state.measure) => l.values[measure][step];
/** The gradient of the layer nearest the loss, to which the others are compared. */
function nearest(step) {
  for (const k of [...shown()].reverse()) if (!missing(value(film.layers[k], step, "gradient"))) return value(film.layers[k], step, "gradient");
  return null;
}
function condition(l, step = state.step) {
  const g = value(l, step, "gradient"), last = nearest(step);
  if ([g, value(l, step, "weights"), value(l, step, "std")].some((x) => typeof x === "string")) return "not finite";
  if (finite(g) && finite(last)) {
    if (g > film.exploding * last) return "exploding";
    if (g < film.vanishing * last) return "vanishing";
  }
  const back = l.through?.[step].filter(finite) ?? [];
  if (back[0] > 0 && back[0] < film.vanishing * Math.max(...back)) return "vanishing";
  if (value(l, step, "dead") >= film.share) return "dead";
  return value(l, step, "saturated") >= film.share ? "saturated" : "";
}
const stepText = () => `step ${film.steps[state.step]}`;

// ---- The model --------------------------------------------------------------------------------------------------------------------
const pen = document.createElement("canvas").getContext("2d");
function cut(text, room, font) {
  pen.font = font;
  if (pen.measureText(text).width <= room) return text;
  let [a, b] = [Math.ceil(text.length / 2), Math.ceil(text.length / 2)];
  while (a + b > 3 && pen.measureText(`${text.slice(0, a)}\u2026${text.slice(b)}`).width > room) (a >= text.length - b ? a -= 1 : b += 1);
  return `${text.slice(0, a)}\u2026${text.slice(b)}`;
}
let boxes = new Map();
/** Boxes in lines, from left to right, with arrows to what comes next, and arcs around what is passed by; in one column on a phone. */
function layout() {
  const ids = [INPUT, ...shown(), LOSS], room = $("stage").clientWidth - 16, side = 30, pitch = BOX.width + BOX.gap;
  const across = Math.max(1, Math.min(ids.length, Math.floor((room + BOX.gap - BOX.left - side) / pitch))), column = across < 3;
  const many = column ? 1 : across, high = BOX.height + (column ? 24 : BOX.lane), top = column ? 8 : BOX.lane;
  const place = new Map(ids.map((id, k) => {
    const width = id < 0 ? 76 : BOX.width, left = BOX.left + (k % many) * pitch;
    return [id, { line: Math.floor(k / many), k, x: column ? BOX.left + (BOX.width - width) / 2 : id === INPUT ? left + BOX.width - width : left, y: top + Math.floor(k / many) * high, width }];
  }));
  const width = BOX.left + many * pitch - BOX.gap + (column || ids.length > many ? side : BOX.left), height = top + Math.ceil(ids.length / many) * high - (high - BOX.height) + 10;
  const svg = $("flow"), mid = BOX.height / 2, wires = [], nodes = [], arcs = new Map();
  for (const [key, x] of [["viewBox", `0 0 ${width} ${height}`], ["width", width], ["height", height]]) svg.setAttribute(key, x);
  for (const [a, b] of level().edges) {
    const from = place.get(a), to = place.get(b);
    if (!from || !to || to.k <= from.k) continue;
    const next = to.k === from.k + 1, out = from.x + from.width, lane = (arcs.get(from.line) ?? 0) % 2;
    if (!next) arcs.set(from.line, lane + 1);
    let path, head = [to.x - 1, to.y + mid, "right"];
    if (column && next) { head = [to.x + to.width / 2, to.y + (b < 0 ? 12 : -1), "down"]; path = `M${from.x + from.width / 2} ${from.y + BOX.height - (a < 0 ? 13 : 0)}V${head[1] - 6}`; }
    else if (column) { head = [to.x + to.width + 1, to.y + mid - 14, "left"]; path = `M${out} ${from.y + mid + 14}H${width - 6 - 8 * lane}V${head[1]}H${head[0] + 6}`; }
    else if (next && to.line === from.line) path = `M${out} ${from.y + mid}H${to.x - 6}`;
    else if (next) path = `M${out} ${from.y + mid}H${width - 18}V${to.y - 29}H8V${to.y + mid}H${to.x - 6}`;
    else {
      const over = (y, k) => y - 9 - 7 * k, far = from.line !== to.line;
      head = [to.x + 14, to.y - 1, "down"];
      path = `M${out - 14} ${from.y}V${over(from.y, far ? 2 : lane)}${far ? `H${width - 8}V${over(to.y, 2)}` : ""}H${head[0]}V${head[1] - 6}`;
    }
    wires.push(s("path", { class: "wire", d: path }), tip(...head));
  }
  boxes = new Map();
  for (const [id, at] of place) {
    if (id < 0) {
      nodes.push(s("g", { class: "end" }, s("rect", { x: at.x, y: at.y + 13, width: at.width, height: 40, rx: 20 }), text(at.x + at.width / 2, at.y + 37, id === INPUT ? "input" : "loss", "head")));
      continue;
    }
    const l = film.layers[id], x = at.x + 10;
    const body = s("rect", { class: "body", x: at.x, y: at.y, width: BOX.width, height: BOX.height, rx: 9 });
    const parts = {
      body, name: text(x, at.y + 18, cut(l.name, BOX.width - 20, "650 13px system-ui"), "head", "start"),
      type: text(x, at.y + 33, cut(l.type + (l.time > 1 ? ` \u21bb${l.time}` : ""), BOX.width - 20, "12px system-ui"), "", "start"),
      number: text(x, at.y + 51, "", "head num", "start"), state: text(at.x + BOX.width - 8, at.y + 51, "", "state", "end"),
    };
    const g = s("g", { class: "layer", role: "button", tabindex: "0", "data-name": l.name },
      s("rect", { class: "ring", x: at.x - 4, y: at.y - 4, width: BOX.width + 8, height: BOX.height + 8, rx: 12 }), ...Object.values(parts));
    const choose = () => select(shown().indexOf(id));
    g.addEventListener("click", choose);
    g.addEventListener("keydown", (e) => { if (e.key === "Enter") { choose(); e.preventDefault(); } });
    boxes.set(id, { g, ...parts });
    nodes.push(g);
  }
  svg.replaceChildren(...wires, ...nodes);
}
const text = (x, y, words, cls, anchor = "middle") => { const t = s("text", { x, y, class: cls, "text-anchor": anchor }); t.textContent = words; return t; };
const HEADS = { right: "l-8 -4v8z", left: "l8 -4v8z", down: "l-4 -8h8z" };
const tip = (x, y, way) => s("path", { class: "tip", d: `M${x} ${y}${HEADS[way]}` });
function paint() {
  for (const [id, box] of boxes) {
    const l = film.layers[id], x = value(l), c = colour(x, state.measure), kind = condition(l);
    box.body.setAttribute("fill", css(c));
    for (const key of ["name", "type", "number", "state"]) box[key].setAttribute("fill", ink(c));
    box.number.textContent = told(x, state.measure);
    box.state.textContent = kind;
    box.g.classList.toggle("chosen", l === layer());
    box.g.classList.toggle("flagged", Boolean(kind));
    box.g.setAttribute("aria-pressed", String(l === layer()));
    box.g.setAttribute("aria-label", `${l.name}, ${l.type}, ${film.measures[state.measure].name} ${told(x, state.measure)}${kind ? `, ${kind}` : ""}`);
  }
}

// ---- Charts -----------------------------------------------------------------------------------------------------------------------
const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
/** A canvas at the screen's resolution, cleared; null while it is hidden. */
function board(id) {
  const node = $(id), width = node.clientWidth, height = node.clientHeight, dense = window.devicePixelRatio || 1;
  if (!width || !height) return null;
  node.width = Math.round(width * dense);
  node.height = Math.round(height * dense);
  const c = node.getContext("2d");
  c.scale(dense, dense);
  c.font = "12px system-ui, sans-serif";
  return { c, width, height };
}
const write = (c, words, x, y, align = "left", fill = theme("ink")) => { c.fillStyle = fill; c.textAlign = align; c.textBaseline = "middle"; c.fillText(words, x, y); };
/** Training steps under a chart. */
function ticks(c, box, unit = "training step") {
  const y = box.bottom + 12, last = film.steps.length - 1;
  write(c, String(film.steps[0]), box.left, y, "left", theme("faint"));
  if (last) write(c, String(film.steps[last]), box.right, y, "right", theme("faint"));
  write(c, unit, (box.left + box.right) / 2, y, "center", theme("faint"));
}
const across = (box, k) => box.left + ((k + 0.5) * (box.right - box.left)) / film.steps.length;
/** Rows of coloured cells, and where the cursor is. */
function cells(c, box, rows, measure, row) {
  const wide = (box.right - box.left) / film.steps.length, tall = (box.bottom - box.top) / rows.length;
  rows.forEach((numbers, r) => numbers.forEach((x, k) => {
    c.fillStyle = css(colour(x, measure));
    const [x0, x1, y0, y1] = [box.left + k * wide, box.left + (k + 1) * wide, box.top + r * tall, box.top + (r + 1) * tall].map(Math.round);
    c.fillRect(x0, y0, x1 - x0, Math.max(1, y1 - y0 - (tall > 12)));
  }));
  for (const [ink, thick] of [["#ffffff", 4], ["#000000", 1.8]]) { // seen on every colour, in the dark too
    c.strokeStyle = ink;
    c.lineWidth = thick;
    c.strokeRect(box.left, box.top + row * tall, box.right - box.left, tall);
    c.strokeRect(across(box, state.step) - Math.max(wide, 4) / 2, box.top, Math.max(wide, 4), box.bottom - box.top);
  }
}
const frames = {}; // where each chart's axes are, for clicks
function heat() {
  const b = board("heat");
  if (!b) return;
  const rows = shown().map((k) => film.layers[k]), longest = Math.min(120, b.width / 3);
  b.c.font = "12px system-ui, sans-serif";
  pen.font = b.c.font;
  const names = rows.map((l) => cut(l.name, longest, b.c.font));
  const box = { left: Math.ceil(Math.max(...names.map((n) => pen.measureText(n).width))) + 10, right: b.width - 2, top: 4, bottom: b.height - 24 };
  const tall = (box.bottom - box.top) / rows.length, each = Math.ceil(13 / tall);
  cells(b.c, box, rows.map((l) => l.values[state.measure]), state.measure, state.layer);
  names.forEach((name, k) => {
    const chosen = k === state.layer, free = k % each === 0 && (each === 1 || Math.abs(k - state.layer) >= each);
    if (chosen || free) { b.c.font = `${chosen ? "700 " : ""}12px system-ui, sans-serif`; write(b.c, name, box.left - 6, box.top + (k + 0.5) * tall, "right", chosen ? theme("chosen") : theme("ink")); }
  });
  ticks(b.c, box);
  frames.heat = { ...box, rows: rows.length };
  $("heat-heading").textContent = `${film.measures[state.measure].name}, by layer`;
  $("heat").setAttribute("aria-label", `Heat map of ${rows.length} layers by ${film.steps.length} training steps. ${stepText()}: ${rows.map((l) => `${l.name} ${told(value(l), state.measure)}`).join(", ")}`);
}
/** A line over the training steps, by its logarithm if it spans more than a decade. */
function curve(id, numbers, words) {
  const b = board(id);
  if (!b) return;
  const found = numbers.filter(finite), positive = found.filter((x) => x > 0);
  const box = { left: 56, right: b.width - 8, top: 12, bottom: b.height - 24 };
  frames[id] = box;
  $(id).setAttribute("aria-label", `${words}, ${stepText()}: ${short(numbers[state.step])}`);
  if (!found.length) { write(b.c, "nothing to show here", b.width / 2, b.height / 2, "center", theme("faint")); return; }
  const log = positive.length === found.length && Math.max(...found) > 10 * Math.min(...found);
  const scale = (x) => (log ? Math.log10(x) : x);
  let [lo, hi] = [Math.min(...found.map(scale)), Math.max(...found.map(scale))];
  if (hi - lo < 1e-9 * Math.max(1, Math.abs(hi))) [lo, hi] = [lo - 0.5 * (Math.abs(lo) || 1), hi + 0.5 * (Math.abs(hi) || 1)];
  const y = (x) => box.bottom - ((scale(x) - lo) / (hi - lo)) * (box.bottom - box.top);
  b.c.strokeStyle = theme("line");
  b.c.lineWidth = 1;
  for (const t of [lo, (lo + hi) / 2, hi]) {
    const x = log ? 10 ** t : t;
    b.c.beginPath(); b.c.moveTo(box.left, y(x)); b.c.lineTo(box.right, y(x)); b.c.stroke();
    write(b.c, short(x, 2), box.left - 6, y(x), "right", theme("faint"));
  }
  b.c.strokeStyle = theme("backward");
  b.c.lineWidth = 2;
  b.c.beginPath();
  let pen = false;
  numbers.forEach((x, k) => {
    if (!finite(x)) { pen = false; if (!missing(x)) write(b.c, "\u2715", across(box, k), box.top + 4, "center", theme("wrong")); return; }
    pen ? b.c.lineTo(across(box, k), y(x)) : b.c.moveTo(across(box, k), y(x));
    pen = true;
  });
  b.c.stroke();
  const at = across(box, state.step), now = numbers[state.step];
  b.c.strokeStyle = theme("ink");
  b.c.lineWidth = 1.2;
  b.c.setLineDash([4, 3]);
  b.c.beginPath(); b.c.moveTo(at, box.top); b.c.lineTo(at, box.bottom); b.c.stroke();
  b.c.setLineDash([]);
  if (finite(now)) { b.c.fillStyle = theme("backward"); b.c.beginPath(); b.c.arc(at, y(now), 5, 0, 7); b.c.fill(); b.c.strokeStyle = theme("card"); b.c.lineWidth = 2; b.c.stroke(); }
  ticks(b.c, box);
}
function one() {
  const l = layer(), last = nearest(state.step), g = value(l, state.step, "gradient");
  $("one-heading").textContent = `${l.name}, a ${l.type}`;
  const tile = (what, number, cls = "") => h(`div.tile${cls}`, {}, h("div.what", {}, what), h("div.num", {}, number));
  $("tiles").replaceChildren(
    tile("gradient", short(g), ".backward"), ...(finite(g) && finite(last) && last > 0 ? [tile("of the last layer\u2019s", short(g / last))] : []),
    ...["weights", "update", "std", "dead", "saturated"].filter((m) => !missing(value(l, state.step, m))).map((m) => tile({ weights: "parameters\u2019 gradient", update: "update / parameter", std: "output std", dead: "dead units", saturated: "saturated" }[m], told(value(l, state.step, m), m))),
    ...(l.through ? [tile(`at time step ${state.time}`, short(l.through[state.step][state.time]), ".backward")] : []),
  );
  curve("curve", l.values[state.measure], `${film.measures[state.measure].name} of ${l.name} by training step`);
  $("times").hidden = !l.through;
  if (!l.through) return;
  $("through-heading").textContent = `Gradient by time step: white ${short(film.measures.through.middle, 2)}, darkest blue ${short(film.measures.through.middle * 10 ** -film.measures.through.decades, 1)}`;
  const b = board("through");
  if (!b) return;
  const rows = Array.from({ length: l.time }, (_, t) => l.through.map((column) => column[t])), box = { left: 56, right: b.width - 8, top: 4, bottom: b.height - 24 };
  cells(b.c, box, rows, "through", state.time);
  write(b.c, "0", box.left - 6, box.top + 7, "right", theme("faint"));
  write(b.c, String(l.time - 1), box.left - 6, box.bottom - 7, "right", theme("faint"));
  write(b.c, "time", box.left - 6, (box.top + box.bottom) / 2, "right", theme("faint"));
  ticks(b.c, box);
  frames.through = { ...box, rows: l.time };
  $("through").setAttribute("aria-label", `Heat map of ${l.time} time steps by ${film.steps.length} training steps. ${stepText()}, time step ${state.time}: gradient ${short(l.through[state.step][state.time])}`);
}

// ---- All of it --------------------------------------------------------------------------------------------------------------------
function refresh() {
  const l = layer();
  state.time = Math.min(state.time, l.time - 1);
  paint();
  heat();
  one();
  curve("losses", film.loss, "Loss by training step");
  for (const [id, most, words] of [["step", film.steps.length - 1, stepText()], ["layer", shown().length - 1, `${l.name}, ${l.type}`], ["time", l.time - 1, `time step ${state.time} of ${l.time}`]]) {
    $(id).max = most;
    $(id).value = state[id];
    $(id).disabled = most < 1;
    $(id).setAttribute("aria-valuetext", words);
  }
  $("step-told").textContent = film.steps[state.step];
  $("layer-told").textContent = l.name;
  $("time-told").textContent = l.time > 1 ? state.time : "\u2013";
  $("time-label").hidden = !film.layers.some((x) => x.time > 1);
  $("back").disabled = state.step === 0;
  $("next").disabled = state.step === film.steps.length - 1;
  const kind = condition(l);
  $("live").textContent = `Training ${stepText()}, loss ${short(film.loss[state.step], 4)}. ${l.name}: ${film.measures[state.measure].name} ${told(value(l), state.measure)}${kind ? `, ${kind}` : ""}.`;
}
function legend() {
  const { middle, decades, name } = film.measures[state.measure], c = $("ramp").getContext("2d");
  for (let x = 0; x < 240; x++) {
    c.fillStyle = css(decades ? blend(film.stops, x / 239) : blend(film.shades, x / 239));
    c.fillRect(x, 0, 1, 14);
  }
  $("low").textContent = decades ? short(middle * 10 ** -decades, 1) : "0 %";
  $("high").textContent = decades ? short(middle * 10 ** decades, 1) : "100 %";
  $("middle").textContent = decades === 0 ? name : ["gradient", "weights"].includes(state.measure) ? `${name} (norm). White: ${short(middle, 2)}, as nearest the loss. Gradients flow against the arrows.` : `${name}. White: ${short(middle, 2)}.`;
}
function go(step) { state.step = Math.max(0, Math.min(film.steps.length - 1, step)); refresh(); }
function select(k) { state.layer = Math.max(0, Math.min(shown().length - 1, k)); refresh(); }
function through(t) { state.time = Math.max(0, Math.min(layer().time - 1, t)); refresh(); }
function show(measure) { state.measure = measure; $("measure").value = measure; legend(); refresh(); }
function open(k) {
  const name = layer()?.name ?? "";
  state.level = k;
  state.layer = Math.max(0, shown().findIndex((id) => film.layers[id].name === name || film.layers[id].name.startsWith(`${name}.`) || name.startsWith(`${film.layers[id].name}.`)));
  layout();
  refresh();
}
function play(on = !state.timer) {
  clearInterval(state.timer);
  state.timer = 0;
  if (on) {
    if (state.step === film.steps.length - 1) go(0);
    state.timer = setInterval(() => (state.step < film.steps.length - 1 ? go(state.step + 1) : play(false)), still.matches ? 500 : Math.max(40, Math.min(300, 10000 / film.steps.length)));
  }
  $("play").textContent = on ? "Pause" : "Play";
}
function dark(on) {
  document.documentElement.dataset.theme = on ? "dark" : "light";
  $("theme").textContent = on ? "Light" : "Dark";
  refresh();
}
function jump(mark) {
  play(false);
  const near = film.steps.reduce((best, x, k) => (Math.abs(x - mark.first) < Math.abs(film.steps[best] - mark.first) ? k : best), 0);
  const k = shown().findIndex((id) => film.layers[id].name === mark.layer || mark.layer.startsWith(`${film.layers[id].name}.`));
  if (k >= 0) state.layer = k;
  if (["dead", "saturated"].includes(mark.kind)) show(mark.kind);
  go(near);
}

// ---- Controls ---------------------------------------------------------------------------------------------------------------------
$("step").addEventListener("input", (e) => { play(false); go(Number(e.target.value)); });
$("layer").addEventListener("input", (e) => select(Number(e.target.value)));
$("time").addEventListener("input", (e) => through(Number(e.target.value)));
$("back").addEventListener("click", () => { play(false); go(state.step - 1); });
$("next").addEventListener("click", () => { play(false); go(state.step + 1); });
$("play").addEventListener("click", () => play());
$("measure").addEventListener("change", (e) => show(e.target.value));
$("detail").addEventListener("change", (e) => open(Number(e.target.value)));
$("theme").addEventListener("click", () => dark(document.documentElement.dataset.theme !== "dark"));
$("help").addEventListener("click", () => $("guide").showModal());
for (const id of ["heat", "through", "curve", "losses"]) {
  const point = (e) => {
    const box = frames[id], at = $(id).getBoundingClientRect();
    if (!box) return;
    const clamp = (x, n) => Math.max(0, Math.min(n - 1, Math.floor(x * n)));
    state.step = clamp((e.clientX - at.left - box.left) / (box.right - box.left), film.steps.length);
    if (box.rows) state[id === "heat" ? "layer" : "time"] = clamp((e.clientY - at.top - box.top) / (box.bottom - box.top), box.rows);
    play(false);
    refresh();
  };
  $(id).addEventListener("pointerdown", (e) => { point(e); $(id).setPointerCapture(e.pointerId); });
  $(id).addEventListener("pointermove", (e) => { if (e.buttons) point(e); });
}
const KEYS = {
  " ": () => play(), ArrowRight: () => { play(false); go(state.step + 1); }, ArrowLeft: () => { play(false); go(state.step - 1); },
  Home: () => go(0), End: () => go(film.steps.length - 1), ArrowDown: () => select(state.layer + 1), ArrowUp: () => select(state.layer - 1),
  ",": () => through(state.time - 1), ".": () => through(state.time + 1), "?": () => $("guide").showModal(),
};
addEventListener("keydown", (e) => {
  const on = e.target, busy = on.matches?.("select, input, dialog *") || e.ctrlKey || e.metaKey || e.altKey;
  if (busy || !KEYS[e.key] || (e.key === " " && on.matches?.("button"))) return;
  KEYS[e.key]();
  e.preventDefault();
});
let wide = 0;
new ResizeObserver(() => { if ($("stage").clientWidth !== wide) { wide = $("stage").clientWidth; layout(); refresh(); } }).observe($("stage"));
night.addEventListener("change", () => dark(night.matches));

// ---- Start ------------------------------------------------------------------------------------------------------------------------
$("title").textContent = film.title || `Gradient flow through ${film.model}`;
const ends = film.loss.filter(finite);
$("subtitle").textContent = [`${film.kept} training steps`, `${film.levels.at(-1).shown.length} layers`, ends.length ? `loss ${short(ends[0])} \u2192 ${short(film.loss.at(-1))}` : ""].filter(Boolean).join(" \u00b7 ");
for (const [key, { name }] of Object.entries(film.measures)) {
  if (film.layers.some((l) => l.values[key]?.some((x) => !missing(x)))) $("measure").append(h("option", { value: key }, name));
}
if (![...$("measure").options].some((o) => o.value === state.measure)) state.measure = $("measure").options[0]?.value ?? "gradient";
film.levels.forEach(({ shown: rows }, k) => $("detail").append(h("option", { value: k }, `${rows.length} ${rows.length === 1 ? "box" : "boxes"}`)));
$("detail").value = state.level;
$("detail-label").hidden = film.levels.length < 2;
$("marks").replaceChildren(...(film.marks.length ? film.marks.map((m) => h(`li.${m.kind}`, {}, h("button.link", { type: "button", onclick: () => jump(m) }, m.kind), `: ${m.text}`))
  : [h("li", {}, "Nothing vanishes, explodes, dies or saturates.")]));
const key = (keys, words) => [h("dt", {}, ...keys.map((k) => h("kbd", {}, k))), h("dd", {}, words)];
$("guide").replaceChildren(h("h2", { id: "guide-heading" }, "Help"),
  h("dl", {}, ...key(["space"], "play or pause"), ...key(["\u2190", "\u2192"], "training step"), ...key(["Home", "End"], "first and last"), ...key(["\u2191", "\u2193"], "layer"), ...key([",", "."], "time step"), ...key(["?"], "this help")),
  h("p", {}, `Vanishing and exploding: below ${short(film.vanishing)} and above ${film.exploding} times the gradient of the layer nearest the loss. Dead and saturated: at least ${100 * film.share} % of it.`),
  h("button.primary", { type: "button", onclick: () => $("guide").close() }, "Close"));
layout();
legend();
state.layer = Math.max(0, shown().findIndex((id) => film.marks[0] && film.layers[id].name === film.marks[0].layer));
dark(night.matches);
/** For the console: the film, the state, and what moves it. */
window.minigrad = { film, state, go, select, through, show, open, condition: (name) => condition(film.layers.find((l) => l.name === name)) };
