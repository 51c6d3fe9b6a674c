#include "benchmark/load.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace nann {
namespace {

using Clock = std::chrono::steady_clock;

double ProcessorSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What one thread has seen. Its own lock, so that threads do not wait for each
// other.
struct Recorder {
  std::mutex mutex;
  std::vector<TargetResult> targets;
  Progress recent;
  Nanos last_answer = 0;
};

void AddTo(const TargetResult& part, TargetResult* sum) {
  sum->latencies.Merge(part.latencies);
  sum->num_errors += part.num_errors;
  sum->facts.num_users += part.facts.num_users;
  sum->facts.num_scored += part.facts.num_scored;
  if (sum->first_error.empty()) sum->first_error = part.first_error;
}

class Load {
 public:
  Load(const LoadOptions& options, const std::vector<Target*>& targets)
      : measured_from_(options.schedule.measured_from),
        targets_(targets),
        schedule_(options.schedule),
        next_number_(targets.size(), 0),
        num_running_(options.num_threads),
        recorders_(options.num_threads) {
    for (Recorder& recorder : recorders_) {
      recorder.targets.resize(targets.size());
    }
  }

  LoadResult Run(const std::function<void(const Progress&)>& progress) {
    start_ = Clock::now();
    std::vector<std::thread> threads;
    for (Recorder& recorder : recorders_) {
      threads.emplace_back([this, &recorder] { Work(&recorder); });
    }
    const double processor_seconds = Watch(progress);
    for (std::thread& thread : threads) thread.join();
    return Result(processor_seconds);
  }

 private:
  Nanos Now() const {
    return std::chrono::nanoseconds(Clock::now() - start_).count();
  }

  void Work(Recorder* recorder) {
    // Wake up when asked, not up to 50 us later.
    prctl(PR_SET_TIMERSLACK, 1);
    Job job;
    int64_t number;
    while (Take(&job, &number)) {
      std::this_thread::sleep_until(start_ + std::chrono::nanoseconds(job.due));
      AnswerFacts facts;
      const absl::Status status = targets_[job.model]->Answer(number, &facts);
      Record(job, status, facts, recorder);
    }
    std::lock_guard<std::mutex> lock(mutex_);
    --num_running_;
    is_over_.notify_all();
  }

  bool Take(Job* job, int64_t* number) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!schedule_.Take(Now(), job)) return false;
    *number = next_number_[job->model]++;
    return true;
  }

  void Record(const Job& job, const absl::Status& status,
              const AnswerFacts& facts, Recorder* recorder) {
    const Nanos now = Now();
    std::lock_guard<std::mutex> lock(recorder->mutex);
    TargetResult& target = recorder->targets[job.model];
    const bool is_measured = job.due >= measured_from_;
    recorder->last_answer = now;
    if (!status.ok()) {
      ++recorder->recent.num_errors;
      if (!is_measured) return;
      ++target.num_errors;
      if (target.first_error.empty()) target.first_error = status.message();
      return;
    }
    recorder->recent.latencies.Add(now - job.due);
    if (!is_measured) return;
    target.latencies.Add(now - job.due);
    target.facts.num_users += facts.num_users;
    target.facts.num_scored += facts.num_scored;
  }

  // Reports every second until all threads have ended. Returns the processor
  // seconds since measuring began.
  double Watch(const std::function<void(const Progress&)>& progress) {
    double used_before = ProcessorSeconds();
    bool is_warm_up = measured_from_ > 0;
    Nanos tick = kSecond;
    while (!EndsBefore(is_warm_up ? std::min(tick, measured_from_) : tick)) {
      const Nanos now = Now();
      if (now >= tick) {
        progress(Recent(tick, tick <= measured_from_));
        tick += kSecond;
      }
      if (is_warm_up && now >= measured_from_) {
        used_before = ProcessorSeconds();
        is_warm_up = false;
      }
    }
    return ProcessorSeconds() - used_before;
  }

  // Waits; returns whether all threads have ended by a moment.
  bool EndsBefore(Nanos moment) {
    std::unique_lock<std::mutex> lock(mutex_);
    return is_over_.wait_until(lock, start_ + std::chrono::nanoseconds(moment),
                               [this] { return num_running_ == 0; });
  }

  Progress Recent(Nanos now, bool is_warm_up) {
    Progress sum;
    for (Recorder& recorder : recorders_) {
      std::lock_guard<std::mutex> lock(recorder.mutex);
      sum.latencies.Merge(recorder.recent.latencies);
      sum.num_errors += recorder.recent.num_errors;
      recorder.recent = Progress();
    }
    sum.now = now;
    sum.is_warm_up = is_warm_up;
    return sum;
  }

  LoadResult Result(double processor_seconds) const {
    LoadResult result;
    result.processor_seconds = processor_seconds;
    result.targets.resize(targets_.size());
    Nanos last_answer = measured_from_;
    for (const Recorder& recorder : recorders_) {
      last_answer = std::max(last_answer, recorder.last_answer);
      for (size_t i = 0; i < targets_.size(); ++i) {
        AddTo(recorder.targets[i], &result.targets[i]);
      }
    }
    for (size_t i = 0; i < targets_.size(); ++i) {
      result.targets[i].num_shed = schedule_.num_shed(static_cast<int>(i));
    }
    result.seconds = 1e-9 * static_cast<double>(last_answer - measured_from_);
    return result;
  }

  const Nanos measured_from_;
  const std::vector<Target*> targets_;
  std::mutex mutex_;  // Of what follows.
  Schedule schedule_;
  std::vector<int64_t> next_number_;
  int num_running_;
  std::condition_variable is_over_;
  std::vector<Recorder> recorders_;
  Clock::time_point start_;
};

}  // namespace

LoadResult RunLoad(const LoadOptions& options,
                   const std::vector<Target*>& targets,
                   const std::function<void(const Progress&)>& progress) {
  return Load(options, targets).Run(progress);
}

}  // namespace nann
