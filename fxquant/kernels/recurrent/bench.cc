// LSTM layers over 50 steps, one thread: the rate of their multiply-adds, at which weights that do not fit into L1 come
// from L2 or beyond at each step.
#include "base/bench.h"

#include <cstdio>

#include "recurrent/recurrent.h"

using namespace fxquant;

namespace {

void bench(int64_t hidden, int64_t batch, bool dynamic) {
  constexpr int64_t kSteps = 50;
  const int64_t rows = 4 * hidden;
  const Aligned weight(static_cast<size_t>(rows * hidden), 3), x(static_cast<size_t>(4 * kSteps * batch * hidden), 0);
  const Aligned y(static_cast<size_t>(4 * kSteps * batch * hidden), 0);
  const std::vector<float> multiplier(static_cast<size_t>(rows), 1e-5F), bias(static_cast<size_t>(rows), 0.1F);
  const auto* integers = reinterpret_cast<const int8_t*>(weight.get());
  const GateWeights gates{hidden, integers, multiplier.data(), bias.data(), 128};
  Recurrent p;
  p.steps = kSteps;
  p.batch = batch;
  p.x_row = p.y_row = hidden;
  p.x_step = p.y_step = batch * hidden;
  p.h_scale = 0.0078F;
  p.output = {128, 0, 255};
  for_each_isa([&](Isa isa) {
    const int64_t size = recurrent_packed_size(Recurrence::lstm, hidden, hidden, false, isa);
    const Aligned packed(static_cast<size_t>(size), 0);
    pack_recurrent(Recurrence::lstm, hidden, gates, gates, dynamic, isa, packed.get());
    p.weights = &recurrent_header(packed.get(), size, isa);
    const Aligned scratch(static_cast<size_t>(recurrent_scratch(*p.weights, kSteps, batch, 1)), 0);
    const RecurrentOperands operands{y.get(), x.get(), nullptr, nullptr, nullptr};
    const double s = best_seconds(0.02, [&] { recurrent(p, operands, scratch.get(), 1); });
    const auto macs = static_cast<double>(2 * kSteps * batch * rows * hidden);
    std::printf("%s lstm %5ld units, batch %2ld %-11s %8.1f us %6.1f G MAC/s\n", dynamic ? "dynamic" : "static",
                static_cast<long>(hidden), static_cast<long>(batch), isa_name(isa), s * 1e6, macs * 1e-9 / s);
  });
}

}  // namespace

int main() {
  for (const int64_t hidden : {128, 256, 512, 1024}) {
    for (const int64_t batch : {1, 4, 16}) {
      bench(hidden, batch, false);
      bench(hidden, batch, true);
    }
  }
}
