"""draw: every node of the graph is in the drawing, in the colour of its value and in the box of its module."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, symbolic_trace

from fxquant import convert_fx, diff, draw, get_default_qconfig_mapping, prepare_fx
from fxquant.drawing.describe import drawing_of
from fxquant.drawing.dot import dot_source
from fxquant.drawing.heat import memory
from fxquant.drawing.model import KINDS, Drawing, DrawnNode
from fxquant.drawing.style import COLORS, HEAT
from fxquant.errors import ConfigError, FileError, MissingError, PathError
from fxquant.graph.annotation import Quant
from fxquant.graph.origin import Origin
from fxquant.observer import MinMaxObserver
from fxquant.ops.quantize import dequantize, quantize
from fxquant.qparams import QParams


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.observer = MinMaxObserver()
        self.act = nn.ReLU()
        self.register_buffer("weight", torch.ones(2, 2))


def small_graph() -> GraphModule:
    """x -> observer -> relu -> quantize -> flatten -> dequantize -> erf, and an addition of a weight."""
    root = Block()
    graph = Graph()
    x = graph.placeholder("x")
    observed = graph.call_module("observer", (x,))
    relu = graph.call_module("act", (observed,))
    relu.meta["origin"] = Origin("block.inner.act", nn.ReLU, nn.ReLU, "model.py:3")
    params = QParams(0.1, 10)
    quantized = graph.call_function(quantize, (relu, params))
    quantized.meta["origin"] = Origin("block.inner", Block, torch.relu)
    quantized.meta["absorbed"] = (quantized.meta["origin"], Origin("block.inner.act", nn.ReLU, nn.ReLU))
    flat = graph.call_method("flatten", (quantized, 1))
    flat.meta["origin"] = Origin("block", Block, "flatten")
    back = graph.call_function(dequantize, (flat, params))
    erf = graph.call_function(torch.erf, (back,))
    erf.meta["quant"] = Quant(int8=False, reason='no integer kernel for "erf"')
    weight = graph.get_attr("weight")
    graph.output(graph.call_function(torch.add, (erf, weight)))
    return GraphModule(root, graph)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6())
        self.conv = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = self.conv(y) + y
        return self.head(torch.erf(y.mean((2, 3))))


def stages() -> tuple[nn.Module, nn.Module]:
    """A prepared, calibrated model and what conversion makes of it."""
    x = torch.randn(2, 3, 8, 8)
    prepared = prepare_fx(Net().eval(), get_default_qconfig_mapping(), (x,))
    prepared(x)
    return prepared, convert_fx(prepared)


def by_name(drawing: Drawing) -> dict[str, DrawnNode]:
    return {node.name: node for node in drawing.nodes}


def test_every_node_but_constants_is_drawn_once_and_every_edge() -> None:
    gm = small_graph()
    drawing = drawing_of(gm)
    drawn = [node for node in gm.graph.nodes if node.op != "get_attr"]
    assert [node.name for node in drawing.nodes] == [node.name for node in drawn]
    edges = {(source.name, n.name) for n in drawn for source in n.all_input_nodes if source in drawn}
    assert {(edge.tail, edge.head) for edge in drawing.edges} == edges
    assert [weight.name for weight in by_name(drawing)["add"].weights] == ["weight"]


def test_kinds_follow_the_values() -> None:
    kinds = {node.name: node.kind for node in drawing_of(small_graph()).nodes}
    assert kinds == {
        "x": "border",
        "observer": "observer",
        "act": "float",
        "quantize": "int8",
        "flatten": "int8",
        "dequantize": "float",
        "erf": "float",
        "add": "float",
        "output": "border",
    }


def test_nodes_of_a_module_share_a_box() -> None:
    drawing = drawing_of(small_graph())
    assert [(box.path, box.parent) for box in drawing.boxes] == [("block", ""), ("block.inner", "block")]
    boxes = {node.name: node.box for node in drawing.nodes if node.box}
    beside = dict.fromkeys(("dequantize", "erf", "add"), "block")  # which the user did not write
    assert boxes == {"act": "block.inner", "quantize": "block.inner", "flatten": "block", **beside}


def test_a_value_hands_its_qparams_on_when_it_is_only_moved() -> None:
    nodes = by_name(drawing_of(small_graph()))
    assert nodes["flatten"].value.lines == ("uint8", "scale 0.1, zero point 10")
    assert nodes["dequantize"].value.dtype == ""


def test_a_converted_model_tells_all_of_each_node() -> None:
    drawing = drawing_of(stages()[1])
    nodes = by_name(drawing)
    conv = nodes["stem_0"]
    assert (conv.op, conv.kind, conv.place) == ("Int8Conv2d", "int8", "stem.0")
    assert conv.absorbed == ("Conv2d", "BatchNorm2d", "ReLU6")
    assert conv.value.shape == "2x4x8x8"
    assert conv.value.dtype == "uint8"
    assert conv.value.scale is not None
    assert conv.code == "y = self.stem(x)"
    assert conv.source.startswith("test_drawing.py:")
    assert conv.bytes == 2 * 4 * 8 * 8
    weight = next(weight for weight in conv.weights if weight.name == "weight")
    assert (weight.shape, weight.dtype, weight.bytes) == ("4x3x3x3", "int8", 108)
    assert [sum(h.counts) for h in conv.histograms if h.of == "weight"] == [108]
    residual = nodes["conv"]
    assert residual.absorbed == ("Conv2d", "add")
    assert {edge.tail for edge in drawing.edges if edge.head == "conv"} == {"stem_0"}
    assert nodes["erf"].kind == "float"
    assert nodes["erf"].reason == "erf is not in the op table"


def test_a_prepared_model_tells_what_its_observers_saw() -> None:
    drawing = drawing_of(stages()[0])
    observers = [node for node in drawing.nodes if node.kind == "observer"]
    assert len(observers) >= 4
    for node in observers:
        [histogram] = node.histograms
        assert sum(histogram.counts) > 0
        assert histogram.low < histogram.high
        assert node.value.scale is not None
    assert {node.op for node in drawing.nodes if node.kind == "planned"} >= {"conv2d", "linear"}
    assert not any("weight" in node.name for node in observers)  # these belong to the node that reads the weight


def test_models_are_not_modified_by_being_drawn() -> None:
    for model in stages():
        before = str(model.graph), dict(model.state_dict()), [dict(node.meta) for node in model.graph.nodes]
        drawing_of(model)
        assert str(model.graph) == before[0]
        assert model.state_dict().keys() == before[1].keys()
        assert [dict(node.meta) for node in model.graph.nodes] == before[2]


def test_a_plain_traced_model_is_drawn() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu() + 1

    drawing = drawing_of(torch.fx.symbolic_trace(Model()))
    assert [node.op for node in drawing.nodes] == ["input", "relu", "add", "output"]


def test_a_model_whose_own_code_runs_as_python_is_drawn_part_by_part() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            if float(x.abs().max()) > 0:  # which no tracer can follow
                x = self.first(x)
            return self.second(x)

    x = torch.randn(2, 4)
    prepared = prepare_fx(Outer().eval(), get_default_qconfig_mapping(), (x,))
    places = {node.place for node in drawing_of(prepared).nodes}
    assert {"first.0", "second.0"} <= places
    assert len({node.name for node in drawing_of(prepared).nodes}) == len(drawing_of(prepared).nodes)


def test_what_holds_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Linear holds no graph"):
        draw(nn.Linear(2, 2), tmp_path / "graph.dot")


def test_dot_of_a_small_graph(golden: Callable[[str, str], None]) -> None:
    golden("drawing.dot", dot_source(drawing_of(small_graph())))


def test_dot_and_html_need_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    gm = small_graph()
    path = draw(gm, tmp_path / "pictures" / "graph.dot")
    assert path.read_text() == dot_source(drawing_of(gm))
    assert draw(gm, tmp_path / "graph.html").exists()
    with pytest.raises(MissingError, match="apt-get install graphviz"):
        draw(gm, tmp_path / "graph.svg")
    assert not (tmp_path / "graph.svg").exists()


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.html, \.svg, \.png, \.pdf, \.dot"):
        draw(small_graph(), tmp_path / "graph.txt")


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PathError, match=r"cannot write the drawing to .*graph\.dot"):
        draw(small_graph(), tmp_path / "file" / "graph.dot")


@pytest.mark.parametrize("format", ["svg", "png", "pdf"])
def test_pictures(tmp_path: Path, format: str) -> None:
    try:
        path = draw(small_graph(), tmp_path / f"graph.{format}", heat="memory")
    except MissingError as error:
        pytest.skip(str(error))
    content = path.read_bytes()
    assert content.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[format])
    if format == "svg":
        assert re.findall(r"<title>(\w+)</title>", content.decode()).count("quantize") == 1
        drawn = re.findall(r'<g id="node\d+" class="([^"]*)"', content.decode())
        assert len([kind for kind in drawn if kind != "node value"]) == len(drawing_of(small_graph()).nodes)


def test_a_picture_says_what_its_colours_mean() -> None:
    drawing = drawing_of(small_graph())
    plain, heat = dot_source(drawing), memory(drawing)
    for kind in ("int8", "float", "observer", "border"):
        assert f'bgcolor="{COLORS[kind]}"' in plain
        assert f"> {KINDS[kind]}</td>" in plain
    assert KINDS["planned"] not in plain
    hot = dot_source(drawing, heat)
    assert ">memory 0 kB </td>" in hot
    assert f"{heat.bounds[1]:.4g} kB</td>" in hot
    assert KINDS["int8"] not in hot
    assert "removed" in dot_source(diff(small_graph(), symbolic_trace(nn.ReLU())))


def test_what_users_write_is_quoted_for_graphviz(tmp_path: Path) -> None:
    names = ['<b>&"\\', "new\nline\x00", "→ ü"]
    nodes = tuple(DrawnNode(name, name, "float", place=name, reason=name, absorbed=(name, name)) for name in names)
    try:
        path = draw(Drawing(names[0], nodes, ()), tmp_path / "graph.svg")
    except MissingError as error:
        pytest.skip(str(error))
    assert path.read_text(encoding="utf-8").count('<g id="node') == 3


def test_heat_by_mapping_memory_and_time(tmp_path: Path) -> None:
    _, quantized = stages()
    source = draw(quantized, tmp_path / "a.dot", heat={"stem_0": 1.0, "conv": 3.0}).read_text()
    assert "heat 1" in source
    assert "heat 3" in source
    assert f'fillcolor="{HEAT[0]}"' in source
    assert f'fillcolor="{HEAT[-1]}"' in source
    assert "memory 0.6" in draw(quantized, tmp_path / "b.dot", heat="memory").read_text()
    for inputs in (None, (torch.randn(2, 3, 8, 8),), {"x": torch.randn(2, 3, 8, 8)}):
        timed = draw(quantized, tmp_path / "c.dot", heat="time", inputs=inputs).read_text()
        assert len(re.findall(r">time [\d.e-]+ us</font>", timed)) == len(drawing_of(quantized).nodes) - 2


def test_heat_by_time_leaves_options_at_their_defaults(tmp_path: Path) -> None:
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor, mask: Tensor | None = None, scaled: bool = False) -> Tensor:
            y: Tensor = self.fc(x)
            y = y if mask is None else y * mask
            return y * 2 if scaled else y

    x = torch.randn(2, 4)
    prepared = prepare_fx(Optional().eval(), get_default_qconfig_mapping(), (x,))
    prepared(x)
    assert "time " in draw(convert_fx(prepared), tmp_path / "a.dot", heat="time").read_text()


def test_heat_of_a_comparison(tmp_path: Path) -> None:
    class Comparison:
        def __init__(self, rows: list[dict[str, object]]) -> None:
            self.rows = rows

        def to_dict(self) -> list[dict[str, object]]:
            return self.rows

    _, quantized = stages()
    rows = [{"node": n, "sqnr_db": db} for n, db in (("stem_0", 40.0), ("conv", 10.0), ("elsewhere", 1.0))]
    source = draw(quantized, tmp_path / "a.dot", heat=Comparison(rows)).read_text()
    [conv] = re.findall(r'^"conv" \[.*', source, re.MULTILINE)
    assert "sqnr 10 dB" in conv
    assert HEAT[-1] in conv  # the worst is the hottest
    with pytest.raises(ConfigError, match="another model"):
        draw(quantized, tmp_path / "a.dot", heat=Comparison(rows[2:]))


@pytest.mark.parametrize(
    ("heat", "message"), [("speed", "'time', 'memory'"), ({"nowhere": 1.0}, "'nowhere'"), (3, "3")]
)
def test_heat_that_makes_no_sense_is_refused(tmp_path: Path, heat: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(stages()[1], tmp_path / "a.dot", heat=heat)


def test_a_drawing_survives_json(tmp_path: Path) -> None:
    for model in stages():
        assert Drawing.load(draw(model, tmp_path / "a.json")) == drawing_of(model)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": "other"}', '{"format": "fxquant drawing 1", "nodes": [1]}']
)
def test_a_file_that_is_no_drawing_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FileError):
        diff(path, path)
    with pytest.raises(PathError, match="cannot read"):
        diff(tmp_path / "none.json", path)


Area = tuple[float, float, float, float]


def _areas(svg: str, kind: str, shape: str) -> list[Area]:
    """What the shapes of all elements of a kind take: left, top, right, bottom."""
    found = re.findall(rf'class="{kind}">(?:(?!</g>).)*?<{shape}\b[^>]*? (?:d|points)="([^"]*)"', svg, re.DOTALL)
    numbers = [[float(n) for n in re.findall(r"-?\d+\.?\d*", each)] for each in found]
    return [(min(n[::2]), min(n[1::2]), max(n[::2]), max(n[1::2])) for n in numbers]


def test_no_label_lies_over_the_border_of_a_box(tmp_path: Path) -> None:
    def convs(*others: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), *others)

    model = nn.Sequential(convs(convs(convs())), convs(convs()), nn.Conv2d(3, 3, 1)).eval()
    x = torch.rand(1, 3, 8, 8)
    quantized = convert_fx(prepare_fx(model, get_default_qconfig_mapping(), (x,)))
    try:
        svg = draw(quantized, tmp_path / "graph.svg").read_text()
    except MissingError as error:
        pytest.skip(str(error))
    boxes = _areas(svg, "cluster", "path")
    written = re.findall(r'<g id="\w+" class="(?:node value|edge)">.*?</g>', svg, re.DOTALL)
    texts = [t for each in written for t in re.findall(r'<text [^>]*?x="([-\d.]+)" y="([-\d.]+)"[^>]*>([^<]*)', each)]
    assert len(boxes) == 3
    assert len(texts) > 10
    for x, y, text in texts:
        half = len(text.strip()) * 9 * 0.25  # of the narrowest that this font may take
        for left, top, right, bottom in boxes:
            if top < float(y) < bottom:
                assert not any(float(x) - half < border < float(x) + half for border in (left, right)), text
