// Places and queue under many threads; the rules are tested from Python.

#include "ops/requests/admission.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/ops/core/testing.h"

namespace nann {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

class Waiting : public Turn {
 public:
  void Come() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    has_come_ = true;
    changed_.notify_all();
  }

  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return has_come_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_come_ = false;
};

TEST(PlacesAreNeverShared) {
  Admission admission(3, 1000, kNoLimit);
  std::atomic<int> running{0};
  std::atomic<int> num_given_up{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 12; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        int64_t num_inside;
        CHECK(admission.Enter(&num_inside) == Admission::Entry::kEntered);
        Waiting turn;
        const bool has_place = admission.TakePlace(&turn);
        if (!has_place && (i + t) % 3 == 0 && admission.GiveUp(&turn)) {
          ++num_given_up;
        } else {
          if (!has_place) turn.Wait();
          CHECK(++running <= 3);
          --running;
          admission.GivePlace(1e-6);
        }
        admission.Leave();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(num_given_up < 12 * 500);
  CHECK_EQ(admission.num_running(), 0);
  CHECK_EQ(admission.num_waiting(), 0);
  admission.Close();
  CHECK(admission.WaitUntilEmpty(0.0));
}

TEST(ClosedWaitsForThoseInside) {
  Admission admission(1, 1, kNoLimit);
  int64_t num_inside;
  CHECK(admission.Enter(&num_inside) == Admission::Entry::kEntered);
  CHECK_EQ(num_inside, 0);
  admission.Close();
  CHECK(admission.Enter(&num_inside) == Admission::Entry::kClosed);
  CHECK_EQ(num_inside, 1);
  CHECK(!admission.WaitUntilEmpty(0.001));
  std::thread leaving([&] { admission.Leave(); });
  CHECK(admission.WaitUntilEmpty(60.0));
  leaving.join();
}

TEST(TurnThatCameCannotGiveUp) {
  Admission admission(1, 9, kNoLimit);
  Waiting first, second;
  CHECK(admission.TakePlace(nullptr));
  CHECK(!admission.TakePlace(&first));
  CHECK(!admission.TakePlace(&second));
  CHECK(admission.GiveUp(&second));
  CHECK(!admission.GiveUp(&second));
  admission.GivePlace(-1.0);
  first.Wait();
  CHECK(!admission.GiveUp(&first));
  CHECK_EQ(admission.num_running(), 1);
}

}  // namespace
}  // namespace nann
