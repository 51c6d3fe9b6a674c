#include "ops/tf/call_limit.h"

#include <chrono>

namespace nann {
namespace {

thread_local const CallLimit* current = nullptr;

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

absl::Status CallLimit::Check() const {
  if (is_cancelled.load(std::memory_order_relaxed) != 0) {
    return absl::CancelledError("the search was cancelled");
  }
  const int64_t deadline = deadline_ns.load(std::memory_order_relaxed);
  if (deadline != 0 && NowNs() > deadline) {
    return absl::DeadlineExceededError(
        "the deadline passed while the search ran");
  }
  return absl::OkStatus();
}

const CallLimit* CurrentCallLimit() { return current; }

}  // namespace nann

void NannSetCallLimit(const nann::CallLimit* limit) { nann::current = limit; }
