"""QConfigMapping: which op gets which QConfig. The most specific setting decides:

    set_global  <  set_object_type  <  set_module_name_regex  <  set_module_name  <  set_module_name_object_type_order

A QConfig of None means: stay float.
"""

from __future__ import annotations

from fxquant.qconfig_mapping.defaults import (
    get_default_qat_qconfig_dict,
    get_default_qat_qconfig_mapping,
    get_default_qconfig_dict,
    get_default_qconfig_mapping,
    get_symmetric_qnnpack_qat_qconfig_mapping,
    get_symmetric_qnnpack_qconfig_mapping,
)
from fxquant.qconfig_mapping.mapping import Match as Match
from fxquant.qconfig_mapping.mapping import ObjectType as ObjectType
from fxquant.qconfig_mapping.mapping import OrderKey as OrderKey
from fxquant.qconfig_mapping.mapping import QConfigMapping

__all__ = [
    "QConfigMapping",
    "get_default_qat_qconfig_dict",
    "get_default_qat_qconfig_mapping",
    "get_default_qconfig_dict",
    "get_default_qconfig_mapping",
    "get_symmetric_qnnpack_qat_qconfig_mapping",
    "get_symmetric_qnnpack_qconfig_mapping",
]

# The names that torch.ao.quantization.qconfig_mapping has for them.
_get_symmetric_qnnpack_qconfig_mapping = get_symmetric_qnnpack_qconfig_mapping
_get_symmetric_qnnpack_qat_qconfig_mapping = get_symmetric_qnnpack_qat_qconfig_mapping
