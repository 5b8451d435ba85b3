// The whole graph in small, with a frame around what is in view. Shown where the graph does not fit.

const map = document.getElementById("map");
let view = null;

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A rectangle for each node, as large as the node, in its colour.
function drawMap() {
  const { whole, svg } = camera;
  const rects = shape("g", { transform: svg.querySelector("g.graph").getAttribute("transform") });
  for (const element of elements.values()) {
    if (element.thing.kind !== "node" && element.thing.kind !== "box") continue;
    const { x, y, width, height } = element.getBBox();
    rects.append(shape("rect", { x, y, width, height, fill: getComputedStyle(element.querySelector("path, polygon")).fill }));
  }
  map.style.display = fitting(whole) >= READABLE ? "none" : "";
  view = shape("rect", { class: "view" });
  map.setAttribute("viewBox", `${whole.x} ${whole.y} ${whole.w} ${whole.h}`);
  map.classList.toggle("wide", whole.w > 2 * whole.h);
  map.style.maxHeight = `${Math.max(40, (map.clientWidth * whole.h) / whole.w)}px`;
  map.replaceChildren(rects, view);
  showView();
}

function showView() {
  if (!view) return;
  const { x, y, w, h, whole } = camera;
  const [left, top] = [Math.max(x, whole.x), Math.max(y, whole.y)];
  view.setAttribute("x", left);
  view.setAttribute("y", top);
  view.setAttribute("width", Math.max(0, Math.min(x + w, whole.x + whole.w) - left));
  view.setAttribute("height", Math.max(0, Math.min(y + h, whole.y + whole.h) - top));
}

function setUpMap() {
  const go = (event) => {
    if (!event.buttons) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    look(at.x - camera.w / 2, at.y - camera.h / 2, camera.w);
  };
  map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); go(event); });
  map.addEventListener("pointermove", go);
}
