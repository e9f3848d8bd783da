// Charts as plain SVG: axes, points, lines and intervals, with hover, click and drag to zoom. Colours are variables of
// the style sheet, so that a chart follows the light or dark scheme without being drawn again.
//
//   chart(element, { x: title, y: title, series, yRange })   draws; called again it replaces
//   overlay(element, { ring: [x, y], lines: [{ at, dash }] })   a ring around a point, and vertical limits
//
// A series: { name, x, y, paint, shape: "cloud" | "points" | "line" | "steps" | "band", and by option marks: true (points
// on a line), symbol, dash, errorX, errorY: [low, high] pairs, hover: (i) => lines of text, click: (i) => ..., legend: false }.
const SYMBOLS = {
  circle: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z", square: "M-4-4h8v8h-8z", diamond: "M0-5.5L5.5 0 0 5.5-5.5 0z",
  triangle: "M0-5.5L5 4H-5z",
};
const REACH = 14; // px from the pointer to a point that it still means
const charts = new WeakMap(); // element -> what is drawn in it

function shape(kind, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const variable = (name) => `var(--${name})`;

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return [low, high];
}

// Round numbers from low to high, at most so many, as text with the same decimals.
function ticks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * (1 - 1e-9));
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), found = [];
  for (let k = Math.ceil(low / step - 1e-9); k <= high / step + 1e-9; k++) found.push((k * step).toFixed(digits));
  return found;
}

// From the least to the largest of what a chart shows along an axis, with some room.
function span(series, axis, errors) {
  const ends = series.flatMap((s) => [...(s[axis].length ? extent(s[axis]) : []), ...(s[errors] ? extent(s[errors].flat()) : [])]);
  const [low, high] = ends.length ? extent(ends) : [0, 1], room = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - room, high + room];
}

function trail(xs, ys, steps) {
  return xs.map((x, i) => (i === 0 ? `M${x} ${ys[0]}` : steps ? `H${x}V${ys[i]}` : `L${x} ${ys[i]}`)).join("");
}

function drawSeries(area, series, toX, toY) {
  const xs = series.x.map(toX), ys = series.y.map(toY), paint = variable(series.paint);
  if (series.shape === "cloud") { // one path of round dots: thousands of elements would take seconds
    area.append(shape("path", { class: "cloud", d: xs.map((x, i) => `M${x} ${ys[i]}h0`).join(""), stroke: paint }));
  } else if (series.shape === "band") {
    area.append(shape("path", { class: "band", d: `${trail(xs, ys)}z`, fill: paint }));
  } else if (series.shape !== "points") {
    area.append(shape("path", { class: "line", d: trail(xs, ys, series.shape === "steps"), stroke: paint, "stroke-dasharray": series.dash }));
  }
  if (series.shape !== "points" && !series.marks) return;
  const bars = (series.errorX || []).map(([low, high], i) => `M${toX(low)} ${ys[i]}H${toX(high)}`)
    .concat((series.errorY || []).map(([low, high], i) => `M${xs[i]} ${toY(low)}V${toY(high)}`)).join("");
  if (bars) area.append(shape("path", { class: "error", d: bars, stroke: paint }));
  const d = SYMBOLS[series.symbol || "circle"];
  for (const [i, x] of xs.entries()) area.append(shape("path", { class: "mark", d, transform: `translate(${x} ${ys[i]})`, fill: paint }));
}

function drawAxes(frame, state, box) {
  const { xRange, yRange, toX, toY, spec } = state;
  for (const text of ticks(...xRange, Math.max(2, (box.right - box.left) / 80))) {
    const x = toX(Number(text));
    frame.append(shape("path", { class: "grid", d: `M${x} ${box.top}V${box.bottom}` }), shape("text", { x, y: box.bottom + 18, "text-anchor": "middle" }, text));
  }
  for (const text of ticks(...yRange, Math.max(2, (box.bottom - box.top) / 50))) {
    const y = toY(Number(text));
    frame.append(shape("path", { class: "grid", d: `M${box.left} ${y}H${box.right}` }), shape("text", { x: box.left - 6, y: y + 4, "text-anchor": "end" }, text));
  }
  frame.append(shape("text", { class: "title", x: (box.left + box.right) / 2, y: box.bottom + 40, "text-anchor": "middle" }, spec.x),
    shape("text", { class: "title", transform: `translate(13 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, spec.y));
}

const sizeOf = (frame) => `${frame.clientWidth} x ${frame.clientHeight}`;

function redraw(element) {
  const state = charts.get(element), { spec, zoom, frame } = state;
  state.size = sizeOf(frame);
  const width = frame.clientWidth, height = frame.clientHeight;
  if (!width || !height) return; // hidden: drawn once it is shown, by the observer
  frame.replaceChildren();
  state.xRange = zoom ? zoom.x : span(spec.series, "x", "errorX");
  state.yRange = zoom ? zoom.y : spec.yRange || span(spec.series, "y", "errorY");
  const longest = Math.max(...ticks(...state.yRange, Math.max(2, (height - 60) / 50)).map((text) => text.length));
  const box = { left: 30 + 7.5 * longest, right: width - 12, top: 8, bottom: height - 48 };
  const [xLow, xHigh] = state.xRange, [yLow, yHigh] = state.yRange;
  const rounded = (value) => Math.round(10 * value) / 10; // short paths
  state.toX = (x) => rounded(box.left + (x - xLow) / (xHigh - xLow) * (box.right - box.left));
  state.toY = (y) => rounded(box.bottom - (y - yLow) / (yHigh - yLow) * (box.bottom - box.top));
  state.fromX = (x) => xLow + (x - box.left) / (box.right - box.left) * (xHigh - xLow);
  state.fromY = (y) => yLow + (box.bottom - y) / (box.bottom - box.top) * (yHigh - yLow);
  state.box = box;
  drawAxes(frame, state, box);
  // an SVG within clips what lies outside the axes
  const size = { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top };
  const area = shape("svg", { ...size, viewBox: `${size.x} ${size.y} ${size.width} ${size.height}` });
  for (const series of spec.series) drawSeries(area, series, state.toX, state.toY);
  state.over = shape("g");
  area.append(state.over);
  frame.append(area);
  state.points = spec.series.flatMap((s) => s.hover ? Array.from(s.x, (x, i) => ({ x: state.toX(x), y: state.toY(s.y[i]), series: s, i })) : []);
  drawOverlay(state);
}

function drawOverlay({ over, toX, toY, box, ring, lines = [] }) {
  if (!over) return;
  over.replaceChildren(...lines.map(({ at, dash }) => shape("path", { class: "limit", d: `M${toX(at)} ${box.top}V${box.bottom}`, "stroke-dasharray": dash })));
  if (ring) over.append(shape("circle", { class: "ring", cx: toX(ring[0]), cy: toY(ring[1]), r: 9.5 }));
}

function legend(series) {
  const made = document.createElement("ul");
  made.className = "legend";
  for (const s of series.filter((s) => s.name && s.legend !== false)) {
    const key = shape("svg", { width: 22, height: 12, viewBox: "-11 -6 22 12" }), item = document.createElement("li");
    if (s.shape !== "points" && s.shape !== "cloud") key.append(shape("path", { class: "line", d: "M-11 0H11", stroke: variable(s.paint), "stroke-dasharray": s.dash }));
    if (s.shape === "points" || s.marks) key.append(shape("path", { d: SYMBOLS[s.symbol || "circle"], fill: variable(s.paint) }));
    if (s.shape === "cloud") key.append(shape("path", { class: "cloud", d: "M-5 2h0M0-2h0M5 1h0", stroke: variable(s.paint) }));
    item.append(key, s.name);
    made.append(item);
  }
  return made.children.length > 1 ? made : "";
}

function nearest(state, x, y) {
  let found = null, least = REACH ** 2;
  for (const point of state.points) {
    const far = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (far <= least) { found = point; least = far; }
  }
  return found;
}

function showTip({ tip, frame }, point) {
  tip.hidden = !point;
  frame.style.cursor = point && point.series.click ? "pointer" : "";
  if (!point) return;
  tip.replaceChildren(...point.series.hover(point.i).map((text) => Object.assign(document.createElement("div"), { textContent: text })));
  const room = frame.clientWidth - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(point.x + 12, room))}px`;
  tip.style.top = `${point.y > tip.offsetHeight + 12 ? point.y - tip.offsetHeight - 12 : point.y + 14}px`;
}

function listen(element, state) {
  const { frame } = state;
  let start = null, dragged = false;
  const at = (event) => { const origin = frame.getBoundingClientRect(); return [event.clientX - origin.left, event.clientY - origin.top]; };
  frame.addEventListener("pointerdown", (event) => {
    dragged = false;
    start = event.pointerType === "mouse" && event.button === 0 ? at(event) : null; // a finger scrolls the page
    if (start) frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    dragged = dragged || Boolean(start && Math.hypot(x - start[0], y - start[1]) > 6);
    showTip(state, dragged ? null : nearest(state, x, y));
    if (!start || !dragged) return;
    drawOverlay(state);
    const [left, right] = extent([start[0], x]), [top, bottom] = extent([start[1], y]);
    state.over.append(shape("rect", { class: "drag", x: left, y: top, width: right - left, height: bottom - top }));
  });
  frame.addEventListener("pointerup", (event) => {
    if (start && dragged) {
      const [x, y] = at(event);
      const xs = extent([state.fromX(start[0]), state.fromX(x)]), ys = extent([state.fromY(start[1]), state.fromY(y)]);
      if (xs[0] < xs[1] && ys[0] < ys[1]) state.zoom = { x: xs, y: ys };
      redraw(element);
    }
    start = null;
  });
  frame.addEventListener("pointerleave", () => showTip(state, null));
  frame.addEventListener("click", (event) => {
    const point = dragged ? null : nearest(state, ...at(event));
    if (point && point.series.click) point.series.click(point.i);
  });
  frame.addEventListener("dblclick", () => { state.zoom = null; redraw(element); });
  new ResizeObserver(() => { if (state.size !== sizeOf(frame)) redraw(element); }).observe(frame);
}

function chart(element, spec) {
  let state = charts.get(element);
  if (!state) {
    const frame = shape("svg", { class: "frame" }), tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    state = { frame, tip, points: [] };
    charts.set(element, state);
    listen(element, state);
  }
  state.spec = spec;
  state.zoom = null;
  element.replaceChildren(state.frame, state.tip, legend(spec.series));
  redraw(element);
}

function overlay(element, { ring, lines }) {
  const state = charts.get(element);
  if (ring) state.ring = ring;
  if (lines) state.lines = lines;
  drawOverlay(state);
}
