// umax and add, 16 channels each.
#include "base/bytes_neon.h"
#include "pool/generic.h"

namespace fxquant {

void pool_max_neon_dotprod(const PoolTask& task) { max_pool(task); }
void pool_average_neon_dotprod(const PoolTask& task) { average_pool(task); }

}  // namespace fxquant
