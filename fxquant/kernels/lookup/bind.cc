// Steps of lookup. Tables stay where they are, at addresses.
#include "base/bind.h"

#include "lookup/lookup.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

Step lookup_step(const View& y, const View& x, uintptr_t table, int isa) {
  return [=, to = y.place, from = x.place, walk = walk_of<2>({&y, &x})](const Frame& frame) {
    lookup(walk, frame.at<uint8_t>(to), frame.at<const uint8_t>(from), pointer<const uint8_t>(table),
           static_cast<Isa>(isa), frame.threads);
  };
}

// A table a channel, which is dimension 1.
Step lookup_per_channel_step(const View& y, const View& x, uintptr_t tables, int isa) {
  View rows = x;
  for (int64_t& stride : rows.strides) stride = 0;
  rows.strides.at(1) = kTableSize;
  return [=, to = y.place, from = x.place, walk = walk_of<3>({&y, &x, &rows})](const Frame& frame) {
    lookup_per_channel(walk, frame.at<uint8_t>(to), frame.at<const uint8_t>(from), pointer<const uint8_t>(tables),
                       static_cast<Isa>(isa), frame.threads);
  };
}

}  // namespace

void bind_lookup(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "lookup", lookup_step);
  bind_step(m, program, "lookup_per_channel", lookup_per_channel_step);
}

}  // namespace fxquant
