// State of the page: which device, which network, which limit; and the tables of all networks.
const data = JSON.parse(document.getElementById("data").textContent);
let device = data.devices[0];
let chosen = null;
let limit = Infinity;
let rows = new Map(); // architecture and kind -> row

const entriesOf = (d) => [...d.front.map((e) => ["front", e]), ...d.baselines.map((e) => ["uniform", e])];

function listNetworks() {
  const entries = entriesOf(device);
  const columns = ["network", `accuracy % (${100 * data.level} %)`, "ms measured", "ms predicted", "M MACs", "k params", "KiB peak", "architecture"];
  const made = fill(byId("networks"), columns, entries.map(([kind, e], i) => {
    const button = element("button", "", `${kind} ${kind === "front" ? i + 1 : i + 1 - device.front.length}`);
    button.type = "button";
    return { cells: [button, `${fixed(e.accuracy, 2)} (${fixed(e.interval[0], 1)}-${fixed(e.interval[1], 1)})`, fixed(e.latency_ms.median, 3),
      fixed(e.predicted_latency_ms.median, 3), fixed(e.macs / 1e6, 2), Math.round(e.params / 1e3), fixed(e.peak_memory_bytes / 1024, 0), e.arch] };
  }));
  rows = new Map(entries.map(([, e], i) => [e, made[i]]));
  for (const [entry, row] of rows) row.addEventListener("click", () => choose(entry));
}

function mark() {
  for (const [entry, row] of rows) {
    row.className = entry === chosen ? "chosen" : entry.latency_ms.median > limit ? "over" : "";
    row.querySelector("button").setAttribute("aria-pressed", entry === chosen);
  }
}

function choose(entry) {
  chosen = entry;
  mark();
  moveRing(entry);
  showNetwork();
}

// as a shell reads it: single quotes keep everything, a quote itself is written '\''
const quoted = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

function showNetwork() {
  showFacts(chosen, device, data.level);
  showLayers(chosen);
  showElsewhere(chosen, device);
  const found = device.front.includes(chosen);
  byId("command").textContent = found ? `nas export ${quoted(data.folder)} --device ${quoted(device.device)} --pick ${quoted(chosen.arch)}`
    : "A uniform scaling, for comparison: only networks of the front are exported.";
  byId("copy").hidden = !found;
  byId("copied").textContent = "";
}

async function copy() {
  const text = byId("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
    byId("copied").textContent = "copied";
  } catch { // a page opened as a file may not write the clipboard: select the text for Ctrl-C instead
    getSelection().selectAllChildren(byId("command"));
    byId("copied").textContent = "selected: press Ctrl-C";
  }
}

// Takes the limit from the slider; returns the most accurate network within it.
function slide() {
  if (!device.front.length) {
    byId("best").textContent = "no network of the front";
    return null;
  }
  const [low, high] = extent(device.front.map((e) => e.latency_ms.median));
  limit = (low + (high - low) * byId("limit").value / 1000) * (1 + 1e-9);
  const best = device.front.filter((e) => e.latency_ms.median <= limit).sort((a, b) => b.accuracy - a.accuracy)[0];
  byId("best").textContent = `${fixed(limit, 3)} ms: best is ${fixed(best.accuracy, 2)} % in ${fixed(best.latency_ms.median, 3)} ms`;
  return best;
}

function conditions() {
  const held = device.table.held_out, c = device.conditions, settings = data.config.data;
  return [
    ["device", device.device], ["processor", c.accelerator || c.cpu],
    ["runtime", `ONNX Runtime ${c.onnxruntime}, ${c.provider}, ${c.threads} thread(s), batch ${c.batch}, ${c.precision}, ${c.optimization}`],
    ["latencies", "medians of whole networks, measured again after the search; interval: 10-90 % of the calls"],
    ["predicted latencies", `sums over a table of ${device.table.kernels} kernels; ${held.networks} held-out networks: ${fixed(100 * held.within_5, 0)} % within 5 %, ${fixed(100 * held.within_10, 0)} % within 10 %, Spearman ${fixed(held.spearman, 3)}`],
    ["accuracies", `supernet's weights, batch norm recalibrated, on ${device.validation_images} validation images; Wilson's ${100 * data.level} % intervals, which say nothing of the search having picked the best of many`],
    ["accuracy predictor", `${device.predictor.subnets} subnets held out in turn: RMSE ${fixed(device.predictor.rmse, 3)} points, Kendall tau ${fixed(device.predictor.kendall_tau, 3)}`],
    ["hypervolume", `reference point ${device.reference.map((v, i) => `${fixed(v, 3)} ${["% error", "ms"][i] || device.objectives[i]}`).join(", ")}: the worst of everything evaluated`],
    ["data", `${settings.source}, fingerprint ${settings.fingerprint.slice(0, 12)}`],
    ["training", Object.entries(data.config.train || {}).map(([k, v]) => `${k}=${v}`).join(", ")],
    ["versions", Object.entries(data.config.versions).map(([k, v]) => `${k} ${v}`).join(", ")],
    ["commit", data.config.git_commit || "unknown"],
  ];
}

function showRest() {
  byId("summary").textContent = `${device.evaluations} subnets evaluated with ${device.searcher}, seed ${device.seed}; `
    + `${device.front.length} networks on the measured front` + (device.limit_ms === null ? "." : `, limit ${device.limit_ms} ms.`)
    + (device.over_limit.length ? ` ${device.over_limit.length} candidates broke the limit when measured and are not shown.` : "");
  fill(byId("conditions"), ["what", "value"], conditions().map((cells) => ({ cells })));
  fill(byId("exports"), ["name", `accuracy % on test images (${100 * data.level} %)`, "ms median", "ms p10-p90", "M MACs", "k params", "max |Flax - ORT|", "file"],
    data.exports.map((e) => ({ cells: [e.name, `${fixed(e.accuracy, 2)} (${fixed(e.interval[0], 1)}-${fixed(e.interval[1], 1)})`, fixed(e.latency_ms.median, 3),
      `${fixed(e.latency_ms.p10, 3)}-${fixed(e.latency_ms.p90, 3)}`, fixed(e.macs / 1e6, 2), Math.round(e.params / 1e3), Number(e.max_abs_diff).toExponential(1), e.path] })));
}

function draw() {
  drawFront(device, choose);
  moveLimit(limit, device);
  setTimeout(() => drawCurves(device)); // once the front is on the screen
}

function chooseDevice(next) {
  device = next;
  chosen = slide() || entriesOf(device)[0][1];
  showRest();
  listNetworks();
  draw();
  choose(chosen);
}

for (const [i, d] of data.devices.entries()) byId("device").add(new Option(d.device, i));
byId("device-label").hidden = data.devices.length < 2;
byId("fronts").hidden = data.devices.length < 2;
byId("device").addEventListener("change", (event) => chooseDevice(data.devices[event.target.value]));
byId("limit").addEventListener("input", () => { const best = slide(); moveLimit(limit, device); if (best) choose(best); });
byId("copy").addEventListener("click", copy);
chooseDevice(device);
if (data.devices.length > 1) setTimeout(() => drawFronts(data.devices));
