// The visited set, up to the round after the last.

#include "ops/core/visited_set.h"

#include <set>
#include <vector>

#include "tests/ops/core/random_world.h"
#include "tests/ops/core/testing.h"

namespace nann {

// Sets the number of the round, of which there are too many to count through.
class VisitedSetPeer {
 public:
  static void SetRound(uint32_t round, VisitedSet* visited) {
    visited->round_ = round;
  }
};

namespace {

using testing::Below;
using testing::Random;

void CheckAgainstSet(int64_t num_rows, Random* random, VisitedSet* visited) {
  std::set<int32_t> expected;
  for (int i = 0; i < 60; ++i) {
    const int32_t row = static_cast<int32_t>(Below(num_rows, random));
    CHECK_EQ(visited->Contains(row), expected.count(row) > 0);
    CHECK_EQ(visited->Insert(row), expected.insert(row).second);
    CHECK(visited->Contains(row));
  }
}

TEST(VisitedSetIsASet) {
  Random random(1);
  VisitedSet visited;
  // Larger and smaller graphs take turns.
  for (int round = 0; round < 2000; ++round) {
    const int64_t num_rows = 1 + Below(100, &random);
    visited.Reset(num_rows);
    CheckAgainstSet(num_rows, &random, &visited);
  }
}

TEST(EveryBitOfAWordIsItsOwn) {
  VisitedSet visited;
  for (int32_t num_rows : {31, 32, 33, 63, 64, 65}) {
    visited.Reset(num_rows);
    for (int32_t row = num_rows - 1; row >= 0; --row) {
      CHECK(visited.Insert(row));
    }
    for (int32_t row = 0; row < num_rows; ++row) CHECK(!visited.Insert(row));
  }
}

TEST(RoundAfterTheLastBeginsAnew) {
  Random random(2);
  VisitedSet visited;
  visited.Reset(100);
  // Words of round 1, which will come again.
  for (int32_t row = 0; row < 100; ++row) visited.Insert(row);
  VisitedSetPeer::SetRound(UINT32_MAX - 2, &visited);
  for (int round = 0; round < 10; ++round) {
    visited.Reset(100);
    for (int32_t row = 0; row < 100; ++row) CHECK(!visited.Contains(row));
    CheckAgainstSet(100, &random, &visited);
  }
}

TEST(RoomThatGrowsInTheLastRoundIsEmpty) {
  VisitedSet visited;
  visited.Reset(1);
  VisitedSetPeer::SetRound(UINT32_MAX, &visited);
  visited.Reset(1000);
  for (int32_t row = 0; row < 1000; ++row) CHECK(visited.Insert(row));
}

}  // namespace
}  // namespace nann
