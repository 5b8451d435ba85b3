// Weights from Python, to be packed.
#pragma once
#include "base/bind.h"
#include "gemm/gemm.h"

namespace nanobind::detail {

// ((layer, in_channels, out_channels, kernel_h, kernel_w, groups, dense_w), addresses of (weight, bias, multiplier,
// table), x_zero_point, Requantize, residual or ()), as gemm/__init__.py gives them.
template <>
struct type_caster<fxquant::LayerWeights> {
  NB_TYPE_CASTER(fxquant::LayerWeights, const_name("LayerWeights"))

  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    const auto items = [](handle h, size_t size) {
      return isinstance<nanobind::tuple>(h) && borrow<nanobind::tuple>(h).size() == size;
    };
    if (!items(source, 5)) return false;
    const auto all = borrow<nanobind::tuple>(source);
    if (!items(all[0], 7) || !items(all[1], 4) || !items(all[3], 3)) return false;
    const auto shape = borrow<nanobind::tuple>(all[0]), at = borrow<nanobind::tuple>(all[1]),
               output = borrow<nanobind::tuple>(all[3]);
    value.has_residual = items(all[4], 2);
    if (value.has_residual) {
      const auto residual = borrow<nanobind::tuple>(all[4]);
      if (!try_cast(residual[0], value.residual.zero_point) || !try_cast(residual[1], value.residual.multiplier)) {
        return false;
      }
    }
    int layer = 0;
    if (!try_cast(shape[0], layer)) return false;
    value.layer = static_cast<fxquant::Layer>(layer);
    return try_cast(shape[1], value.in_channels) && try_cast(shape[2], value.out_channels) &&
           try_cast(shape[3], value.kernel_h) && try_cast(shape[4], value.kernel_w) &&
           try_cast(shape[5], value.groups) && try_cast(shape[6], value.dense_w) && address(at[0], value.weight) &&
           address(at[1], value.bias) && address(at[2], value.multiplier) && address(at[3], value.table) &&
           try_cast(all[2], value.x_zero_point) && try_cast(output[0], value.output.zero_point) &&
           try_cast(output[1], value.output.quant_min) && try_cast(output[2], value.output.quant_max);
  }

 private:
  template <class T>
  static bool address(handle from, T*& to) {
    uintptr_t number = 0;
    if (!try_cast(from, number)) return false;
    to = fxquant::pointer<T>(number);
    return true;
  }
};

}  // namespace nanobind::detail
