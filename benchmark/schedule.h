// Which request is sent when. Knows no clock: the time is told.
//
// In an open loop requests arrive at moments drawn beforehand, whether or not
// earlier ones have been answered, and wait in a queue of bounded length; what
// finds it full is shed. In a closed loop a thread that has its answer sends
// the next.

#ifndef NANN_BENCHMARK_SCHEDULE_H_
#define NANN_BENCHMARK_SCHEDULE_H_

#include <cstdint>
#include <deque>
#include <random>
#include <vector>

namespace nann {

// Nanoseconds since the load began.
using Nanos = int64_t;

constexpr Nanos kSecond = 1000000000;

enum class Arrivals { kPoisson, kConstant };

struct ScheduleOptions {
  // Of each model: requests a second in an open loop; below 0: a closed loop.
  std::vector<double> qps;
  Arrivals arrivals = Arrivals::kPoisson;
  int64_t max_queue_size = 1000;
  Nanos measured_from = 0;  // What is shed before does not count.
  Nanos end = 0;            // No request is sent later.
  uint64_t seed = 0;
};

struct Job {
  int model = 0;
  Nanos due = 0;  // When the request is, or was, to be sent.
};

// Not for several threads at once.
class Schedule {
 public:
  explicit Schedule(const ScheduleOptions& options);

  // Gives a free thread its next job: one that waits; else one of a closed
  // loop, due now; else the next to arrive, due later, which the thread sleeps
  // for. Returns false when nothing is left.
  bool Take(Nanos now, Job* job);

  // Requests of a model that found the queue full.
  int64_t num_shed(int model) const { return streams_[model].num_shed; }

 private:
  struct Stream {
    double qps = -1.0;
    double next = 0.0;  // When the next request arrives, in nanoseconds.
    int64_t num_shed = 0;
  };

  // Lets everything arrive that is due; what finds no room is shed.
  void Advance(Nanos now);
  // Returns the model whose next request arrives first, or -1.
  int FirstToArrive() const;
  // Takes the next arrival of a model, and draws the one after it.
  Job Arrive(int model);

  const ScheduleOptions options_;
  std::vector<Stream> streams_;
  std::vector<int> closed_;  // Models in a closed loop, which take turns.
  size_t turn_ = 0;
  std::deque<Job> waiting_;
  std::mt19937_64 random_;
};

}  // namespace nann

#endif  // NANN_BENCHMARK_SCHEDULE_H_
