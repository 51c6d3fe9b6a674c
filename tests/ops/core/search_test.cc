// The search without Python: the definition, one graph for many threads, and
// no memory taken once it has run.

#include <limits>
#include <thread>
#include <vector>

#include "ops/core/beam_search.h"
#include "ops/core/metric_search.h"
#include "ops/core/scratch_pool.h"
#include "ops/core/validate.h"
#include "tests/ops/core/oracle.h"
#include "tests/ops/core/random_world.h"
#include "tests/ops/core/testing.h"

namespace nann {
namespace {

using testing::Below;
using testing::Found;
using testing::MakeWorld;
using testing::Random;
using testing::World;

// Room for the scores and answers of a search, kept from one to the next.
struct Room {
  std::vector<float> scores;
  Found found;
};

template <typename Policy>
void Run(const GraphView& graph, const Policy& policy, const World& world,
         BeamSearch* search, Room* room) {
  search->Start(graph, policy, world.Question());
  Span<const int32_t> rows;
  while (search->Next(&rows)) {
    room->scores.clear();
    for (const int32_t row : rows) room->scores.push_back(world.scores[row]);
    CHECK_EQ(search->Absorb(room->scores.data()), int64_t{-1});
  }
  Found& found = room->found;
  found.rows.resize(world.k);
  found.scores.resize(world.k);
  const int64_t number =
      search->Finish(world.k, found.rows.data(), found.scores.data());
  found.rows.resize(number);
  found.scores.resize(number);
  found.num_scored.assign(search->num_scored().begin(),
                          search->num_scored().end());
}

void CheckEqual(const Found& found, const Found& expected) {
  CHECK_EQ(found.rows, expected.rows);
  CHECK_EQ(found.scores, expected.scores);
  CHECK_EQ(found.num_scored, expected.num_scored);
}

std::vector<World> MakeWorlds(int64_t number, int64_t max_rows, uint64_t seed) {
  Random random(seed);
  std::vector<World> worlds;
  for (int64_t i = 0; i < number; ++i) {
    worlds.push_back(MakeWorld(1 + Below(max_rows, &random), &random));
  }
  return worlds;
}

TEST(OneSearchAfterTheOtherIsTheDefinition) {
  BeamSearch search;
  Room room;
  for (const World& world : MakeWorlds(3000, 70, 1)) {
    const GraphView graph = world.Graph();
    CHECK_EQ(FindFault(graph), "");
    Run(graph, world.paper, world, &search, &room);
    CheckEqual(room.found, SearchPaper(world));
    Run(graph, world.best_first, world, &search, &room);
    CheckEqual(room.found, SearchBestFirst(world));
  }
}

TEST(NewSearchIsTheDefinition) {
  for (const World& world : MakeWorlds(300, 40, 2)) {
    const GraphView graph = world.Graph();
    BeamSearch paper, best_first;
    Room room;
    Run(graph, world.paper, world, &paper, &room);
    CheckEqual(room.found, SearchPaper(world));
    Run(graph, world.best_first, world, &best_first, &room);
    CheckEqual(room.found, SearchBestFirst(world));
  }
}

TEST(SearchTakesNoMemoryOnceItHasRun) {
  const std::vector<World> worlds = MakeWorlds(40, 70, 3);
  std::vector<GraphView> graphs;
  for (const World& world : worlds) graphs.push_back(world.Graph());
  const std::vector<RowMemory> memory = {{nullptr, 0}, {nullptr, 0}};
  BeamSearch search;
  Room room;
  int64_t before = 0;
  for (int run = 0; run < 2; ++run) {
    before = testing::NumAllocations();
    for (size_t i = 0; i < worlds.size(); ++i) {
      search.FetchAhead(memory);
      Run(graphs[i], worlds[i].paper, worlds[i], &search, &room);
      Run(graphs[i], worlds[i].best_first, worlds[i], &search, &room);
    }
  }
  CHECK_EQ(testing::NumAllocations() - before, int64_t{0});
}

TEST(ThreadsShareAGraph) {
  constexpr int kNumThreads = 16;
  Random random(4);
  World world = MakeWorld(70, &random);
  const GraphView graph = world.Graph();
  std::vector<World> questions = MakeWorlds(40, 1, 5);
  for (World& question : questions) {
    question = world;
    for (float& score : question.scores) {
      score = static_cast<float>(Below(20, &random));
    }
    question.expand = testing::RandomRows(3, 70, &random);
  }
  std::vector<Found> expected;
  for (const World& question : questions) {
    expected.push_back(SearchPaper(question));
    expected.push_back(SearchBestFirst(question));
  }
  ScratchPool<BeamSearch> pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < kNumThreads; ++t) {
    threads.emplace_back([&] {
      Room room;
      for (size_t i = 0; i < questions.size(); ++i) {
        const auto search = pool.Take();
        Run(graph, world.paper, questions[i], &*search, &room);
        CheckEqual(room.found, expected[2 * i]);
        Run(graph, world.best_first, questions[i], &*search, &room);
        CheckEqual(room.found, expected[2 * i + 1]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ScoreThatIsNoNumberIsFound) {
  for (World world : MakeWorlds(50, 20, 6)) {
    const GraphView graph = world.Graph();
    BeamSearch search;
    search.Start(graph, world.paper, world.Question());
    Span<const int32_t> rows;
    CHECK(search.Next(&rows));
    std::vector<float> scores(rows.size(), 1.0f);
    scores.back() = std::numeric_limits<float>::quiet_NaN();
    CHECK_EQ(search.Absorb(scores.data()), rows.size() - 1);
  }
}

TEST(MetricThatIsNoNumberEndsTheSearch) {
  const std::vector<int32_t> values = {1, 0}, entries = {0};
  const std::vector<int64_t> row_splits = {0, 1, 2};
  const GraphView graph = {{{values, row_splits}}, entries};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int32_t bad = 0; bad < 2; ++bad) {
    std::vector<float> table = {1.0f, 2.0f};
    table[bad] = nan;
    BeamSearch search;
    Query query;
    query.k = 1;
    query.expand = entries;
    search.Start(graph, BestFirstPolicy(), query);
    const float wanted = 1.0f;
    MetricScorer scorer({table.data(), 1, Metric::kInnerProduct});
    CHECK_EQ(scorer.Run(&wanted, &search), int64_t{bad});
  }
}

}  // namespace
}  // namespace nann
