"""fxquant: from a float PyTorch model to one that computes in int8 on the CPU."""

from fxquant import ops
from fxquant.calibrate import calibrate
from fxquant.custom_config import PrepareCustomConfig
from fxquant.debug.explain import explain
from fxquant.graph.draw import draw
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules
from fxquant.onnx_export import export_onnx
from fxquant.qconfig import QConfig, get_default_qconfig
from fxquant.qconfig_mapping import QConfigMapping, get_default_qconfig_mapping
from fxquant.quantize_fx import convert_fx, fuse_fx, prepare_fx
from fxquant.saving import load, save

__all__ = [
    "Match",
    "PrepareCustomConfig",
    "QConfig",
    "QConfigMapping",
    "Rule",
    "apply_rules",
    "calibrate",
    "convert_fx",
    "draw",
    "explain",
    "export_onnx",
    "fuse_fx",
    "get_default_qconfig",
    "get_default_qconfig_mapping",
    "load",
    "ops",
    "prepare_fx",
    "register_pass",
    "save",
]
