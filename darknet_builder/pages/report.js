"use strict";
const byId = (id) => document.getElementById(id);
const chips = [...document.querySelectorAll("#classes .chip[data-class]")];
const names = new Map(chips.map((chip) => [chip.dataset.class, chip.querySelector("span").textContent]));
const figures = [...document.querySelectorAll("figure")].map((figure) => ({
  figure,
  caption: figure.querySelector("figcaption span"),
  boxes: [...figure.querySelectorAll(".box")].reverse().map((box) => ({box, score: +box.dataset.score, of: box.dataset.class})),
}));

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function add(counts, key) {
  counts.set(key, (counts.get(key) || 0) + 1);
}

function update() {
  const threshold = +byId("threshold").value;
  const wanted = new Set(chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.class));
  const above = new Map();  // objects above the threshold by class, also of classes that are hidden
  let objects = 0;
  let pictures = 0;
  for (const {figure, caption, boxes} of figures) {
    const here = new Map();
    for (const {box, score, of} of boxes) {
      if (score >= threshold) add(above, of);
      const visible = score >= threshold && wanted.has(of);
      box.classList.toggle("hidden", !visible);
      if (visible) add(here, of);
    }
    const found = [...here.values()].reduce((sum, count) => sum + count, 0);
    objects += found;
    pictures += found > 0;
    caption.textContent = [...here].sort((a, b) => b[1] - a[1]).map(([of, count]) => `${count} ${names.get(of)}`).join(", ") || "nothing";
    figure.classList.toggle("hidden", !found && !byId("empty").checked);
  }
  chips.forEach((chip) => { chip.querySelector("b").textContent = above.get(chip.dataset.class) || 0; });
  byId("value").textContent = `${Math.round(100 * threshold)} %`;
  byId("totals").textContent = `${plural(objects, "object")} in ${pictures} of ${plural(figures.length, "picture")}`;
}

// ---- labels: the same size on the screen, whatever the size of the picture ------------------------------

function placeLabels(svg) {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  if (!svg.clientWidth) return;
  const unit = width / svg.clientWidth;
  svg.style.setProperty("--unit", unit);
  for (const box of svg.querySelectorAll(".box")) {
    const [edge, plate, text] = ["edge", "plate", "text"].map((name) => box.querySelector(name === "text" ? name : `.${name}`));
    const wide = text.getComputedTextLength() + 8 * unit;
    const tall = 17 * unit;
    const top = +edge.getAttribute("y");
    const x = Math.max(0, Math.min(+edge.getAttribute("x") - unit, width - wide));
    const y = top >= tall ? top - tall : Math.min(top, height - tall);
    for (const [key, value] of Object.entries({x, y, width: wide, height: tall, rx: 2 * unit})) plate.setAttribute(key, value);
    text.setAttribute("x", x + 4 * unit);
    text.setAttribute("y", y + 12.8 * unit);
  }
}

const watcher = new ResizeObserver((entries) => entries.forEach((entry) => placeLabels(entry.target.querySelector("svg"))));
document.querySelectorAll(".picture").forEach((picture) => {
  watcher.observe(picture);
  picture.addEventListener("click", () => picture.parentElement.classList.toggle("large"));
});

// ---- events -------------------------------------------------------------------------------------------------

chips.forEach((chip) => chip.addEventListener("click", () => {
  chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
  update();
}));
for (const [id, state] of [["all", "true"], ["none", "false"]]) {
  byId(id).addEventListener("click", () => { chips.forEach((chip) => chip.setAttribute("aria-pressed", state)); update(); });
}
byId("threshold").addEventListener("input", update);
byId("empty").addEventListener("change", update);
byId("labels").addEventListener("change", () => {
  document.querySelector("main").classList.toggle("plain", !byId("labels").checked);
  document.querySelectorAll(".picture svg").forEach(placeLabels);
});
update();
