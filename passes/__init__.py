"""The built-in passes, in running order, grouped by stage. Each is what its file registers; plug-ins join a stage."""

from importlib import import_module

PIPELINE: dict[str, tuple[str, ...]] = {
    "normalize": (
        "normalize_inplace",
        "normalize_spellings",
        "normalize_picked",
        "normalize_sizes",
        "normalize_flatten",
        "normalize_activations",
        "normalize_attention",
        "normalize_norm",
        "normalize_dead",
    ),
    "fuse": ("fuse_batch_norm", "fuse_affine", "fuse_lone_batch_norm", "fuse_scale"),
    "annotate": (
        "annotate_qconfig",
        "annotate_positions",
        "annotate_extremes",
        "annotate_int8",
        "annotate_dynamic",
        "annotate_rows",
        "annotate_weight_only",
        "annotate_absorb",
        "annotate_groups",
        "annotate_interface",
    ),
    "observe": ("observe_activations", "observe_weights", "observe_means", "observe_custom"),
    "convert": (
        "convert_custom",
        "convert_activations",
        "convert_interface",
        "convert_biases",
        "convert_weights",
        "convert_float_reads",
    ),
    "fold": (
        "fold_lookup",
        "fold_activation",
        "fold_conv",
        "fold_linear",
        "fold_two_bytes",
        "fold_dynamic",
        "fold_weight_only",
        "fold_float_output",
        "fold_add",
        "fold_sub",
        "fold_mul",
        "fold_div",
        "fold_extremes",
        "fold_matmul",
        "fold_softmax",
        "fold_norm",
        "fold_recurrent",
        "fold_embedding",
        "fold_rows",
        "fold_pool",
        "fold_interpolate",
        "fold_movement",
        "fold_quant_dequant",
        "fold_shape",
        "fold_pad",
        "fold_table",
        "fold_constant",
    ),
    "lower": ("lower_floats", "lower_masks", "lower_sizes", "lower_layers"),
    "plan": ("plan_regions",),
}

for _names in PIPELINE.values():
    for _name in _names:
        import_module(f"{__name__}.{_name}")  # which registers it
