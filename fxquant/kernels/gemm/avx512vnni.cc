// vpdpbusd zmm: 64 multiply-adds, latency 4-5. 14 x 32 outputs are 28 accumulators, 2 weights, 1 broadcast.
#include <immintrin.h>

#include <cstdint>

#include "gemm/zmm.h"

namespace fxquant {
namespace {

struct Avx512Vnni : Zmm {
  static constexpr int kRows = 14, kStepBytes = 64;
  static constexpr bool kSpreads = true, kHalves = true;
  struct Half;
  using Activations = __m512i;
  using Weights = __m512i;

  static FXQUANT_INLINE Activations broadcast(uint32_t bytes) { return _mm512_set1_epi32(static_cast<int>(bytes)); }
  static FXQUANT_INLINE Weights weights(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static FXQUANT_INLINE Acc dot(Acc acc, Activations x, Weights w) { return _mm512_dpbusd_epi32(acc, x, w); }

  // vpermd: a lane takes dword `Step` of the `Steps` that its group has.
  template <int Steps, int Step>
  static FXQUANT_INLINE Activations spread(const uint8_t* p) {
    constexpr int kSecond = Steps == 1 ? 1 : 0, kThird = Steps == 1 ? 2 : Steps, kFourth = kThird + kSecond;
    const __m512i dwords = _mm512_setr_epi32(0, 0, 0, 0, kSecond, kSecond, kSecond, kSecond, kThird, kThird, kThird,
                                             kThird, kFourth, kFourth, kFourth, kFourth);
    const __m512i bytes = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm512_permutexvar_epi32(_mm512_add_epi32(dwords, _mm512_set1_epi32(Step)), bytes);
  }
};

// 16 columns in a zmm, and up to 8 in a ymm: half the time of a whole second vector.
struct Avx512Vnni::Half {
  static constexpr int kRows = Avx512Vnni::kRows, kLanes = 32, kVectors = 2, kStepBytes = 128;
  static constexpr bool kAdds = true;
  template <int Vectors>
  static constexpr int kStoredRows = 2;
  template <int Vectors>
  static constexpr int kPipelinedRows = 6;
  struct Acc {
    __m512i first;
    __m256i second;
  };
  using Activations = __m512i;
  using Weights = Acc;

  static FXQUANT_INLINE Acc load(const int32_t* p) {
    return {_mm512_loadu_si512(p), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16))};
  }
  static FXQUANT_INLINE Acc zero() { return {_mm512_setzero_si512(), _mm256_setzero_si256()}; }
  static FXQUANT_INLINE Acc add(const Acc& a, const Acc& b) {
    return {_mm512_add_epi32(a.first, b.first), _mm256_add_epi32(a.second, b.second)};
  }
  static FXQUANT_INLINE Activations broadcast(uint32_t bytes) { return Avx512Vnni::broadcast(bytes); }
  static FXQUANT_INLINE Weights weights(const uint8_t* p) {
    return {_mm512_loadu_si512(p), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 64))};
  }
  static FXQUANT_INLINE Acc dot(Acc acc, Activations x, Weights w) {
    return {_mm512_dpbusd_epi32(acc.first, x, w.first),
            _mm256_dpbusd_epi32(acc.second, _mm512_castsi512_si256(x), w.second)};
  }

  static FXQUANT_INLINE Acc times(const int32_t* p, int32_t factor) {
    return {Zmm::times(p, factor), _mm512_castsi512_si256(Zmm::times(p + 16, factor))};
  }
  static FXQUANT_INLINE void store_floats(const Acc& acc, int, const Panel& panel, float scale, float* to) {
    Zmm::store_floats(acc.first, 0, panel, scale, to);
    Zmm::store_floats(_mm512_castsi256_si512(acc.second), 1, panel, scale, to + 16);
  }

  // Words: in every 128-bit lane four columns of the first vector, then four of the second.
  template <bool HasResidual, Finish How>
  static FXQUANT_INLINE __m512i words(const Acc& acc, const uint8_t* residual, const Panel& panel) {
    const __m256i r = load_residual<2, HasResidual, How>(residual, panel);
    const __m256i second_r = _mm256_castsi128_si256(_mm256_extracti128_si256(r, 1));
    const __m512i first = scaled<1, HasResidual, How>(acc.first, 0, r, panel);
    const __m512i second = scaled<1, HasResidual, How>(_mm512_castsi256_si512(acc.second), 1, second_r, panel);
    return _mm512_adds_epi16(_mm512_packs_epi32(first, second),
                             _mm512_set1_epi16(static_cast<int16_t>(panel.output.zero_point)));
  }

  template <int Rows, int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE void store(const Acc (*acc)[Vectors], uint8_t* const* y, const uint8_t* const* residual,
                                   const Panel& panel) {
    const __m512i first = words<HasResidual, How>(acc[0][0], residual[0], panel);
    const __m512i second = Rows == 2 ? words<HasResidual, How>(acc[Rows - 1][0], residual[Rows - 1], panel) : first;
    __m512i bytes = _mm512_packus_epi16(first, second);
    bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(panel.output.quant_min)));
    bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(panel.output.quant_max)));
    const __m512i rows = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    bytes = _mm512_permutexvar_epi32(rows, bytes);
    if (panel.table) bytes = look_up(bytes, panel.table);
    write<How>(y[0], _mm512_castsi512_si256(bytes), panel);
    if constexpr (Rows == 2) write<How>(y[1], _mm512_extracti64x4_epi64(bytes, 1), panel);
  }
};

}  // namespace

void run_product_avx512vnni(const Product& product, const RunPart& part) { Run<Avx512Vnni>(product, part)(); }

}  // namespace fxquant
