// The limit (ops/core/call_limit.h) of the calling thread. A server that runs
// sessions in its own threads (inter_op_parallelism_threads = -1) sets one
// before a call: such a session heeds no timeout. Without a limit nothing is
// checked.

#ifndef NANN_OPS_TF_CALL_LIMIT_H_
#define NANN_OPS_TF_CALL_LIMIT_H_

#include "absl/status/status.h"
#include "ops/core/call_limit.h"

namespace nann {

// Cancelled, DeadlineExceeded, or OK.
absl::Status CheckLimit(const CallLimit& limit);

// The limit of the calling thread, or null.
const CallLimit* CurrentCallLimit();

}  // namespace nann

// Sets the limit of the calling thread; null takes it away.
extern "C" __attribute__((visibility("default"))) void NannSetCallLimit(
    const nann::CallLimit* limit);

#endif  // NANN_OPS_TF_CALL_LIMIT_H_
