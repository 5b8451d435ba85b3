// quantize NCHW float to NHWC uint8, dequantize back, and both without the change of layout, one thread, beside a copy.
#include "base/bench.h"

#include "quantize/quantize.h"

using namespace fxquant;

namespace {

// Tensor 0 and 1 are NHWC or NCHW, as given.
Walk<2> images(int64_t pixels, int64_t channels, bool nhwc0, bool nhwc1) {
  Walk<2> walk;
  walk.rank = 2;
  walk.size[0] = channels;
  walk.size[1] = pixels;
  const bool nhwc[] = {nhwc0, nhwc1};
  for (int t = 0; t < 2; ++t) {
    walk.stride[t][0] = nhwc[t] ? 1 : pixels;
    walk.stride[t][1] = nhwc[t] ? channels : 1;
  }
  return walk;
}

void bench(int64_t pixels, int64_t channels) {
  const int64_t count = pixels * channels;
  std::vector<float> real(static_cast<size_t>(count), 0.7F);
  std::vector<uint8_t> codes(static_cast<size_t>(count), 99);
  const Quantize q{0.02F, {128, 0, 255}};
  char name[64];
  const auto run = [&](const char* what, Isa isa, const auto& body) {
    std::snprintf(name, sizeof name, "%s %ld x %ld", what, static_cast<long>(pixels), static_cast<long>(channels));
    report(name, isa, 5 * count, body);
  };
  for_each_isa([&](Isa isa) {
    const auto to_codes = [&](bool from_nhwc) {
      quantize(images(pixels, channels, true, from_nhwc), codes.data(), real.data(), q, isa, 1);
    };
    const auto to_real = [&](bool nhwc) {
      dequantize(images(pixels, channels, nhwc, true), real.data(), codes.data(), {0.02F, 128}, isa, 1);
    };
    run("quantize, transposed,", isa, [&] { to_codes(false); });
    run("quantize, dense,", isa, [&] { to_codes(true); });
    run("dequantize, transposed,", isa, [&] { to_real(false); });
    run("dequantize, dense,", isa, [&] { to_real(true); });
  });
}

}  // namespace

int main() {
  bench(224 * 224, 3);
  bench(28 * 28, 240);
  bench(1, 1000);
}
