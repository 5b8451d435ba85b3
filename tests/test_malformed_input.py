"""Whatever is malformed ends in an int8 model or in an error of ours, and leaves the user's model as it was."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from fxquant import calibrate, convert_fx, prepare_fx
from fxquant.errors import FxquantError
from tests.malformed import (
    CUSTOM,
    DATA,
    EXAMPLES,
    INPUTS,
    LIKE_RIGHT,
    MAPPINGS,
    PACKS,
    STEPS,
    WEIGHTS,
    Malformed,
    images,
)

pytestmark = pytest.mark.filterwarnings("ignore")


class Case(NamedTuple):
    """Entries of the menus, by name."""

    steps: tuple[str, ...] = ("conv",)
    pack: str = "tensor"
    weights: str = "as made"
    mapping: str = "default"
    custom: str = "none"
    example: str = "right"
    data: str = "both"
    batch: str = "right"
    call: str = "right"

    @property
    def is_like_the_example(self) -> bool:
        """Whether the call is one that a model prepared with this example must take."""
        return self.example == "right" and self.custom != "quantized borders" and self.call in LIKE_RIGHT


def mostly(usual: str, menu: dict[str, Any]) -> st.SearchStrategy[str]:
    """Three times of four the `usual` entry, so that what is wrong elsewhere is reached."""
    return st.integers(0, 3).flatmap(lambda n: st.just(usual) if n else st.sampled_from(list(menu)))


CASES = st.builds(
    Case,
    st.lists(st.sampled_from(list(STEPS)), max_size=5).map(tuple),
    mostly("tensor", PACKS),
    mostly("as made", WEIGHTS),
    mostly("default", MAPPINGS),
    mostly("none", CUSTOM),
    mostly("right", EXAMPLES),
    mostly("both", DATA),
    mostly("right", EXAMPLES),
    mostly("right", INPUTS),
)


def made(case: Case) -> Malformed:
    torch.manual_seed(0)
    model = Malformed(case.steps, case.pack)
    with torch.no_grad():
        WEIGHTS[case.weights](model)
    return model


def state_of(model: nn.Module) -> list[tuple[Any, ...]]:
    """All that a user can see of a model: modules, their attributes, and each tensor with its storage and numbers."""
    found: list[tuple[Any, ...]] = []
    for name, module in model.named_modules(remove_duplicate=False):
        found.append((name, id(module), type(module), module.training, sorted(vars(module))))
        found += [(name, key, repr(value)) for key, value in vars(module).items() if key.endswith("_hooks")]
        for kind in ("_parameters", "_buffers"):
            for key, tensor in getattr(module, kind).items():
                seen = None if tensor is None or tensor.is_meta else copy.deepcopy(tensor.detach())
                found.append((name, key, id(tensor), getattr(tensor, "requires_grad", None), seen))
    return found


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(*map(torch.nan_to_num, (a, b)))
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def outcome(case: Case) -> Any:
    """What the int8 model gives, or the error of ours; and the model is what it was."""
    model = made(case)
    before = state_of(model)
    try:
        return through(model, case)
    except FxquantError as error:
        return error
    finally:
        assert same(state_of(model), before)


def through(model: Malformed, case: Case) -> Any:
    x = images()
    prepared = prepare_fx(model, MAPPINGS[case.mapping](), EXAMPLES[case.example](x), **CUSTOM[case.custom]())
    calibrate(prepared, DATA[case.data](x, EXAMPLES[case.batch](x)), progress=False)
    quantized = convert_fx(prepared)
    inputs = INPUTS[case.call](x)
    try:
        result = called(quantized, inputs)
    except Exception as error:
        if case.is_like_the_example and takes(made(case), inputs):
            raise AssertionError(f"an input like the example is refused: {error}") from error
        if not isinstance(error, FxquantError) and isinstance(quantized, GraphModule):
            raise
        return error  # of the user's own code, which runs as Python
    if case.is_like_the_example:
        assert form_of(result) == form_of(called(made(case), inputs))
    return result


def called(model: nn.Module, inputs: Any) -> Any:
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


def takes(model: nn.Module, inputs: Any) -> bool:
    try:
        called(model, inputs)
    except Exception:  # whatever the float model raises
        return False
    return True


def form_of(result: Any) -> Any:
    """The structure of a result, with the shapes and dtypes of its tensors."""
    leaves, structure = pytree.tree_flatten(result)
    return structure, [(x.shape, x.dtype) if isinstance(x, Tensor) else type(x) for x in leaves]


MENUS = {"pack": PACKS, "weights": WEIGHTS, "mapping": MAPPINGS, "custom": CUSTOM}
MENUS |= {"example": EXAMPLES, "data": DATA, "batch": EXAMPLES, "call": INPUTS}
ALONE = [Case(steps=("conv", step, "conv")) for step in STEPS]
ALONE += [Case(("conv", "norm", "relu"))._replace(**{role: name}) for role, menu in MENUS.items() for name in menu]
# What ended in an error of Python or of torch once.
ONCE_BROKEN = [
    Case(mapping="raising"),
    Case(mapping="fixed at nothing"),
    Case(custom="an index that is no number"),
    Case(custom="a backend of nonsense"),
    Case(batch="nested"),
    Case(call="six dimensions"),
    Case(call="sparse"),
    Case(call="nothing"),
    Case(call="another keyword"),
    Case(("float",), call="two"),
    Case(("computed weight", "branched", "sparse")),
    Case(("branched",), weights="meta", example="zero"),
    Case(("times huge",), weights="meta"),
]


@pytest.mark.parametrize("case", ONCE_BROKEN, ids=str)
def test_what_was_found(case: Case) -> None:
    outcome(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALONE, ids=str)
def test_each_entry_alone(case: Case) -> None:
    outcome(case)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(CASES)
def test_anything_ends_in_a_model_or_an_error_of_ours(case: Case) -> None:
    outcome(case)


def test_most_of_what_is_odd_only_in_its_code_is_converted() -> None:
    cases = [
        Case(steps=("conv", step)) for step in ("ring", "tied", "alias", "containers", "no channels", "unused halves")
    ]
    assert all(isinstance(outcome(case), Tensor) for case in cases)
