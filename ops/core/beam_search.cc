#include "ops/core/beam_search.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace nann {
namespace {

constexpr int64_t kCacheLine = 64;

inline void FetchRange(const void* begin, int64_t size_bytes) {
  const char* const first = static_cast<const char*>(begin);
  for (int64_t offset = 0; offset < size_bytes; offset += kCacheLine) {
    __builtin_prefetch(first + offset);
  }
}

inline void FetchNeighbors(const Level& level, int32_t row) {
  const Span<const int32_t> neighbors = level.Neighbors(row);
  FetchRange(neighbors.data(), neighbors.size() * sizeof(int32_t));
}

}  // namespace

void BeamSearch::Reset(const GraphView& graph, const Query& query, Kind kind) {
  graph_ = &graph;
  query_ = query;
  kind_ = kind;
  frontier_.clear();
  candidates_.clear();
  num_scored_.clear();
  forbidden_.clear();
  total_scored_ = 0;
  at_entries_ = true;
  is_over_ = false;
  is_filtered_ = !query.filter.allows_all();
  if (!query.filter.denied.empty()) {
    denied_.Reset(graph.num_rows());
    for (const int32_t row : query.filter.denied) {
      if (row >= 0) denied_.Insert(row);
    }
  }
}

void BeamSearch::Start(const GraphView& graph, const PaperPolicy& policy,
                       const Query& query) {
  Reset(graph, query, Kind::kPaper);
  paper_ = &policy;
  level_ = static_cast<int>(graph.levels.size());
  hops_left_ = 1;
  beam_.Reset(policy.widths.back());
  const int64_t num_answers = std::min<int64_t>(query.k, policy.widths[0]);
  answers_.Reset(num_answers);
  keeps_answers_ = is_filtered_;
  if (policy.widths.size() != policy.hops.size()) {
    // A beam that is narrow for a step drops answers.
    for (int32_t hop = 0; hop < policy.hops[0]; ++hop) {
      keeps_answers_ |= policy.widths[hop] < num_answers;
    }
  }
  candidates_.assign(graph.entry_points.begin(), graph.entry_points.end());
  for (const int32_t row : candidates_) Fetch(row);
}

void BeamSearch::Start(const GraphView& graph, const BestFirstPolicy& policy,
                       const Query& query) {
  Reset(graph, query, Kind::kBestFirst);
  best_first_ = policy;
  beam_.Reset(std::max(policy.ef, query.k));
  visited_.Reset(graph.num_rows());
  AddEntries(query.expand);
  num_expand_ = static_cast<int64_t>(candidates_.size());
  AddEntries(query.only_score);
}

void BeamSearch::AddEntries(Span<const int32_t> rows) {
  for (const int32_t row : rows) {
    const int64_t number = static_cast<int64_t>(candidates_.size());
    if (number == best_first_.max_evaluations) return;
    if (row < 0 || !visited_.Insert(row)) continue;
    Fetch(row);
    candidates_.push_back(row);
  }
}

bool BeamSearch::IsAllowed(int32_t row) const {
  const RowFilter& filter = query_.filter;
  if (filter.allowed != nullptr &&
      !(filter.allowed[row / 8] >> (row % 8) & 1)) {
    return false;
  }
  return filter.denied.empty() || !denied_.Contains(row);
}

void BeamSearch::Fetch(int32_t row) const {
  for (const RowMemory& memory : memory_) {
    FetchRange(memory.data + row * memory.row_bytes, memory.row_bytes);
  }
}

bool BeamSearch::Next(Span<const int32_t>* rows) {
  while (!is_over_) {
    if (!at_entries_) {
      Expand(graph_->levels[kind_ == Kind::kPaper ? level_ : 0]);
    }
    if (!candidates_.empty()) {
      *rows = candidates_;
      return true;
    }
    // Nothing to score, but a step all the same.
    ranked_.clear();
    EndStep(nullptr);
  }
  return false;
}

void BeamSearch::Expand(const Level& level) {
  const int64_t size = static_cast<int64_t>(frontier_.size());
  int64_t num_neighbors = 0;
  for (const int32_t row : frontier_) {
    num_neighbors += level.Neighbors(row).size();
    FetchNeighbors(level, row);
  }
  candidates_.resize(num_neighbors);
  int64_t number = 0;
  for (int64_t i = 0; i < size; ++i) {
    const int64_t first = number;
    for (const int32_t neighbor : level.Neighbors(frontier_[i])) {
      // No branch: whether a neighbor is new cannot be foretold.
      candidates_[number] = neighbor;
      number += visited_.Insert(neighbor);
    }
    for (int64_t j = first; j < number; ++j) Fetch(candidates_[j]);
  }
  if (kind_ == Kind::kBestFirst) {
    number = std::min(number, best_first_.max_evaluations - total_scored_);
  }
  candidates_.resize(number);
}

int64_t BeamSearch::Absorb(const float* scores) {
  const int64_t size = static_cast<int64_t>(candidates_.size());
  ranked_.resize(size);
  for (int64_t i = 0; i < size; ++i) {
    if (std::isnan(scores[i])) return i;
    ranked_[i] = Rank(scores[i], candidates_[i]);
  }
  EndStep(scores);
  return -1;
}

void BeamSearch::EndStep(const float* scores) {
  const int64_t number = static_cast<int64_t>(ranked_.size());
  num_scored_.push_back(static_cast<int32_t>(number));
  total_scored_ += number;
  if (kind_ == Kind::kPaper) {
    EndPaperStep(scores);
  } else {
    EndBestFirstStep();
  }
  at_entries_ = false;
}

void BeamSearch::EndPaperStep(const float* scores) {
  if (keeps_answers_ && !at_entries_) AddAllowedAnswers();
  beam_.SetWidth(PaperWidth());
  beam_.Add(&ranked_);
  if (--hops_left_ == 0) {
    if (level_ == 0) {
      is_over_ = true;
    } else {
      EnterLevel(level_ - 1);
    }
    return;
  }
  // What entered the beam, in the order in which it was met.
  const float worst = ScoreOf(beam_.worst());
  frontier_.clear();
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (scores[i] >= worst) frontier_.push_back(candidates_[i]);
  }
}

int32_t BeamSearch::PaperWidth() const {
  const std::vector<int32_t>& widths = paper_->widths;
  if (widths.size() == paper_->hops.size()) return widths[level_];
  // The step in progress is the last that has been counted.
  return widths[widths.size() - num_scored_.size()];
}

void BeamSearch::EnterLevel(int level) {
  level_ = level;
  hops_left_ = paper_->hops[level];
  visited_.Reset(graph_->num_rows());
  frontier_.clear();
  ranked_.clear();
  for (const Ranked ranked : beam_.ranked()) {
    visited_.Insert(RowOf(ranked));
    frontier_.push_back(RowOf(ranked));
    ranked_.push_back(ranked);
  }
  if (keeps_answers_) {
    answers_.Reset(std::min<int64_t>(query_.k, paper_->widths[0]));
    AddAllowedAnswers();
  }
}

void BeamSearch::AddAllowedAnswers() {
  allowed_.clear();
  for (const Ranked ranked : ranked_) {
    if (IsAllowed(RowOf(ranked))) allowed_.push_back(ranked);
  }
  answers_.Add(&allowed_);
}

void BeamSearch::EndBestFirstStep() {
  frontier_.clear();
  if (at_entries_) {
    // The history is expanded first, whatever its scores.
    frontier_.assign(candidates_.begin(), candidates_.begin() + num_expand_);
    for (int64_t i = 0; i < num_expand_; ++i) ranked_[i] = Marked(ranked_[i]);
  }
  if (is_filtered_) {
    SetForbiddenAside();
  }
  beam_.Add(&ranked_);
  if (frontier_.empty()) ChooseFrontier();
  is_over_ =
      frontier_.empty() ||
      static_cast<int64_t>(num_scored_.size()) >= best_first_.max_steps ||
      total_scored_ >= best_first_.max_evaluations;
}

void BeamSearch::SetForbiddenAside() {
  size_t num_allowed = 0;
  for (const Ranked ranked : ranked_) {
    if (IsAllowed(RowOf(ranked))) {
      ranked_[num_allowed++] = ranked;
    } else if (!IsMarked(ranked)) {
      forbidden_.push_back(ranked);
      std::push_heap(forbidden_.begin(), forbidden_.end(), std::greater<>());
    }
  }
  ranked_.resize(num_allowed);
}

void BeamSearch::ChooseFrontier() {
  if (forbidden_.empty()) {
    beam_.TakeUnmarked(best_first_.width, &frontier_);
    // Those that come next, unless the scorer finds better ones.
    const Level& level = graph_->levels[0];
    const Span<const Ranked> best = beam_.ranked();
    const int64_t last = std::min(best.size(), beam_.first_unmarked() + 2);
    for (int64_t i = beam_.first_unmarked(); i < last; ++i) {
      FetchNeighbors(level, RowOf(best[i]));
    }
    return;
  }
  // Forbidden rows are walked through where they rank no lower than the beam.
  while (static_cast<int64_t>(frontier_.size()) < best_first_.width) {
    Ranked best;
    const bool has_allowed = beam_.PeekUnmarked(&best);
    const bool has_forbidden =
        !forbidden_.empty() &&
        (!beam_.full() || forbidden_.front() < beam_.worst());
    if (has_forbidden && (!has_allowed || forbidden_.front() < best)) {
      frontier_.push_back(RowOf(forbidden_.front()));
      std::pop_heap(forbidden_.begin(), forbidden_.end(), std::greater<>());
      forbidden_.pop_back();
    } else if (has_allowed) {
      beam_.TakeUnmarked(1, &frontier_);
    } else {
      break;
    }
  }
}

int64_t BeamSearch::Finish(int64_t k, int32_t* rows, float* scores) const {
  const bool from_answers = keeps_answers_ && kind_ == Kind::kPaper;
  const Span<const Ranked> best = (from_answers ? answers_ : beam_).ranked();
  const int64_t size = std::min(k, best.size());
  for (int64_t i = 0; i < size; ++i) {
    rows[i] = RowOf(best[i]);
    scores[i] = ScoreOf(best[i]);
  }
  return size;
}

}  // namespace nann
