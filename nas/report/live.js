// Follows a running search: asks for its log every two seconds and draws what is new.
"use strict";
const SECONDS = 2;
const byId = (id) => document.getElementById(id);
let last = "";

function offer(searches) {
  const menu = byId("search"), names = searches.map((s) => s.name);
  if (names.join() === [...menu.options].map((o) => o.value).join()) return;
  const wanted = names.includes(menu.value) ? menu.value : names[0];
  menu.replaceChildren(...names.map((name) => new Option(name, name)));
  menu.value = wanted;
}

function draw(search) {
  const accuracy = search.evaluated.map((y) => 100 - y[0]), latency = search.evaluated.map((y) => y[1]);
  const at = search.front.slice().sort((a, b) => latency[a] - latency[b]);
  const best = at.length ? Math.max(...at.map((i) => accuracy[i])) : 0;
  byId("summary").textContent = `${accuracy.length} evaluated, ${at.length} on the front, best ${fixed(best, 2)} %`;
  const hover = "%{text}<br>%{y:.2f} %, %{x:.3f} ms predicted<extra></extra>";
  Plotly.react("front", [
    { name: "evaluated", type: "scatter", mode: "markers", x: latency, y: accuracy, text: search.archs, hovertemplate: hover, marker: { color: colour("cloud"), size: 5 } },
    { name: "front", type: "scatter", mode: "lines+markers", x: at.map((i) => latency[i]), y: at.map((i) => accuracy[i]), text: at.map((i) => search.archs[i]),
      hovertemplate: hover, line: { color: colour("accent"), shape: "hv" } },
  ], layout("predicted latency (ms)", "validation accuracy (%)"), settings);
  Plotly.react("volume", [{ type: "scatter", mode: "lines", x: search.curve.map((p) => p[0]), y: search.curve.map((p) => p[1]), line: { color: colour("accent") } }],
    layout("evaluations", "hypervolume"), settings);
}

async function look() {
  try {
    const answer = await fetch("data.json"), text = await answer.text();
    if (!answer.ok) throw new Error(`${answer.status}`);
    const data = JSON.parse(text);
    byId("title").textContent = `${data.run}: running search`;
    byId("done").hidden = !data.reports.length;
    offer(data.searches);
    const search = data.searches.find((s) => s.name === byId("search").value);
    if (search && last !== search.name + text) draw(search);
    last = search ? search.name + text : "";
  } catch (error) {
    byId("summary").textContent = `No answer (${error.message}): is \`nas report --serve\` still running?`;
    last = "";
  }
}

byId("search").addEventListener("change", look);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { last = ""; look(); });
setInterval(look, 1000 * SECONDS);
look();
