// Finding nodes by what is written about them.

const searchBox = document.getElementById("search");
const hits = document.getElementById("hits");
const MOST_HITS = 60;

const named = (node) => `${node.op} ${node.name} ${node.place}`.toLowerCase();
const textOf = new Map(data.nodes.map((node) => [node,
  [named(node), node.reason, node.source, node.code, node.kind, node.change, node.value.dtype, node.value.shape, ...node.absorbed]
    .join(" ").toLowerCase()]));

// The nodes that all words of `query` are written about, first those with them in their names.
function found(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const nodes = data.nodes.filter((node) => words.every((word) => textOf.get(node).includes(word)));
  const late = (node) => (words.every((word) => named(node).includes(word)) ? 0 : 1);
  return nodes.sort((a, b) => late(a) - late(b));
}

function showHits(nodes) {
  hits.replaceChildren(...nodes.slice(0, MOST_HITS).map((node) => {
    const button = make("button", [node.op, make("small", node.place || node.name)]);
    button.addEventListener("click", () => { hits.hidden = true; reveal(node); });
    return make("li", button);
  }));
  if (nodes.length > MOST_HITS) hits.append(make("li", make("small", `and ${nodes.length - MOST_HITS} more`)));
  if (!nodes.length) hits.append(make("li", make("small", "nothing found")));
  hits.hidden = !searchBox.value.trim();
}

function setUpSearch() {
  searchBox.addEventListener("input", () => {
    const nodes = found(searchBox.value);
    showHits(nodes);
    mark(nodes);
  });
  searchBox.addEventListener("focus", () => { if (searchBox.value.trim()) showHits(found(searchBox.value)); });
  searchBox.addEventListener("keydown", (event) => {
    if (event.key === "Enter") hits.querySelector("button")?.click();
    if (event.key === "ArrowDown") { event.preventDefault(); hits.querySelector("button")?.focus(); }
    if (event.key === "Escape") { searchBox.value = ""; hits.hidden = true; mark([]); canvas.focus(); }
  });
  hits.addEventListener("keydown", (event) => {
    const item = document.activeElement.closest("li");
    const next = event.key === "ArrowDown" ? item?.nextElementSibling : event.key === "ArrowUp" ? item?.previousElementSibling : null;
    if (next) { event.preventDefault(); next.querySelector("button")?.focus(); }
    if (event.key === "Escape") { hits.hidden = true; searchBox.focus(); }
  });
  document.addEventListener("pointerdown", (event) => { if (!event.target.closest("#finder")) hits.hidden = true; });
}
