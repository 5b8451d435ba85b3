// What a layer of MiniLM-L6 has of floats, one thread: 12 heads of 32, 384 features, 1536 between the linear layers.
#include "base/bench.h"

#include "floats/floats.h"

using namespace fxquant;

namespace {

float* floats_of(const Aligned& memory) { return reinterpret_cast<float*>(memory.get()); }

void bench_rows(int64_t rows) {
  const auto bytes = static_cast<size_t>(rows * 1536 * 4);
  const Aligned x(bytes, 0x3E), y(bytes, 0), parameters(1536 * 4, 0x3E);
  const FloatRows wide = {rows, 1536, 1536, 1536};
  const FloatLayerNorm norm = {{rows, 384, 384, 384}, floats_of(parameters), floats_of(parameters), 1e-12F};
  for_each_isa([&](Isa isa) {
    report("gelu", isa, 8 * rows * 1536, [&] { float_gelu(wide, floats_of(y), floats_of(x), isa, 1); });
    report("gelu_tanh", isa, 8 * rows * 1536, [&] { float_gelu_tanh(wide, floats_of(y), floats_of(x), isa, 1); });
    report("silu", isa, 8 * rows * 1536, [&] { float_silu(wide, floats_of(y), floats_of(x), isa, 1); });
    report("layer_norm", isa, 8 * rows * 384, [&] { float_layer_norm(norm, floats_of(y), floats_of(x), isa, 1); });
    report("rms_norm", isa, 8 * rows * 384, [&] { float_rms_norm(norm, floats_of(y), floats_of(x), isa, 1); });
  });
}

void bench_attention(int64_t tokens) {
  FloatAttention p;
  p.batches.rank = 1;
  p.batches.size[0] = p.batches.count = 12;
  for (auto& each : p.batches.stride) each[0] = 32;
  p.queries = p.keys = tokens;
  p.depth = p.width = 32;
  p.y_row = p.q_row = 384;
  p.k = p.v = {384, 1};
  p.scale = 0.18F;
  const auto bytes = static_cast<size_t>(tokens * 384 * 4);
  const Aligned x(bytes, 0x3E), y(bytes, 0);
  for_each_isa([&](Isa isa) {
    const Aligned scratch(static_cast<size_t>(float_attention_scratch(p, isa)), 0);
    const FloatAttentionOperands operands{floats_of(y), floats_of(x), floats_of(x), floats_of(x), nullptr};
    report("attention", isa, 16 * tokens * 384, [&] { float_attention(p, operands, scratch.get(), isa, 1); });
  });
}

}  // namespace

int main() {
  for (const int64_t tokens : {16, 128}) {
    bench_rows(tokens);
    bench_attention(tokens);
  }
}
