"use strict";
// The page itself: what a step shows, the controls, and the start.

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
    if (told.length) chips.push(chip(path, told.length > 1 ? `${told.length} uses` : flow(partOf(told[0]), true), "backward", chips));
    else if (isForward && valueOf(from) && from.kind !== "constant") chips.push(chip(path, flow(valueOf(from), false), "forward", chips));
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

/** A number beside an arrow, where it hides neither a box nor another number. */
function chip(path, text, cls, others) {
  const length = path.getTotalLength(), width = textWidth(text, "650 12px") + 14, height = 20;
  const taken = [...others.map((o) => o.box), ...[...bounds.boxes].filter(([id]) => drawn.has(id)).map(([, b]) => b)];
  const clear = (b) => taken.every((o) => b.x >= o.x + o.width || o.x >= b.x + b.width || b.y >= o.y + o.height || o.y >= b.y + b.height);
  const aside = state.down ? [[width / 2 + 5, 0], [-width / 2 - 5, 0], [0, 0]] : [[0, -15], [0, 15], [0, 0], [0, -37], [0, 37]];
  const spots = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8].flatMap((t) => aside.map(([dx, dy]) => {
    const at = path.getPointAtLength(length * t);
    return { x: at.x + dx - width / 2, y: at.y + dy - height / 2, width, height };
  }));
  const box = spots.find(clear) ?? spots[0];
  const label = s("text", { x: box.x + width / 2, y: box.y + 14.5, "text-anchor": "middle" });
  label.textContent = text;
  return Object.assign(s("g", { class: `chip ${cls}` }, s("rect", { ...box, rx: 10 }), label), { box });
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

// ---- Controls ---------------------------------------------------------------------------------------------------------------
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
    h("button.primary", { type: "button", onclick: () => $("guide").close() }, "Close"));
}

// ---- Start ------------------------------------------------------------------------------------------------------------------
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
if (scaleFor(bounds) < READABLE) approach();
/** For the console: the graph, the state, `show(step)`, `change(id, numbers)`, `numbers()`. */
window.minigrad = {
  graph, state, steps, show: go, change: (id, numbers) => { change(id, numbers); showValue(true); }, changeAll, reset: resetWhatIf, select, mistake: setMistake, whyNot,
  operations: () => Object.keys(OPS),
  numbers: () => Object.fromEntries(graph.values.map((v) => [v.id, [valueOf(v), gradientOf(v)].map((a) => (a?.data ? Array.from(a.data, (x) => (Object.is(x, -0) ? "-0" : String(x))) : null))])),
};
