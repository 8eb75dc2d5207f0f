"use strict";
// A small engine for "what if": it recomputes the recorded graph, forward and backward, by a table of operations like minigrad's
// own. Nothing is evaluated as code: a graph is a list of operation names, operands and parameters.
//
// An array is {shape, data: Float64Array}; a scalar has shape []. Rules take (g, y, ...operands) as in the Python table.

const NAMED = { nan: NaN, inf: Infinity, "-inf": -Infinity };
const count = (shape) => shape.reduce((n, m) => n * m, 1);
const make = (shape, data = new Float64Array(count(shape))) => ({ shape, data });
const same = (a, b) => a.length === b.length && a.every((n, k) => n === b[k]);

/** The array of a record, exactly: numbers of float32 arrays are the shortest decimals that round to them. */
function decode(told) {
  if (!told.data) return { ...told, data: null };
  const parse = (x) => (typeof x === "string" ? NAMED[x] : x);
  return { ...told, data: Float64Array.from(told.data, told.dtype === "float32" ? (x) => Math.fround(parse(x)) : parse) };
}

// Broadcasting
function broadcastShape(shapes) {
  const ndim = Math.max(...shapes.map((s) => s.length));
  return Array.from({ length: ndim }, (_, k) =>
    shapes.reduce((n, s) => { const m = s[k - ndim + s.length] ?? 1; return m === 1 ? n : m; }, 1));
}

/** For every element of an array of `shape`, the place in an array of `from` that broadcasts to it. */
function places(from, shape) {
  const out = new Int32Array(count(shape));
  const extra = shape.length - from.length;
  let stride = 1, inner = 1;
  for (let k = shape.length - 1; k >= 0; k--) {
    const n = k < extra ? 1 : from[k - extra];
    if (n !== 1) for (let i = 0; i < out.length; i++) out[i] += (Math.floor(i / inner) % shape[k]) * stride;
    stride *= n;
    inner *= shape[k];
  }
  return out;
}

function elementwise(f, ...arrays) {
  if (arrays.every((a) => same(a.shape, arrays[0].shape))) {
    return make(arrays[0].shape, arrays[0].data.map((_, i) => f(...arrays.map((a) => a.data[i]))));
  }
  const shape = broadcastShape(arrays.map((a) => a.shape));
  const at = arrays.map((a) => places(a.shape, shape));
  return make(shape, Float64Array.from({ length: count(shape) }, (_, i) => f(...arrays.map((a, k) => a.data[at[k][i]]))));
}

/** Undo broadcasting: the gradient of a copy is the sum over its uses. */
function unbroadcast(part, shape) {
  if (same(part.shape, shape)) return part;
  const out = make(shape), at = places(shape, part.shape);
  part.data.forEach((x, i) => { out.data[at[i]] += x; });
  return out;
}

// Kinds of operations
/** Each output element from one element of each operand: numbers in, numbers out. */
const scalars = (f, ...rules) => ({
  elementwise: true,
  forward: (operands) => elementwise(f, ...operands),
  pull: (i, g, y, operands) => elementwise(rules[i], g, y, ...operands),
});

/** The same numbers elsewhere: `where(params, ...operands)` gives a shape and, for each output element, [operand, place]. */
const some = (mask) => make(mask.shape, mask.data.map((x) => +(x !== 0)));
/** The mask of what was reduced along an axis: an element is read by one result. */
const reachAlong = (mask, i, [a], [axis, keepdims]) => {
  const { at } = slots(a, axis, keepdims);
  return make(a.shape, a.data.map((x, k) => mask.data[at[k]]));
};
const moves = (where) => ({
  forward(operands, params) {
    const { shape, from } = where(params, ...operands);
    return make(shape, Float64Array.from(from, ([k, place]) => operands[k].data[place]));
  },
  pull(i, g, y, operands, params) {
    const out = make(operands[i].shape);
    where(params, ...operands).from.forEach(([k, place], j) => { if (k === i) out.data[place] += g.data[j]; });
    return out;
  },
  reach(mask, i, operands, params) { return some(this.pull(i, mask, null, operands, params)); },
});

const axesOf = (axis, ndim) =>
  axis === null || axis === undefined ? [...Array(ndim).keys()] : [axis].flat().map((k) => (k + ndim) % ndim);

/** For every element of `a`, which slot of the reduced array it falls into. */
function slots(a, axis, keepdims) {
  const gone = axesOf(axis, a.shape.length);
  const kept = a.shape.map((n, k) => (gone.includes(k) ? 1 : n));
  return { at: places(kept, a.shape), shape: keepdims ? kept : a.shape.filter((_, k) => !gone.includes(k)), kept };
}

function fold(a, axis, keepdims, start, f) {
  const { at, shape } = slots(a, axis, keepdims);
  const out = make(shape, new Float64Array(count(shape)).fill(start));
  a.data.forEach((x, i) => { out.data[at[i]] = f(out.data[at[i]], x); });
  return out;
}

/** A reduction over axes: params are (axis, keepdims); `share(g, y, x, n)` is what an element x of n receives. */
const reduces = (forward, share) => ({
  forward: ([a], [axis, keepdims]) => forward(a, axis, keepdims),
  pull(i, g, y, [a], [axis, keepdims]) {
    const { at } = slots(a, axis, keepdims);
    const n = a.data.length / Math.max(g.data.length, 1);
    return make(a.shape, a.data.map((x, k) => share(g.data[at[k]], y.data[at[k]], x, n)));
  },
  reach: reachAlong,
});
const sumOver = (a, axis, keepdims) => fold(a, axis, keepdims, 0, (s, x) => s + x);
const scaled = (a, factor) => make(a.shape, a.data.map((x) => x * factor));

/** The largest or smallest over axes; ties share the gradient. */
const extremum = (start, better) => ({
  forward: ([a], [axis, keepdims]) =>
    fold(a, axis, keepdims, start, (s, x) => (Number.isNaN(s) || Number.isNaN(x) ? NaN : better(s, x))),
  pull(i, g, y, [a], [axis, keepdims]) {
    const { at } = slots(a, axis, keepdims);
    const ties = new Float64Array(y.data.length);
    a.data.forEach((x, k) => { ties[at[k]] += x === y.data[at[k]]; });
    return make(a.shape, a.data.map((x, k) => (x === y.data[at[k]] ? g.data[at[k]] / ties[at[k]] : 0)));
  },
  reach: reachAlong,
});

/** log(sum(exp(a))) over axes, kept, shifted so that nothing overflows. */
function logSumExp(a, axis) {
  const { at } = slots(a, axis, true);
  const top = fold(a, axis, true, -Infinity, Math.max);
  top.data.forEach((x, k) => { if (!Number.isFinite(x)) top.data[k] = 0; });
  const sum = sumOver(make(a.shape, a.data.map((x, k) => Math.exp(x - top.data[at[k]]))), axis, true);
  return { top, sum, at };
}

// Matrix products
function multiplyMatrices(a, b) {
  const [n, k] = a.shape.slice(-2), m = b.shape.at(-1);
  const batch = broadcastShape([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  const out = make([...batch, n, m]);
  const [atA, atB] = [a, b].map((x) => places(x.shape.slice(0, -2), batch));
  for (let s = 0; s < count(batch); s++) {
    for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) {
      let total = 0;
      for (let l = 0; l < k; l++) total += a.data[(atA[s] * n + i) * k + l] * b.data[(atB[s] * k + l) * m + j];
      out.data[(s * n + i) * m + j] = total;
    }
  }
  return out;
}
function transposed(a) {
  const [n, m] = a.shape.slice(-2);
  const out = make([...a.shape.slice(0, -2), m, n]);
  out.data.forEach((_, q) => {
    const s = Math.floor(q / (n * m)), i = Math.floor(q / n) % m, j = q % n;
    out.data[q] = a.data[(s * n + j) * m + i];
  });
  return out;
}
/** Operands and output of a matmul as matrices: a vector on the left is a row, on the right a column. */
const asRow = (a) => (a.shape.length === 1 ? make([1, ...a.shape], a.data) : a);
const asColumn = (b) => (b.shape.length === 1 ? make([...b.shape, 1], b.data) : b);
const matmul = {
  forward([a, b]) {
    const out = multiplyMatrices(asRow(a), asColumn(b));
    const shape = out.shape.slice(0, -2);
    if (a.shape.length > 1) shape.push(out.shape.at(-2));
    if (b.shape.length > 1) shape.push(out.shape.at(-1));
    return make(shape, out.data);
  },
  pull(i, g, y, [a, b]) {
    const A = asRow(a), B = asColumn(b);
    const batch = broadcastShape([A.shape.slice(0, -2), B.shape.slice(0, -2)]);
    const G = make([...batch, A.shape.at(-2), B.shape.at(-1)], g.data);
    const part = i === 0 ? multiplyMatrices(G, transposed(B)) : multiplyMatrices(transposed(A), G);
    const into = i === 0 ? A : B;
    return make([a, b][i].shape, unbroadcast(part, into.shape).data);
  },
};

/** x w^T + b; the weight's gradient sums over all rows of x, the bias's over all rows of g. */
const linear = {
  forward([x, w, b]) {
    const y = matmul.forward([x, transposed(w)]);
    return b ? elementwise((p, q) => p + q, y, b) : y;
  },
  pull(i, g, y, [x, w, b]) {
    if (i === 0) return matmul.forward([g, w]);
    if (i === 2) return unbroadcast(g, b.shape);
    const rows = (a) => make([a.data.length / a.shape.at(-1), a.shape.at(-1)], a.data);
    return multiplyMatrices(transposed(rows(g)), rows(x));
  },
};
/** -log softmax(x)[class] of each row; its gradient is softmax(x), less one at the class. */
const softmaxCrossEntropy = {
  forward([x, classes]) {
    const { top, sum } = logSumExp(x, -1), n = x.shape.at(-1);
    return make(x.shape.slice(0, -1), top.data.map((t, k) => Math.log(sum.data[k]) + t - x.data[k * n + classes.data[k]]));
  },
  pull(i, g, y, [x, classes]) {
    const { top, sum } = logSumExp(x, -1), n = x.shape.at(-1);
    return make(x.shape, x.data.map((a, q) => {
      const k = Math.floor(q / n);
      return (Math.exp(a - top.data[k]) / sum.data[k] - (q % n === classes.data[k] ? 1 : 0)) * g.data[k];
    }));
  },
};

// Numbers per channel of (N, C, ...)
const channels = ({ shape }) => {
  const inner = count(shape.slice(2));
  return (k) => Math.floor(k / inner) % shape[1];
};
/** The sum of f(element, its place, its channel) over each channel. */
function perChannel(f, a) {
  const of = channels(a), out = make([a.shape[1]]);
  a.data.forEach((x, k) => { out.data[of(k)] += f(x, k, of(k)); });
  return out;
}
/** Mean and variance: the gradient of the mean is shared out, that of the variance weighted by the deviations. */
const channelMoments = {
  forward([a]) {
    const C = a.shape[1], n = a.data.length / C;
    const mean = perChannel((x) => x, a).data.map((x) => x / n);
    const variance = perChannel((x, k, c) => (x - mean[c]) ** 2, a).data.map((x) => x / n);
    return make([2, C], Float64Array.from([...mean, ...variance]));
  },
  pull(i, g, y, [a]) {
    const C = a.shape[1], n = a.data.length / C, of = channels(a);
    return make(a.shape, a.data.map((x, k) => (g.data[of(k)] + 2 * (x - y.data[of(k)]) * g.data[C + of(k)]) / n));
  },
};
/** scale (x - centre) + shift. */
const channelAffine = {
  forward([a, scale, centre, shift]) {
    const of = channels(a), at = (v, k) => (v ? v.data[of(k)] : 0);
    return make(a.shape, a.data.map((x, k) => at(scale, k) * (x - at(centre, k)) + at(shift, k)));
  },
  pull(i, g, y, [a, scale, centre]) {
    const of = channels(a);
    if (i === 0) return make(a.shape, g.data.map((x, k) => x * scale.data[of(k)]));
    if (i === 1) return perChannel((x, k, c) => x * (a.data[k] - (centre ? centre.data[c] : 0)), g);
    return perChannel(i === 2 ? (x, k, c) => -x * scale.data[c] : (x) => x, g);
  },
};

// Where numbers move to
const strides = (shape) => shape.map((_, k) => count(shape.slice(k + 1)));
/** Places read off by walking output axes, each {n, stride}, from `start`. */
function walk(axes, start = 0) {
  const shape = axes.map((x) => x.n);
  const steps = strides(shape);
  return {
    shape,
    from: Array.from({ length: count(shape) }, (_, i) =>
      [0, axes.reduce((at, x, k) => at + (Math.floor(i / steps[k]) % x.n) * x.stride, start)]),
  };
}
const permuted = ([axes], a) => {
  const s = strides(a.shape);
  return walk(axes.map((k) => ({ n: a.shape[(k + s.length) % s.length], stride: s[(k + s.length) % s.length] })));
};
const flipped = ([axes], a) => {
  const s = strides(a.shape), back = (k) => axes.includes(k);
  return walk(a.shape.map((n, k) => ({ n, stride: back(k) ? -s[k] : s[k] })),
    a.shape.reduce((at, n, k) => at + (back(k) ? (n - 1) * s[k] : 0), 0));
};
/** Python's basic indexing: integers, slices, null (a new axis) and one ellipsis. */
function indexed([pattern], a) {
  const s = strides(a.shape), axes = [];
  let start = 0, k = 0;
  const given = pattern.filter((p) => p !== null && !p?.ellipsis).length;
  const whole = { slice: [null, null, null] };
  const full = pattern.flatMap((p) => (p?.ellipsis ? Array(a.shape.length - given).fill(whole) : [p]));
  const used = full.filter((p) => p !== null).length;
  for (const p of [...full, ...Array(a.shape.length - used).fill(whole)]) {
    if (p === null) { axes.push({ n: 1, stride: 0 }); continue; }
    const n = a.shape[k];
    if (typeof p === "number") start += (p < 0 ? p + n : p) * s[k];
    else {
      const step = p.slice[2] ?? 1;
      const clip = (x, otherwise) => (x === null ? otherwise : step > 0
        ? Math.min(Math.max(x < 0 ? x + n : x, 0), n) : Math.min(Math.max(x < 0 ? x + n : x, -1), n - 1));
      const from = clip(p.slice[0], step > 0 ? 0 : n - 1), to = clip(p.slice[1], step > 0 ? n : -1);
      axes.push({ n: Math.max(0, Math.ceil((to - from) / step)), stride: step * s[k] });
      start += from * s[k];
    }
    k++;
  }
  return walk(axes, start);
}
/** Indexing by integer arrays on the first axes: the operand `where` holds one array, or several stacked. */
const gather = {
  able: ([pattern]) => pattern.every((p) => p?.array),
  where([pattern], a, where) {
    const several = pattern.length, s = strides(a.shape).slice(0, several), inner = count(a.shape.slice(several));
    const picked = several > 1 ? where.shape.slice(1) : where.shape, n = count(picked);
    return {
      shape: [...picked, ...a.shape.slice(several)],
      from: Array.from({ length: n * inner }, (_, i) => {
        const k = Math.floor(i / inner);
        const at = s.reduce((t, stride, axis) => { const j = where.data[axis * n + k]; return t + (j < 0 ? j + a.shape[axis] : j) * stride; }, 0);
        return [0, at + (i % inner)];
      }),
    };
  },
};
const joined = (params, ...arrays) => {
  const ends = params[1], axis = params[0];
  const shape = arrays[0].shape.map((n, k) => (k === axis ? ends.at(-1) : n));
  const inner = count(shape.slice(axis + 1));
  const from = Array.from({ length: count(shape) }, (_, i) => {
    const along = Math.floor(i / inner) % shape[axis], outer = Math.floor(i / (inner * shape[axis]));
    const k = ends.findIndex((end) => along < end);
    const n = arrays[k].shape[axis];
    return [k, (outer * n + along - (k ? ends[k - 1] : 0)) * inner + (i % inner)];
  });
  return { shape, from };
};
const piled = ([axis], ...arrays) => {
  const inner = count(arrays[0].shape.slice(axis)), n = arrays.length;
  const shape = [...arrays[0].shape.slice(0, axis), n, ...arrays[0].shape.slice(axis)];
  return {
    shape,
    from: Array.from({ length: count(shape) }, (_, i) =>
      [Math.floor(i / inner) % n, Math.floor(i / (inner * n)) * inner + (i % inner)]),
  };
};

// The table: forward, then a rule for each operand
const sigmoid = (a) => { const small = Math.exp(-Math.abs(a)); return (a < 0 ? small : 1) / (small + 1); };
const logOfBase = (a) => (a === 0 ? 0 : Math.log(a));
const route = (g, lost, tie) => (lost ? 0 : tie ? g * 0.5 : g);
const roundHalfEven = (a) => { const r = Math.round(a); return Math.abs(a % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r; };
const pass = (g) => g;
const none = () => 0;
const OPS = {
  add: scalars((a, b) => a + b, pass, pass),
  subtract: scalars((a, b) => a - b, pass, (g) => -g),
  multiply: scalars((a, b) => a * b, (g, y, a, b) => g * b, (g, y, a) => g * a),
  divide: scalars((a, b) => a / b, (g, y, a, b) => g / b, (g, y, a, b) => (-g * y) / b),
  negative: scalars((a) => -a, (g) => -g),
  positive: scalars(pass, pass),
  square: scalars((a) => a * a, (g, y, a) => g * (a + a)),
  sqrt: scalars(Math.sqrt, (g, y) => g / (y + y)),
  reciprocal: scalars((a) => 1 / a, (g, y) => -g * y * y),
  power: scalars((a, b) => a ** b, (g, y, a, b) => g * (b * a ** (b === 0 ? 1 : b - 1)), (g, y, a) => g * y * logOfBase(a)),
  exp: scalars(Math.exp, (g, y) => g * y),
  exp2: scalars((a) => 2 ** a, (g, y) => g * y * Math.LN2),
  expm1: scalars(Math.expm1, (g, y, a) => g * Math.exp(a)),
  log: scalars(Math.log, (g, y, a) => g / a),
  log2: scalars(Math.log2, (g, y, a) => g / (a * Math.LN2)),
  log10: scalars(Math.log10, (g, y, a) => g / (a * Math.LN10)),
  log1p: scalars(Math.log1p, (g, y, a) => g / (a + 1)),
  sin: scalars(Math.sin, (g, y, a) => g * Math.cos(a)),
  cos: scalars(Math.cos, (g, y, a) => -g * Math.sin(a)),
  tan: scalars(Math.tan, (g, y) => g + g * y * y),
  sinh: scalars(Math.sinh, (g, y, a) => g * Math.cosh(a)),
  cosh: scalars(Math.cosh, (g, y, a) => g * Math.sinh(a)),
  tanh: scalars(Math.tanh, (g, y) => g - g * y * y),
  atan: scalars(Math.atan, (g, y, a) => g / (a * a + 1)),
  asin: scalars(Math.asin, (g, y, a) => g / Math.sqrt(1 - a * a)),
  acos: scalars(Math.acos, (g, y, a) => -g / Math.sqrt(1 - a * a)),
  maximum: scalars(Math.max, (g, y, a, b) => route(g, a < b, a === b), (g, y, a, b) => route(g, b < a, a === b)),
  minimum: scalars(Math.min, (g, y, a, b) => route(g, b < a, a === b), (g, y, a, b) => route(g, a < b, a === b)),
  abs: scalars(Math.abs, (g, y, a) => g * Math.sign(a)),
  sign: scalars(Math.sign, none),
  floor: scalars(Math.floor, none),
  ceil: scalars(Math.ceil, none),
  round: scalars(roundHalfEven, none),
  relu: scalars((a) => Math.max(a, 0), (g, y) => (y > 0 ? g : 0)),
  sigmoid: scalars(sigmoid, (g, y) => g * (y - y * y)),
  silu: scalars((a) => a * sigmoid(a), (g, y, a) => g * (sigmoid(a) + y * (1 - sigmoid(a)))),
  softplus: scalars((a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a))), (g, y, a) => g * sigmoid(a)),
  greater: scalars((a, b) => +(a > b)),
  greater_equal: scalars((a, b) => +(a >= b)),
  less: scalars((a, b) => +(a < b)),
  less_equal: scalars((a, b) => +(a <= b)),
  equal: scalars((a, b) => +(a === b)),
  not_equal: scalars((a, b) => +(a !== b)),
  where: {
    ...scalars((c, a, b) => (c ? a : b), none, (g, y, c) => (c ? g : 0), (g, y, c) => (c ? 0 : g)),
    mask: (i, c) => elementwise((x) => +(i === 1 ? x !== 0 : x === 0), c),
  },
  astype: scalars(pass, pass),
  copy: scalars(pass, pass),
  sum: reduces(sumOver, pass),
  mean: reduces((a, axis, keep) => { const s = sumOver(a, axis, keep); return scaled(s, s.data.length / a.data.length); },
    (g, y, x, n) => g / n),
  max: extremum(-Infinity, Math.max),
  min: extremum(Infinity, Math.min),
  logsumexp: {
    reach: reachAlong,
    forward([a], [axis, keepdims]) {
      const { top, sum } = logSumExp(a, axis);
      return make(slots(a, axis, keepdims).shape, top.data.map((x, k) => Math.log(sum.data[k]) + x));
    },
    pull(i, g, y, [a], [axis]) {
      const { at } = slots(a, axis, true);
      return make(a.shape, a.data.map((x, k) => g.data[at[k]] * Math.exp(x - (y.data[at[k]] === -Infinity ? 0 : y.data[at[k]]))));
    },
  },
  softmax: {
    reach: (mask, i, [a], [axis]) => reachAlong(some(sumOver(mask, axis, true)), i, [a], [axis, true]),
    forward([a], [axis]) {
      const { top, sum, at } = logSumExp(a, axis);
      return make(a.shape, a.data.map((x, k) => Math.exp(x - top.data[at[k]]) / sum.data[at[k]]));
    },
    pull(i, g, y, [a], [axis]) {
      const { at } = slots(a, axis, true);
      const dot = sumOver(elementwise((p, q) => p * q, g, y), axis, true);
      return make(a.shape, y.data.map((p, k) => p * (g.data[k] - dot.data[at[k]])));
    },
  },
  log_softmax: {
    reach: (mask, i, [a], [axis]) => reachAlong(some(sumOver(mask, axis, true)), i, [a], [axis, true]),
    forward([a], [axis]) {
      const { top, sum, at } = logSumExp(a, axis);
      return make(a.shape, a.data.map((x, k) => x - top.data[at[k]] - Math.log(sum.data[at[k]])));
    },
    pull(i, g, y, [a], [axis]) {
      const { at } = slots(a, axis, true);
      const total = sumOver(g, axis, true);
      return make(a.shape, g.data.map((x, k) => x - Math.exp(y.data[k]) * total.data[at[k]]));
    },
  },
  matmul,
  linear,
  softmax_cross_entropy: softmaxCrossEntropy,
  channel_moments: channelMoments,
  channel_affine: channelAffine,
  reshape: moves(([shape], a) => {
    const asked = [shape].flat(), known = asked.filter((n) => n >= 0);
    return {
      shape: asked.map((n) => (n < 0 ? a.data.length / count(known) : n)),
      from: Array.from(a.data, (_, k) => [0, k]),
    };
  }),
  permute_dims: moves(permuted),
  flip: moves(flipped),
  getitem: moves(indexed),
  gather: { ...moves(gather.where), able: gather.able },
  broadcast_to: moves(([shape], a) => ({ shape, from: Array.from(places(a.shape, shape), (at) => [0, at]) })),
  concat: moves(joined),
  stack: moves(piled),
};

// The graph
const rounding = { float64: (x) => x, float32: Math.fround, int64: (x) => x, int32: (x) => x, bool: (x) => x, "": (x) => x };
const round = (array, dtype) => (dtype === "float32" ? make(array.shape, array.data.map(Math.fround)) : array);

/** Why the graph cannot be recomputed here; "" if it can. */
function obstacle(graph) {
  if (!graph.replay) return graph.hidden ? "only a part of the graph is shown" : "the parameters of its operations were not recorded";
  let elements = 0;
  for (const v of graph.values) {
    if (v.op && !OPS[v.op]) return `operation ${v.op} is not among those that this page computes`;
    if (v.op && v.edges.some((e, k) => e.operand !== k)) return `an operand of ${v.op} was left out`;
    if (v.op && !v.params) return `a parameter of ${v.op} cannot be written down`;
    if (OPS[v.op]?.able?.(v.params) === false) return `this page does not compute ${v.op} in this form`;
    if (!(v.dtype in rounding)) return `${v.label} is of dtype ${v.dtype}`;
    if (!v.value?.data) return v.value ? `${v.label} is a large array` : `the value of ${v.label} was not kept`;
    if (v.later) return `the recorded value of ${v.label} was not kept`;
    elements += v.value.data.length;
  }
  return elements > 20000 ? "it has more than 20,000 numbers" : "";
}

/** All values, from those of the leaves. */
function forward(graph, leaves) {
  const y = new Map();
  for (const v of graph.values) {
    y.set(v.id, v.op ? round(OPS[v.op].forward(v.edges.map((e) => y.get(e.source)), v.params), v.dtype) : leaves(v));
  }
  return y;
}

const product = (a, b) => elementwise((p, q) => p * q, a, b);

/** What the use `e` sends back to its operand, for an upstream gradient g. */
function contribution(graph, e, g, y) {
  const v = graph.of[e.target], into = graph.of[e.source];
  const operands = v.edges.map((x) => y.get(x.source));
  return round(unbroadcast(OPS[v.op].pull(e.operand, g, y.get(v.id), operands, v.params), into.shape), into.dtype);
}

/** The gradients and contributions of a backward pass in the engine's own order. */
function backward(graph, y) {
  const gradients = new Map(), parts = new Map(), locals = new Map(), masks = new Map();
  const root = graph.of[graph.output];
  if (root.gradient) gradients.set(root.id, root.gradient);
  for (const v of [...graph.values].reverse()) {
    const g = gradients.get(v.id);
    if (!g) continue;
    for (const e of v.edges.filter((x) => x.flows)) {
      const into = graph.of[e.source], op = OPS[v.op], before = gradients.get(into.id);
      const operands = v.edges.map((x) => y.get(x.source));
      let part = op.pull(e.operand, g, y.get(v.id), operands, v.params);
      // The branch that `where` did not take contributes nothing, not 0 * inf; followed back as the engine does.
      let mask = masks.get(v.id);
      if (mask && !op.elementwise) mask = op.reach?.(mask, e.operand, operands, v.params);
      const taken = op.mask?.(e.operand, ...operands);
      if (taken) mask = mask ? product(mask, taken) : taken;
      if (mask) part = elementwise((m, x) => (m ? x : 0), mask, part);
      if (mask && !same(mask.shape, into.shape)) mask = some(unbroadcast(elementwise((m) => m, mask, g), into.shape));
      if (!mask || (before && !masks.has(into.id))) masks.delete(into.id);
      else masks.set(into.id, before ? elementwise((p, q) => +(p || q), mask, masks.get(into.id)) : mask);
      part = round(unbroadcast(part, into.shape), into.dtype);
      parts.set(e, part);
      gradients.set(into.id, before ? round(elementwise((p, q) => p + q, before, part), into.dtype) : part);
      if (e.local) locals.set(e, localGradient(v, e, g, y));
    }
    masks.delete(v.id);
  }
  return { gradients, parts, locals };
}

/** The local gradient: what the rule makes of an upstream gradient of 1. */
function localGradient(v, e, g, y) {
  const op = OPS[v.op], operands = v.edges.map((x) => y.get(x.source));
  const local = op.pull(e.operand, make(g.shape, g.data.map(() => 1)), y.get(v.id), operands, v.params);
  const masked = op.mask ? elementwise((m, x) => (m ? x : 0), op.mask(e.operand, ...operands), local) : local;
  return round(masked, v.dtype);
}

const largest = (a) => (a?.data ? a.data.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0) : 0);

/** The largest difference of two arrays, relative to the size of their numbers, or to `scale` where that is larger: what is left
 *  of numbers that cancel is known only as well as they are. */
function difference(a, b, scale = 0) {
  if (!same(a.shape, b.shape)) return Infinity;
  const size = Math.max(largest(b), scale, 1e-300);
  return a.data.reduce((worst, x, i) => {
    const d = x === b.data[i] || (Number.isNaN(x) && Number.isNaN(b.data[i])) ? 0 : Math.abs(x - b.data[i]) / size;
    return Number.isNaN(d) ? Infinity : Math.max(worst, d);
  }, 0);
}

// The classic mistakes: the backward pass as beginners write it. Each gets `send(e, g)`, what the use e contributes for an
// upstream gradient g, and returns the gradients that it leaves and how many values it visited.
const add = (p, q) => (p ? elementwise((a, b) => a + b, p, q) : q);
const MOST_VISITS = 20000;

/** Depth first from the output, as recursion goes (with a stack: a graph can be deep), handing on whatever has arrived by then. */
function descend(graph, send, onlyOnce) {
  const grads = new Map([[graph.output, graph.of[graph.output].gradient]]);
  const visited = new Set([graph.output]);
  const call = (id) => ({ id, left: graph.of[id].edges.filter((e) => e.flows) });
  const stack = [call(graph.output)];
  let visits = 1;
  while (stack.length && visits < MOST_VISITS) {
    const { id, left } = stack.at(-1), e = left.shift();
    if (!e) { stack.pop(); continue; }
    grads.set(e.source, add(grads.get(e.source), send(e, grads.get(id))));
    if (onlyOnce && visited.has(e.source)) continue;
    visited.add(e.source);
    visits++;
    stack.push(call(e.source));
  }
  return { grads, visits };
}
const MISTAKES = {
  overwrite: {
    name: "= instead of +=",
    code: ["for v in reversed(values):", "    for p, local in v.operands:", "        p.grad = v.grad * local"],
    wrong: 2,
    why: "Each use overwrites what the use before it had contributed. Where paths meet, only the last contribution is left; "
      + "the law of total derivatives asks for their sum: p.grad += v.grad * local.",
    run(graph, send) {
      const grads = new Map([[graph.output, graph.of[graph.output].gradient]]);
      let visits = 0;
      for (const v of [...graph.values].reverse()) {
        if (!grads.has(v.id)) continue;
        visits++;
        for (const e of v.edges.filter((x) => x.flows)) grads.set(e.source, send(e, grads.get(v.id)));
      }
      return { grads, visits };
    },
  },
  recursion: {
    name: "Recursion without an order",
    code: ["def backward(v):", "    for p, local in v.operands:", "        p.grad += v.grad * local", "        backward(p)"],
    wrong: 3,
    why: "It calls on before all uses have contributed, and again after each further one: every call hands on the whole sum so "
      + "far, so what came first is counted again and again. And it walks every path: their number doubles with every fan-out.",
    run: (graph, send) => descend(graph, send, false),
  },
  depth: {
    name: "Each value once, depth first",
    code: ["def backward(v):", "    for p, local in v.operands:", "        p.grad += v.grad * local",
      "        if p not in visited:", "            visited.add(p)", "            backward(p)"],
    wrong: 5,
    why: "It visits a value when the first of its uses reaches it, and hands on a gradient that is not complete yet. What the "
      + "other uses add later never travels further. A topological order makes every use come before the value.",
    run: (graph, send) => descend(graph, send, true),
  },
};
