// What the ops over pairs of a user and items have in common.

#ifndef NANN_OPS_TF_OP_INPUTS_H_
#define NANN_OPS_TF_OP_INPUTS_H_

#include <cstdint>
#include <functional>
#include <initializer_list>

#include "absl/status/status.h"
#include "ops/core/state_type.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace nann {

// Refuses an input of another shape. A negative size: any.
absl::Status CheckShape(const char* name, const tensorflow::Tensor& tensor,
                        std::initializer_list<int64_t> wanted);

StateType StateTypeOf(tensorflow::DataType dtype);

// Calls score(user, begin, end) for ranges that make up [0, num_items) for each
// user; in several threads where there are many. A range is scored for all
// users before the next, while its state lies in the cache.
void ShareItems(tensorflow::OpKernelContext* context, int64_t num_users,
                int64_t num_items,
                const std::function<void(int64_t, int64_t, int64_t)>& score);

}  // namespace nann

#endif  // NANN_OPS_TF_OP_INPUTS_H_
