#include "ops/core/beam.h"

#include <algorithm>

namespace nann {

void Beam::Reset(int64_t width) {
  width_ = width;
  ranked_.clear();
  first_unmarked_ = 0;
}

void Beam::SetWidth(int64_t width) {
  width_ = width;
  if (size() > width_) ranked_.resize(width_);
  first_unmarked_ = std::min(first_unmarked_, size());
}

void Beam::Add(std::vector<Ranked>* candidates) {
  std::vector<Ranked>& added = *candidates;
  if (full()) {
    // Most candidates of a search that is well under way are not good enough.
    const Ranked limit = worst();
    added.erase(std::remove_if(added.begin(), added.end(),
                               [=](Ranked r) { return r > limit; }),
                added.end());
  }
  if (added.empty()) return;
  if (static_cast<int64_t>(added.size()) > width_) {
    std::nth_element(added.begin(), added.begin() + width_, added.end());
    added.resize(width_);
  }
  std::sort(added.begin(), added.end());

  // As much as is needed, for the width may be any number. Both alike, for the
  // next search may begin with either.
  const int64_t total = size() + static_cast<int64_t>(added.size());
  const int64_t room = std::min(width_, total);
  ranked_.reserve(room);
  merged_.reserve(room);
  merged_.clear();
  const auto first_change =
      std::upper_bound(ranked_.begin(), ranked_.end(), added.front());
  merged_.insert(merged_.end(), ranked_.begin(), first_change);
  first_unmarked_ = std::min(
      first_unmarked_, static_cast<int64_t>(first_change - ranked_.begin()));
  auto old = first_change;
  auto neu = added.begin();
  while (static_cast<int64_t>(merged_.size()) < width_) {
    if (neu == added.end() || (old != ranked_.end() && *old < *neu)) {
      if (old == ranked_.end()) break;
      merged_.push_back(*old++);
    } else {
      merged_.push_back(*neu++);
    }
  }
  ranked_.swap(merged_);
}

void Beam::TakeUnmarked(int64_t number, std::vector<int32_t>* rows) {
  for (; number > 0 && first_unmarked_ < size(); ++first_unmarked_) {
    Ranked& ranked = ranked_[first_unmarked_];
    if (IsMarked(ranked)) continue;
    ranked = Marked(ranked);
    rows->push_back(RowOf(ranked));
    --number;
  }
}

bool Beam::PeekUnmarked(Ranked* best) {
  while (first_unmarked_ < size() && IsMarked(ranked_[first_unmarked_])) {
    ++first_unmarked_;
  }
  if (first_unmarked_ == size()) return false;
  *best = ranked_[first_unmarked_];
  return true;
}

}  // namespace nann
