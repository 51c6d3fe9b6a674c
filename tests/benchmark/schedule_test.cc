// Who is sent when, who waits and who is shed, against a plain simulation.

#include "benchmark/schedule.h"

#include <cmath>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "tests/ops/core/testing.h"

namespace nann {
namespace {

ScheduleOptions Options(const std::vector<double>& qps, Arrivals arrivals) {
  ScheduleOptions options;
  options.qps = qps;
  options.arrivals = arrivals;
  options.end = kSecond;
  return options;
}

// All arrivals of a schedule whose thread is always free.
std::vector<Nanos> ArrivalsOf(const ScheduleOptions& options) {
  Schedule schedule(options);
  std::vector<Nanos> found;
  Job job;
  for (Nanos now = 0; schedule.Take(now, &job); now = job.due) {
    found.push_back(job.due);
  }
  return found;
}

TEST(ConstantArrivalsAreEvenlySpaced) {
  const auto due = ArrivalsOf(Options({100}, Arrivals::kConstant));
  CHECK_EQ(due.size(), size_t{99});
  for (size_t i = 0; i < due.size(); ++i) {
    CHECK(std::abs(due[i] - static_cast<Nanos>(i + 1) * kSecond / 100) <= 1);
  }
}

TEST(PoissonGapsHaveTheSpreadOfAnExponential) {
  ScheduleOptions options = Options({1000}, Arrivals::kPoisson);
  options.end = 50 * kSecond;
  const auto due = ArrivalsOf(options);
  double sum = 0, squares = 0;
  for (size_t i = 1; i < due.size(); ++i) {
    const double gap = static_cast<double>(due[i] - due[i - 1]) / 1e6;
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / (due.size() - 1);
  const double deviation = std::sqrt(squares / (due.size() - 1) - mean * mean);
  CHECK(std::abs(mean - 1) < 0.03);
  CHECK(std::abs(deviation - 1) < 0.05);
  CHECK(ArrivalsOf(options) == due);
  options.seed = 1;
  CHECK(ArrivalsOf(options) != due);
}

// Threads that are busy for random times, and a queue that everything passes.
TEST(BusyThreadsLeaveAQueueOfBoundedLength) {
  std::mt19937 random(3);
  for (const int64_t room : {0, 1, 3, 20}) {
    ScheduleOptions options = Options({700}, Arrivals::kConstant);
    options.max_queue_size = room;
    options.measured_from = kSecond / 2;
    const auto due = ArrivalsOf(options);
    Schedule schedule(options);
    std::deque<Nanos> waiting;
    size_t next = 0;
    int64_t num_shed = 0;
    Nanos now = 0;
    while (true) {
      // What has come while the thread was busy.
      for (; next < due.size() && due[next] <= now; ++next) {
        if (static_cast<int64_t>(waiting.size()) < room) {
          waiting.push_back(due[next]);
        } else {
          num_shed += due[next] >= options.measured_from;
        }
      }
      Nanos expected = -1;
      if (!waiting.empty()) {
        expected = waiting.front();
        waiting.pop_front();
      } else if (next < due.size()) {
        expected = due[next++];
      }
      Job job;
      const bool is_more = schedule.Take(now, &job);
      CHECK_EQ(is_more, expected >= 0);
      CHECK_EQ(schedule.num_shed(0), num_shed);
      if (!is_more) break;
      CHECK_EQ(job.due, expected);
      now = std::max(now, job.due) + random() % 10000000;
    }
    CHECK(num_shed > 0);
  }
}

TEST(ClosedLoopTakesTurnsUntilTheEnd) {
  Schedule schedule(Options({-1, -1}, Arrivals::kPoisson));
  Job job;
  for (int i = 0; i < 10; ++i) {
    CHECK(schedule.Take(i, &job));
    CHECK_EQ(job.model, i % 2);
    CHECK_EQ(job.due, Nanos{i});
  }
  CHECK(!schedule.Take(kSecond, &job));
}

TEST(OpenLoopGoesBeforeTheClosedOne) {
  Schedule schedule(Options({-1, 10}, Arrivals::kConstant));
  Job job;
  CHECK(schedule.Take(0, &job));
  CHECK_EQ(job.model, 0);
  CHECK(schedule.Take(kSecond / 4, &job));
  CHECK_EQ(job.model, 1);
  CHECK(schedule.Take(kSecond / 4, &job));
  CHECK_EQ(job.model, 1);
  CHECK_EQ(job.due, kSecond / 5);
  CHECK(schedule.Take(kSecond / 4, &job));
  CHECK_EQ(job.model, 0);
}

TEST(ModelsArriveAtTheirOwnRates) {
  Schedule schedule(Options({100, 300}, Arrivals::kConstant));
  std::vector<int> number(2);
  Job job;
  Nanos before = 0;
  while (schedule.Take(before, &job)) {
    CHECK(job.due >= before);
    before = job.due;
    ++number[job.model];
  }
  CHECK_EQ(number, (std::vector<int>{99, 299}));
}

}  // namespace
}  // namespace nann
