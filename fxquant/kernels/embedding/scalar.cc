#include "base/lanes_scalar.h"
#include "embedding/generic.h"

namespace fxquant {
namespace {

struct Lanes : ScalarLanes {
  static F32 load_u4(const uint8_t* p, int64_t, bool upper) { return static_cast<float>(upper ? *p >> 4 : *p & 15); }
};

}  // namespace

extern const EmbeddingKernels embedding_scalar;
const EmbeddingKernels embedding_scalar = embedding_table<Lanes>();

}  // namespace fxquant
