// A set of rows that is emptied in constant time.

#ifndef NANN_OPS_CORE_VISITED_SET_H_
#define NANN_OPS_CORE_VISITED_SET_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace nann {

// One bit a row. Each word of 32 rows remembers the round in which it was last
// written; a word of an earlier round counts as empty. Two bits of memory a
// row: a million rows take 256 KB and stay in the second-level cache.
class VisitedSet {
 public:
  // Empties the set and makes room for rows 0 .. num_rows - 1.
  void Reset(int64_t num_rows) {
    const size_t num_words = static_cast<size_t>((num_rows + 31) / 32);
    if (words_.size() < num_words) words_.resize(num_words, 0);
    if (++round_ == 0) {
      // After 2^32 rounds the numbers begin anew: forget all old ones.
      std::fill(words_.begin(), words_.end(), 0);
      round_ = 1;
    }
  }

  // Adds a row. Returns whether it was new.
  bool Insert(int32_t row) {
    uint64_t& word = words_[static_cast<uint32_t>(row) >> 5];
    const uint64_t bit = uint64_t{1} << (row & 31);
    const uint64_t current =
        (word >> 32) == round_ ? word : uint64_t{round_} << 32;
    word = current | bit;
    return (current & bit) == 0;
  }

  bool Contains(int32_t row) const {
    const uint64_t word = words_[static_cast<uint32_t>(row) >> 5];
    return (word >> 32) == round_ && (word >> (row & 31) & 1);
  }

  // Where the bit of a row lies, to be fetched ahead of its use.
  const void* Address(int32_t row) const {
    return &words_[static_cast<uint32_t>(row) >> 5];
  }

 private:
  friend class VisitedSetPeer;  // A test of the round after the last.

  // High half: the round of the last write. Low half: the bits.
  std::vector<uint64_t> words_;
  uint32_t round_ = 0;
};

}  // namespace nann

#endif  // NANN_OPS_CORE_VISITED_SET_H_
