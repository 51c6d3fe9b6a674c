// How long the calls of a thread may run. A server that runs sessions in its
// own threads (inter_op_parallelism_threads = -1) sets a limit before a call,
// so that a deadline, or a client that has gone, ends a search that is under
// way: such a session heeds no timeout. Without a limit nothing is checked.

#ifndef NANN_OPS_TF_CALL_LIMIT_H_
#define NANN_OPS_TF_CALL_LIMIT_H_

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"

namespace nann {

// Shared with Python (nann/serving/call_limit.py), which writes while a search
// reads; it outlives the call.
struct CallLimit {
  // Of the monotonic clock; 0: none.
  std::atomic<int64_t> deadline_ns;
  std::atomic<int32_t> is_cancelled;

  // Cancelled, DeadlineExceeded, or OK.
  absl::Status Check() const;
};

// The limit of the calling thread, or null.
const CallLimit* CurrentCallLimit();

}  // namespace nann

// Sets the limit of the calling thread; null takes it away.
extern "C" __attribute__((visibility("default"))) void NannSetCallLimit(
    const nann::CallLimit* limit);

#endif  // NANN_OPS_TF_CALL_LIMIT_H_
