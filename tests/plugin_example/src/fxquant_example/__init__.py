"""Passes of a package that knows fxquant.plugin only: imported by fxquant, as its entry point says."""

from fxquant_example import fold_maxout, scale_into_weights, small_layers_in_float

__all__ = ["fold_maxout", "scale_into_weights", "small_layers_in_float"]
