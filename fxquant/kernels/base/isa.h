// The instruction sets that kernels are written for, and which of them this machine can run.
#pragma once

namespace fxquant {

// Ordered: a later one is preferred where the machine has both.
enum class Isa : int { scalar = 0, avx2 = 1, avxvnni = 2, avx512vnni = 3 };
constexpr int kIsaCount = 4;

// "scalar", "avx2", ...: the value that FXQUANT_ISA takes.
const char* isa_name(Isa isa);

// True if cpuid reports every extension that the files of `isa` are compiled for, and the OS saves its registers.
bool isa_supported(Isa isa);

// The last supported ISA of the enumeration.
Isa best_isa();

}  // namespace fxquant
