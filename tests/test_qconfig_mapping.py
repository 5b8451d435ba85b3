"""QConfigMapping: which setting decides, what it is called, and keys that match nothing."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fxquant.errors import ConfigError, ConfigWarning
from fxquant.observer import MinMaxObserver, MovingAverageMinMaxObserver, PerChannelMinMaxObserver
from fxquant.qconfig import QConfig, get_default_qconfig
from fxquant.qconfig_mapping import (
    Match,
    QConfigMapping,
    get_default_qconfig_mapping,
    get_symmetric_qnnpack_qconfig_mapping,
)
from fxquant.qconfig_mapping.keys import check_keys

A, B, C, D, E = (
    QConfig(MovingAverageMinMaxObserver.with_args(averaging_constant=k / 10), MinMaxObserver) for k in range(1, 6)
)
PATHS = {"", "features", "features.0", "features.0.conv", "features.10", "head"}


def test_each_level_wins_over_those_before():
    mapping = QConfigMapping()
    call = ("features.0.conv", [nn.Conv2d], 0, "features.0")
    assert mapping.qconfig_for(*call) == Match(None, "set_global(None)")
    mapping.set_global(A)
    assert mapping.qconfig_for(*call) == Match(A, "set_global(qconfig)")
    mapping.set_object_type(nn.Conv2d, B)
    assert mapping.qconfig_for(*call) == Match(B, "set_object_type(Conv2d, qconfig)")
    mapping.set_module_name_regex(r"features\..*conv", C)
    assert mapping.qconfig_for(*call) == Match(C, r"set_module_name_regex('features\\..*conv', qconfig)")
    mapping.set_module_name("features.0", D)
    assert mapping.qconfig_for(*call) == Match(D, "set_module_name('features.0', qconfig)")
    mapping.set_module_name_object_type_order("features.0", nn.Conv2d, 0, None)
    source = "set_module_name_object_type_order('features.0', Conv2d, 0, None)"
    assert mapping.qconfig_for(*call) == Match(None, source)


def test_the_order_of_the_setters_does_not_matter():
    mapping = QConfigMapping().set_module_name("head", A).set_object_type(nn.Linear, B).set_global(C)
    assert mapping.qconfig_for("head", [nn.Linear]).qconfig == A


def test_none_decides_like_any_other_setting():
    mapping = QConfigMapping().set_global(A).set_module_name("features", None)
    assert mapping.qconfig_for("features.0.conv", [nn.Conv2d]) == Match(None, "set_module_name('features', None)")


def test_the_longest_module_name_wins_and_names_end_at_dots():
    mapping = QConfigMapping().set_global(A).set_module_name("features", B).set_module_name("features.1", C)
    mapping.set_module_name("features.0.conv", D)
    found = {path: mapping.qconfig_for(path, []).qconfig for path in (*PATHS, "features.1.conv")}
    assert found == {
        "": A,
        "head": A,
        "features": B,
        "features.0": B,
        "features.10": B,
        "features.1.conv": C,
        "features.0.conv": D,
    }


def test_the_first_matching_regex_wins_and_matches_from_the_start():
    mapping = QConfigMapping().set_module_name_regex("features.*conv", A).set_module_name_regex("feat", B)
    mapping.set_module_name_regex("conv", C)
    assert mapping.qconfig_for("features.0.conv", []).qconfig == A
    assert mapping.qconfig_for("features.0", []).qconfig == B
    assert mapping.qconfig_for("head.conv", []).qconfig is None


def test_object_types_are_tried_in_the_order_given():
    mapping = QConfigMapping().set_object_type("reshape", A).set_object_type(torch.add, B).set_object_type(nn.Linear, C)
    assert mapping.qconfig_for("", ["reshape"]).source == "set_object_type('reshape', qconfig)"
    assert mapping.qconfig_for("", [torch.add, nn.Linear]).qconfig == B
    assert mapping.qconfig_for("", [nn.Linear, torch.add]).qconfig == C
    assert mapping.qconfig_for("", [torch.mul]).qconfig is None


def test_order_needs_the_module_the_type_and_the_index():
    mapping = QConfigMapping().set_global(A).set_module_name_object_type_order("head", F.linear, 1, B)
    assert mapping.qconfig_for("head", [F.linear], 1).qconfig == B
    for other in (("head", [F.linear], 0), ("head", [F.relu], 1), ("head.fc", [F.linear], 1), ("head", [F.linear])):
        assert mapping.qconfig_for(*other).qconfig == A
    assert mapping.qconfig_for("head.fc", [F.linear], 1, scope="head").qconfig == B


def test_a_later_setting_of_the_same_key_replaces_and_keeps_its_place():
    mapping = QConfigMapping().set_module_name_regex("a", A).set_module_name_regex("a.*", B)
    mapping.set_module_name_regex("a", C)
    assert mapping.qconfig_for("ab", []).qconfig == C


def full_mapping() -> QConfigMapping:
    mapping = QConfigMapping().set_global(A).set_object_type(nn.Conv2d, B).set_object_type("add", None)
    mapping.set_module_name_regex("features.*", C).set_module_name("head", D)
    return mapping.set_module_name_object_type_order("", F.linear, 2, E)


def test_dict_form():
    form = {
        "": A,
        "object_type": [(nn.Conv2d, B), ("add", None)],
        "module_name_regex": [("features.*", C)],
        "module_name": [("head", D)],
        "module_name_object_type_order": [("", F.linear, 2, E)],
    }
    assert full_mapping().to_dict() == form
    assert QConfigMapping.from_dict(form) == full_mapping()
    assert QConfigMapping.from_dict({"": A}) == QConfigMapping().set_global(A)
    assert QConfigMapping.from_dict({}) == QConfigMapping()
    with pytest.raises(ConfigError, match=r"unknown keys \['module_names'\].*'module_name_regex'"):
        QConfigMapping.from_dict({"module_names": []})


def test_copies_are_equal_and_independent():
    mapping = full_mapping()
    assert pickle.loads(pickle.dumps(mapping)) == mapping
    other = copy.deepcopy(mapping).set_module_name("head", None)
    assert other != mapping
    assert mapping.qconfig_for("head", []).qconfig == D


def test_repr_reads_like_the_calls():
    text = repr(QConfigMapping().set_module_name("head", None).set_object_type(nn.Conv2d, None))
    assert text.split("\n  .") == [
        "QConfigMapping()",
        "set_global(None)",
        "set_object_type(Conv2d, None)",
        "set_module_name('head', None)",
    ]


@pytest.mark.parametrize("backend", ["x86", "fbgemm", "onednn", "qnnpack"])
def test_default_mapping(backend):
    mapping = get_default_qconfig_mapping(backend)
    assert mapping.qconfig_for("features.0", [nn.Conv2d]) == Match(get_default_qconfig(backend), "set_global(qconfig)")
    assert mapping.qconfig_for("up", [nn.ConvTranspose2d]).qconfig.activation == get_default_qconfig(backend).activation
    weight = mapping.qconfig_for("up", [F.conv_transpose1d]).qconfig.weight()
    assert (type(weight), weight.ch_axis) == (
        (MinMaxObserver, None) if backend == "qnnpack" else (PerChannelMinMaxObserver, 1)
    )


def test_default_mappings_are_independent():
    get_default_qconfig_mapping().set_object_type(nn.ConvTranspose2d, None).set_global(None)
    assert get_default_qconfig_mapping().qconfig_for("", [nn.ConvTranspose2d]).qconfig is not None
    assert get_default_qconfig_mapping().global_qconfig == get_default_qconfig()


def test_symmetric_qnnpack_mapping():
    chosen = get_symmetric_qnnpack_qconfig_mapping().qconfig_for("", [nn.ConvTranspose2d]).qconfig
    assert (chosen.activation().dtype, chosen.weight().quant_min) == (torch.int8, -127)


# Keys that match nothing


@pytest.mark.parametrize("backend", ["x86", "qnnpack"])
def test_defaults_may_be_missing_in_the_model_even_through_the_dict_form(backend):
    mapping = get_default_qconfig_mapping(backend)
    check_keys(mapping, PATHS, {nn.Conv2d})
    check_keys(QConfigMapping.from_dict(mapping.to_dict()), PATHS, {nn.Conv2d})
    mapping.set_object_type(nn.ConvTranspose2d, None)
    with pytest.warns(ConfigWarning, match=r"set_object_type\(ConvTranspose2d\) matches no type"):
        check_keys(mapping, PATHS, {nn.Conv2d})


def test_keys_that_match_pass():
    check_keys(full_mapping(), PATHS, {nn.Conv2d, "add", F.linear})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            QConfigMapping().set_module_name("feature.0", None),
            r"set_module_name\('feature\.0'\) matches no module of the model\. Did you mean 'features\.0' or .*It has: "
            r"features, features\.0, features\.0\.conv, features\.10, head$",
        ),
        (QConfigMapping().set_module_name("", None), r"set_module_name\(''\) matches nothing.*set_global"),
        (QConfigMapping().set_module_name_regex("conv", None), r"set_module_name_regex\('conv'\) matches no module"),
        (
            QConfigMapping().set_module_name_object_type_order("heads", nn.Conv2d, 0, None),
            r"order\('heads', Conv2d, 0\) matches no module of the model\. Did you mean 'head'\?",
        ),
    ],
)
def test_keys_that_match_nothing_name_what_exists(mapping, message):
    with pytest.raises(ConfigError, match=message):
        check_keys(mapping, PATHS, {nn.Conv2d, "add"})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            QConfigMapping().set_object_type(nn.Linear, None),
            r"set_object_type\(Linear\) matches no type of the model\. It has: Conv2d, add",
        ),
        (QConfigMapping().set_object_type("ad", None), r"set_object_type\('ad'\) .*Did you mean 'add'\?"),
        (
            QConfigMapping().set_module_name_object_type_order("", nn.Linear, 0, None),
            r"order\('', Linear, 0\) matches no type",
        ),
    ],
)
def test_types_that_match_nothing_are_warned_of(mapping, message):
    with pytest.warns(ConfigWarning, match=message):
        check_keys(mapping, PATHS, {nn.Conv2d, "add"})


def test_only_some_of_many_names_are_listed():
    with pytest.raises(ConfigError, match=r"m\.0, .* and 30 more$"):
        check_keys(QConfigMapping().set_module_name("x", None), {f"m.{i}" for i in range(50)}, set())


def test_bad_settings():
    with pytest.raises(ConfigError, match=r"set_module_name_regex\('\*a'\): nothing to repeat"):
        QConfigMapping().set_module_name_regex("*a", None)
    for setter in (QConfigMapping().set_global, lambda q: QConfigMapping().set_object_type(nn.Linear, q)):
        with pytest.raises(ConfigError, match="expected a QConfig, or None for staying float; got 'x86'"):
            setter("x86")
