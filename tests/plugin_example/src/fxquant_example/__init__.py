"""Passes of a package that knows fxquant.plugin only: imported by fxquant, as its entry point says."""

from fxquant_example import fold_maxout, merge_linears, small_layers_in_float

__all__ = ["fold_maxout", "merge_linears", "small_layers_in_float"]
