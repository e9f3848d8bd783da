// Drawing with Plotly; colours follow the style sheet, and so the light or dark scheme.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const fixed = (value, digits) => Number(value).toFixed(digits);
const known = (value, digits, unit = "") => value === null || value === undefined ? "unknown" : fixed(value, digits) + unit;
const settings = { responsive: true, displayModeBar: false };
const CHOSEN = 3; // trace of the ring around the chosen network

function axis(title) {
  const line = colour("line");
  return { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, title: { text: title } };
}

function layout(x, y, more = {}) {
  return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("ink"), size: 13 },
    margin: { l: 60, r: 20, t: 10, b: 50 }, hovermode: "closest", legend: { orientation: "h", y: -0.2 },
    xaxis: axis(x), yaxis: axis(y), ...more };
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return [low, high];
}

function measured(entries, name, paint, mode, symbol) {
  return {
    name, mode, type: "scatter", customdata: entries.map((e) => e.arch),
    x: entries.map((e) => e.latency_ms.median), y: entries.map((e) => e.accuracy),
    error_x: { type: "data", symmetric: false, visible: true, thickness: 1, color: paint,
      array: entries.map((e) => e.latency_ms.p90 - e.latency_ms.median),
      arrayminus: entries.map((e) => e.latency_ms.median - e.latency_ms.p10) },
    text: entries.map((e) => `${e.arch}<br>${fixed(e.accuracy, 2)} % (${fixed(e.interval[0], 1)}-${fixed(e.interval[1], 1)}), `
      + `${fixed(e.latency_ms.median, 3)} ms measured, ${fixed(e.predicted_latency_ms.median, 3)} ms predicted<br>`
      + `${fixed(e.macs / 1e6, 2)} M MACs, ${Math.round(e.params / 1e3)} k params`),
    hoverinfo: "text", line: { color: paint, shape: "hv" }, marker: { color: paint, size: 9, symbol },
  };
}

function limitLine(limit, dash) {
  return { type: "line", x0: limit, x1: limit, yref: "paper", y0: 0, y1: 1, line: { color: colour("limit"), dash } };
}

function drawFront(device, chosen, slider) {
  const cloud = device.evaluated;
  const traces = [
    { name: "evaluated (predicted latency)", mode: "markers", type: "scatter", x: cloud.map((y) => y[1]), y: cloud.map((y) => 100 - y[0]),
      marker: { color: colour("cloud"), size: 4, opacity: 0.6 }, hoverinfo: "skip" }, // else small points take the hover and the click of the large ones they lie under
    measured(device.baselines, "uniform scalings (measured)", colour("baseline"), "markers", "square"),
    measured(device.front, "front (measured)", colour("accent"), "lines+markers", "circle"),
    { name: "chosen", mode: "markers", type: "scatter", x: [chosen.latency_ms.median], y: [chosen.accuracy], hoverinfo: "skip",
      marker: { color: "rgba(0,0,0,0)", size: 18, line: { color: colour("accent"), width: 3 } }, showlegend: false },
  ];
  const shapes = [limitLine(Number.isFinite(slider) ? slider : 0, "dot"), ...(device.limit_ms === null ? [] : [limitLine(device.limit_ms, "dash")])];
  const [low, high] = extent([...device.front, ...device.baselines].map((e) => e.accuracy));
  const margin = 0.25 * (high - low) + 0.3;
  const drawing = layout(`latency on ${device.device} (ms)`, "validation accuracy (%)", { shapes });
  drawing.yaxis.range = [low - margin, high + margin];
  Plotly.react("front", traces, drawing, settings);
}

function moveRing(chosen) {
  Plotly.restyle("front", { x: [[chosen.latency_ms.median]], y: [[chosen.accuracy]] }, [CHOSEN]);
}

function moveLimit(limit) {
  Plotly.relayout("front", { "shapes[0].x0": limit, "shapes[0].x1": limit });
}

function diagonal(values) {
  const ends = extent(values);
  return { type: "scatter", mode: "lines", x: ends, y: ends, line: { color: colour("cloud"), dash: "dot" }, hoverinfo: "skip" };
}

function drawCurves(device) {
  const line = { color: colour("accent") };
  Plotly.react("volume", [{ type: "scatter", mode: "lines", x: device.curve.map((p) => p[0]), y: device.curve.map((p) => p[1]), line }],
    layout("evaluations", "hypervolume"), settings);
  const real = device.evaluated.map((y) => 100 - y[0]);
  Plotly.react("predictor", [{ type: "scatter", mode: "markers", x: real, y: device.predictor.predicted, marker: { ...line, size: 5, opacity: 0.7 } },
    diagonal(real)], layout("evaluated accuracy (%)", "predicted, held out (%)", { showlegend: false }), settings);
  const entries = [...device.front, ...device.baselines];
  const told = entries.map((e) => e.predicted_latency_ms);
  Plotly.react("latency", [
    { type: "scatter", mode: "markers", x: entries.map((e) => e.latency_ms.median), y: told.map((p) => p.median), marker: line,
      error_y: { type: "data", symmetric: false, thickness: 1, color: line.color, array: told.map((p) => p.high - p.median), arrayminus: told.map((p) => p.median - p.low) },
      text: entries.map((e) => e.arch), hovertemplate: "%{text}<br>%{x:.3f} ms measured, %{y:.3f} ms predicted<extra></extra>" },
    diagonal(entries.map((e) => e.latency_ms.median))], layout("measured (ms)", "predicted, with interval (ms)", { showlegend: false }), settings);
}

function drawFronts(devices) {
  const dashes = ["solid", "dash", "dot", "dashdot"], paints = ["accent", "baseline", "limit", "quiet"];
  Plotly.react("fronts", devices.map((d, i) => {
    const trace = measured(d.front, d.device, colour(paints[i % 4]), "lines+markers", i);
    trace.line.dash = dashes[i % 4];
    return trace;
  }), layout("latency on each device (ms)", "validation accuracy (%)"), settings);
}
