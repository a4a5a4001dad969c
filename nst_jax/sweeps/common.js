/* What the pages share: theirs are the global `axes` and `lanes`, and `makeCell`. */

const byId = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const indices = (count) => Array.from({ length: count }, (_, index) => index);

/** An element with properties (text goes in as textContent) and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/* ---- The settings: lanes by their place along the axes ---- */

const laneByPlace = new Map(lanes.map((lane) => [placeOf(lane).join(), lane]));
const across = columnAxis();
const down = indices(axes.length).filter((axis) => axis !== across);
const rows = down.reduce((count, axis) => count * axes[axis].labels.length, 1);
const columns = across < 0 ? 1 : axes[across].labels.length;

function placeOf(lane) {
  return axes.map((axis) => lane.place[axis.name]);
}

function laneAt(place) {
  return laneByPlace.get(place.join());
}

/** The axis along the columns: the ratio, or else the first of the longest; -1 if there is none. */
function columnAxis() {
  const ratio = axes.findIndex((axis) => axis.name === "ratio");
  const lengths = axes.map((axis) => axis.labels.length);
  return ratio >= 0 ? ratio : lengths.indexOf(Math.max(...lengths));
}

/** Place along every axis of a cell of the sheet; the first axis varies slowest over the rows. */
function placeOfCell(row, column) {
  const place = [];
  if (across >= 0) place[across] = column;
  for (const axis of [...down].reverse()) {
    const length = axes[axis].labels.length;
    place[axis] = row % length;
    row = Math.floor(row / length);
  }
  return place;
}

function describe(lane) {
  const labels = axes.map((axis) => `${axis.title} ${axis.labels[lane.place[axis.name]]}`);
  return labels.join(", ") || lane.name;
}

/* ---- The sheet of all settings ---- */

/** Two rows: the axes' titles, and the columns' labels. */
function makeHead() {
  const corner = () => (down.length ? [make("th")] : []);
  const title = make("th", { className: "title", colSpan: columns, scope: "colgroup" });
  title.textContent = axes[across].title;
  const labels = axes[across].labels.map(breakable);
  const second = corner();
  second.forEach((th) => {
    th.className = "title";
    th.append(...down.map((axis) => make("span", { textContent: axes[axis].title })));
  });
  const cells = [...second, ...labels.map(makeColumnHead)];
  return [make("tr", {}, ...corner(), title), make("tr", {}, ...cells)];
}

const makeColumnHead = (label) => make("th", { scope: "col", textContent: label });

/** A label with places where its line may end, which the browser does not see in file names. */
const breakable = (label) => label.replace(/[+_/.]+/g, "$&\u200b");

function makeRow(row) {
  const [place, above] = [placeOfCell(row, 0), row ? placeOfCell(row - 1, 0) : []];
  const labels = down.map((axis) => make("span", {
    textContent: breakable(axes[axis].labels[place[axis]]),
    className: place[axis] === above[axis] ? "" : "new",
  }));
  const header = down.length ? [make("th", { scope: "row" }, ...labels)] : [];
  const inRow = indices(columns).map((column) => laneAt(placeOfCell(row, column)));
  return make("tr", {}, ...header, ...inRow.map((lane) => make("td", {}, makeCell(lane))));
}

/* ---- Loss curves ---- */

const MARGIN = { top: 8, right: 14, bottom: 40, left: 54 };
const NOTHING = 1e-7; // of the largest: what rounding leaves of a content loss of 0 at the start

/**
 * Draw a curve for each lane, a term by step on a logarithmic scale, into the chart's box.
 *
 * A chart has a box, a height and, where not only the steps taken are to have room, the last step;
 * it gets the width of the box and curves: the path and the places of each lane.
 */
function drawCurves(chart, term, label) {
  const { box, height } = chart;
  chart.width = box.clientWidth;
  chart.curves = new Map();
  const all = lanes.map((lane) => ({ lane, points: seriesOf(lane, term) }));
  const scales = makeScales(chart, all.flatMap(({ points }) => points));
  box.textContent = scales ? "" : "There are no values of this term.";
  if (!scales) return;
  const svg = draw("svg", { viewBox: `0 0 ${chart.width} ${height}`, role: "img" });
  svg.setAttribute("aria-label", label);
  drawAxes(svg, chart, scales);
  for (const { lane, points } of all) drawCurve(svg, chart, lane, points, scales);
  box.append(svg);
}

/** An SVG element. */
function draw(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** Step and value of each entry of the history; a value that is no number is null, and a gap. */
function seriesOf(lane, term) {
  return (lane.history ?? []).map((entry) => ({
    step: entry.step,
    value: Number.isFinite(entry[term]) ? entry[term] : null,
  }));
}

/** From step and value to pixels, or null if there is nothing to draw. 0 lies on the floor. */
function makeScales(chart, points) {
  const known = points.filter(({ value }) => value !== null);
  if (!known.length) return null;
  const nothing = NOTHING * largest(known.map(({ value }) => value));
  const logs = known.filter(({ value }) => value > nothing).map(({ value }) => Math.log10(value));
  const withZero = logs.length < known.length;
  const [low, high] = paddedRange(logs.length ? logs : [0], withZero);
  const last = Math.max(1, chart.last ?? 0, largest(known.map(({ step }) => step)));
  const width = chart.width - MARGIN.left - MARGIN.right;
  const height = chart.height - MARGIN.top - MARGIN.bottom;
  const share = (value) => (value > nothing ? (Math.log10(value) - low) / (high - low) : 0);
  return {
    x: (step) => MARGIN.left + (width * step) / last,
    y: (value) => MARGIN.top + height * (1 - share(value)),
    xTicks: evenTicks(0, last, clamp(width / 70, 2, 10)).filter(Number.isInteger),
    yTicks: [...(withZero ? [0] : []), ...(logs.length ? logTicks(low, high, withZero) : [])],
  };
}

const largest = (numbers) => numbers.reduce((a, b) => Math.max(a, b), -Infinity);
const smallest = (numbers) => numbers.reduce((a, b) => Math.min(a, b), Infinity);

function paddedRange(logs, withZero) {
  const [low, high] = [smallest(logs), largest(logs)];
  const room = Math.max(0.04 * (high - low), 0.03);
  return [low - (withZero ? Math.max(8 * room, 0.5) : room), high + room];
}

/** Round values between two logarithms: decades, or 1-2-5, or evenly spaced, whichever suffice. */
function logTicks(low, high, withZero) {
  const floor = withZero ? low + 0.08 * (high - low) : low; // keeps off the label of 0
  const inside = (value) => Math.log10(value) >= floor && Math.log10(value) <= high;
  const first = Math.floor(low);
  const powers = indices(Math.ceil(high) - first + 1).map((index) => first + index);
  const stride = Math.ceil(powers.length / 8);
  const ofPower = (digits, power) => digits.map((digit) => Number(`${digit}e${power}`));
  const sparse = powers.filter((power) => power % stride === 0);
  const decades = sparse.flatMap((power) => ofPower([1], power)).filter(inside);
  const fine = powers.flatMap((power) => ofPower([1, 2, 5], power)).filter(inside);
  const enough = [decades, fine].find((ticks) => ticks.length >= 3);
  return enough ?? evenTicks(10 ** floor, 10 ** high, 4);
}

/** Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `count` of them. */
function evenTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough * 0.99);
  const first = Math.ceil(low / step);
  const found = Math.floor(high / step) - first + 1;
  const multiples = indices(found).map((index) => (first + index) * step);
  return multiples.map((value) => Number(value.toPrecision(12))); // 3 * 0.1 is 0.30000000000000004
}

function drawAxes(svg, chart, { x, y, xTicks, yTicks }) {
  const [left, right] = [MARGIN.left, chart.width - MARGIN.right];
  const floor = chart.height - MARGIN.bottom;
  for (const value of yTicks) {
    svg.append(draw("line", { class: "rule", x1: left, x2: right, y1: y(value), y2: y(value) }));
    svg.append(draw("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  svg.append(draw("line", { class: "rule", x1: left, x2: right, y1: floor, y2: floor }));
  for (const step of xTicks) {
    svg.append(draw("text", { x: x(step), y: floor + 18, "text-anchor": "middle" }, step));
  }
  const middle = { x: (left + right) / 2, "text-anchor": "middle" };
  svg.append(draw("text", { ...middle, y: floor + 36 }, "step"));
}

function drawCurve(svg, chart, lane, points, { x, y }) {
  const height = (value) => (value === null ? null : y(value));
  const places = points.map((point) => ({ ...point, x: x(point.step), y: height(point.value) }));
  const path = draw("path", { class: "curve", d: pathThrough(places) });
  chart.curves.set(lane, { path, places });
  svg.append(path);
}

/** An SVG path, broken at gaps; "h0" makes a dot of a point that stands alone. */
function pathThrough(places) {
  const parts = places.map(({ x, y }, index) => {
    if (y === null) return "";
    const place = `${x.toFixed(1)} ${y.toFixed(1)}`;
    const starts = index === 0 || places[index - 1].y === null;
    return starts ? `M${place}h0` : `L${place}`;
  });
  return parts.join("");
}

/** A value as it would be typed: numbers short, lists with commas. */
function format(value) {
  if (value === null) return "–";
  if (Array.isArray(value)) return value.map(format).join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number" || Number.isSafeInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e4) return String(Number(value.toPrecision(4)));
  return String(Number(value.toPrecision(4)).toExponential()).replace("+", "");
}
