#include "ops/core/vector_search.h"

#include <algorithm>

#include "ops/core/kernels/kernels.h"

namespace nann {
namespace {

constexpr int64_t kCacheLine = 64;
// Rows expanded in one hop: while the neighbors of one are scored, those of the
// other come from memory. More would expand rows that a better one rules out.
constexpr size_t kWidth = 2;
constexpr int64_t kFew = 12;
// A beam of this length was nearly sorted by its codes.
constexpr int64_t kShortBeam = 256;

inline void FetchRange(const void* begin, int64_t size_bytes) {
  const char* const first = static_cast<const char*>(begin);
  for (int64_t offset = 0; offset < size_bytes; offset += kCacheLine) {
    __builtin_prefetch(first + offset);
  }
}

inline void FetchNeighbors(const VectorIndex& index, int32_t row) {
  FetchRange(index.neighbors + row * index.degree,
             index.degree * static_cast<int64_t>(sizeof(int32_t)));
}

// By insertion up to `most_by_insertion` values: fast if they are few, or
// nearly sorted.
void Sort(Ranked* values, int64_t size, int64_t most_by_insertion) {
  if (size > most_by_insertion) {
    std::sort(values, values + size);
    return;
  }
  for (int64_t i = 1; i < size; ++i) {
    const Ranked value = values[i];
    int64_t place = i;
    for (; place > 0 && values[place - 1] > value; --place) {
      values[place] = values[place - 1];
    }
    values[place] = value;
  }
}

}  // namespace

int64_t VectorSearch::Search(const VectorIndex& index, const float* query,
                             int64_t k, int64_t ef, int32_t* rows,
                             float* scores) {
  Start(index, query, k, ef);
  for (;;) {
    ScoreCandidates();
    if (!ChooseFrontier()) break;
    Expand();
  }
  return Rerank(query, k, rows, scores);
}

void VectorSearch::Start(const VectorIndex& index, const float* query,
                         int64_t k, int64_t ef) {
  index_ = &index;
  ef_ = ef;
  query_.resize(CodeStride(index.vectors.width));
  if (index.vectors.metric == Metric::kL2) {
    Encode(index.scale, query, query_.data());
  } else {
    EncodeDirection(index.scale, query,
                    reinterpret_cast<int8_t*>(query_.data()));
  }
  // Some more than k: codes do not rank exactly.
  const int64_t length = std::min(std::max(ef, k + k / 5), index.num_rows);
  beam_.resize(length);
  beam_size_ = 0;
  first_unmarked_ = 0;
  num_scored_ = 0;
  const int64_t most = std::max(static_cast<int64_t>(kWidth) * index.degree,
                                index.entries.size());
  candidates_.resize(most);
  scores_.resize(most);
  entering_.resize(most);
  visited_.Reset(index.num_rows);
  num_candidates_ = 0;
  for (const int32_t row : index.entries) AddCandidate(row, &num_candidates_);
}

inline void VectorSearch::AddCandidate(int32_t row, int64_t* number) {
  const int64_t stride = static_cast<int64_t>(query_.size());
  FetchRange(index_->codes + row * stride, stride);
  // No branch: whether a row is new cannot be foretold.
  candidates_[*number] = row;
  *number += visited_.Insert(row);
}

void VectorSearch::ScoreCandidates() {
  const Kernels& kernels = BestKernels();
  const int64_t stride = static_cast<int64_t>(query_.size());
  if (index_->vectors.metric == Metric::kL2) {
    kernels.score_codes_l2(query_.data(), index_->codes, stride,
                           candidates_.data(), num_candidates_, scores_.data());
  } else {
    kernels.score_codes_ip(reinterpret_cast<const int8_t*>(query_.data()),
                           index_->codes, stride, candidates_.data(),
                           num_candidates_, scores_.data());
  }
  num_scored_ += num_candidates_;
  const bool is_full = beam_size_ == static_cast<int64_t>(beam_.size());
  const Ranked limit = is_full ? beam_[beam_size_ - 1] : ~Ranked{0};
  const Ranked next =
      first_unmarked_ < beam_size_ ? beam_[first_unmarked_] : ~Ranked{0};
  int64_t number = 0;
  for (int64_t i = 0; i < num_candidates_; ++i) {
    const Ranked ranked = Rank(scores_[i], candidates_[i]);
    entering_[number] = ranked;
    number += ranked < limit;
    // Better than what was fetched to be expanded next.
    if (ranked < next) FetchNeighbors(*index_, candidates_[i]);
  }
  if (number > 0) Merge(number);
}

void VectorSearch::Merge(int64_t number) {
  Sort(entering_.data(), number, kFew);
  const auto begin = beam_.begin();
  const int64_t first_change =
      std::upper_bound(begin, begin + beam_size_, entering_[0]) - begin;
  first_unmarked_ = std::min(first_unmarked_, first_change);

  // What falls off the end, then from the end to the beginning, in place.
  const int64_t length = static_cast<int64_t>(beam_.size());
  const int64_t size = std::min(length, beam_size_ + number);
  int64_t old = beam_size_ - 1;
  int64_t entering = number - 1;
  for (int64_t over = beam_size_ + number - size; over > 0; --over) {
    if (old >= 0 && beam_[old] > entering_[entering]) {
      --old;
    } else {
      --entering;
    }
  }
  for (int64_t place = size - 1; entering >= 0; --place) {
    // No branch: which of the two comes next cannot be foretold.
    const Ranked from_beam = old >= 0 ? beam_[old] : Ranked{0};
    const Ranked from_entering = entering_[entering];
    const bool is_old = from_beam > from_entering;
    beam_[place] = is_old ? from_beam : from_entering;
    old -= is_old;
    entering -= !is_old;
  }
  beam_size_ = size;
}

bool VectorSearch::ChooseFrontier() {
  const int64_t end = std::min(ef_, beam_size_);
  frontier_.clear();
  for (; first_unmarked_ < end && frontier_.size() < kWidth;
       ++first_unmarked_) {
    Ranked& ranked = beam_[first_unmarked_];
    if (IsMarked(ranked)) continue;
    ranked = Marked(ranked);
    frontier_.push_back(RowOf(ranked));
  }
  return !frontier_.empty();
}

void VectorSearch::Expand() {
  int64_t number = 0;
  for (const int32_t row : frontier_) {
    for (const int32_t neighbor : index_->Neighbors(row)) {
      if (neighbor < 0) break;
      AddCandidate(neighbor, &number);
    }
  }
  num_candidates_ = number;
  // Those that come next, unless better ones are found now.
  const int64_t end = std::min(ef_, beam_size_);
  size_t fetched = 0;
  for (int64_t i = first_unmarked_; i < end && fetched < kWidth; ++i) {
    if (IsMarked(beam_[i])) continue;
    FetchNeighbors(*index_, RowOf(beam_[i]));
    ++fetched;
  }
}

int64_t VectorSearch::Rerank(const float* query, int64_t k, int32_t* rows,
                             float* scores) {
  const Vectors& vectors = index_->vectors;
  found_.resize(beam_size_);
  scores_.resize(beam_size_);
  for (int64_t i = 0; i < beam_size_; ++i) {
    found_[i] = RowOf(beam_[i]);
    FetchRange(vectors.data + found_[i] * vectors.width,
               vectors.width * static_cast<int64_t>(sizeof(float)));
  }
  const Kernels& kernels = BestKernels();
  const auto score =
      vectors.metric == Metric::kL2 ? kernels.score_l2 : kernels.score_ip;
  score(query, vectors.data, vectors.width, found_.data(), beam_size_,
        scores_.data());
  for (int64_t i = 0; i < beam_size_; ++i) {
    beam_[i] = Rank(scores_[i], found_[i]);
  }
  const int64_t size = std::min(k, beam_size_);
  Sort(beam_.data(), beam_size_, kShortBeam);
  for (int64_t i = 0; i < size; ++i) {
    rows[i] = RowOf(beam_[i]);
    scores[i] = ScoreOf(beam_[i]);
  }
  return size;
}

}  // namespace nann
