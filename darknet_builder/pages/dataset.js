const pressed = (chip) => chip.getAttribute("aria-pressed") === "true";
const classes = [...document.querySelectorAll("#classes .chip[data-class]")];
const kinds = [...document.querySelectorAll("#kinds .chip")];
const splits = [...document.querySelectorAll("#splits .chip")];
const names = new Map(classes.map((chip) => [chip.dataset.class, chip.querySelector("span").textContent]));
const figures = [...document.querySelectorAll("figure")].map((figure) => ({
  figure,
  caption: figure.querySelector("figcaption span"),
  kinds: figure.dataset.kinds.split("|"),
  boxes: [...figure.querySelectorAll(".box")],
}));

function count(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  return counts;
}

function update() {
  const wanted = new Set(classes.filter(pressed).map((chip) => chip.dataset.class));
  const odd = kinds.filter(pressed).map((chip) => chip.dataset.kind);
  const lists = new Set(splits.filter(pressed).map((chip) => chip.dataset.split));
  let objects = 0;
  let pictures = 0;
  for (const {figure, caption, kinds: own, boxes} of figures) {
    for (const box of boxes) box.classList.toggle("hidden", !wanted.has(box.dataset.class));
    const here = count(boxes.map((box) => box.dataset.class).filter((number) => wanted.has(number)));
    const found = [...here.values()].reduce((sum, one) => sum + one, 0);
    const told = [...here].sort((a, b) => b[1] - a[1]).map(([number, one]) => `${one} ${names.get(number)}`).join(", ");
    caption.textContent = `${figure.dataset.split}: ${told || "nothing"}`;
    // Without a chosen kind, all pictures; with some, those that have one of them.
    const isOdd = !odd.length || odd.some((kind) => own.includes(kind));
    const isShown = isOdd && lists.has(figure.dataset.split) && (found > 0 || byId("empty").checked);
    figure.classList.toggle("hidden", !isShown);
    if (isShown) { objects += found; pictures += 1; }
  }
  byId("totals").textContent = `${plural(objects, "object")} in ${plural(pictures, "picture")}; ${figures.length} of ${byId("totals").dataset.images} pictures are on this page`;
}

const totals = count(figures.flatMap(({boxes}) => boxes.map((box) => box.dataset.class)));
classes.forEach((chip) => { chip.querySelector("b").textContent = totals.get(chip.dataset.class) || 0; });
byId("others").hidden = !byId("others").querySelector("li");
document.querySelectorAll(".picture").forEach((picture) => {
  watcher.observe(picture);
  picture.addEventListener("click", () => picture.parentElement.classList.toggle("large"));
});

// ---- events -------------------------------------------------------------------------------------------------

for (const chip of [...classes, ...kinds, ...splits]) {
  chip.addEventListener("click", () => { chip.setAttribute("aria-pressed", String(!pressed(chip))); update(); });
}
for (const [id, state] of [["all", "true"], ["none", "false"]]) {
  byId(id).addEventListener("click", () => { classes.forEach((chip) => chip.setAttribute("aria-pressed", state)); update(); });
}
byId("empty").addEventListener("change", update);
byId("labels").addEventListener("change", () => {
  document.querySelector("main").classList.toggle("plain", !byId("labels").checked);
  document.querySelectorAll(".picture svg").forEach(placeLabels);
});
update();
