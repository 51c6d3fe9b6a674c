// Memory that goes from one search to the next.

#include "ops/core/scratch_pool.h"

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "tests/ops/core/testing.h"

namespace nann {
namespace {

struct Counted {
  static inline std::atomic<int> num_made{0};
  static inline std::atomic<int> num_alive{0};
  Counted() {
    ++num_made;
    ++num_alive;
  }
  ~Counted() { --num_alive; }

  int users = 0;
};

TEST(FinishedObjectIsLentAgain) {
  ScratchPool<Counted> pool;
  Counted* first;
  {
    auto lease = pool.Take();
    first = &*lease;
  }
  auto again = pool.Take();
  CHECK(&*again == first);
  auto other = pool.Take();
  CHECK(&*other != first);
}

TEST(MovedLeaseGivesBackOnce) {
  Counted::num_made = 0;
  ScratchPool<Counted> pool;
  {
    auto one = pool.Take();
    Counted* const of_one = &*one;
    auto two = std::move(one);
    CHECK(&*two == of_one);
    one = pool.Take();
    CHECK(&*one != of_one);
    // What the left side held goes back with the right side.
    one = std::move(two);
    CHECK(&*one == of_one);
    auto& same = one;
    one = std::move(same);
    CHECK(&*one == of_one);
  }
  auto a = pool.Take(), b = pool.Take();
  CHECK(&*a != &*b);
  CHECK_EQ(Counted::num_made.load(), 2);
}

TEST(PoolFreesWhatItHolds) {
  {
    ScratchPool<Counted> pool;
    auto a = pool.Take(), b = pool.Take();
  }
  CHECK_EQ(Counted::num_alive.load(), 0);
}

TEST(NoObjectHasTwoUsers) {
  Counted::num_made = 0;
  ScratchPool<Counted> pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto lease = pool.Take();
        CHECK_EQ(++lease->users, 1);
        --lease->users;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(Counted::num_made <= 16);
}

}  // namespace
}  // namespace nann
