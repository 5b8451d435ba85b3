// The extension module fxquant._kernels: every family adds its functions, and its steps to the class Program.
#include "base/bind.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include <optional>
#include <tuple>
#include <vector>

namespace nb = nanobind;

namespace fxquant {
void bind_gemm(nb::module_& m, ProgramClass& program);
void bind_conv(nb::module_& m, ProgramClass& program);
void bind_depthwise(nb::module_& m, ProgramClass& program);
void bind_elementwise(nb::module_& m, ProgramClass& program);
void bind_pool(nb::module_& m, ProgramClass& program);
void bind_resize(nb::module_& m, ProgramClass& program);
void bind_lookup(nb::module_& m, ProgramClass& program);
void bind_quantize(nb::module_& m, ProgramClass& program);
void bind_copy(nb::module_& m, ProgramClass& program);
void bind_matmul(nb::module_& m, ProgramClass& program);
void bind_softmax(nb::module_& m, ProgramClass& program);
void bind_norm(nb::module_& m, ProgramClass& program);
void bind_floats(nb::module_& m, ProgramClass& program);
void bind_embedding(nb::module_& m);
void bind_grouped(nb::module_& m, ProgramClass& program);
void bind_weight_only(nb::module_& m, ProgramClass& program);
void bind_dynamic(nb::module_& m, ProgramClass& program);
void bind_dynamic_attention(nb::module_& m, ProgramClass& program);
void bind_dynamic_matmul(nb::module_& m, ProgramClass& program);
void bind_recurrent(nb::module_& m, ProgramClass& program);
void bind_roofline(nb::module_& m);

namespace {

// Of the L2 cache of a core, or a common size where the system does not tell.
int64_t cache_bytes() {
  constexpr int64_t kCommon = 1 << 20;
#ifdef _SC_LEVEL2_CACHE_SIZE
  const int64_t size = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return size > 0 ? size : kCommon;
#else
  return kCommon;
#endif
}

void check_count(const Program& program, size_t addresses) {
  if (static_cast<int64_t>(addresses) != program.externals()) {
    throw nb::value_error("not as many addresses as the program has inputs and outputs");
  }
}

void run(Program& program, int threads, const nb::args& addresses) {
  check_count(program, addresses.size());
  std::optional<nb::gil_scoped_release> released;
  const auto fill = [&](uintptr_t* bases) {
    for (size_t i = 0; i < addresses.size(); ++i) bases[i] = nb::cast<uintptr_t>(addresses[i]);
    released.emplace();  // other Python threads go on while the steps run
  };
  program.run(threads, fill);
}

// (workers, threads, parts) of Program::run_parts.
using Cut = std::tuple<int, int, int64_t>;

void run_parts(Program& program, const Cut& cut, const std::vector<int64_t>& distances,
               const std::vector<uintptr_t>& addresses, double* seconds) {
  check_count(program, addresses.size());
  check_count(program, distances.size());
  const auto [workers, threads, parts] = cut;
  const nb::gil_scoped_release released;
  program.run_parts(workers, threads, parts, addresses, distances, seconds);
}

}  // namespace
}  // namespace fxquant

NB_MODULE(_kernels, m) {
  using namespace fxquant;
  // A script that ends while a global of its own holds a model has leaked nothing.
  nb::set_leak_warnings(false);
  m.def("isa_name", [](int isa) { return std::string(isa_name(static_cast<Isa>(isa))); });
  m.def("isa_supported", [](int isa) { return isa_supported(static_cast<Isa>(isa)); });
  m.def("best_isa", [] { return static_cast<int>(best_isa()); });
  m.attr("isa_count") = kIsaCount;
  m.def("cache_bytes", &cache_bytes);
  ProgramClass program(m, "Program");
  program.def(nb::init<int64_t, int64_t>())
      .def("run", &run)
      .def("run_parts",
           [](Program& p, const Cut& cut, const std::vector<int64_t>& distances,
              const std::vector<uintptr_t>& addresses) { run_parts(p, cut, distances, addresses, nullptr); })
      .def("run_parts_timed",
           [](Program& p, const Cut& cut, const std::vector<int64_t>& distances,
              const std::vector<uintptr_t>& addresses) {
             std::vector<double> seconds(static_cast<size_t>(p.size()));
             run_parts(p, cut, distances, addresses, seconds.data());
             return seconds;
           })
      .def("join", &Program::join)
      .def("share", &Program::share)
      .def_prop_ro("arena_bytes", &Program::arena_bytes)
      .def_prop_ro("arenas", &Program::arenas)
      .def("__len__", &Program::size);
  bind_gemm(m, program);
  bind_conv(m, program);
  bind_depthwise(m, program);
  bind_elementwise(m, program);
  bind_pool(m, program);
  bind_resize(m, program);
  bind_lookup(m, program);
  bind_quantize(m, program);
  bind_copy(m, program);
  bind_matmul(m, program);
  bind_softmax(m, program);
  bind_norm(m, program);
  bind_floats(m, program);
  bind_embedding(m);
  bind_grouped(m, program);
  bind_weight_only(m, program);
  bind_dynamic(m, program);
  bind_dynamic_attention(m, program);
  bind_dynamic_matmul(m, program);
  bind_recurrent(m, program);
  bind_roofline(m);
}
