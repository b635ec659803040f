"use strict";
const byId = (id) => document.getElementById(id);

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
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
