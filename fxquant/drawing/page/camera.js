// Which part of the graph is in view, as the viewBox of the picture: {x, y, w, h} in the graph's units.

const READABLE = 0.75; // the least scale at which labels can be read
const canvas = document.getElementById("canvas");
const camera = { svg: null, whole: null, x: 0, y: 0, w: 1, h: 1, pixels: 1 }; // pixels: the canvas's width, when w was set

function look(x, y, w) {
  const { clientWidth, clientHeight } = canvas;
  Object.assign(camera, { x, y, w, h: (w * clientHeight) / Math.max(1, clientWidth), pixels: Math.max(1, clientWidth) });
  camera.svg?.setAttribute("viewBox", `${camera.x} ${camera.y} ${camera.w} ${camera.h}`);
  showView();
}

const scale = () => canvas.clientWidth / camera.w;

function zoom(factor, clientX, clientY) {
  const rect = canvas.getBoundingClientRect();
  const [u, v] = [(clientX ?? rect.left + rect.width / 2) - rect.left, (clientY ?? rect.top + rect.height / 2) - rect.top];
  const wanted = Math.min(8, Math.max(0.02, scale() * factor));
  const [x, y] = [camera.x + u / scale(), camera.y + v / scale()];
  look(x - u / wanted, y - v / wanted, canvas.clientWidth / wanted);
}

function move(dx, dy) {
  look(camera.x - dx / scale(), camera.y - dy / scale(), camera.w);
}

const fitting = (whole) => Math.min(canvas.clientWidth / (whole.w + 40), canvas.clientHeight / (whole.h + 40));

// The whole graph, but no larger than life.
function fit() {
  const { whole } = camera;
  const w = canvas.clientWidth / Math.min(1.5, fitting(whole));
  const h = (w * canvas.clientHeight) / Math.max(1, canvas.clientWidth);
  look(whole.x - (w - whole.w) / 2, whole.y - (h - whole.h) / 2, w);
}

// The beginning of the graph, large enough to read; the whole, if it is then.
function open() {
  const { whole } = camera;
  fit();
  if (scale() >= READABLE) return;
  const s = Math.max(READABLE, Math.min(1.2, canvas.clientWidth / (whole.w + 40)));
  const sideways = rankdir === "LR";
  const [w, h] = [canvas.clientWidth / s, canvas.clientHeight / s];
  look(sideways ? whole.x - 20 : whole.x - (w - whole.w) / 2, sideways ? whole.y - (h - whole.h) / 2 : whole.y - 20, w);
}

// The middle of an element, in the graph's units.
function middle(element) {
  const [box, view] = [element.getBoundingClientRect(), canvas.getBoundingClientRect()];
  return [
    camera.x + (box.left + box.width / 2 - view.left) / scale(),
    camera.y + (box.top + Math.min(box.height, 40) / 2 - view.top) / scale(),
  ];
}

function center(element) {
  const [x, y] = middle(element);
  const s = Math.max(scale(), 1.2);
  look(x - canvas.clientWidth / s / 2, y - canvas.clientHeight / s / 2, canvas.clientWidth / s);
}

function setUpCamera() {
  const pointers = new Map();
  let moved = 0;
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoom(Math.exp(-event.deltaY * lines * 0.0015), event.clientX, event.clientY);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = 0;
  });
  window.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const before = pointers.size === 2 ? spread() : null;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved += Math.hypot(event.clientX - last.x, event.clientY - last.y);
    if (moved > 3) canvas.classList.add("moving");
    if (before) {
      const after = spread();
      zoom(after.distance / Math.max(1, before.distance), after.x, after.y);
      move(after.x - before.x, after.y - before.y);
    } else if (moved > 3) move(event.clientX - last.x, event.clientY - last.y);
  });
  const release = (event) => {
    pointers.delete(event.pointerId);
    canvas.classList.remove("moving");
  };
  window.addEventListener("pointerup", release);
  window.addEventListener("pointercancel", release);
  canvas.addEventListener("click", (event) => { if (moved > 3) event.stopPropagation(); }, true);
  new ResizeObserver(() => {
    if (canvas.clientWidth) look(camera.x, camera.y, (camera.w * canvas.clientWidth) / camera.pixels);
  }).observe(canvas);
}
