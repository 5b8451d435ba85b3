// vpmaxub and vpaddw, 32 channels each.
#include "base/bytes_avx2.h"
#include "pool/generic.h"

namespace fxquant {

void pool_max_avx2(const PoolTask& task) { max_pool(task); }
void pool_average_avx2(const PoolTask& task) { average_pool(task); }

}  // namespace fxquant
