// vpmaxub and vpaddw, 64 channels each; the rest of the channels by masks.
#include "base/bytes_avx512.h"
#include "pool/generic.h"

namespace fxquant {

void pool_max_avx512vnni(const PoolTask& task) { max_pool(task); }
void pool_average_avx512vnni(const PoolTask& task) { average_pool(task); }

}  // namespace fxquant
