// The instruction sets that kernels are written for, and which of them this machine can run.
#pragma once

namespace fxquant {

// Ordered: a later one is preferred where the machine has both. Values stand in packed weights, and names mean the same
// on every machine, so all builds have all of them; a build has kernels for those of its own architecture.
enum class Isa : int { scalar = 0, avx2 = 1, avxvnni = 2, avx512vnni = 3, neon_dotprod = 4, neon_i8mm = 5 };
constexpr int kIsaCount = 6;

// For a switch over Isa: those that this build has no kernels for. The compiler then still tells one that was
// forgotten. And how many are left.
#if defined(__x86_64__)
constexpr int kNativeIsaCount = 4;
#define FXQUANT_FOREIGN_ISAS \
  case Isa::neon_dotprod:    \
  case Isa::neon_i8mm
#elif defined(__aarch64__)
constexpr int kNativeIsaCount = 3;
#define FXQUANT_FOREIGN_ISAS \
  case Isa::avx2:            \
  case Isa::avxvnni:         \
  case Isa::avx512vnni
#else
constexpr int kNativeIsaCount = 1;
#define FXQUANT_FOREIGN_ISAS \
  case Isa::avx2:            \
  case Isa::avxvnni:         \
  case Isa::avx512vnni:      \
  case Isa::neon_dotprod:    \
  case Isa::neon_i8mm
#endif

// "scalar", "avx2", "neon-dotprod", ...: the value that FXQUANT_ISA takes.
const char* isa_name(Isa isa);

// True if the CPU reports every extension that the files of `isa` are compiled for, and the OS saves its registers.
bool isa_supported(Isa isa);

// Whether the CPU multiplies bfloat16, beside all of Isa::avx512vnni.
bool has_avx512bf16();

// The last supported ISA of the enumeration.
Isa best_isa();

// What kernels of `isa` subtract from uint8 activations before they multiply them. Without a product of unsigned with
// signed bytes that is 128, as flipping the top bit does; packed biases make up for it.
constexpr int activation_offset(Isa isa) { return isa == Isa::neon_dotprod ? 128 : 0; }

}  // namespace fxquant
