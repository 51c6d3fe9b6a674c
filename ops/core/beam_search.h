// The search: a step machine that says which rows to score next.
//
//   BeamSearch search;
//   search.Start(graph, policy, query);
//   Span<const int32_t> rows;
//   while (search.Next(&rows)) {
//     search.Absorb(Scores(rows));     // by any scorer: a network, a metric
//   }
//   search.Finish(k, rows, scores);    // best first
//
// The search never calls the scorer, so it works with any, batches as it likes,
// and blocks nowhere. Two policies share the machine:
//
// * best first: start from rows near the user's interests, then expand, at each
//   step, the best rows that have not been expanded, until none is left that
//   ranks among the best `ef`.
// * paper: score all rows of an upper level, then go down level by level,
//   expanding on each what entered the beam (arXiv 2202.10226,
//   "beam-retrieval").
//
// tests/oracle.py says the same in plain Python; both agree exactly, down to
// the number of evaluations of every step. Ties: higher score first, then lower
// row.

#ifndef NANN_OPS_CORE_BEAM_SEARCH_H_
#define NANN_OPS_CORE_BEAM_SEARCH_H_

#include <cstdint>
#include <vector>

#include "ops/core/beam.h"
#include "ops/core/graph_view.h"
#include "ops/core/ranking.h"
#include "ops/core/span.h"
#include "ops/core/visited_set.h"

namespace nann {

// Level by level. Both lists go from level 0 up; the last entry is that of the
// level of the entry points, which is scored once, as a whole. Widths may also
// be given for each step, likewise from the last one back to the entry points.
struct PaperPolicy {
  std::vector<int32_t> widths;  // Beam width of each level, or of each step.
  std::vector<int32_t> hops;    // Expansions on each level.
};

// Best rows first, on level 0.
struct BestFirstPolicy {
  int64_t ef = 250;                  // Rows the beam keeps; at least k.
  int64_t width = 32;                // Rows expanded at a step.
  int64_t max_steps = 64;            // Steps, that of the entries included.
  int64_t max_evaluations = 100000;  // Rows scored.
};

// Which rows may be returned. A search walks through the others all the same.
struct RowFilter {
  // Bit r (bit r % 8 of byte r / 8) allows row r. Null allows all.
  const uint8_t* allowed = nullptr;
  // Rows that are not returned in any case. Negative: padding.
  Span<const int32_t> denied;

  bool allows_all() const { return allowed == nullptr && denied.empty(); }
};

// What one search starts from.
struct Query {
  int64_t k = 0;
  // Policy best first: rows expanded whatever their score (the user's history),
  // and rows that are expanded only if they earn it (medoids). Negative:
  // padding.
  Span<const int32_t> expand;
  Span<const int32_t> only_score;
  RowFilter filter;
};

// Memory that will be read for a row once it is scored; fetched ahead.
struct RowMemory {
  const char* data = nullptr;
  int64_t row_bytes = 0;
};

// One search at a time. Keeps its memory from one search to the next: after a
// few searches it allocates nothing.
class BeamSearch {
 public:
  // Begins a search. Graph, policy's lists and query outlive it.
  void Start(const GraphView& graph, const PaperPolicy& policy,
             const Query& query);
  void Start(const GraphView& graph, const BestFirstPolicy& policy,
             const Query& query);

  // What the scorer will read of each row. To be called before Start.
  void FetchAhead(const std::vector<RowMemory>& memory) { memory_ = memory; }

  // Gives the rows to score next: distinct, and not empty. Returns false at the
  // end of the search.
  bool Next(Span<const int32_t>* rows);

  // Takes the scores of the rows that Next gave. Returns the place of the first
  // score that is not a number, with which the search cannot go on, or -1.
  int64_t Absorb(const float* scores);

  // Writes at most k answers, best first, and returns how many.
  int64_t Finish(int64_t k, int32_t* rows, float* scores) const;

  // Rows scored at each step so far.
  Span<const int32_t> num_scored() const { return num_scored_; }
  int64_t total_scored() const { return total_scored_; }

 private:
  enum class Kind { kPaper, kBestFirst };

  void Reset(const GraphView& graph, const Query& query, Kind kind);
  void AddEntries(Span<const int32_t> rows);
  bool IsAllowed(int32_t row) const;

  // Fills `candidates_` with the unvisited neighbors of the frontier.
  void Expand(const Level& level);
  void Fetch(int32_t row) const;

  // Ends a step: the scored candidates join the beam, and the policy chooses
  // the next frontier or ends the search.
  void EndStep(const float* scores);
  void EndPaperStep(const float* scores);
  int32_t PaperWidth() const;
  void EnterLevel(int level);
  void EndBestFirstStep();
  void ChooseFrontier();

  // With a filter: what happens to rows that may not be returned.
  void AddAllowedAnswers();
  void SetForbiddenAside();

  const GraphView* graph_ = nullptr;
  Query query_;
  Kind kind_ = Kind::kBestFirst;
  bool is_filtered_ = false;
  bool at_entries_ = false;  // The step in progress is that of the entries.
  bool is_over_ = true;
  std::vector<RowMemory> memory_;

  VisitedSet visited_;
  Beam beam_;
  std::vector<int32_t> frontier_;
  std::vector<int32_t> candidates_;
  std::vector<Ranked> ranked_;  // The candidates with their scores.
  std::vector<int32_t> num_scored_;
  int64_t total_scored_ = 0;

  // Policy paper: where it is.
  const PaperPolicy* paper_ = nullptr;
  int level_ = 0;
  int hops_left_ = 0;

  // Policy best first: how many of the entries are expanded in any case.
  BestFirstPolicy best_first_;
  int64_t num_expand_ = 0;

  // With a filter. Paper: the best allowed rows of the level, kept also if the
  // beam may be too narrow for them. Best first: the forbidden rows that have
  // not been expanded, a heap with the best on top.
  bool keeps_answers_ = false;
  VisitedSet denied_;
  std::vector<Ranked> allowed_;
  Beam answers_;
  std::vector<Ranked> forbidden_;
};

}  // namespace nann

#endif  // NANN_OPS_CORE_BEAM_SEARCH_H_
