"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const layers = data.layers;
const byId = (id) => document.getElementById(id);
const rows = layers.map((layer) => byId(`layer-${layer.index}`));
const ways = [...document.querySelectorAll("main [data-from]")];
const readers = layers.map(() => []);
layers.forEach((layer) => layer.sources.forEach((source) => {
  if (source >= 0 && !readers[source].includes(layer.index)) readers[source].push(layer.index);
}));
let pinned = null;  // the clicked layer; while the pointer is over another one, that one is shown
let shown;
let types = new Set();

// ---- small helpers ----------------------------------------------------------------------------------

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const short = (number) => number === 0 ? "0" : Math.abs(number) >= 1e-3 && Math.abs(number) < 1e5 ? number.toPrecision(3) : number.toExponential(1);
const share = (part, whole) => whole ? ` (${(100 * part / whole).toFixed(1)} %)` : "";

// ---- one layer --------------------------------------------------------------------------------------

function show(index) {
  if (index === shown) return;
  shown = index;
  const sources = index === null ? [] : layers[index].sources;
  const after = index === null ? [] : readers[index];
  rows.forEach((row, at) => {
    row.classList.toggle("on", at === index);
    row.classList.toggle("source", sources.includes(at));
    row.classList.toggle("reader", after.includes(at));
  });
  ways.forEach((way) => way.classList.toggle("on", index !== null && (+way.dataset.from === index || +way.dataset.to === index)));
  document.body.classList.toggle("focused", index !== null);
  byId("details").classList.toggle("idle", index === null);
  byId("details").replaceChildren(...(index === null ? introduction() : description(layers[index], sources, after)));
}

function introduction() {
  const list = element("dl", {});
  for (const [kind, words] of Object.entries(data.kinds)) {
    const dot = shape("svg", {width: 12, height: 12, viewBox: "0 0 12 12", class: `diagram ${kind}`, "aria-hidden": "true"});
    dot.append(shape("circle", {class: "dot", cx: 6, cy: 6, r: 5}));
    list.append(element("dt", {}, dot), element("dd", {}, words));
  }
  return [element("h2", {}, "Layers"),
    element("p", {class: "quiet"}, "Point at a layer to see which layers it reads and which layers read it; click to pin it. The line between two dots leads to the next layer, arcs lead to later layers."),
    list, element("p", {class: "quiet"}, "Keys: / to search, arrows to move from layer to layer, Enter for the next match, Esc to clear search and selection.")];
}

function description(layer, sources, after) {
  const list = element("dl", {});
  const add = (term, ...words) => list.append(element("dt", {}, term), element("dd", {}, ...words));
  const jumps = (kind, indices) => indices.map((index) => {
    const button = element("button", {class: `jump ${kind}`}, index < 0 ? "input" : `${index} ${layers[index].type}`);
    if (index >= 0) button.onclick = () => pin(index, true);
    else button.disabled = true;
    return button;
  });
  add("reads", ...jumps("source", sources));
  add("read by", ...(after.length ? jumps("reader", after) : ["no layer"]));
  add("input", layer.inputs.join(", "));
  add("output", layer.output);
  if (layer.parameters) add("parameters", layer.parameters.toLocaleString("en") + share(layer.parameters, data.totals.parameters));
  if (layer.bflops) add("BFLOPs", layer.bflops.toFixed(3) + share(layer.bflops, data.totals.bflops));
  const parts = [element("h2", {}, `${layer.index} ${layer.type}`), list];
  if (layer.weights) parts.push(...statistics(layer.weights));
  parts.push(element("p", {class: "quiet"}, `line ${layer.line} of the cfg`), element("code", {}, layer.text));
  return parts;
}

function statistics(weights) {
  const largest = Math.max(1, ...weights.counts);
  const plot = shape("svg", {class: "plot diagram", viewBox: `0 0 ${weights.counts.length} 1`, preserveAspectRatio: "none"});
  weights.counts.forEach((count, at) => plot.append(shape("rect", {class: "histogram", x: at + .04, width: .92, y: 1 - count / largest, height: count / largest})));
  const scale = element("div", {class: "scale quiet"}, element("span", {}, short(weights.low)), element("span", {}, short(weights.high)));
  const table = element("table", {}, element("tr", {}, ...["", "min", "mean", "max", "std"].map((word) => element("th", {}, word))));
  weights.tensors.forEach((tensor) => table.append(element("tr", {},
    element("td", {}, `${tensor.name} ${tensor.shape.join(" x ")}`),
    ...[tensor.low, tensor.mean, tensor.high, tensor.deviation].map((number) => element("td", {}, short(number))))));
  const notes = [];
  if (weights.outside) notes.push(`${weights.outside.toLocaleString("en")} weights are more than four standard deviations from the mean and are not drawn`);
  if (weights.not_finite) notes.push(`${weights.not_finite.toLocaleString("en")} values are infinite or NaN`);
  return [plot, scale, table, ...notes.map((note) => element("p", {class: "quiet"}, note))];
}

function pin(index, scroll) {
  pinned = index;
  show(index);
  history.replaceState(null, "", index === null ? location.pathname + location.search : `#layer=${index}`);  // not the id of a row, so that the browser does not scroll by itself
  if (index === null || !scroll) return;
  const box = rows[index].getBoundingClientRect();
  const top = byId("headings").getBoundingClientRect().bottom;
  const bottom = innerHeight - (innerWidth <= 1100 ? innerHeight * .38 : 0);
  if (box.top < top || box.bottom > bottom) window.scrollBy(0, box.top - (top + bottom) / 2);
}

// ---- search -----------------------------------------------------------------------------------------

function matches(layer, words) {
  if (types.size && !types.has(layer.type)) return false;
  if (!words) return true;
  const range = words.match(/^(\d+)\s*-\s*(\d+)$/);
  if (range) return +range[1] <= layer.index && layer.index <= +range[2];
  if (/^\d+$/.test(words)) return layer.index === +words;
  return layer.found.includes(words.replace(/\s+/g, " "));
}

function search() {
  const words = byId("search").value.trim().toLowerCase();
  const active = words !== "" || types.size > 0;
  let count = 0;
  layers.forEach((layer, at) => {
    const hit = matches(layer, words);
    count += hit;
    rows[at].classList.toggle("miss", !hit);
    byId("overview").children[at].classList.toggle("miss", !hit);
  });
  byId("found").textContent = active ? `${count} of ${layers.length}` : "";
}

function next(step) {
  const hits = layers.filter((layer, at) => !rows[at].classList.contains("miss")).map((layer) => layer.index);
  if (!hits.length) return;
  const start = pinned === null ? (step > 0 ? -1 : layers.length) : pinned;
  const on = step > 0 ? hits.find((index) => index > start) : hits.findLast((index) => index < start);
  pin(on === undefined ? hits[step > 0 ? 0 : hits.length - 1] : on, true);
}

function makeChips() {
  const counts = new Map();
  layers.forEach((layer) => counts.set(layer.type, [(counts.get(layer.type) || [0])[0] + 1, layer.kind]));
  for (const [type, [count, kind]] of [...counts].sort((a, b) => b[1][0] - a[1][0])) {
    const chip = element("button", {class: `chip ${kind}`, "aria-pressed": "false"}, element("i", {}), type, element("b", {}, String(count)));
    chip.onclick = () => {
      if (!types.delete(type)) types.add(type);
      chip.setAttribute("aria-pressed", String(types.has(type)));
      search();
    };
    byId("types").append(chip);
  }
}

// ---- overview ---------------------------------------------------------------------------------------

function makeOverview() {
  const view = byId("overview");
  view.setAttribute("viewBox", `0 0 26 ${layers.length}`);
  view.setAttribute("preserveAspectRatio", "none");
  layers.forEach((layer, at) => view.append(shape("rect", {class: layer.kind, x: 5, width: 16, y: at + .08, height: .84})));
  view.append(shape("rect", {class: "window", x: .5, width: 25, "vector-effect": "non-scaling-stroke"}));
  const go = (event) => {
    const box = view.getBoundingClientRect();
    const row = rows[Math.max(0, Math.min(layers.length - 1, Math.floor((event.clientY - box.top) / box.height * layers.length)))];
    const at = row.getBoundingClientRect();
    window.scrollBy(0, at.top - (box.top + innerHeight) / 2);
  };
  view.addEventListener("pointerdown", (event) => { view.setPointerCapture(event.pointerId); go(event); });
  view.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
}

function measure() {
  document.documentElement.style.setProperty("--head-height", `${document.querySelector("header").offsetHeight}px`);
  if (!rows.length) return;
  byId("overview").style.visibility = document.documentElement.scrollHeight > innerHeight ? "" : "hidden";
  const top = rows[0].getBoundingClientRect().top;
  const height = (rows.at(-1).getBoundingClientRect().bottom - top) / layers.length;
  const first = Math.max(0, (byId("headings").getBoundingClientRect().bottom - top) / height);
  const last = Math.min(layers.length, (innerHeight - top) / height);
  const view = byId("overview").lastChild;
  view.setAttribute("y", first);
  view.setAttribute("height", Math.max(0, last - first));
}

// ---- events -----------------------------------------------------------------------------------------

rows.forEach((row, index) => {
  const layer = layers[index];
  layer.found = `${layer.type} ${layer.filters} ${layer.size} ${layer.output} ${layer.text}`.toLowerCase();
  row.setAttribute("tabindex", "0");
  row.setAttribute("role", "listitem");
  row.setAttribute("aria-label", `layer ${index}, ${layer.type}, output ${layer.output}`);
  row.addEventListener("pointerenter", () => show(index));
  row.addEventListener("pointerleave", () => show(pinned));
  row.addEventListener("click", () => pin(pinned === index ? null : index, false));
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.tagName === "INPUT";
  if (event.key === "/" && !typing) { byId("search").focus(); event.preventDefault(); }
  else if (event.key === "Escape") { byId("search").value = ""; search(); pin(null); }
  else if (event.key === "Enter" && typing) next(event.shiftKey ? -1 : 1);
  else if (event.key === "Enter" && event.target.classList.contains("row")) pin(+event.target.dataset.index, false);
  else if (!typing && (event.key === "ArrowDown" || event.key === "ArrowUp")) { next(event.key === "ArrowDown" ? 1 : -1); event.preventDefault(); }
});
byId("search").addEventListener("input", search);
addEventListener("scroll", measure, {passive: true});
addEventListener("resize", measure);
makeChips();
makeOverview();
search();
measure();
show(null);
const wanted = location.hash.match(/^#layer=(\d+)$/);
if (wanted && +wanted[1] < layers.length) pin(+wanted[1], true);
