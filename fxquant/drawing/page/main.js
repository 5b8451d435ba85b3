// Lays out, colours, and answers clicks and keys.

const SHOWN_AT_FIRST = 150;
const status = document.getElementById("status");
let viz = null, rankdir = "TB", heat = data.colored ? data.heats[0] : null, selected = null, marked = new Set(), elements = new Map();

async function loadViz() {
  const packed = Uint8Array.from(atob(document.getElementById("viz").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = make("script", await new Response(unpacked).text());
  document.head.append(script);
  script.remove();
  return Viz.instance();
}

const elementOf = (thing) => elements.get(thing.kind === "cluster" ? idOf({ ...thing, kind: "box" }) : idOf(thing));

function layOut() {
  const { text, things } = toDot(rankdir);
  const result = viz.render(text, { format: "svg" });
  if (result.status !== "success") throw new Error(result.errors.map((e) => e.message).join("; "));
  const svg = new DOMParser().parseFromString(result.output, "image/svg+xml").documentElement;
  const [x, y, w, h] = svg.getAttribute("viewBox").split(" ").map(Number);
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  svg.querySelectorAll("title").forEach((title) => title.remove());
  elements = new Map();
  for (const [id, thing] of things) enliven(svg.querySelector(`#${id}`), thing);
  canvas.replaceChildren(svg);
  Object.assign(camera, { svg, whole: { x, y, w, h } });
  paint();
  const shown = countShown();
  status.textContent = shown === data.nodes.length ? `${shown} nodes` : `${shown} of ${data.nodes.length} nodes and folded modules`;
}

function tooltip(element, text) {
  const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
  title.textContent = text;
  element.prepend(title);
}

function enliven(element, thing) {
  element.thing = thing;
  if (thing.kind === "edge") {
    element.classList.remove("node"); // what is written on the way, which Graphviz took for a node
    tooltip(element, thing.text);
    elements.set(`edge:${element.id}`, element);
    return;
  }
  const node = nodeOf.get(thing.key);
  const text = thing.kind === "node" ? [node.op, node.place || node.name, node.reason].filter(Boolean).join("\n")
    : `${thing.key}: ${thing.kind === "box" ? "click to unfold" : "click to fold"}`;
  tooltip(element, text);
  element.setAttribute("tabindex", "0");
  element.setAttribute("role", "button");
  element.setAttribute("aria-label", text.replaceAll("\n", ", "));
  if (thing.kind !== "node") element.setAttribute("aria-expanded", String(thing.kind === "cluster"));
  elements.set(idOf(thing.kind === "cluster" ? { ...thing, kind: "box" } : thing), element);
}

function heatOfBox(each, box) {
  const values = nodesIn(box).map((node) => each.values[node.name]).filter((value) => value !== undefined);
  if (!values.length) return undefined;
  if (each.sums) return values.reduce((a, b) => a + b);
  return each.lowIsHot ? Math.min(...values) : Math.max(...values);
}

function heatColor(value) {
  if (value === undefined) return "#f4f4f4";
  const [cool, hot] = heat.bounds;
  const share = cool === hot ? 0 : Math.min(1, Math.max(0, (value - cool) / (hot - cool)));
  return data.palette[Math.round((heat.sums ? Math.sqrt(share) : share) * (data.palette.length - 1))];
}

// Colours, marks and selection, on the picture as it is laid out.
function paint() {
  const chosen = selected && idOf(selected.kind === "node" ? shownFor(nodeOf.get(selected.key)) : { ...selected, kind: "box" });
  const lit = new Set([...marked].map((name) => idOf(shownFor(nodeOf.get(name)))));
  for (const element of elements.values()) {
    const { thing } = element;
    if (thing.kind === "edge") {
      element.classList.toggle("on", chosen !== null && (thing.tail === chosen || thing.head === chosen));
      continue;
    }
    element.classList.toggle("on", idOf(thing) === chosen);
    element.classList.toggle("hit", lit.has(idOf(thing)));
    if (thing.kind === "cluster") continue;
    const value = heat && (thing.kind === "node" ? heat.values[thing.key] : heatOfBox(heat, boxOf.get(thing.key)));
    element.querySelectorAll("path, polygon").forEach((shape) => { shape.style.fill = heat ? heatColor(value ?? undefined) : ""; });
  }
  legend();
  drawMap();
}

function legend() {
  const swatch = (color, name = "") => {
    const made = make("i", "", { class: name });
    made.style.background = color;
    return made;
  };
  const place = document.getElementById("legend");
  if (heat) {
    const [cool, hot] = heat.bounds.map((value) => heatText(heat, value));
    place.replaceChildren(make("span", heat.metric), make("span", data.palette.map((color) => swatch(color)), { class: "scale" }),
      make("span", [make("span", cool), "to", make("span", hot)]));
    return;
  }
  const changes = ["added", "removed", "changed"].filter((change) => data.nodes.some((node) => node.change === change));
  const kinds = Object.keys(data.kinds).filter((kind) => data.nodes.some((node) => node.kind === kind));
  place.replaceChildren(...(changes.length ? changes.map((change) => make("span", [swatch(data.changes[change]), change]))
    : kinds.map((kind) => make("span", [swatch(data.colors[kind], kind), data.kinds[kind]]))));
}

function select(thing) {
  selected = thing;
  if (!thing) panel.hidden = true;
  else showPanel(thing.kind === "node" ? nodeDetails(nodeOf.get(thing.key)) : boxDetails(boxOf.get(thing.key)));
  paint();
}

function mark(nodes) {
  marked = new Set(nodes.map((node) => node.name));
  paint();
}

// Unfolds what hides a node, shows it in the middle, and selects it.
function reveal(node) {
  const hiding = around(node.box).filter((path) => folded.has(path));
  hiding.forEach((path) => folded.delete(path));
  if (hiding.length) layOut();
  select({ kind: "node", key: node.name });
  center(elementOf({ kind: "node", key: node.name }));
}

// Folds or unfolds a box, which stays where it is on the screen.
function toggleBox(path) {
  const s = scale();
  const [x, y] = middle(elementOf({ kind: "box", key: path }));
  const [u, v] = [(x - camera.x) * s, (y - camera.y) * s];
  if (!folded.delete(path)) folded.add(path);
  layOut();
  look(camera.x, camera.y, camera.w);
  const [nx, ny] = middle(elementOf({ kind: "box", key: path }));
  look(nx - u / s, ny - v / s, canvas.clientWidth / s);
  select({ kind: "box", key: path });
  elementOf({ kind: "box", key: path }).focus({ preventScroll: true });
}

function activate(thing) {
  if (thing.kind === "node") select(thing);
  else if (thing.kind !== "edge") toggleBox(thing.key);
}

const thingAt = (target) => target.closest?.(".node, .cluster")?.thing;

function setUpKeys() {
  const pan = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, #hits");
    if (event.key === "Escape" && !typing) select(null);
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); searchBox.focus(); }
    if (event.key === "+" || event.key === "=") zoom(1.25);
    if (event.key === "-") zoom(0.8);
    if (event.key === "0") fit();
    if (!event.target.closest("#canvas")) return;
    if (pan[event.key]) { event.preventDefault(); move(...pan[event.key]); }
    const thing = thingAt(event.target);
    if (thing && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); activate(thing); }
  });
}

function setUpButtons() {
  const on = (id, action) => document.getElementById(id).addEventListener("click", action);
  const all = (fold) => {
    folded.clear();
    if (fold) for (const box of root.boxes) folded.add(box.path);
    layOut();
    open();
  };
  on("fold", () => all(true));
  on("unfold", () => all(false));
  on("turn", () => { rankdir = rankdir === "TB" ? "LR" : "TB"; layOut(); open(); });
  on("in", () => zoom(1.25));
  on("out", () => zoom(0.8));
  on("fit", fit);
  canvas.addEventListener("click", (event) => { const thing = thingAt(event.target); if (thing) activate(thing); });
  const chooser = document.getElementById("heat");
  const plain = data.nodes.some((node) => node.change) ? "change" : "dtype";
  chooser.append(...[plain, ...data.heats.map((each) => each.metric)].map((name, i) => make("option", name, { value: i })));
  chooser.value = heat ? 1 : 0;
  chooser.addEventListener("change", () => { heat = data.heats[chooser.value - 1] || null; paint(); });
}

async function start() {
  foldAtFirst(SHOWN_AT_FIRST);
  setUpCamera();
  setUpMap();
  setUpSearch();
  setUpKeys();
  setUpButtons();
  try {
    viz = await loadViz();
    layOut();
    open();
    const wanted = nodeOf.get(decodeURIComponent(location.hash.slice(1)));
    if (wanted) reveal(wanted);
    document.body.dataset.ready = String(Math.round(performance.now())); // milliseconds since the page was asked for
  } catch (error) {
    status.textContent = `The graph could not be laid out: ${error.message}`;
    throw error;
  }
}

start();
