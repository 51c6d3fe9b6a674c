// Threads that send requests as a schedule says, and what came of it.

#ifndef NANN_BENCHMARK_LOAD_H_
#define NANN_BENCHMARK_LOAD_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "benchmark/histogram.h"
#include "benchmark/schedule.h"

namespace nann {

// What an answer says of itself.
struct AnswerFacts {
  int64_t num_users = 0;   // Users whose number of evaluations is known,
  int64_t num_scored = 0;  // and the evaluations of all of them.
};

// What requests are sent to; by several threads at once.
class Target {
 public:
  virtual ~Target() = default;

  // Answers the request of a running number.
  virtual absl::Status Answer(int64_t number, AnswerFacts* facts) = 0;
};

struct LoadOptions {
  ScheduleOptions schedule;  // Its queries a second are in order of targets.
  int num_threads = 1;
};

// Of one target; only of requests due once measuring had begun.
struct TargetResult {
  Histogram latencies;  // Nanoseconds; only of requests without an error.
  int64_t num_errors = 0;
  int64_t num_shed = 0;
  AnswerFacts facts;
  std::string first_error;
};

struct LoadResult {
  std::vector<TargetResult> targets;
  double seconds = 0.0;            // From the first to the last answer.
  double processor_seconds = 0.0;  // That this process used meanwhile.
};

// What happened since the last call.
struct Progress {
  Nanos now = 0;
  bool is_warm_up = false;
  Histogram latencies;
  int64_t num_errors = 0;
};

// Runs a load to its end. Latency in an open loop counts from the moment at
// which a request was to be sent, so a stall counts for all whom it delays.
// `progress` is called once a second.
LoadResult RunLoad(const LoadOptions& options,
                   const std::vector<Target*>& targets,
                   const std::function<void(const Progress&)>& progress);

}  // namespace nann

#endif  // NANN_BENCHMARK_LOAD_H_
