// The beam against a sorted vector, and the order of scores.

#include "ops/core/beam.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "ops/core/ranking.h"
#include "tests/ops/core/random_world.h"
#include "tests/ops/core/testing.h"

namespace nann {
namespace {

using testing::Below;
using testing::Random;

std::vector<Ranked> Contents(const Beam& beam) {
  return {beam.ranked().begin(), beam.ranked().end()};
}

// The same in plain steps: rows that are no longer kept are forgotten.
struct SortedVector {
  std::vector<Ranked> ranked;

  void Add(const std::vector<Ranked>& candidates, int64_t width) {
    ranked.insert(ranked.end(), candidates.begin(), candidates.end());
    Cut(width);
  }
  void Cut(int64_t width) {
    std::sort(ranked.begin(), ranked.end());
    if (static_cast<int64_t>(ranked.size()) > width) ranked.resize(width);
  }
  std::vector<int32_t> TakeUnmarked(int64_t number) {
    std::vector<int32_t> rows;
    for (Ranked& one : ranked) {
      if (IsMarked(one) || static_cast<int64_t>(rows.size()) == number) {
        continue;
      }
      one = Marked(one);
      rows.push_back(RowOf(one));
    }
    return rows;
  }
};

TEST(BeamIsASortedVector) {
  Random random(1);
  Beam beam;
  for (int world = 0; world < 500; ++world) {
    int64_t width = 1 + Below(12, &random);
    beam.Reset(width);
    SortedVector expected;
    int32_t next_row = 0;
    for (int step = 0; step < 20; ++step) {
      std::vector<Ranked> added;
      for (int64_t i = Below(15, &random); i > 0; --i) {
        const float score = static_cast<float>(Below(9, &random) - 4);
        const Ranked ranked = Rank(score, next_row++);
        added.push_back(Below(5, &random) == 0 ? Marked(ranked) : ranked);
      }
      expected.Add(added, width);
      beam.Add(&added);
      CHECK_EQ(Contents(beam), expected.ranked);
      CHECK_EQ(beam.full(), beam.size() == width);
      if (Below(3, &random) == 0) {
        width = 1 + Below(12, &random);
        beam.SetWidth(width);
        expected.Cut(width);
        CHECK_EQ(Contents(beam), expected.ranked);
      }
      Ranked best = 0;
      const auto unmarked =
          std::find_if(expected.ranked.begin(), expected.ranked.end(),
                       [](Ranked ranked) { return !IsMarked(ranked); });
      CHECK_EQ(beam.PeekUnmarked(&best), unmarked != expected.ranked.end());
      if (unmarked != expected.ranked.end()) CHECK_EQ(best, *unmarked);
      const int64_t number = Below(4, &random);
      std::vector<int32_t> taken;
      beam.TakeUnmarked(number, &taken);
      CHECK_EQ(taken, expected.TakeUnmarked(number));
    }
  }
}

TEST(WidthTakesNoRoom) {
  Beam beam;
  beam.Reset(int64_t{1} << 60);
  std::vector<Ranked> added = {Rank(1.0f, 2), Rank(3.0f, 1)};
  beam.Add(&added);
  CHECK_EQ(beam.size(), int64_t{2});
  CHECK_EQ(RowOf(beam.worst()), 2);
  beam.SetWidth(int64_t{1} << 61);
  CHECK(!beam.full());
}

TEST(RankOrdersByScoreThenRow) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float largest = std::numeric_limits<float>::max();
  const float least = std::numeric_limits<float>::denorm_min();
  const std::vector<float> falling = {
      infinity, largest, 1.0f, least, 0.0f, -least, -1.0f, -largest, -infinity};
  const int32_t last_row = std::numeric_limits<int32_t>::max() - 1;
  for (size_t i = 0; i < falling.size(); ++i) {
    const Ranked first = Rank(falling[i], 0);
    const Ranked last = Rank(falling[i], last_row);
    CHECK(first < last);
    CHECK_EQ(RowOf(Marked(last)), last_row);
    CHECK_EQ(ScoreOf(Marked(last)), falling[i]);
    CHECK(!IsMarked(last));
    CHECK(IsMarked(Marked(last)));
    if (i > 0) CHECK(Marked(Rank(falling[i - 1], last_row)) < first);
  }
  CHECK_EQ(Rank(-0.0f, 7), Rank(0.0f, 7));
}

}  // namespace
}  // namespace nann
