"use strict";
// A layered drawing of a directed acyclic graph (Sugiyama, Tagawa and Toda 1981), nested: an open group is laid out first and is
// then one large box of the layout around it. What crosses its border runs through ports inside it, so no arrow passes under a box.
//
// Everything is computed for a graph that runs from left to right: "length" along that axis, "breadth" across it. For a graph that
// runs downwards the caller exchanges the two.

const GAP = { layer: 46, box: 22, wire: 14, inside: 14, title: 26 };

/**
 * Lay out one level.
 * @param items [{id, length, breadth, into?, out?}]: boxes; `into(edge)` and `out(edge)` give where, across its side, an edge docks.
 * @param edges [{source, target, key}]: between ids of items; undefined is the outside, which becomes a port at that end.
 * @returns {{length, breadth, boxes: Map(id -> {x, y}), wires: Map(key -> [[x, y], ...]), ports}} with x along, y across; centres.
 */
function layered(items, edges) {
  const nodes = new Map(items.map((item) => [item.id, { ...item, ins: [], outs: [] }]));
  const outside = (key, side) => ({ id: `${side} ${key}`, length: 0, breadth: 0, ins: [], outs: [], port: side });
  const links = [];
  const link = (a, b, edge) => { const l = { a, b, edge }; a.outs.push(l); b.ins.push(l); links.push(l); return l; };
  const ports = [];
  for (const e of edges) {
    if (e.source === undefined) ports.push(outside(e.key, "in"));
    const a = e.source === undefined ? ports.at(-1) : nodes.get(e.source);
    if (e.target === undefined) ports.push(outside(e.key, "out"));
    link(a, e.target === undefined ? ports.at(-1) : nodes.get(e.target), e);
  }
  const all = [...nodes.values(), ...ports];
  rank(all);
  const layers = split(all, links);
  arrange(layers);
  return place(layers, edges);
}

/** Layers: one after the latest operand; what has no operands stands right before its first use; ports at the very ends. */
function rank(all) {
  const waiting = new Map(all.map((n) => [n, n.ins.length]));
  const queue = all.filter((n) => !n.ins.length);
  for (const n of queue) {
    n.rank ??= n.port ? -1 : 0;
    for (const { b } of n.outs) {
      b.rank = Math.max(b.rank ?? 0, n.rank + 1);
      waiting.set(b, waiting.get(b) - 1);
      if (!waiting.get(b)) queue.push(b);
    }
  }
  const last = Math.max(...all.map((n) => (n.port ? -1 : n.rank)));
  for (const n of all) if (n.port === "out") n.rank = last + 1;
  for (const n of all) {
    if (!n.ins.length && !n.port && n.outs.length) n.rank = Math.min(...n.outs.map(({ b }) => b.rank)) - 1;
  }
}

const FAR = 3;
/** Layers as lists, with a bend for every layer that a link crosses. Links from one box across many layers share a trunk. */
function split(all, links) {
  const least = Math.min(...all.map((n) => n.rank));
  const layers = [];
  const put = (n) => { (layers[n.rank - least] ??= []).push(n); };
  all.forEach(put);
  const bend = (rank) => {
    const found = { rank, length: 0, breadth: 2, bend: true, ins: [], outs: [] };
    put(found);
    return found;
  };
  for (const l of links) {
    l.chain = [l.a];
    const far = l.b.rank - l.a.rank > FAR;
    for (let r = l.a.rank + 1; r < l.b.rank; r++) {
      l.chain.push(far && r < l.b.rank - 1 ? ((l.a.trunk ??= new Map()).get(r) ?? l.a.trunk.set(r, bend(r)).get(r)) : bend(r));
    }
    l.chain.push(l.b);
    for (let k = 0; k + 1 < l.chain.length; k++) {
      const [p, q] = [l.chain[k], l.chain[k + 1]];
      if (p.next?.includes(q) && q.bend) continue;
      (p.next ??= []).push(q);
      (q.before ??= []).push(p);
    }
  }
  return Array.from(layers, (layer) => layer ?? []);
}

/** The order within each layer: by the mean place of the neighbours, sweeping there and back; the best of all sweeps stays. */
function arrange(layers) {
  const number = (layer) => layer.forEach((n, k) => { n.k = k; });
  // To begin with, in the order of a depth-first walk from the results back through the operands in their order.
  let seen = 0;
  const walk = (start) => {
    const stack = [start];
    while (stack.length) {
      const n = stack.pop();
      if (n.first !== undefined) continue;
      n.first = seen++;
      stack.push(...[...(n.before ?? [])].reverse());
    }
  };
  layers.flat().filter((n) => !n.next).forEach(walk);
  layers.forEach((layer) => { layer.sort((p, q) => p.first - q.first); number(layer); });
  const sweep = (order, side) => {
    for (const layer of order) {
      for (const n of layer) {
        const near = n[side] ?? [];
        n.mean = near.length ? near.reduce((s, m) => s + m.k, 0) / near.length : n.k;
      }
      layer.sort((p, q) => p.mean - q.mean || p.k - q.k);
      number(layer);
    }
  };
  let best = Infinity, kept = layers.map((l) => [...l]);
  for (let round = 0; round < 12 && best > 0; round++) {
    const crossed = crossings(layers);
    if (crossed < best) { best = crossed; kept = layers.map((l) => [...l]); }
    if (round % 2) sweep(layers, "before"); else sweep([...layers].reverse(), "next");
  }
  layers.forEach((layer, k) => { layer.splice(0, layer.length, ...kept[k]); number(layer); });
}

function crossings(layers) {
  let total = 0;
  for (const layer of layers) {
    const ends = layer.flatMap((n) => (n.next ?? []).map((m) => m.k).sort((p, q) => p - q));
    if (ends.length > 400) continue;
    for (let i = 0; i < ends.length; i++) for (let j = 0; j < i; j++) total += ends[j] > ends[i];
  }
  return total;
}

/** Positions across: each node near the mean of its neighbours, in the order found, no closer than the gaps. */
function place(layers, edges) {
  const gap = (a, b) => (a.breadth + b.breadth) / 2 + (a.bend || b.bend ? GAP.wire : GAP.box);
  for (const layer of layers) {
    let y = 0;
    layer.forEach((n, k) => { y += k ? gap(layer[k - 1], n) : 0; n.y = y; });
  }
  const pull = (layer, sides) => {
    layer.forEach((n) => {
      let sum = 0, weight = 0;
      for (const side of sides) for (const m of n[side] ?? []) {
        const w = n.bend && m.bend ? 8 : n.bend || m.bend ? 2 : 1;
        sum += w * m.y;
        weight += w;
      }
      n.want = weight ? sum / weight : n.y;
      n.weight = weight || 0.1;
    });
    settle(layer, gap);
  };
  for (let round = 0; round < 24; round++) {
    const sides = round < 16 ? (round % 2 ? ["next"] : ["before"]) : ["before", "next"];
    for (const layer of round % 2 ? [...layers].reverse() : layers) pull(layer, sides);
  }
  const nodes = layers.flat();
  const top = Math.min(...nodes.map((n) => n.y - n.breadth / 2)), bottom = Math.max(...nodes.map((n) => n.y + n.breadth / 2));
  let x = 0;
  const spans = layers.map((layer) => {
    const length = Math.max(0, ...layer.map((n) => n.length));
    const span = { from: x, to: x + length };
    x += length + (layer.some((n) => n.port) ? GAP.inside : GAP.layer);
    return span;
  });
  const least = Math.min(...nodes.map((n) => n.rank));
  for (const n of nodes) {
    n.y -= top;
    n.span = spans[n.rank - least];
    n.x = (n.span.from + n.span.to) / 2;
  }
  const boxes = new Map(nodes.filter((n) => n.id && !n.port).map((n) => [n.id, { x: n.x, y: n.y }]));
  return { length: spans.at(-1).to, breadth: bottom - top, boxes, wires: wires(nodes), ports: new Map(nodes.filter((n) => n.port).map((n) => [n.id, n.y])) };
}

/** Least squares to the wanted places under a fixed order and minimal gaps: pool adjacent violators (isotonic regression). */
function settle(layer, gap) {
  let offset = 0;
  const offsets = layer.map((n, k) => (offset += k ? gap(layer[k - 1], n) : 0));
  const blocks = [];
  layer.forEach((n, k) => {
    blocks.push({ at: n.want - offsets[k], weight: n.weight, size: 1 });
    while (blocks.length > 1 && blocks.at(-2).at > blocks.at(-1).at) {
      const b = blocks.pop(), a = blocks.at(-1);
      a.at = (a.at * a.weight + b.at * b.weight) / (a.weight + b.weight);
      a.weight += b.weight;
      a.size += b.size;
    }
  });
  let k = 0;
  for (const { at, size } of blocks) for (let j = 0; j < size; j++, k++) layer[k].y = at + offsets[k];
}

/** Arrows as points. At a box they dock side by side, in the order of their other ends. */
function wires(nodes) {
  const found = new Map();
  const dock = (n, list, side, other) => {
    const ends = new Map(); // a trunk docks once
    for (const l of [...list].sort((p, q) => other(p).y - other(q).y || p.edge.operand - q.edge.operand)) {
      const end = other(l).bend ? other(l) : l;
      if (!ends.has(end)) ends.set(end, ends.size);
    }
    const step = Math.min(22, (n.breadth - 16) / Math.max(ends.size - 1, 1));
    for (const l of list) {
      const inner = n[side]?.(l.edge), k = ends.get(other(l).bend ? other(l) : l);
      l[side] = n.y + (n.breadth ? inner ?? (k - (ends.size - 1) / 2) * step : 0);
    }
  };
  for (const n of nodes) {
    dock(n, n.ins, "into", (l) => l.chain.at(-2));
    dock(n, n.outs, "out", (l) => l.chain[1]);
  }
  for (const n of nodes) for (const l of n.outs) {
    const points = [[n.x + n.length / 2, l.out], [n.span.to, l.out]];
    for (const bend of l.chain.slice(1, -1)) points.push([bend.span.from, bend.y], [bend.span.to, bend.y]);
    points.push([l.b.span.from, l.into], [l.b.x - l.b.length / 2, l.into]);
    found.set(l.edge.key, points);
  }
  return found;
}

/**
 * The whole drawing, groups within groups.
 * @param tree {items: [leaf or open group]}, a leaf {id, length, breadth}, an open group {id, items}.
 * @param edges [{source, target, key, operand}] between leaves.
 * @param titleAlong whether a group's title takes room at its beginning (a drawing that runs downwards), or across.
 * @returns {{length, breadth, boxes: Map(id -> {x, y, length, breadth}), paths: [[x, y], ...] by key}} with x, y the box's corner.
 */
function drawing(tree, edges, titleAlong) {
  const title = titleAlong ? { x: GAP.title, y: 0 } : { x: 0, y: GAP.title };
  const homes = new Map();
  const note = (group, path) => group.items.forEach((item) => {
    if (item.items) note(item, [...path, item]);
    homes.set(item.id, [...path, item]);
  });
  note(tree, []);
  const boxes = new Map(), pieces = new Map(edges.map((e) => [e.key, []]));
  const done = new Map();

  /** Which item of the group at `depth` an end of an edge is in; undefined where it is outside that group. */
  const within = (group, depth, id) => {
    const path = homes.get(id);
    return depth === 0 || path[depth - 1] === group ? path[depth]?.id : undefined;
  };
  const measure = (group, depth) => {
    for (const item of group.items) if (item.items) measure(item, depth + 1);
    const touching = [];
    for (const e of edges) {
      const source = within(group, depth, e.source), target = within(group, depth, e.target);
      if ((source === undefined && target === undefined) || source === target) continue;
      touching.push({ key: e.key, operand: e.operand, source, target });
    }
    const sized = group.items.map((item) => {
      if (!item.items) return item;
      const inner = done.get(item);
      const shift = (y) => y + title.y + GAP.inside - inner.breadth / 2;
      return {
        id: item.id, length: inner.length, breadth: inner.breadth,
        into: (edge) => shift(inner.ports.get(`in ${edge.key}`)),
        out: (edge) => shift(inner.ports.get(`out ${edge.key}`)),
      };
    });
    const found = layered(sized, touching);
    done.set(group, {
      ...found, sized,
      length: found.length + 2 * GAP.inside + title.x, breadth: found.breadth + 2 * GAP.inside + title.y,
    });
  };
  const put = (group, x, y, depth) => {
    const found = done.get(group);
    for (const item of found.sized) {
      const at = found.boxes.get(item.id);
      const box = { x: x + at.x - item.length / 2, y: y + at.y - item.breadth / 2, length: item.length, breadth: item.breadth };
      boxes.set(item.id, box);
      const inner = group.items.find((g) => g.id === item.id);
      if (inner.items) put(inner, box.x + GAP.inside + title.x, box.y + GAP.inside + title.y, depth + 1);
    }
    for (const [key, points] of found.wires) pieces.get(key).push({ depth, points: points.map(([p, q]) => [x + p, y + q]) });
  };
  measure(tree, 0);
  put(tree, 0, 0, 0);
  // A piece inside the source's groups comes first, inside the target's groups last.
  const paths = new Map();
  for (const [key, parts] of pieces) {
    parts.sort((p, q) => p.points[0][0] - q.points[0][0]);
    paths.set(key, parts.flatMap((p) => p.points));
  }
  const { length, breadth } = done.get(tree);
  return { length: length - 2 * GAP.inside - title.x, breadth: breadth - 2 * GAP.inside - title.y, boxes, paths };
}
