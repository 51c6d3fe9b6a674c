#include "benchmark/schedule.h"

namespace nann {

Schedule::Schedule(const ScheduleOptions& options)
    : options_(options), random_(options.seed) {
  for (size_t i = 0; i < options.qps.size(); ++i) {
    Stream stream;
    stream.qps = options.qps[i];
    streams_.push_back(stream);
    if (stream.qps < 0) {
      closed_.push_back(static_cast<int>(i));
    } else {
      Arrive(static_cast<int>(i));  // From moment 0 to the first arrival.
    }
  }
}

Job Schedule::Arrive(int model) {
  Stream& stream = streams_[model];
  const Job job = {model, static_cast<Nanos>(stream.next)};
  const double mean_gap = kSecond / stream.qps;
  stream.next += options_.arrivals == Arrivals::kConstant
                     ? mean_gap
                     : std::exponential_distribution<>(1 / mean_gap)(random_);
  return job;
}

int Schedule::FirstToArrive() const {
  int first = -1;
  for (size_t i = 0; i < streams_.size(); ++i) {
    const Stream& stream = streams_[i];
    if (stream.qps < 0 || stream.next >= static_cast<double>(options_.end)) {
      continue;
    }
    if (first < 0 || stream.next < streams_[first].next) {
      first = static_cast<int>(i);
    }
  }
  return first;
}

void Schedule::Advance(Nanos now) {
  while (true) {
    const int model = FirstToArrive();
    if (model < 0 || streams_[model].next > static_cast<double>(now)) return;
    const Job job = Arrive(model);
    if (static_cast<int64_t>(waiting_.size()) < options_.max_queue_size) {
      waiting_.push_back(job);
    } else if (job.due >= options_.measured_from) {
      ++streams_[model].num_shed;
    }
  }
}

// Nobody takes a job between two calls, so the queue at the moment of each
// arrival is known at the next call, and nothing needs to happen on time.
bool Schedule::Take(Nanos now, Job* job) {
  Advance(now);
  if (!waiting_.empty()) {
    *job = waiting_.front();
    waiting_.pop_front();
    return true;
  }
  if (!closed_.empty()) {
    *job = {closed_[turn_++ % closed_.size()], now};
    return now < options_.end;
  }
  const int model = FirstToArrive();
  if (model < 0) return false;
  *job = Arrive(model);
  return true;
}

}  // namespace nann
