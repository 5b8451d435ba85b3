// Details of what was clicked. All text goes in as text, never as HTML.

const panel = document.getElementById("panel");

function make(tag, content = "", attributes = {}) {
  const element = document.createElement(tag);
  for (const part of [content].flat()) element.append(part);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function table(rows) {
  const shown = rows.filter(([, ...cells]) => cells.some((cell) => cell !== "" && cell !== undefined && cell !== null));
  return shown.length ? [make("table", shown.map(([head, ...cells]) =>
    make("tr", [make("th", head, { scope: "row" }), ...cells.map((cell) => make("td", String(cell)))])))] : [];
}

const section = (title, content) => (content.length ? [make("h3", title), ...content] : []);

function size(bytes) {
  if (!bytes) return "";
  const power = Math.min(3, Math.floor(Math.log10(bytes) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${["B", "kB", "MB", "GB"][power]}`;
}

function chip(node) {
  const color = node.change ? data.changes[node.change] : data.colors[node.kind];
  const made = make("span", node.change || data.kinds[node.kind], { class: "chip" });
  made.style.background = color;
  return made;
}

function link(node) {
  const button = make("button", node.name);
  button.addEventListener("click", () => reveal(node));
  return button;
}

const links = (nodes) => (nodes.length ? [make("p", nodes.map(link), { class: "links" })] : []);
const number = (value) => Number(value.toPrecision(4)).toString();
const heatText = (heat, value) => `${number(value)} ${heat.unit}`.trim();

function histogram({ of, low, high, counts }) {
  const most = Math.max(...counts);
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", `0 0 ${counts.length} 40`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("class", "bars");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `histogram of ${of} from ${number(low)} to ${number(high)}`);
  counts.forEach((count, i) => {
    if (!count) return;
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = Math.max(0.6, (40 * count) / most);
    for (const [name, value] of [["x", i + 0.06], ["y", 40 - height], ["width", 0.88], ["height", height]])
      bar.setAttribute(name, value);
    picture.append(bar);
  });
  return [make("h3", `Histogram: ${of}`), picture, make("div", [make("span", number(low)), make("span", number(high))], { class: "axis" })];
}

function nodeDetails(node) {
  const heats = data.heats.filter((heat) => node.name in heat.values);
  const from = data.edges.filter((edge) => edge.head === node.name).map((edge) => nodeOf.get(edge.tail));
  const to = data.edges.filter((edge) => edge.tail === node.name).map((edge) => nodeOf.get(edge.head));
  return [
    make("h2", node.op),
    make("p", [chip(node), " ", make("span", node.name, { class: "muted" })]),
    ...(node.reason ? [make("p", `Float, because: ${node.reason}`)] : []),
    ...section("What changed", node.before.map((line) => make("p", line))),
    ...section("In your model", [
      ...(node.place ? [make("p", node.place)] : []),
      ...(node.source ? [make("p", node.source, { class: "muted" })] : []),
      ...(node.code ? [make("pre", make("code", node.code))] : []),
    ]),
    ...section("Computes", node.absorbed.length > 1 ? [make("p", node.absorbed.join(" + "))] : []),
    ...section("Gives", table([
      ["shape", node.value.shape], ["dtype", node.value.dtype],
      ["scale", node.value.scale], ["zero point", node.value.zero_point],
      ["qparams", node.value.note], ["size", size(node.bytes)],
    ])),
    ...section("Measured", table(heats.map((heat) => [heat.metric, heatText(heat, heat.values[node.name])]))),
    ...section("Observer", node.statistics ? [make("p", node.statistics)] : []),
    ...section("Weights", table(node.weights.map((w) => [w.name, w.shape, w.dtype, size(w.bytes)]))),
    ...node.histograms.flatMap(histogram),
    ...section("Arguments", table(Object.entries(node.arguments))),
    ...section("Reads", links(from)),
    ...section("Read by", links(to)),
  ];
}

function boxDetails(box) {
  const nodes = nodesIn(box);
  const toggle = make("button", folded.has(box.path) ? "Unfold" : "Fold");
  toggle.addEventListener("click", () => toggleBox(box.path));
  const count = (kind) => nodes.filter((node) => node.kind === kind).length;
  const bytes = nodes.reduce((sum, node) => sum + node.weights.reduce((all, w) => all + w.bytes, 0), 0);
  return [
    make("h2", box.path),
    make("p", [make("span", `module, ${nodes.length} nodes`, { class: "muted" }), " ", toggle]),
    ...section("Nodes", table(Object.keys(data.kinds).map((kind) => [data.kinds[kind], count(kind) || ""]))),
    ...section("Weights", table([["size", size(bytes)]])),
    ...section("Measured", table(data.heats.map((heat) => [heat.metric, heatOfBox(heat, box)])
      .filter(([, value]) => value !== undefined).map(([metric, value], i) => [metric, heatText(data.heats.find((h) => h.metric === metric), value)]))),
    ...section("Holds", links(nodes.slice(0, 60))),
  ];
}

function showPanel(content) {
  const close = make("button", "×", { class: "close", "aria-label": "Close details" });
  close.addEventListener("click", () => select(null));
  panel.replaceChildren(close, ...content);
  panel.hidden = false;
  panel.scrollTop = 0;
}
