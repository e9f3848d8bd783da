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
  byId("summary").textContent = `${accuracy.length} evaluated, ${at.length} on the front, best ${best.toFixed(2)} %`;
  const about = (i) => [search.archs[i], `${accuracy[i].toFixed(2)} %, ${latency[i].toFixed(3)} ms predicted`];
  chart(byId("front"), { x: "predicted latency (ms)", y: "validation accuracy (%)", series: [
    { name: "evaluated", shape: "cloud", paint: "cloud", x: latency, y: accuracy, hover: about },
    { name: "front", shape: "steps", marks: true, paint: "accent", x: at.map((i) => latency[i]), y: at.map((i) => accuracy[i]), hover: (k) => about(at[k]) },
  ] });
  chart(byId("volume"), { x: "evaluations", y: "hypervolume", series: [
    { shape: "line", paint: "accent", x: search.curve.map((p) => p[0]), y: search.curve.map((p) => p[1]) },
  ] });
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
setInterval(look, 1000 * SECONDS);
look();
