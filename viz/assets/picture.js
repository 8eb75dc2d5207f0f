"use strict";
// The graph as a picture: what is folded, its boxes and arrows, and moving around in it.

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

// ---- The drawing ------------------------------------------------------------------------------------------------------------
const ruler = document.createElement("canvas").getContext("2d");
const FONTS = getComputedStyle(document.body).fontFamily;
const NUMBERS = 'ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'; // as in player.css
function textWidth(text, font, family = FONTS) {
  ruler.font = `${font} ${family}`;
  return ruler.measureText(text).width;
}
const numberWidth = (text) => textWidth(text, "600 13px", NUMBERS);
const clipped = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1)}${DOTS}`);
const headline = (v) => clipped(v.label.startsWith("#") && v.op ? `${v.label} ${v.op}` : v.label, 26);
const subline = (v) => [v.op ? (v.label.startsWith("#") ? clipped(v.asked, 20) : v.op) : v.kind, v.shape?.length ? shapeText(v.shape) : ""].filter(Boolean).join("  ");

function sizeOf(v) {
  if (v.kind === "constant") return { width: Math.max(38, textWidth(constantText(v), "650 14px") + 20), height: 30 };
  const numbers = Math.max(...[v.value, v.gradient].map((a, k) => numberWidth(boxed(a, k === 1))), numberWidth("-0.0000"));
  return { width: Math.ceil(Math.max(textWidth(headline(v), "650 14px"), textWidth(subline(v), "11px"), numbers + 50) + 24), height: 78 };
}
const constantText = (v) => (v.name ? v.name : v.value?.data && v.value.data.length <= 3 ? line(v.value) : `const ${shapeText(v.shape ?? [])}`);

/** A number for an arrow: few characters. */
function flow(a, isGradient) {
  const text = boxed(a, isGradient);
  return text.length <= 12 || !a.data ? text : `norm ${short(norm(a), 3)}`;
}
const CHIPS = 16 + Math.max(44, ...graph.edges.flatMap((e) => [[partOf(e), true], [valueOf(graph.of[e.source]), false]])
  .map(([a, isGradient]) => (a ? textWidth(flow(a, isGradient), "650 12px") + 14 : 0)));

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
  GAP.layer = down ? 56 : CHIPS; // room for a number on an arrow
  const found = drawing(tree, edges, down);
  const turn = ([x, y]) => (down ? [y, x] : [x, y]);
  const boxes = new Map([...found.boxes].map(([id, b]) => [id, down
    ? { x: b.y, y: b.x, width: b.breadth, height: b.length } : { x: b.x, y: b.y, width: b.length, height: b.breadth }]));
  const paths = new Map([...found.paths].map(([key, points]) => [key, points.map(turn)]));
  return { boxes, paths, uses: new Map(edges.map((e) => [e.key, e.uses])), width: down ? found.breadth : found.length, height: down ? found.length : found.breadth };
}
const CORNER = 48; // what the buttons below the graph take
const scaleFor = (l) => { const r = $("graph").getBoundingClientRect(); return Math.min(r.width / (l.width + 40), (r.height - CORNER) / (l.height + 28)); };

function redraw(keepView = false) {
  const across = solve(false), downwards = solve(true);
  if (state.down === null) state.down = scaleFor(downwards) > scaleFor(across) * 1.15;
  const found = state.down ? downwards : across;
  bounds = found;
  drawn = new Map();
  arrows = [];
  const layer = () => s("g");
  const [frames, wires, captions, boxes, chips] = [layer(), layer(), layer(), layer(), layer()];
  chips.id = "chips";
  for (const g of graph.groups) if (state.open.has(g.id) && found.boxes.has(g.id)) {
    frames.append(frame(found.boxes.get(g.id)));
    captions.append(caption(g, found.boxes.get(g.id)));
  }
  for (const [key, points] of found.paths) {
    const path = s("path", { class: "wire", d: curve(points, state.down) });
    const [x, y] = points.at(-1);
    const tip = s("path", { class: "tip", d: state.down ? `M${x},${y}l-4.5,-9h9z` : `M${x},${y}l-9,-4.5v9z` });
    wires.append(path, tip);
    arrows.push({ path, tip, uses: found.uses.get(key) });
  }
  const order = new Set(graph.values.map(shown));
  for (const item of order) boxes.append(item.members ? moduleBox(item, found.boxes.get(item.id)) : valueBox(item, found.boxes.get(item.id)));
  $("graph").replaceChildren(s("g", {}, frames, wires, captions, boxes, chips));
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

function frame(b) {
  return s("g", { class: "frame", transform: `translate(${b.x},${b.y})` },
    s("rect", { class: "ground", width: b.width, height: b.height, rx: 8 }), s("rect", { width: b.width, height: b.height, rx: 8 }));
}

/** The title of an open module with the button that closes it, over the arrows that pass. */
function caption(item, b) {
  const g = s("g", { class: "caption", transform: `translate(${b.x},${b.y})`, "data-id": item.id });
  const name = s("text", { x: 40, y: 23, class: "sub" });
  name.textContent = item.name;
  const sign = s("text", { x: 20, y: 25, "text-anchor": "middle", class: "head" });
  sign.textContent = MINUS;
  const button = s("g", { class: "toggle", role: "button", tabindex: "0", "aria-expanded": "true", "aria-label": `Close module ${item.name}` },
    s("rect", { x: 8, y: 8, width: 24, height: 24, rx: 6 }), sign);
  listen(button, activate(() => toggle(item.id)));
  g.append(s("rect", { class: "ground", x: 4, y: 6, width: textWidth(item.name, "11px") + 42, height: 28, rx: 6 }), button, name);
  return g;
}

// ---- Looking around ---------------------------------------------------------------------------------------------------------
function setView(view) {
  state.view = view;
  $("graph").setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
}
function fit() {
  const r = $("graph").getBoundingClientRect();
  const scale = Math.min(scaleFor(bounds), 1.5) || 1;
  const width = r.width / scale, height = r.height / scale;
  setView({ x: (bounds.width - width) / 2, y: (bounds.height - height + CORNER / scale) / 2, width, height });
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
