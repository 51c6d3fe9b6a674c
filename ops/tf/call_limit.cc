#include "ops/tf/call_limit.h"

namespace nann {
namespace {

thread_local const CallLimit* current = nullptr;

}  // namespace

absl::Status CheckLimit(const CallLimit& limit) {
  if (limit.IsCancelled()) {
    return absl::CancelledError("the search was cancelled");
  }
  if (limit.IsPast()) {
    return absl::DeadlineExceededError(
        "the deadline passed while the search ran");
  }
  return absl::OkStatus();
}

const CallLimit* CurrentCallLimit() { return current; }

}  // namespace nann

void NannSetCallLimit(const nann::CallLimit* limit) { nann::current = limit; }
