// Any bytes as a graph, a policy and a query: a fault is found, or searches
// come to their end within limits and answer with rows that exist.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "ops/core/beam_search.h"
#include "ops/core/graph_view.h"
#include "ops/core/validate.h"

namespace {

using nann::BeamSearch;
using nann::GraphView;
using nann::Query;
using nann::Span;

void Require(bool condition) {
  if (!condition) std::abort();
}

// Takes numbers off the front of the input; zeros when it is used up.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}

  int64_t Byte() { return at_ < end_ ? *at_++ : 0; }

  template <typename T>
  T Any() {
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      value |= static_cast<uint64_t>(Byte()) << 8 * i;
    }
    T number;
    std::memcpy(&number, &value, sizeof(number));
    return number;
  }

  // Mostly small numbers, as they make sense; now and then any.
  template <typename T>
  T Number() {
    const int64_t byte = Byte();
    return byte < 240 ? static_cast<T>(byte % 24) : Any<T>();
  }

  template <typename T>
  std::vector<T> Numbers(int64_t size) {
    std::vector<T> numbers(size);
    for (T& number : numbers) number = Number<T>();
    return numbers;
  }

 private:
  const uint8_t* at_;
  const uint8_t* const end_;
};

// Row splits: any, or in order and right for a number of values.
std::vector<int64_t> RowSplits(Bytes* bytes, int64_t num_rows,
                               int64_t num_values) {
  const int64_t kind = bytes->Byte();
  if (kind % 8 == 0) return bytes->Numbers<int64_t>(num_rows + kind / 64);
  std::vector<int64_t> splits = {0};
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t left = num_values - splits.back();
    splits.push_back(splits.back() + bytes->Byte() % (left + 1));
  }
  splits.back() = num_values;
  return splits;
}

struct Input {
  struct Level {
    std::vector<int32_t> values;
    std::vector<int64_t> row_splits;
  };
  std::vector<Level> levels;
  std::vector<int32_t> entry_points;
  std::vector<int32_t> expand, only_score, denied;
  std::vector<uint8_t> allowed;
  nann::PaperPolicy paper;
  nann::BestFirstPolicy best_first;
  Query query;

  explicit Input(Bytes* bytes) {
    const int64_t num_rows = bytes->Byte() % 80;
    levels.resize(bytes->Byte() % 4);
    for (Level& level : levels) {
      level.values = bytes->Numbers<int32_t>(bytes->Byte());
      if (num_rows > 0 && bytes->Byte() % 8 != 0) {
        for (int32_t& row : level.values) row = (row & 0xffff) % num_rows;
      }
      level.row_splits =
          RowSplits(bytes, num_rows, static_cast<int64_t>(level.values.size()));
    }
    entry_points = bytes->Numbers<int32_t>(bytes->Byte() % 5);
    expand = bytes->Numbers<int32_t>(bytes->Byte() % 6);
    only_score = bytes->Numbers<int32_t>(bytes->Byte() % 6);
    denied = bytes->Numbers<int32_t>(bytes->Byte() % 6);
    const int64_t num_policy = static_cast<int64_t>(levels.size()) + 1;
    paper.widths = bytes->Numbers<int32_t>(num_policy);
    paper.hops = bytes->Numbers<int32_t>(num_policy);
    if (bytes->Byte() % 8 != 0) paper.hops.back() = 1;
    best_first = {bytes->Number<int64_t>(), bytes->Number<int64_t>(),
                  bytes->Number<int64_t>(), bytes->Number<int64_t>()};
    query.k = bytes->Number<int64_t>();
    query.expand = expand;
    query.only_score = only_score;
    query.filter.denied = denied;
    if (bytes->Byte() % 2 == 0) {
      allowed = bytes->Numbers<uint8_t>((num_rows + 7) / 8);
      query.filter.allowed = allowed.data();
    }
  }

  GraphView Graph() const {
    GraphView graph;
    for (const Level& level : levels) {
      graph.levels.push_back({level.values, level.row_splits});
    }
    graph.entry_points = entry_points;
    return graph;
  }
};

float Score(int32_t row, uint32_t salt) {
  uint32_t bits = (static_cast<uint32_t>(row) + 1) * 2654435761u ^ salt;
  // Many ties, or any number there is; those that are none with a small chance.
  if (salt % 4 != 0) return static_cast<float>(bits % 7) - 3.0f;
  float score;
  std::memcpy(&score, &bits, sizeof(score));
  return score;
}

void CheckAnswers(const BeamSearch& search, int64_t num_rows, int64_t k) {
  const int64_t room = k < num_rows ? k : num_rows;
  std::vector<int32_t> rows(room);
  std::vector<float> scores(room);
  const int64_t number = search.Finish(room, rows.data(), scores.data());
  Require(number <= room);
  std::set<int32_t> seen;
  for (int64_t i = 0; i < number; ++i) {
    Require(rows[i] >= 0 && rows[i] < num_rows);
    Require(seen.insert(rows[i]).second);
    Require(i == 0 || scores[i] < scores[i - 1] ||
            (scores[i] == scores[i - 1] && rows[i] > rows[i - 1]));
  }
}

// Steps until the search ends or has had enough.
template <typename Policy>
void Search(const GraphView& graph, const Policy& policy, const Query& query,
            uint32_t salt, BeamSearch* search) {
  constexpr int kMaxSteps = 1000;
  const int64_t num_rows = graph.num_rows();
  search->Start(graph, policy, query);
  Span<const int32_t> rows;
  std::vector<float> scores;
  for (int step = 0; step < kMaxSteps && search->Next(&rows); ++step) {
    Require(!rows.empty() && rows.size() <= num_rows);
    scores.clear();
    for (const int32_t row : rows) {
      Require(row >= 0 && row < num_rows);
      scores.push_back(Score(row, salt));
    }
    const int64_t fault = search->Absorb(scores.data());
    if (fault >= 0) {
      Require(std::isnan(scores[fault]));
      return;
    }
  }
  CheckAnswers(*search, num_rows, query.k);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  const uint32_t salt = bytes.Any<uint32_t>();
  const Input input(&bytes);
  const GraphView graph = input.Graph();
  if (!FindFault(graph).empty()) return 0;
  if (!FindFault(input.query, graph.num_rows()).empty()) return 0;
  const int64_t num_levels = static_cast<int64_t>(graph.levels.size());
  BeamSearch search;
  if (nann::FindFault(input.best_first).empty()) {
    Search(graph, input.best_first, input.query, salt, &search);
  }
  if (nann::FindFault(input.paper, num_levels).empty()) {
    Search(graph, input.paper, input.query, salt, &search);
  }
  return 0;
}
