#include "ops/tf/op_inputs.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/threadpool.h"

namespace nann {
namespace {

// Items that are worth handing to another thread.
constexpr int64_t kShardItems = 512;

}  // namespace

absl::Status CheckShape(const char* name, const tensorflow::Tensor& tensor,
                        std::initializer_list<int64_t> wanted) {
  bool fits = tensor.dims() == static_cast<int>(wanted.size());
  int dimension = 0;
  for (const int64_t size : wanted) {
    fits = fits && (size < 0 || size == tensor.dim_size(dimension));
    ++dimension;
  }
  if (fits) return absl::OkStatus();
  std::string text;
  for (const int64_t size : wanted) {
    absl::StrAppend(&text, text.empty() ? "" : ", ",
                    size < 0 ? "any" : absl::StrCat(size));
  }
  return absl::InvalidArgumentError(absl::StrCat(name, " has shape ",
                                                 tensor.shape().DebugString(),
                                                 ", wanted [", text, "]"));
}

StateType StateTypeOf(tensorflow::DataType dtype) {
  if (dtype == tensorflow::DT_HALF) return StateType::kFloat16;
  if (dtype == tensorflow::DT_BFLOAT16) return StateType::kBfloat16;
  return StateType::kFloat32;
}

void ShareItems(tensorflow::OpKernelContext* context, int64_t num_users,
                int64_t num_items,
                const std::function<void(int64_t, int64_t, int64_t)>& score) {
  const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
  if (num_users * num_items < 2 * kShardItems) {
    for (int64_t user = 0; user < num_users; ++user) score(user, 0, num_items);
    return;
  }
  const int64_t num_ranges = (num_items + kShardItems - 1) / kShardItems;
  workers.workers->ParallelFor(
      num_users * num_ranges,
      tensorflow::thread::ThreadPool::SchedulingParams::Fixed(1),
      [&](int64_t first, int64_t last) {
        for (int64_t part = first; part < last; ++part) {
          const int64_t begin = part / num_users * kShardItems;
          score(part % num_users, begin,
                std::min(begin + kShardItems, num_items));
        }
      });
}

}  // namespace nann
