"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const fixed = (value, digits) => Number(value).toFixed(digits);
const COLOURS = { front: "#0b62c4", baseline: "#c2540a", evaluated: "#8b949e", limit: "#b3261e" };
let device = data.devices[0];
let chosen = device.front[0] || device.baselines[0];

function theme() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
    margin: { l: 60, r: 20, t: 10, b: 50 }, hovermode: "closest", axis,
    legend: { orientation: "h", y: -0.2 },
  };
}
const axis = (title) => ({ ...theme().axis, title: { text: title } });
const settings = { responsive: true, displayModeBar: false };

function fill(table, columns, rows, { choose } = {}) {
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = column;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const { cells, style, value } of rows) {
    const row = body.insertRow();
    if (style) row.className = style;
    for (const cell of cells) row.insertCell().textContent = cell;
    if (choose) {
      row.tabIndex = 0;
      row.addEventListener("click", () => choose(value));
      row.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(value); } });
    }
  }
}

// standard error of a proportion: what the validation images can tell apart
function halfWidth(accuracy) {
  const p = accuracy / 100;
  return 196 * Math.sqrt(p * (1 - p) / device.validation_images);
}

function points(entries, name, colour, mode, symbol) {
  return {
    name, mode, type: "scatter", customdata: entries,
    x: entries.map((e) => e.latency_ms.median), y: entries.map((e) => e.accuracy),
    error_x: { type: "data", symmetric: false, visible: true, thickness: 1, color: colour,
      array: entries.map((e) => e.latency_ms.p90 - e.latency_ms.median),
      arrayminus: entries.map((e) => e.latency_ms.median - e.latency_ms.p10) },
    text: entries.map((e) => `${e.arch}<br>${fixed(e.accuracy, 2)} %, ${fixed(e.latency_ms.median, 3)} ms measured, `
      + `${fixed(e.predicted_latency_ms.median, 3)} ms predicted<br>${fixed(e.macs / 1e6, 2)} M MACs, ${Math.round(e.params / 1e3)} k params`),
    hoverinfo: "text", line: { color: colour, shape: "hv" }, marker: { color: colour, size: 9, symbol },
  };
}

function drawFront() {
  const cloud = device.evaluated;
  const traces = [
    { name: "evaluated (predicted latency)", mode: "markers", type: "scatter", x: cloud.map((y) => y[1]), y: cloud.map((y) => 100 - y[0]),
      marker: { color: COLOURS.evaluated, size: 4, opacity: 0.6 }, hoverinfo: "skip" },
    points(device.baselines, "uniform scalings (measured)", COLOURS.baseline, "markers", "square"),
    points(device.front, "front (measured)", COLOURS.front, "lines+markers", "circle"),
    { name: "chosen", mode: "markers", type: "scatter", x: [chosen.latency_ms.median], y: [chosen.accuracy], hoverinfo: "skip",
      marker: { color: "rgba(0,0,0,0)", size: 18, line: { color: COLOURS.front, width: 3 } }, showlegend: false },
  ];
  const shapes = device.limit_ms === null ? [] : [{ type: "line", x0: device.limit_ms, x1: device.limit_ms, yref: "paper", y0: 0, y1: 1,
    line: { color: COLOURS.limit, dash: "dash" } }];
  const measured = [...device.front, ...device.baselines].map((e) => e.accuracy);
  const low = Math.min(...measured), high = Math.max(...measured), margin = 0.25 * (high - low) + 0.3;
  const layout = { ...theme(), shapes, xaxis: axis(`latency on ${device.device} (ms)`),
    yaxis: { ...axis("validation accuracy (%)"), range: [low - margin, high + margin] } };
  Plotly.react("front", traces, layout, settings);
}

function showFronts() {
  const entries = [...device.front.map((e) => ["front", e]), ...device.baselines.map((e) => ["uniform", e])];
  fill(byId("networks"), ["kind", "accuracy % (95 %)", "ms measured", "ms predicted", "M MACs", "k params", "MiB peak", "architecture"],
    entries.map(([kind, e]) => ({ value: e, style: e === chosen ? "chosen" : "", cells: [
      kind, `${fixed(e.accuracy, 2)} ± ${fixed(halfWidth(e.accuracy), 1)}`, fixed(e.latency_ms.median, 3),
      fixed(e.predicted_latency_ms.median, 3), fixed(e.macs / 1e6, 2), Math.round(e.params / 1e3), fixed(e.peak_memory_bytes / 2 ** 20, 2), e.arch] })),
    { choose });
}

function showNetwork() {
  byId("facts").textContent = `${chosen.arch}: ${fixed(chosen.accuracy, 2)} % on ${device.validation_images} validation images, `
    + `${fixed(chosen.latency_ms.median, 3)} ms measured (10-90 %: ${fixed(chosen.latency_ms.p10, 3)}-${fixed(chosen.latency_ms.p90, 3)}, `
    + `${chosen.latency_runs} calls), ${fixed(chosen.predicted_latency_ms.median, 3)} ms predicted.`;
  byId("command").textContent = device.front.includes(chosen)
    ? `nas export ${data.folder} --device ${device.device} --pick ${chosen.arch}` : "A uniform scaling, for comparison.";
  const total = chosen.blocks.reduce((sum, b) => sum + (b.ms || 0), 0);
  const label = (b) => b.name + (b.kernel ? ` k${b.kernel} e${b.expand}` : "") + (b.skipped ? " (skipped)" : "");
  fill(byId("blocks"), ["block", "kernel", "expansion", "output", "M MACs", "params", "ms predicted", "share"],
    chosen.blocks.map((b) => ({ style: b.skipped ? "skipped" : "", cells: b.skipped ? [b.name, "", "", "skipped", "", "", "", ""] : [
      b.name, b.kernel ?? "", b.expand ?? "", b.shape.join(" x "), fixed(b.macs / 1e6, 3), b.params, fixed(b.ms, 4), `${fixed(100 * b.ms / (total || 1), 1)} %`] })));
  Plotly.react("layers", [{ type: "bar", x: chosen.blocks.map(label), y: chosen.blocks.map((b) => b.ms || 0),
    marker: { color: chosen.blocks.map((b) => b.skipped ? COLOURS.evaluated : COLOURS.front) } }],
    { ...theme(), xaxis: { ...theme().axis, tickangle: -60 }, yaxis: axis("predicted ms") }, settings);
}

function showLimit() {
  const all = device.front.map((e) => e.latency_ms.median);
  const low = Math.min(...all), high = Math.max(...all);
  const limit = low + (high - low) * byId("limit").value / 1000;
  const best = device.front.filter((e) => e.latency_ms.median <= limit + 1e-9).sort((a, b) => b.accuracy - a.accuracy)[0];
  byId("best").textContent = best ? `${fixed(limit, 3)} ms: best is ${fixed(best.accuracy, 2)} % in ${fixed(best.latency_ms.median, 3)} ms` : "no network";
  return best;
}

function showRest() {
  byId("summary").textContent = `${device.evaluations} subnets evaluated with ${device.searcher}, seed ${device.seed}; `
    + `${device.front.length} networks on the measured front` + (device.limit_ms === null ? "." : `, limit ${device.limit_ms} ms.`)
    + (device.over_limit.length ? ` ${device.over_limit.length} candidates broke the limit when measured and are not shown.` : "");
  Plotly.react("volume", [{ type: "scatter", mode: "lines", x: device.curve.map((p) => p[0]), y: device.curve.map((p) => p[1]), line: { color: COLOURS.front } }],
    { ...theme(), xaxis: axis("evaluations"), yaxis: axis("hypervolume") }, settings);
  const real = device.evaluated.map((y) => 100 - y[0]);
  Plotly.react("predictor", [{ type: "scatter", mode: "markers", x: real, y: device.predictor.predicted, marker: { color: COLOURS.front, size: 5, opacity: 0.7 } },
    { type: "scatter", mode: "lines", x: [Math.min(...real), Math.max(...real)], y: [Math.min(...real), Math.max(...real)], line: { color: COLOURS.evaluated, dash: "dot" }, hoverinfo: "skip" }],
    { ...theme(), showlegend: false, xaxis: axis("evaluated accuracy (%)"), yaxis: axis("predicted, held out (%)") }, settings);
  const held = device.table.held_out, c = device.conditions;
  const rows = [
    ["device", device.device], ["processor", c.cpu], ["runtime", `ONNX Runtime ${c.onnxruntime}, ${c.provider}, ${c.threads} thread(s), batch ${c.batch}, ${c.optimization}`],
    ["latency table", `${device.table.kernels} kernels; ${held.networks} held-out networks: ${fixed(100 * held.within_5, 0)} % within 5 %, ${fixed(100 * held.within_10, 0)} % within 10 %, Spearman ${fixed(held.spearman, 3)}`],
    ["accuracy predictor", `${device.predictor.subnets} subnets held out in turn: RMSE ${fixed(device.predictor.rmse, 3)} points, Kendall tau ${fixed(device.predictor.kendall_tau, 3)}`],
    ["data", `${data.config.data.source}, ${device.validation_images} validation images`],
    ["versions", Object.entries(data.config.versions).map(([k, v]) => `${k} ${v}`).join(", ")],
  ];
  fill(byId("conditions"), ["what", "value"], rows.map((cells) => ({ cells })));
  fill(byId("exports"), ["name", "accuracy % (test)", "ms median", "ms p10-p90", "M MACs", "k params", "max |Flax - ORT|", "file"],
    data.exports.map((e) => ({ cells: [e.name, fixed(e.accuracy, 2), fixed(e.latency_ms.median, 3), `${fixed(e.latency_ms.p10, 3)}-${fixed(e.latency_ms.p90, 3)}`,
      fixed(e.macs / 1e6, 2), Math.round(e.params / 1e3), Number(e.max_abs_diff).toExponential(1), e.path] })));
}

function choose(entry) { chosen = entry; drawFront(); showFronts(); showNetwork(); }
function chooseDevice(next) {
  device = next;
  chosen = device.front[0] || device.baselines[0];
  showRest();
  choose(showLimit() || chosen);
}

for (const [i, d] of data.devices.entries()) byId("device").add(new Option(d.device, i));
byId("device").addEventListener("change", (event) => chooseDevice(data.devices[event.target.value]));
byId("limit").addEventListener("input", () => { const best = showLimit(); if (best) choose(best); });
chooseDevice(device);
byId("front").on("plotly_click", (event) => { const entry = event.points[0].customdata; if (entry) choose(entry); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { showRest(); choose(chosen); });
