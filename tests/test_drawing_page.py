"""The page that draw writes, in a real browser: it lays out, folds, searches and tells, and asks no network."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fxquant import convert_fx, draw, get_default_qconfig_mapping, prepare_fx
from fxquant.drawing.model import Box, Drawing, DrawnNode, Edge, Value
from tests.browser import Page, browser

EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>"


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.erf(self.blocks(x).mean((2, 3))))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def drawn(tmp_path: Path, prepared: bool = False, **options: object) -> Path:
    x = torch.randn(2, 4, 8, 8)
    model = prepare_fx(Net().eval(), get_default_qconfig_mapping(), (x,))
    model(x)
    return draw(model if prepared else convert_fx(model), tmp_path / "net.html", **options)


def nodes(page: Page) -> int:
    return int(page.run("document.querySelectorAll('#canvas .node').length"))


def select(page: Page, name: str) -> str:
    """Clicks the node that search finds for `name`, and returns the text of the panel."""
    page.run(
        f"(() => {{const s = document.querySelector('#search'); s.value = {name!r};"
        "s.dispatchEvent(new Event('input')); document.querySelector('#hits button').click();})()"
    )
    return str(page.run("document.querySelector('#panel').innerText"))


def test_it_lays_out_without_network_and_without_complaints(page: Page, tmp_path: Path) -> None:
    path = drawn(tmp_path)
    page.requests.clear()
    page.open(path)
    assert nodes(page) > 5
    for heading in ("#fold", "#unfold", "#turn", "#fit", "#in", "#out"):
        page.click(heading)
    assert [url for url in page.requests if url != path.resolve().as_uri()] == []
    assert page.complaints == []


def test_the_page_forbids_requests(page: Page, tmp_path: Path) -> None:
    page.open(drawn(tmp_path))
    outcome = "fetch('data:text/plain,x').then(() => 'sent', () => 'refused')"
    assert page.run(outcome) == "refused"
    page.complaints.clear()  # the refusal


def test_search_finds_and_shows(page: Page, tmp_path: Path) -> None:
    page.open(drawn(tmp_path))
    page.run("document.querySelector('#search').focus()")
    for letter in "erf":
        page.key(letter, letter)
    found = page.run("[...document.querySelectorAll('#hits button')].map((b) => b.firstChild.textContent)")
    assert found[0] == "erf"  # the op; others stand in the same line of code
    assert 1 < len(found) < nodes(page)
    assert page.run("document.querySelectorAll('.node.hit').length") == len(found)
    page.key("Enter")
    assert "erf is not in the op table" in page.run("document.querySelector('#panel').innerText")
    assert page.run("document.querySelectorAll('.node.on').length") == 1


def test_a_click_shows_the_line_the_weights_and_a_histogram(page: Page, tmp_path: Path) -> None:
    page.open(drawn(tmp_path))
    page.click("#canvas .node")
    assert page.run("document.querySelector('#panel').hidden") is False
    text = select(page, "blocks.0.first.0")
    assert "Conv2d + BatchNorm2d + ReLU" in text
    assert "4x4x3x3" in text
    assert "self.second(self.first(x)) + x" in text
    assert "test_drawing_page.py:" in text
    assert page.run("document.querySelectorAll('#panel .bars rect').length") > 10


def test_a_prepared_model_shows_what_its_observers_saw(page: Page, tmp_path: Path) -> None:
    page.open(drawn(tmp_path, prepared=True))
    text = select(page, "observer activation_post_process_0")
    assert "Histogram: values seen" in text
    assert "0..255 of torch.uint8" in text


def test_boxes_fold_and_unfold_by_mouse_and_keyboard(page: Page, tmp_path: Path) -> None:
    page.open(drawn(tmp_path))
    before = nodes(page)
    page.click("#canvas .cluster text")
    assert nodes(page) < before
    assert page.run("document.querySelectorAll('.node.folded').length") == 1
    assert page.run("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.key("Enter", "\r")
    assert nodes(page) == before
    page.click("#fold")
    assert page.run("document.querySelectorAll('.cluster').length") == 0
    assert "blocks.0" in select(page, "blocks.0.first.0")  # which unfolds what is around
    page.click("#unfold")
    assert nodes(page) == before


def test_an_address_with_a_node_opens_there(page: Page, tmp_path: Path) -> None:
    path = drawn(tmp_path)
    page.open(path)
    page.run("(() => {location.hash = 'head'; location.reload();})()")
    page.wait("document.body && document.body.dataset.ready && document.querySelector('.node.on')")
    assert "Int8Linear" in page.run("document.querySelector('#panel').innerText")
    beside = page.wait("""(() => {const r = document.querySelector('.node.on').getBoundingClientRect();
        const c = document.querySelector('#canvas').getBoundingClientRect();
        return {off: Math.abs(r.left + r.width / 2 - c.left - c.width / 2)};})()""")
    assert beside["off"] < 3, "it stands in the middle of what the panel leaves free"


def test_what_is_selected_stays_in_view_when_a_box_unfolds(page: Page, tmp_path: Path) -> None:
    page.open(drawn(tmp_path))
    page.click("#fold")
    select(page, "blocks.1.second.0")
    inside = """(() => {const r = document.querySelector('.node.on').getBoundingClientRect();
        const c = document.querySelector('#canvas').getBoundingClientRect();
        return r.left >= c.left && r.right <= c.right && r.top >= c.top && r.bottom <= c.bottom;})()"""
    assert page.run(inside) is True


def test_heat_colours_and_can_be_changed(page: Page, tmp_path: Path) -> None:
    page.open(drawn(tmp_path, heat=["time", "memory"]))
    options = page.run("[...document.querySelectorAll('#heat option')].map((o) => o.textContent)")
    assert options == ["dtype", "time", "memory"]
    fill = "[...document.querySelectorAll('.node path')].map((p) => getComputedStyle(p).fill).join()"
    hot = page.run(fill)
    assert "us" in page.run("document.querySelector('#legend').innerText")
    page.run(
        "(() => {const h = document.querySelector('#heat'); h.value = 0; h.dispatchEvent(new Event('change'));})()"
    )
    assert page.run(fill) != hot
    assert "computed in int8" in page.run("document.querySelector('#legend').innerText")


def test_what_users_write_is_text(page: Page, tmp_path: Path) -> None:
    evil = DrawnNode(EVIL, EVIL, "float", Value(EVIL), EVIL, EVIL, (EVIL, EVIL), EVIL, EVIL, EVIL, {EVIL: EVIL}, EVIL)
    other = DrawnNode('quo"te\\', "%%data%%", "int8", box=EVIL)
    edge = Edge(evil.name, other.name)
    page.open(draw(Drawing(EVIL, (evil, other), (edge,), (Box(EVIL),)), tmp_path / "evil.html"))
    assert nodes(page) == 2
    page.click("#canvas .node")
    select(page, "quo")
    page.click("#canvas .cluster text")
    assert page.run("window.evil") is None
    assert page.run("document.querySelector('h1').textContent") == EVIL
    assert page.complaints == []


def test_dark_and_light_text_can_be_read(page: Page, tmp_path: Path) -> None:
    """WCAG 2.1 asks for a contrast of 4.5."""
    page.open(drawn(tmp_path, heat="memory"))
    contrast = """(() => {
        const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const rgb = (c) => c.match(/[\\d.]+/g).slice(0, 3).map((v) => linear(v / 255));
        const light = (c) => { const [r, g, b] = rgb(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
            return (x + 0.05) / (y + 0.05); };
        const paper = getComputedStyle(document.body).backgroundColor;
        const edges = [...document.querySelectorAll('.value text')].map((t) => ratio(getComputedStyle(t).fill, paper));
        const inside = [...document.querySelectorAll('.node')].flatMap((n) => [...n.querySelectorAll('text')].map((t) =>
            ratio(getComputedStyle(t).fill, getComputedStyle(n.querySelector('path')).fill)));
        return Math.min(...edges, ...inside);})()"""
    for scheme in ("light", "dark"):
        page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert page.run(contrast) >= 4.5
    page.send("Emulation.setEmulatedMedia", features=[])


def test_in_a_notebook_it_stands_in_a_frame_that_holds_it(page: Page, tmp_path: Path) -> None:
    x = torch.randn(2, 4, 8, 8)
    prepared = prepare_fx(Net().eval(), get_default_qconfig_mapping(), (x,))
    prepared(x)
    for model in (prepared, convert_fx(prepared)):
        path = tmp_path / "notebook.html"
        path.write_text(f"<!doctype html><body data-ready=1>{model._repr_html_()}</body>")
        page.open(path)
        frame = page.run("document.querySelector('iframe').getAttribute('sandbox')")
        assert frame == "allow-scripts"
        inside = page.run("document.querySelector('iframe').srcdoc")
        assert "<title>Net</title>" in inside


def test_the_bundled_graphviz_is_whole(tmp_path: Path) -> None:
    text = drawn(tmp_path).read_text()
    [packed] = re.findall(r'id="viz">([^<]+)<', text)
    assert b"Graphviz" in gzip.decompress(base64.b64decode(packed))[:400]


@pytest.mark.slow
def test_500_nodes_open(page: Page, tmp_path: Path) -> None:
    """How long it takes is in docs/drawing.md; here that all of them are there once unfolded."""
    boxes = tuple(Box(f"layer{i}") for i in range(50))
    chain = [
        DrawnNode(f"n{i}", "conv2d", "int8", Value("1x64x56x56", "uint8", 0.1, 3), box=f"layer{i // 10}")
        for i in range(500)
    ]
    edges = [Edge(f"n{i}", f"n{i + 1}") for i in range(499)] + [Edge(f"n{i}", f"n{i + 7}") for i in range(0, 490, 5)]
    page.open(draw(Drawing("Deep", tuple(chain), tuple(edges), boxes), tmp_path / "deep.html"))
    print("opened after", page.run("document.body.dataset.ready"), "ms")
    page.click("#unfold")
    assert nodes(page) == 500
