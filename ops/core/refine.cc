#include "ops/core/refine.h"

#include <algorithm>

#include "ops/core/kernels/kernels.h"

namespace nann {

void NeighborChooser::SetCandidates(int32_t row,
                                    Span<const int32_t> candidates) {
  rows_.clear();
  for (const int32_t candidate : candidates) {
    if (candidate >= 0 && candidate != row) rows_.push_back(candidate);
  }
  const int64_t size = static_cast<int64_t>(rows_.size());
  scores_.resize(size);
  BestKernels().score_l2(vectors_ + row * width_, vectors_, width_,
                         rows_.data(), size, scores_.data());
  ranked_.clear();
  for (int64_t i = 0; i < size; ++i) {
    ranked_.push_back(Rank(scores_[i], rows_[i]));
  }
  std::sort(ranked_.begin(), ranked_.end());
  ranked_.erase(std::unique(ranked_.begin(), ranked_.end()), ranked_.end());
}

void NeighborChooser::Choose(int32_t row, Span<const int32_t> candidates,
                             int32_t* neighbors) {
  SetCandidates(row, candidates);
  const Kernels& kernels = BestKernels();
  const float factor = settings_.alpha * settings_.alpha;
  int64_t number = 0;
  for (const Ranked ranked : ranked_) {
    if (number == settings_.degree) break;
    const int32_t candidate = RowOf(ranked);
    bool is_kept = true;
    for (int64_t i = 0; i < number && is_kept; ++i) {
      float between;
      kernels.score_l2(vectors_ + candidate * width_, vectors_, width_,
                       neighbors + i, 1, &between);
      // Scores are negative squared distances.
      is_kept = factor * between <= ScoreOf(ranked);
    }
    if (is_kept) neighbors[number++] = candidate;
  }
  std::fill(neighbors + number, neighbors + settings_.degree, -1);
}

void NeighborChooser::KeepOrChoose(int32_t row, Span<const int32_t> candidates,
                                   int32_t* neighbors) {
  SetCandidates(row, candidates);
  const int64_t size = static_cast<int64_t>(ranked_.size());
  if (size > settings_.degree) {
    Choose(row, candidates, neighbors);
    return;
  }
  for (int64_t i = 0; i < size; ++i) neighbors[i] = RowOf(ranked_[i]);
  std::fill(neighbors + size, neighbors + settings_.degree, -1);
}

ReverseLists Reverse(const int32_t* table, int64_t num_rows, int64_t degree) {
  ReverseLists lists;
  lists.row_splits.assign(num_rows + 2, 0);
  const int64_t size = num_rows * degree;
  for (int64_t i = 0; i < size; ++i) {
    if (table[i] >= 0) ++lists.row_splits[table[i] + 2];
  }
  for (int64_t row = 0; row < num_rows; ++row) {
    lists.row_splits[row + 2] += lists.row_splits[row + 1];
  }
  lists.values.resize(lists.row_splits[num_rows + 1]);
  // Entry row + 1 moves from the beginning of the row's list to its end.
  for (int64_t i = 0; i < size; ++i) {
    if (table[i] < 0) continue;
    lists.values[lists.row_splits[table[i] + 1]++] =
        static_cast<int32_t>(i / degree);
  }
  lists.row_splits.pop_back();
  return lists;
}

}  // namespace nann
