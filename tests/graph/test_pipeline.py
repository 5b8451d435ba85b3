from __future__ import annotations

import pytest
from fxquant.passes import PIPELINE
from graphs import X, calls, graph_of
from torch.fx import GraphModule

from fxquant import Match, Rule, apply_rules, ops, register_pass
from fxquant.errors import ConfigError, VerifyError
from fxquant.graph.pipeline import debug_level, passes_of, run_stage
from fxquant.graph.registry import PASSES, STAGES


@pytest.fixture(autouse=True)
def _silent(own_passes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXQUANT_DEBUG", raising=False)


class ReluTwice(Rule):
    def pattern(self, x: object) -> object:
        return ops.relu(ops.relu(x))

    def rewrite(self, m: Match, x: object) -> object:
        return ops.relu(x)


def relu_twice(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, [ReluTwice()])


def always(stage: str) -> list[str]:
    return [name for name in PIPELINE[stage] if not PASSES[name].optional]


def test_the_list_names_every_pass_in_its_stage() -> None:
    assert tuple(PIPELINE) == STAGES
    listed = {name: stage for stage, names in PIPELINE.items() for name in names}
    assert listed == {
        p.name: p.stage for p in PASSES.values() if p.declared.__module__.startswith(("passes", "fxquant"))
    }


@pytest.mark.parametrize("stage", STAGES)
def test_passes_run_in_the_order_of_the_list(stage: str) -> None:
    assert [p.name for p in passes_of(stage)] == always(stage)


def test_a_plug_in_runs_at_the_end_of_its_stage() -> None:
    register_pass("fold")(relu_twice)
    register_pass("plan", name="mine")(relu_twice)
    assert [p.name for p in passes_of("fold")] == [*always("fold"), "relu_twice"]
    assert [p.name for p in passes_of("plan")] == [*always("plan"), "mine"]
    assert calls(run_stage(graph_of(lambda x: ops.relu(ops.relu(ops.relu(x)))), "fold")) == [ops.relu]


def test_the_code_of_a_graph_is_new_in_plug_ins_and_after_the_stage() -> None:
    seen = []

    def look(gm: GraphModule) -> GraphModule:
        seen.append(gm.code)
        return gm

    def folded() -> str:
        gm = run_stage(graph_of(lambda x: ops.quantize(ops.dequantize(x, X), X)), "fold")
        assert calls(gm) == []
        return str(gm.code)

    new = graph_of(lambda x: x).code
    assert folded() == new
    register_pass("fold")(look)
    assert folded() == new
    assert seen == [new]


def test_there_is_no_other_stage() -> None:
    with pytest.raises(ConfigError, match=r"no stage 'optimize'.*normalize, fuse, annotate"):
        register_pass("optimize")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (0, ()),
        (1, ("relu_twice", " ms")),
        (2, ("relu_twice", " ms", "--- before", "-%relu_1")),
        (4, ("relu_twice", " ms", "--- before", "== after plan", "graph():")),
    ],
)
def test_the_reader_may_watch(
    level: int, shown: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FXQUANT_DEBUG", str(level))
    register_pass("plan")(relu_twice)
    run_stage(graph_of(lambda x: ops.relu(ops.relu(x))), "plan")
    text = capsys.readouterr().err
    assert all(each in text for each in shown)
    for each in {"relu_twice", " ms", "--- before", "== after plan", "graph():"} - set(shown):
        assert each not in text


class Refusing(ReluTwice):
    def check(self, m: Match) -> None:
        m.refuse("not today")


def test_level_3_shows_refusals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    register_pass("plan")(lambda gm: apply_rules(gm, [Refusing()]))
    for level, lines in ((2, 0), (3, 1)):
        monkeypatch.setenv("FXQUANT_DEBUG", str(level))
        run_stage(graph_of(lambda x: ops.relu(ops.relu(x))), "plan")
        assert capsys.readouterr().err.count("Refusing refuses relu_1: not today") == lines


def test_a_stage_is_verified_on_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    run_stage(graph_of(ops.int8_max_pool2d, 6), "plan")
    monkeypatch.setenv("FXQUANT_DEBUG", "1")
    with pytest.raises(VerifyError, match="int8_max_pool2d was not lowered"):
        run_stage(graph_of(ops.int8_max_pool2d, 6), "plan")


@pytest.mark.parametrize("text", ["", "yes", "-1", "1.5"])
def test_a_level_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQUANT_DEBUG", text)
    with pytest.raises(ConfigError, match="FXQUANT_DEBUG"):
        debug_level()
