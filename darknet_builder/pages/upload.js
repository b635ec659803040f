const {names} = JSON.parse(byId("data").textContent);
const shown = [];  // {figure, caption, boxes} of each picture that was answered
const waiting = [];
let isBusy = false;

function element(name, attributes = {}, text = "") {
  const made = name === "svg" || name === "g" || name === "rect" || name === "text" || name === "title"
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// ---- one picture -------------------------------------------------------------------------------------------

function addFigure(file) {
  const figure = element("figure", {style: "--ratio:1.5"});
  const caption = element("figcaption");
  caption.append(element("b", {title: file.name}, file.name), " ", element("span", {}, "waiting"));
  figure.append(caption);
  document.querySelector("main").prepend(figure);
  return figure;
}

function drawBox({class_id, name, score, box_xyxy}, width, height) {
  const [left, top, right, bottom] = box_xyxy.map((value, at) => Math.min(Math.max(value, 0), at % 2 ? height : width));
  const label = `${name} ${Math.round(100 * score)}%`;
  const box = element("g", {class: `box class-${class_id}`, "data-class": class_id, "data-score": score});
  box.append(
    element("title", {}, label),
    element("rect", {class: "edge", x: left, y: top, width: right - left, height: bottom - top}),
    element("rect", {class: "plate"}),
    element("text", {x: left, y: top}, label),
  );
  return box;
}

function show(figure, file, {image_size: [width, height], detections}) {
  const picture = element("div", {class: "picture", style: `aspect-ratio:${width}/${height}`});
  const image = element("img", {alt: file.name});
  image.addEventListener("error", () => image.classList.add("unseen"));  // the server reads more formats
  image.setAttribute("src", URL.createObjectURL(file));
  const svg = element("svg", {viewBox: `0 0 ${width} ${height}`});
  // SVG draws later elements on top, and detections are sorted by score.
  svg.append(...detections.map((found) => drawBox(found, width, height)).reverse());
  picture.append(image, svg);
  picture.addEventListener("click", () => figure.classList.toggle("large"));
  figure.style.setProperty("--ratio", width / height);
  figure.prepend(picture);
  watcher.observe(picture);
  shown.push({
    caption: figure.querySelector("figcaption span"),
    boxes: [...svg.children].map((box) => ({box, score: +box.dataset.score, of: +box.dataset.class})),
  });
}

async function detect(file, figure) {
  const caption = figure.querySelector("figcaption span");
  caption.textContent = "in work";
  try {
    const headers = {"Content-Type": "application/octet-stream"};
    const response = await fetch("detect", {method: "POST", body: file, headers});
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    show(figure, file, answer.images[0]);
  } catch (error) {
    figure.classList.add("failed");
    caption.textContent = error instanceof TypeError ? "the server does not answer" : error.message;
  }
  update();
}

async function work() {
  if (isBusy) return;
  isBusy = true;
  while (waiting.length) await detect(...waiting.shift());
  isBusy = false;
}

// ---- all pictures ------------------------------------------------------------------------------------------

function update() {
  const threshold = +byId("threshold").value;
  let objects = 0;
  for (const {caption, boxes} of shown) {
    const counts = new Map();
    for (const {box, score, of} of boxes) {
      box.classList.toggle("hidden", score < threshold);
      if (score >= threshold) counts.set(of, (counts.get(of) || 0) + 1);
    }
    const sorted = [...counts].sort((a, b) => b[1] - a[1]);
    caption.textContent = sorted.map(([of, count]) => `${count} ${names[of]}`).join(", ") || "nothing";
    objects += sorted.reduce((sum, [, count]) => sum + count, 0);
  }
  byId("value").textContent = `${Math.round(100 * threshold)} %`;
  byId("totals").textContent = shown.length ? `${plural(objects, "object")} in ${plural(shown.length, "picture")}` : "";
}

function add(files) {
  for (const file of files) waiting.push([file, addFigure(file)]);
  work();
}

// ---- events ------------------------------------------------------------------------------------------------

byId("files").addEventListener("change", () => { add(byId("files").files); byId("files").value = ""; });
for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();  // otherwise the browser would open the picture instead of this page
    byId("drop").classList.toggle("over", over);
    if (name === "drop") add(event.dataTransfer.files);
  });
}
byId("threshold").addEventListener("input", update);
byId("labels").addEventListener("change", () => {
  document.querySelector("main").classList.toggle("plain", !byId("labels").checked);
  document.querySelectorAll(".picture svg").forEach(placeLabels);
});
update();
