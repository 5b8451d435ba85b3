#include "resize/resize.h"

#include <cstring>

#include "base/kernel_rows.h"
#include "base/parallel.h"

namespace fxquant {

#define KERNELS(isa, table) extern const ResizeKernels table;
#include "resize/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<ResizeKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "resize/kernels.inc"
#undef KERNELS
};

}  // namespace

void interpolate_bilinear(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Tap* rows, const Tap* columns,
                          int32_t zero_point, Isa isa, int threads) {
  const ResizeKernels& kernels = kernels_of(kRows, isa);
  const int64_t rows_out = y.n * y.h;
  parallel_for(rows_out, worthwhile_threads(rows_out * y.w * y.c, threads), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / y.h, h = i % y.h;
      BilinearRow row;
      row.x0 = x.at(n, rows[h].index0, 0);
      row.x1 = x.at(n, rows[h].index1, 0);
      row.x_stride = x.stride_w;
      row.y = y.at(n, h, 0);
      row.y_stride = y.stride_w;
      row.width = y.w;
      row.channels = y.c;
      row.row = rows[h];
      row.columns = columns;
      row.zero_point = zero_point;
      kernels.bilinear_row(row);
    }
  });
}

void interpolate_nearest(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const int64_t* rows,
                         const int64_t* columns, int threads) {
  const int64_t rows_out = y.n * y.h;
  parallel_for(rows_out, worthwhile_threads(rows_out * y.w * y.c, threads), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* from = x.at(i / y.h, rows[i % y.h], 0);
      uint8_t* to = y.at(i / y.h, i % y.h, 0);
      for (int64_t w = 0; w < y.w; ++w) {
        std::memcpy(to + w * y.stride_w, from + columns[w] * x.stride_w, static_cast<size_t>(y.c));
      }
    }
  });
}

}  // namespace fxquant
