// The rows KERNELS(isa, table) of a family's kernels.inc, and which of them serves an ISA.
#pragma once
#include <cstddef>

#include "base/isa.h"

namespace fxquant {

template <class Kernels>
struct KernelRow {
  Isa isa;
  const Kernels* kernels;
};

namespace {

template <class Kernels, std::size_t kCount>
const Kernels& kernels_of(const KernelRow<Kernels> (&rows)[kCount], Isa isa) {
  static_assert(kCount == kNativeIsaCount, "kernels.inc has one row for each ISA of this architecture, scalar first");
  for (const KernelRow<Kernels>& row : rows) {
    if (row.isa == isa) return *row.kernels;
  }
  return *rows[0].kernels;  // a foreign ISA
}

}  // namespace
}  // namespace fxquant
