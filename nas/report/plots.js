// The report's charts: the front of a device, fronts of all devices, and how good the search and its predictors were.
const byId = (id) => document.getElementById(id);
const fixed = (value, digits) => Number(value).toFixed(digits);
const known = (value, digits, unit = "") => value === null || value === undefined ? "unknown" : fixed(value, digits) + unit;

function measured(entries, more) {
  return {
    x: entries.map((e) => e.latency_ms.median), y: entries.map((e) => e.accuracy),
    errorX: entries.map((e) => [e.latency_ms.p10, e.latency_ms.p90]),
    hover: (i) => {
      const e = entries[i];
      return [e.arch,
        `${fixed(e.accuracy, 2)} % (${fixed(e.interval[0], 1)}-${fixed(e.interval[1], 1)})`,
        `${fixed(e.latency_ms.median, 3)} ms measured, ${fixed(e.predicted_latency_ms.median, 3)} ms predicted`,
        `${fixed(e.macs / 1e6, 2)} M MACs, ${Math.round(e.params / 1e3)} k params`];
    },
    ...more,
  };
}

// The front of a device over everything evaluated; `choose` is told which network was clicked.
function drawFront(device, choose) {
  const pick = (entries) => (i) => choose(entries[i]);
  const [low, high] = extent([...device.front, ...device.baselines].map((e) => e.accuracy)), room = 0.25 * (high - low) + 0.3;
  chart(byId("front"), {
    x: `latency on ${device.device} (ms)`, y: "validation accuracy (%)", yRange: [low - room, high + room],
    series: [
      { name: "evaluated (predicted latency)", shape: "cloud", paint: "cloud", x: device.evaluated.map((y) => y[1]), y: device.evaluated.map((y) => 100 - y[0]) },
      measured(device.baselines, { name: "uniform scalings (measured)", shape: "points", paint: "baseline", symbol: "square", click: pick(device.baselines) }),
      measured(device.front, { name: "front (measured)", shape: "steps", marks: true, paint: "accent", click: pick(device.front) }),
    ],
  });
}

function moveRing(entry) {
  overlay(byId("front"), { ring: [entry.latency_ms.median, entry.accuracy] });
}

// The slider's limit is dotted, the search's dashed.
function moveLimit(limit, device) {
  const lines = [...(Number.isFinite(limit) ? [{ at: limit, dash: "2 4" }] : []), ...(device.limit_ms === null ? [] : [{ at: device.limit_ms, dash: "8 5" }])];
  overlay(byId("front"), { lines });
}

function diagonal(values) {
  const ends = extent(values);
  return { shape: "line", paint: "cloud", dash: "2 4", x: ends, y: ends };
}

function drawCurves(device) {
  chart(byId("volume"), { x: "evaluations", y: "hypervolume",
    series: [{ shape: "line", paint: "accent", x: device.curve.map((p) => p[0]), y: device.curve.map((p) => p[1]) }] });
  const real = device.evaluated.map((y) => 100 - y[0]);
  chart(byId("predictor"), { x: "evaluated accuracy (%)", y: "predicted, held out (%)",
    series: [{ shape: "cloud", paint: "accent", x: real, y: device.predictor.predicted }, diagonal(real)] });
  const entries = [...device.front, ...device.baselines], told = entries.map((e) => e.predicted_latency_ms);
  const x = entries.map((e) => e.latency_ms.median);
  chart(byId("latency"), { x: "measured (ms)", y: "predicted, with interval (ms)", series: [diagonal(x), {
    shape: "points", paint: "accent", x, y: told.map((p) => p.median), errorY: told.map((p) => [p.low, p.high]),
    hover: (i) => [entries[i].arch, `${fixed(x[i], 3)} ms measured, ${fixed(told[i].median, 3)} ms predicted`],
  }] });
}

function drawFronts(devices) {
  const paints = ["accent", "baseline", "limit", "quiet"], symbols = ["circle", "square", "diamond", "triangle"], dashes = [undefined, "8 5", "2 4", "8 4 2 4"];
  chart(byId("fronts"), { x: "latency on each device (ms)", y: "validation accuracy (%)", series: devices.map((d, i) => measured(d.front, {
    name: d.device, shape: "steps", marks: true, paint: paints[i % 4], symbol: symbols[i % 4], dash: dashes[i % 4],
  })) });
}
