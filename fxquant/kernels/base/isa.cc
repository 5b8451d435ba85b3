#include "base/isa.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace fxquant {
namespace {

#if defined(__aarch64__) && defined(__linux__)
// -march=armv8.2-a allows the compiler atomics and rounding multiplies of Armv8.1 as well.
bool has_dotprod() {
  constexpr unsigned long kNeeded = HWCAP_ASIMDDP | HWCAP_ASIMDRDM | HWCAP_ATOMICS | HWCAP_CRC32;
  return (getauxval(AT_HWCAP) & kNeeded) == kNeeded;
}
bool has_i8mm() { return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#elif defined(__aarch64__)
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avxvnni:
      return "avxvnni";
    case Isa::avx512vnni:
      return "avx512vnni";
    case Isa::neon_dotprod:
      return "neon-dotprod";
    case Isa::neon_i8mm:
      return "neon-i8mm";
  }
  return "unknown";
}

bool isa_supported(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return true;
#if defined(__x86_64__)
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case Isa::avxvnni:
#ifdef FXQUANT_EVEX_VNNI
      return isa_supported(Isa::avx512vnni);
#else
      return isa_supported(Isa::avx2) && __builtin_cpu_supports("avxvnni");
#endif
    case Isa::avx512vnni:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
             __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#elif defined(__aarch64__)
    case Isa::neon_dotprod:
      return has_dotprod();
    case Isa::neon_i8mm:
      return has_dotprod() && has_i8mm();
#endif
    FXQUANT_FOREIGN_ISAS:
      return false;
  }
  return false;
}

bool has_avx512bf16() {
#if defined(__x86_64__)
  return isa_supported(Isa::avx512vnni) && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

Isa best_isa() {
  for (int i = kIsaCount - 1; i > 0; --i) {
    if (isa_supported(static_cast<Isa>(i))) return static_cast<Isa>(i);
  }
  return Isa::scalar;
}

}  // namespace fxquant
