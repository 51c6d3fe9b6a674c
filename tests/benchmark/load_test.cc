// A load on a model that stalls: who waits because of it must be counted.

#include "benchmark/load.h"

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/ops/core/testing.h"

namespace nann {
namespace {

constexpr double kMillisecond = 1e6;
constexpr int kStallMs = 400;

// Answers in half a millisecond, but for one request in the middle.
class StallingModel : public Target {
 public:
  explicit StallingModel(int64_t stalled) : stalled_(stalled) {}

  absl::Status Answer(int64_t number, AnswerFacts* facts) override {
    const bool stalls = number == stalled_;
    std::this_thread::sleep_for(
        std::chrono::microseconds(stalls ? 1000 * kStallMs : 500));
    *facts = {1, 7};
    return absl::OkStatus();
  }

 private:
  const int64_t stalled_;
};

class FailingModel : public Target {
 public:
  absl::Status Answer(int64_t number, AnswerFacts*) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (number % 2 == 0) return absl::OkStatus();
    return absl::InternalError("every other request fails");
  }
};

LoadOptions Options(double qps, double warm_up, double seconds) {
  LoadOptions options;
  options.schedule.qps = {qps};
  options.schedule.arrivals = Arrivals::kConstant;
  options.schedule.measured_from = static_cast<Nanos>(warm_up * kSecond);
  options.schedule.end = static_cast<Nanos>((warm_up + seconds) * kSecond);
  return options;
}

void Ignore(const Progress&) {}

// 200 requests a second for 2 s. The stall of 400 ms delays the 80 that arrive
// meanwhile, evenly by 0 to 400 ms: a fifth of all. So of all requests 5 % wait
// longer than 300 ms, and 1 % longer than 380 ms.
TEST(OpenLoopCountsAllWhomAStallDelays) {
  StallingModel model(150);
  const LoadResult result = RunLoad(Options(200, 0, 2), {&model}, Ignore);
  const Histogram& times = result.targets[0].latencies;
  CHECK_EQ(times.count(), int64_t{399});
  CHECK(times.Percentile(50) / kMillisecond < 100);
  CHECK(times.Percentile(95) / kMillisecond > 250);
  CHECK(times.Percentile(95) / kMillisecond < 380);
  CHECK(times.Percentile(99) / kMillisecond > 350);
  CHECK(times.max() / kMillisecond >= kStallMs);
}

// The same model, asked by one who waits: the stall is one request of many.
TEST(ClosedLoopHidesTheStall) {
  StallingModel model(150);
  const LoadResult result = RunLoad(Options(-1, 0, 2), {&model}, Ignore);
  const Histogram& times = result.targets[0].latencies;
  CHECK(times.count() > 400);
  CHECK(times.Percentile(99) / kMillisecond < 100);
  CHECK(times.max() / kMillisecond >= kStallMs);
}

TEST(FullQueueSheds) {
  StallingModel model(100);
  LoadOptions options = Options(200, 0, 1);
  options.schedule.max_queue_size = 10;
  const LoadResult result = RunLoad(options, {&model}, Ignore);
  // Of the 80 that arrive during the stall 10 wait.
  CHECK(result.targets[0].num_shed >= 60);
  CHECK_EQ(result.targets[0].num_shed + result.targets[0].latencies.count(),
           int64_t{199});
}

TEST(WarmUpDoesNotCount) {
  StallingModel model(20);
  int num_warm_up = 0, num_measured = 0;
  const LoadResult result =
      RunLoad(Options(100, 1, 1), {&model}, [&](const Progress& progress) {
        ++(progress.is_warm_up ? num_warm_up : num_measured);
      });
  const Histogram& times = result.targets[0].latencies;
  CHECK_EQ(times.count(), int64_t{100});
  CHECK(times.max() / kMillisecond < kStallMs);
  CHECK_EQ(num_warm_up, 1);
  CHECK(num_measured <= 1);
}

TEST(ErrorsAreCountedAndTheFirstIsKept) {
  FailingModel model;
  const LoadResult result = RunLoad(Options(100, 0, 0.5), {&model}, Ignore);
  const TargetResult& target = result.targets[0];
  CHECK_EQ(target.num_errors + target.latencies.count(), int64_t{49});
  CHECK_EQ(target.latencies.count(), int64_t{25});
  CHECK_EQ(target.first_error, std::string("every other request fails"));
}

TEST(FactsOfAnswersAreAddedUp) {
  StallingModel model(-1);
  LoadOptions options = Options(-1, 0, 0.3);
  options.num_threads = 3;
  const LoadResult result = RunLoad(options, {&model}, Ignore);
  const TargetResult& target = result.targets[0];
  CHECK_EQ(target.facts.num_users, target.latencies.count());
  CHECK_EQ(target.facts.num_scored, 7 * target.latencies.count());
  CHECK(result.seconds >= 0.29);
  CHECK(result.processor_seconds < 0.9 * result.seconds);
}

}  // namespace
}  // namespace nann
