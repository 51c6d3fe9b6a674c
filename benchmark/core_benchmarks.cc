// Micro-benchmarks of ops/core with google-benchmark: steps of a search, the
// visited set, the beam, the metric kernels, the gathering of rows.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ops/core/beam.h"
#include "ops/core/beam_search.h"
#include "ops/core/kernels/kernels.h"
#include "ops/core/ranking.h"
#include "ops/core/visited_set.h"

namespace nann {
namespace {

constexpr int64_t kNumRows = 1 << 20;
// Of tables of vectors or states.
constexpr int64_t kNumTableRows = 1 << 17;

std::vector<int32_t> RandomRows(int64_t number, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> rows(number);
  for (int32_t& row : rows) row = static_cast<int32_t>(random() % kNumRows);
  return rows;
}

std::vector<float> RandomFloats(int64_t number) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(number);
  for (float& value : values) value = normal(random);
  return values;
}

// Rows that are drawn anew each time, so that none is in a cache by chance.
class FreshRows {
 public:
  FreshRows(int64_t number, uint32_t seed)
      : pool_(RandomRows(1 << 18, seed)), number_(number) {
    for (int32_t& row : pool_) row %= kNumTableRows;
  }
  const int32_t* Next() {
    begin_ += number_;
    if (begin_ + number_ > static_cast<int64_t>(pool_.size())) begin_ = 0;
    return &pool_[begin_];
  }

 private:
  std::vector<int32_t> pool_;
  int64_t number_;
  int64_t begin_ = 0;
};

// Time of a row, whatever an iteration does.
void CountRows(benchmark::State& state, int64_t rows_at_once) {
  state.SetItemsProcessed(state.iterations() * rows_at_once);
}

void InsertIntoVisitedSet(benchmark::State& state) {
  const std::vector<int32_t> rows = RandomRows(state.range(0), 2);
  VisitedSet visited;
  for (auto _ : state) {
    visited.Reset(kNumRows);
    for (const int32_t row : rows) {
      benchmark::DoNotOptimize(visited.Insert(row));
    }
  }
  CountRows(state, state.range(0));
}
BENCHMARK(InsertIntoVisitedSet)->Arg(100)->Arg(1000)->Arg(10000);

void MergeIntoBeam(benchmark::State& state) {
  const int64_t width = state.range(0), number = state.range(1);
  const std::vector<float> scores = RandomFloats(16 * number);
  std::vector<Ranked> candidates;
  Beam beam;
  for (auto _ : state) {
    beam.Reset(width);
    for (int64_t step = 0; step < 16; ++step) {
      candidates.clear();
      for (int64_t i = 0; i < number; ++i) {
        const int64_t place = step * number + i;
        candidates.push_back(Rank(scores[place], static_cast<int32_t>(place)));
      }
      beam.Add(&candidates);
    }
    benchmark::DoNotOptimize(beam.worst());
  }
  CountRows(state, 16 * number);
}
BENCHMARK(MergeIntoBeam)->Args({200, 50})->Args({200, 500})->Args({1000, 500});

// A random graph of equal degree, as flat arrays.
struct RandomGraph {
  explicit RandomGraph(int64_t degree)
      : values(RandomRows(kNumRows * degree, 3)), row_splits(kNumRows + 1) {
    for (int64_t i = 0; i <= kNumRows; ++i) row_splits[i] = i * degree;
    view.levels.push_back({values, row_splits});
    view.entry_points = Span<const int32_t>(entries);
  }
  std::vector<int32_t> values;
  std::vector<int64_t> row_splits;
  std::vector<int32_t> entries = {0};
  GraphView view;
};

// Next and Absorb of a whole search whose scores cost nothing: what a search
// pays beside the scorer.
void StepsOfSearch(benchmark::State& state) {
  const RandomGraph graph(14);
  const std::vector<float> scores = RandomFloats(kNumRows);
  BestFirstPolicy policy;
  policy.ef = 200;
  policy.width = state.range(0);
  const std::vector<int32_t> history = RandomRows(30, 4);
  Query query;
  query.k = 200;
  query.expand = history;
  BeamSearch search;
  std::vector<float> found;
  int64_t num_scored = 0;
  for (auto _ : state) {
    search.Start(graph.view, policy, query);
    Span<const int32_t> rows;
    while (search.Next(&rows)) {
      found.resize(rows.size());
      for (int64_t i = 0; i < rows.size(); ++i) found[i] = scores[rows[i]];
      search.Absorb(found.data());
    }
    num_scored += search.total_scored();
  }
  state.SetItemsProcessed(num_scored);
}
BENCHMARK(StepsOfSearch)->Arg(16)->Arg(64);

// The item states of a step, copied together: 256 floats a row.
void GatherRows(benchmark::State& state) {
  constexpr int64_t kWidth = 256;
  const std::vector<float> table = RandomFloats(kNumTableRows * kWidth);
  const int64_t number = state.range(0);
  FreshRows fresh(number, 5);
  std::vector<float> gathered(number * kWidth);
  for (auto _ : state) {
    const int32_t* rows = fresh.Next();
    for (int64_t i = 0; i < number; ++i) {
      std::memcpy(&gathered[i * kWidth], &table[rows[i] * kWidth],
                  kWidth * sizeof(float));
    }
    benchmark::ClobberMemory();
  }
  CountRows(state, number);
  state.SetBytesProcessed(state.iterations() * number * kWidth * 4);
}
BENCHMARK(GatherRows)->Arg(100)->Arg(1000);

using Metric32 = void (*)(const float*, const float*, int64_t, const int32_t*,
                          int64_t, float*);

void ScoreByMetric(benchmark::State& state, Metric32 metric) {
  const int64_t width = state.range(0), number = 500;
  const std::vector<float> table = RandomFloats(kNumTableRows * width);
  const std::vector<float> query = RandomFloats(width);
  FreshRows fresh(number, 6);
  std::vector<float> scores(number);
  for (auto _ : state) {
    metric(query.data(), table.data(), width, fresh.Next(), number,
           scores.data());
    benchmark::ClobberMemory();
  }
  CountRows(state, number);
}

// One of each instruction set that this processor has.
void RegisterKernels() {
  int64_t number;
  const Kernels* const* kernels = AllKernels(&number);
  for (int64_t i = 0; i < number; ++i) {
    const std::string name = kernels[i]->name;
    benchmark::RegisterBenchmark(("ScoreL2/" + name).c_str(), ScoreByMetric,
                                 kernels[i]->score_l2)
        ->Arg(64)
        ->Arg(128);
    benchmark::RegisterBenchmark(("ScoreInnerProduct/" + name).c_str(),
                                 ScoreByMetric, kernels[i]->score_ip)
        ->Arg(64);
  }
}

}  // namespace
}  // namespace nann

int main(int argc, char** argv) {
  nann::RegisterKernels();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
