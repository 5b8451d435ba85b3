"""The classes of graphs at each step, under the path and the names that they have in torch.ao.quantization."""

from torch.fx import GraphModule as FusedGraphModule

from fxquant.graph.observed import ObservedGraphModule
from fxquant.graph.observed import ObservedGraphModule as ObservedStandaloneGraphModule
from fxquant.runtime.quantized_module import QuantizedModule as QuantizedGraphModule

__all__ = ["FusedGraphModule", "ObservedGraphModule", "ObservedStandaloneGraphModule", "QuantizedGraphModule"]
