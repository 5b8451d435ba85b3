#include "base/lanes_scalar.h"
#include "embedding/generic.h"

namespace fxquant {
namespace {

struct Lanes : ScalarLanes {
  static F32 load_u4(const uint8_t* p, int64_t at) {
    return static_cast<float>(at % 2 ? p[at / 2] >> 4 : p[at / 2] & 15);
  }
  static F32 load_u4_of(const uint8_t*, int64_t) { return 0.0F; }  // there is no part of one lane
};

}  // namespace

extern const EmbeddingKernels embedding_scalar;
const EmbeddingKernels embedding_scalar = embedding_table<Lanes>();

}  // namespace fxquant
