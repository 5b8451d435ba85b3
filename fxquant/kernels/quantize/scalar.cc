#include "quantize/generic.h"

namespace fxquant {
namespace {

struct Transposed {
  static void quantize(const Plane<2>& plane, uint8_t* y, const float* x, const QuantizeLanes<ScalarLanes>& lanes) {
    strided_elements(plane, y, x, lanes);
  }
  static void dequantize(const Plane<2>& plane, float* y, const uint8_t* x, const DequantizeLanes<ScalarLanes>& lanes) {
    strided_elements(plane, y, x, lanes);
  }
};

}  // namespace

extern const QuantizeKernels quantize_scalar;
const QuantizeKernels quantize_scalar = {quantize_plane<ScalarLanes, Transposed>,
                                         dequantize_plane<ScalarLanes, Transposed>};

}  // namespace fxquant
