// What a family's bind.cc needs: pointers arrive from Python as integers, checked there.
#pragma once
#include <nanobind/nanobind.h>

#include <cstdint>

#include "base/isa.h"

namespace fxquant {

template <class T>
T* pointer(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace fxquant
