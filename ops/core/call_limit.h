// How long the calls of a thread may run. A server sets a limit before a call,
// so that a deadline, or a client that has gone, ends what is under way.

#ifndef NANN_OPS_CORE_CALL_LIMIT_H_
#define NANN_OPS_CORE_CALL_LIMIT_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace nann {

// Nanoseconds of the monotonic clock.
inline int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Shared with Python (nann/serving/call_limit.py), which writes while a search
// reads; it outlives the call.
struct CallLimit {
  // Of the monotonic clock; 0: none.
  std::atomic<int64_t> deadline_ns{0};
  std::atomic<int32_t> is_cancelled{0};

  bool IsCancelled() const {
    return is_cancelled.load(std::memory_order_relaxed) != 0;
  }
  bool IsPast() const {
    const int64_t deadline = deadline_ns.load(std::memory_order_relaxed);
    return deadline != 0 && NowNs() > deadline;
  }
};

}  // namespace nann

#endif  // NANN_OPS_CORE_CALL_LIMIT_H_
