// The best rows that a search has met so far, in order.

#ifndef NANN_OPS_CORE_BEAM_H_
#define NANN_OPS_CORE_BEAM_H_

#include <cstdint>
#include <vector>

#include "ops/core/ranking.h"
#include "ops/core/span.h"

namespace nann {

// Keeps at most `width` ranked rows, sorted, best first. A mark on a row says
// that it has been expanded.
class Beam {
 public:
  void Reset(int64_t width);

  // Adds candidates, which it may reorder. What does not fit falls off the end.
  void Add(std::vector<Ranked>* candidates);

  // Changes the width; what does not fit any more falls off the end.
  void SetWidth(int64_t width);

  // Marks the best unmarked rows, at most `number`, and appends them to `rows`.
  void TakeUnmarked(int64_t number, std::vector<int32_t>* rows);

  // Finds the best unmarked row. Returns false if there is none.
  bool PeekUnmarked(Ranked* best);

  bool full() const { return size() == width_; }
  int64_t size() const { return static_cast<int64_t>(ranked_.size()); }
  int64_t first_unmarked() const { return first_unmarked_; }
  Ranked worst() const { return ranked_.back(); }
  Span<const Ranked> ranked() const { return ranked_; }

 private:
  int64_t width_ = 0;
  std::vector<Ranked> ranked_;
  std::vector<Ranked> merged_;
  // No unmarked row stands before this place.
  int64_t first_unmarked_ = 0;
};

}  // namespace nann

#endif  // NANN_OPS_CORE_BEAM_H_
