// What is shown of the drawing: the module tree, which of its boxes are folded, and that as text for Graphviz.

const data = JSON.parse(document.getElementById("data").textContent);
const nodeOf = new Map(data.nodes.map((node) => [node.name, node]));
const boxOf = new Map(data.boxes.map((box) => [box.path, { ...box, nodes: [], boxes: [] }]));
const root = { path: "", nodes: [], boxes: [] };
for (const box of boxOf.values()) (boxOf.get(box.parent) || root).boxes.push(box);
for (const node of data.nodes) (boxOf.get(node.box) || root).nodes.push(node);
const folded = new Set();

const nodesIn = (box) => [...box.nodes, ...box.boxes.flatMap(nodesIn)];
const around = (path) => (boxOf.has(path) ? [...around(boxOf.get(path).parent), path] : []); // outermost first
const quoted = (text) => '"' + text.replaceAll("\\", "\\\\").replaceAll('"', '\\"') + '"';
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// What stands for a node now: itself, or the outermost folded box around it.
function shownFor(node) {
  const box = around(node.box).find((path) => folded.has(path));
  return box === undefined ? { kind: "node", key: node.name } : { kind: "box", key: box };
}

const idOf = ({ kind, key }) => kind + ":" + key;
const countShown = () => new Set(data.nodes.map((node) => idOf(shownFor(node)))).size;

// Folds the innermost boxes until at most `limit` things are left to see; of a diff, those in which nothing changed.
function foldAtFirst(limit) {
  if (data.nodes.some((node) => node.change)) {
    for (const box of boxOf.values()) if (!nodesIn(box).some((node) => node.change)) folded.add(box.path);
    return;
  }
  const depth = (box) => around(box.path).length;
  const deepest = Math.max(0, ...[...boxOf.values()].map(depth));
  for (let level = deepest; level > 0 && countShown() > limit; level--)
    for (const box of boxOf.values()) if (depth(box) === level) folded.add(box.path);
}

function majority(nodes) {
  const counts = {};
  for (const node of nodes) counts[node.kind] = (counts[node.kind] || 0) + 1;
  return Object.keys(counts).sort((a, b) => counts[b] - counts[a])[0];
}

function foldedDot(box) {
  const nodes = nodesIn(box);
  const type = nodes.length === 1 ? "1 node" : `${nodes.length} nodes`;
  const name = box.path.slice(box.parent ? box.parent.length + 1 : 0);
  const label = `<<b>${escaped(name)} ▸</b><br/><font point-size="8">${type}</font>>`;
  return `label=${label} class="folded ${majority(nodes)}" fillcolor="${data.colors[majority(nodes)]}" penwidth=2`;
}

// The text for Graphviz, and what its elements stand for, by id.
function toDot(rankdir) {
  const lines = [data.head, `rankdir=${rankdir}`];
  const things = new Map();
  const named = (thing) => {
    const id = `g${things.size}`;
    things.set(id, thing);
    return id;
  };
  const written = new Map(); // what is written on the ways from a node or folded box, by its id
  const seen = new Set();
  const ways = [];
  for (const edge of data.edges) {
    const [tail, head] = [idOf(shownFor(nodeOf.get(edge.tail))), idOf(shownFor(nodeOf.get(edge.head)))];
    if (tail === head || seen.has(tail + "\n" + head)) continue;
    seen.add(tail + "\n" + head);
    const thing = { kind: "edge", tail, head, text: `${edge.tail} → ${edge.head}\n${edge.text}` };
    if (!edge.value) {
      ways.push(`${quoted(tail)} -> ${quoted(head)} [${edge.dot} id=${named(thing)}]`);
      continue;
    }
    const value = quoted("value:" + edge.tail);
    if (!seen.has(value)) {
      seen.add(value);
      written.set(tail, [...(written.get(tail) || []), `${value} [${edge.value} id=${named(thing)}]`]);
      ways.push(`${quoted(tail)} -> ${value} [arrowhead=none ${edge.dot} id=${named(thing)}]`);
    }
    ways.push(`${value} -> ${quoted(head)} [${edge.dot} id=${named(thing)}]`);
  }
  const content = (box) => {
    for (const node of box.nodes) {
      lines.push(`${quoted("node:" + node.name)} [${node.dot} id=${named({ kind: "node", key: node.name })}]`);
      lines.push(...(written.get("node:" + node.name) || []));
    }
    for (const inner of box.boxes) {
      if (folded.has(inner.path)) {
        lines.push(`${quoted("box:" + inner.path)} [${foldedDot(inner)} id=${named({ kind: "box", key: inner.path })}]`);
        lines.push(...(written.get("box:" + inner.path) || []));
        continue;
      }
      const id = named({ kind: "cluster", key: inner.path });
      lines.push(`subgraph ${quoted("cluster_" + inner.path)} { graph [${inner.dot} id=${id}]`);
      content(inner);
      lines.push("}");
    }
  };
  content(root);
  lines.push(...ways);
  return { text: lines.join("\n") + "\n}", things };
}
