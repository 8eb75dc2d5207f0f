"use strict";
// The cards below the graph: the step in formulas and numbers, the selected value with its ledger, the code.

const num = (text) => h("span.num", {}, text);
function formula(e) {
  if (!e.formula) return h("span.num.words", {}, e.rule);
  return document.importNode(new DOMParser().parseFromString(e.formula, "text/html").body.firstChild, true);
}
/** A number under its name; of a larger array, its norm (a gradient) or its mean, and its shape. */
function tile(what, a, { cls = "", value = false } = {}) {
  const inline = !a || (a.data && a.shape.length <= 1 && a.data.length <= 3);
  const text = !a ? "not kept" : inline ? line(a) : boxed(a, !value);
  return h(`div.tile${cls && `.${cls}`}`, {}, h("div.what", {}, [what].flat().flatMap((t, k) => (k ? [h("br"), t] : [t]))),
    h(`div.num${!inline || text.length > 9 ? ".long" : ""}`, {}, text), inline ? "" : h("div.what", {}, shapeText(a.shape)));
}
const sign = (text) => h("div.sign", {}, text);
/** "a = x = 3, b = 4": what the letters of a formula stand for; of larger arrays, the name. */
function letters(v, e) {
  const equals = (letter, name, a) => {
    const number = a?.data && a.shape.length <= 1 && a.data.length <= 3 ? line(a) : "";
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
  if (after?.data?.length > 3 || !after?.data) return `contribution of ${boxed(partOf(e), true)}${after ? `, sum of ${boxed(after, true)}` : ""}`;
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
  const { v, e } = now, place = `step ${state.step} of ${steps.length}${v.module ? `, in ${v.module}` : ""}`;
  if (now.pass === "forward") {
    const operands = v.edges.flatMap((x, k) => [k ? sign(INFIX[v.op]?.[0] ?? ",") : null, tile(graph.of[x.source].label, valueOf(graph.of[x.source]), { value: true })]);
    card.replaceChildren(...head("forward", `Forward, ${place}`, `${v.name ? `${v.name} = ` : ""}${v.expression}`),
      h("div.tiles", {}, v.edges.length === 2 && INFIX[v.op] ? operands : [sign(`${v.op}(`), ...operands, sign(")")], sign("="), tile(v.label, valueOf(v), { cls: "forward", value: true })),
      h("p.line", {}, h("span.faint", {}, "operation "), num(v.op), v.math ? [h("span.faint", {}, " computes "), num(v.math)] : "", v.asked ? [h("span.faint", {}, " with "), num(v.asked)] : ""),
      v.edges.length ? h("p.line", {}, h("span.faint", {}, "where "), letters(v)) : "");
    return;
  }
  if (now.pass === "seed") {
    card.replaceChildren(...head("backward", `Backward, ${place}`, `Start at ${v.label}`),
      h("div.tiles", {}, tile(d(v), gradientOf(v), { cls: "backward" })),
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
      sign(ARROW), tile(["contribution", `to ${d(into)}`], partOf(e), { cls: "backward" })),
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
  card.replaceChildren(heading, h("p.faint", {}, { forward: "runs", seed: "made the output", backward: "ran forward here; its rule runs now" }[now.pass]),
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

// ---- A selected value -------------------------------------------------------------------------------------------------------
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
  const shownAbove = isFree(v) && v.value.data.length > 1;
  const out = [h("div.pair", {}, shownAbove ? "" : h("div.stat", {}, h("h3", {}, v.later ? "Value (its present one)" : "Value"), known ? arrayView(valueOf(v), "value") : h("p.faint", {}, "not computed yet")),
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
        h("td", {}, formula(e)), h("td.num", {}, boxed(gradientOf(graph.of[e.target]), true)), h("td.num.gradient-number", {}, boxed(partOf(e), true))))),
      h("tfoot", {}, h("tr", {}, h("th", { scope: "row", colspan: "3" }, "sum"), h("td.num.gradient-number", { id: "ledger-sum" }, boxed(sum ?? gradient, true)))))),
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
  if (!a.data) return h("div", {}, heat(a), h("p.facts", {}, a.summary.map(([k, text]) => `${k} ${text}`).join(", "), HEAT));
  if (!a.shape.length) return h(`div.num.big.${cls}-number`, { title: String(a.data[0]) }, short(a.data[0], 7));
  const width = a.shape.at(-1), rows = width ? a.data.length / width : 0;
  if (a.shape.length <= 2 && rows <= 6 && width <= 6 && a.data.length) {
    return h("div.scroll", {}, h(`table.matrix.num.${cls}`, {}, h("tbody", {}, Array.from({ length: rows }, (_, r) =>
      h("tr", {}, Array.from({ length: width }, (_, c) => h("td", { title: String(a.data[r * width + c]) }, short(a.data[r * width + c]))))))));
  }
  return h("div", {}, heat(a), h("p.facts", {}, summaryText(a), HEAT));
}
function summaryText(a) {
  const finite = a.data.filter(Number.isFinite), n = a.data.length;
  const bad = n - finite.length, zeros = a.data.filter((x) => x === 0).length;
  if (!finite.length) return `${n} numbers, none finite`;
  const mean = finite.reduce((t, x) => t + x, 0) / finite.length;
  return [`mean ${short(mean)}`, `min ${short(finite.reduce((p, x) => Math.min(p, x)))}`, `max ${short(finite.reduce((p, x) => Math.max(p, x)))}`,
    zeros ? `zeros ${zeros} of ${n}` : "", bad ? `not finite ${bad} of ${n}` : ""].filter(Boolean).join(", ");
}

const HEAT = ". Orange is above zero, blue below.";
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
