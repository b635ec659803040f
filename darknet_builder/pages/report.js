const chips = [...document.querySelectorAll("#classes .chip[data-class]")];
const names = new Map(chips.map((chip) => [chip.dataset.class, chip.querySelector("span").textContent]));
const figures = [...document.querySelectorAll("figure")].map((figure) => ({
  figure,
  caption: figure.querySelector("figcaption span"),
  boxes: [...figure.querySelectorAll(".box")].reverse().map((box) => ({box, score: +box.dataset.score, of: box.dataset.class})),
}));

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
