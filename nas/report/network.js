// One network: facts, export command, layers, kernels, and the same network on every device.
function fill(table, columns, rows) {
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = column;
    head.append(cell);
  }
  const body = table.createTBody();
  return rows.map(({ cells, style }) => {
    const row = body.insertRow();
    if (style) row.className = style;
    for (const cell of cells) row.insertCell().append(cell);
    return row;
  });
}

function element(kind, style, text = "") {
  const made = document.createElement(kind);
  if (style) made.className = style;
  made.textContent = text;
  return made;
}

const range = (latency) => `${fixed(latency.median, 3)} ms (10-90 %: ${fixed(latency.p10, 3)}-${fixed(latency.p90, 3)})`;

function showFacts(entry, device, level) {
  const off = 100 * (entry.predicted_latency_ms.median / entry.latency_ms.median - 1);
  const facts = [
    ["architecture", entry.arch, "wide"],
    ["accuracy", `${fixed(entry.accuracy, 2)} % (${100 * level} %: ${fixed(entry.interval[0], 2)}-${fixed(entry.interval[1], 2)}) on ${device.validation_images} validation images`],
    ["measured latency", `${range(entry.latency_ms)}, ${entry.latency_runs} calls`],
    ["predicted latency", `${fixed(entry.predicted_latency_ms.median, 3)} ms (${fixed(entry.predicted_latency_ms.low, 3)}-${fixed(entry.predicted_latency_ms.high, 3)}), off by ${off > 0 ? "+" : ""}${fixed(off, 1)} %`],
    ["multiply-accumulates", `${fixed(entry.macs / 1e6, 2)} M`],
    ["parameters", `${fixed(entry.params / 1e3, 0)} k`],
    ["peak activation memory", `${fixed(entry.peak_memory_bytes / 1024, 0)} KiB`],
    ...Object.entries(entry.costs || {}).map(([name, cost]) => [name, `${fixed(cost.value, 3)}${cost.predicted === undefined ? "" : ` ms measured, ${fixed(cost.predicted, 3)} predicted`}`]),
  ];
  byId("facts").replaceChildren(...facts.map(([name, value, style]) => {
    const pair = element("div", style);
    pair.append(element("dt", "", name), element("dd", "", value));
    return pair;
  }));
}

function blockBox(block, total) {
  const box = element("div", block.skipped ? "block skipped" : "block");
  box.setAttribute("role", "listitem");
  box.append(element("b", "", block.name));
  if (block.skipped) { box.append("skipped"); return box; }
  if (block.kernel) {
    const shape = element("span", `shape k${block.kernel}`, `k${block.kernel} e${block.expand}`);
    shape.style.width = `${100 * Math.min(1, block.expand / 6)}%`;
    box.append(shape);
  }
  box.append(block.shape.join(" x "));
  const share = block.ms === null ? 0 : block.ms / total;
  const bar = element("span", "share"), inner = element("i");
  inner.style.width = `${100 * share}%`;
  bar.append(inner);
  box.append(bar, block.ms === null ? "time unknown" : `${fixed(100 * share, 1)} % of the time`);
  return box;
}

function showLayers(entry) {
  const total = entry.blocks.reduce((sum, b) => sum + (b.ms || 0), 0) || 1;
  const stageOf = (block) => block.name.includes(".") ? block.name.split(".")[0] : "";
  const stages = [];
  for (const block of entry.blocks) {
    if (!stages.length || stageOf(stages.at(-1)[0]) !== stageOf(block)) stages.push([]);
    stages.at(-1).push(block);
  }
  byId("layers").replaceChildren(...stages.map((part) => {
    const row = element("div", "stage");
    row.setAttribute("role", "presentation");
    row.append(...part.map((block) => blockBox(block, total)));
    return row;
  }));
  fill(byId("blocks"), ["block", "kernel", "expansion", "output", "M MACs", "params", "ms predicted", "share"],
    entry.blocks.map((b) => ({ style: b.skipped ? "skipped" : "", cells: b.skipped ? [b.name, "", "", "skipped", "", "", "", ""] : [
      b.name, b.kernel ?? "", b.expand ?? "", b.shape.join(" x "), fixed(b.macs / 1e6, 3), b.params, known(b.ms, 4), known(b.ms && 100 * b.ms / total, 1, " %")] })));
  fill(byId("kernels"), ["kernel", "times", "ms predicted", "share"],
    entry.kernels.map((k) => ({ cells: [k.key, k.times, known(k.ms, 4), known(k.ms && 100 * k.ms / total, 1, " %")] })));
}

function showElsewhere(entry, device) {
  fill(byId("elsewhere"), ["device", "ms measured", "ms predicted", "interval"], entry.elsewhere.map((row) => ({
    style: row.device === device.device ? "chosen" : "", cells: [row.device, row.measured_ms ? fixed(row.measured_ms.median, 3) : "not measured",
      row.predicted_ms ? fixed(row.predicted_ms.median, 3) : "unknown", row.predicted_ms ? `${fixed(row.predicted_ms.low, 3)}-${fixed(row.predicted_ms.high, 3)}` : ""] })));
}
