"""fxquant: from a float PyTorch model to one that computes in int8 on the CPU."""

from fxquant import (
    backend_config,
    custom_config,
    fake_quantize,
    observer,
    ops,
    qconfig,
    qconfig_mapping,
    quantize_fx,
    stubs,
)
from fxquant.analysis.compare import compare
from fxquant.analysis.explain import explain
from fxquant.analysis.report import report
from fxquant.analysis.sensitivity import sensitivity
from fxquant.analysis.suggest import suggest
from fxquant.backend_config import *  # noqa: F403
from fxquant.calibrate import calibrate
from fxquant.custom_config import *  # noqa: F403
from fxquant.drawing.diff import diff
from fxquant.drawing.draw import draw
from fxquant.drawing.nx import to_networkx
from fxquant.fake_quantize import *  # noqa: F403
from fxquant.graph.level import debug
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules, rule
from fxquant.graph.selection import without
from fxquant.observer import *  # noqa: F403
from fxquant.onnx_export import export_onnx
from fxquant.qconfig import *  # noqa: F403
from fxquant.qconfig_mapping import *  # noqa: F403
from fxquant.quantize_dynamic import get_default_dynamic_quant_module_mappings, quantize_dynamic
from fxquant.quantize_fx import *  # noqa: F403
from fxquant.saving import load, save
from fxquant.stubs import *  # noqa: F403
from fxquant.tuning.absorb_biases import absorb_biases
from fxquant.tuning.ada_round import ada_round
from fxquant.tuning.correct_biases import correct_biases
from fxquant.tuning.equalize_channels import equalize_channels
from fxquant.tuning.smooth_quant import smooth_quant

__all__ = ["Match", "Rule", "absorb_biases", "ada_round", "apply_rules", "calibrate", "compare", "correct_biases"]
__all__ += ["debug", "diff", "draw", "equalize_channels", "explain", "export_onnx", "load", "ops", "register_pass"]
__all__ += ["report", "rule", "save", "sensitivity", "smooth_quant", "suggest", "to_networkx", "without"]
__all__ += ["get_default_dynamic_quant_module_mappings", "quantize_dynamic"]
# These have the names of torch.ao.quantization, whose users change only their imports.
__all__ += backend_config.__all__
__all__ += custom_config.__all__
__all__ += fake_quantize.__all__
__all__ += observer.__all__
__all__ += qconfig.__all__
__all__ += qconfig_mapping.__all__
__all__ += quantize_fx.__all__
__all__ += stubs.__all__
