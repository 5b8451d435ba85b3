// embedding_bag as a function: its indices are checked at every call.
#include "base/bind.h"

#include <nanobind/stl/string.h>

#include "embedding/embedding.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

// `codes` [rows, bytes], `affine` [rows, 2], `index` [indices] and `weights` [indices]: addresses, 0 for what is not
// given. What is wrong, or an empty string.
template <class Int>
std::string embedding_bag(int threads, uintptr_t y, uintptr_t codes, uintptr_t affine, int64_t rows, int64_t width,
                          bool four_bits, uintptr_t index, int64_t indices, uintptr_t offsets, int64_t bags,
                          int64_t each, bool last_is_given, uintptr_t weights, int64_t padding, bool mean, int isa) {
  Bags<Int> p;
  p.table = {pointer<const uint8_t>(codes), pointer<const float>(affine), rows, width, four_bits};
  p.index = pointer<const Int>(index);
  p.indices = indices;
  p.offsets = pointer<const Int>(offsets);
  p.bags = bags;
  p.each = each;
  p.last_is_given = last_is_given;
  p.weights = pointer<const float>(weights);
  p.padding = padding;
  p.mean = mean;
  const nb::gil_scoped_release released;
  std::string wrong = wrong_bags(p);
  if (wrong.empty()) embedding_bags(p, pointer<float>(y), static_cast<Isa>(isa), threads);
  return wrong;
}

}  // namespace

void bind_embedding(nb::module_& m) {
  m.def("embedding_bag_i32", &embedding_bag<int32_t>);
  m.def("embedding_bag_i64", &embedding_bag<int64_t>);
}

}  // namespace fxquant
