// What became of requests, kept until Python counts and logs them: bounded, so
// that a Python that does not come takes no memory. Standard library only.

#ifndef NANN_OPS_REQUESTS_REQUEST_LOG_H_
#define NANN_OPS_REQUESTS_REQUEST_LOG_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace nann {

// A request that has ended, as the predictor of Python describes one.
struct RequestRecord {
  std::string peer;
  std::string signature;  // Empty: not known.
  int64_t version = 0;    // 0: not known.
  int code = 0;           // Of gRPC.
  std::string message;    // Empty: OK.
  double seconds = 0.0;
  double waited_s = 0.0;
  double ended_at_s = 0.0;  // Of the system's clock, since 1970.
  int64_t num_users = 0;
  std::vector<int64_t> num_scored;  // [B], or empty: not known.
};

class RequestLog {
 public:
  explicit RequestLog(size_t most) : most_(most) {}

  // Keeps a record, or counts it as lost where there is no more room.
  void Add(RequestRecord record) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (records_.size() < most_) {
      records_.push_back(std::move(record));
    } else {
      ++num_lost_;
    }
  }

  // Returns what was kept since the last call, and how many were lost.
  std::pair<std::vector<RequestRecord>, int64_t> Take() {
    std::pair<std::vector<RequestRecord>, int64_t> found;
    const std::lock_guard<std::mutex> lock(mutex_);
    found.first.swap(records_);
    std::swap(found.second, num_lost_);
    return found;
  }

 private:
  const size_t most_;
  std::mutex mutex_;
  std::vector<RequestRecord> records_;
  int64_t num_lost_ = 0;
};

}  // namespace nann

#endif  // NANN_OPS_REQUESTS_REQUEST_LOG_H_
