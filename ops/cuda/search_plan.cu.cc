#include "ops/cuda/search_plan.h"

#include <algorithm>
#include <cstddef>

#include "ops/core/beam_search.h"
#include "ops/core/validate.h"
#include "ops/cuda/block.h"
#include "ops/cuda/layout.h"

namespace nann {
namespace {

constexpr int64_t kMaxRows = INT32_MAX;
constexpr int64_t kDefaultBitmapBytes = int64_t{1} << 30;

// A product of two numbers that are not negative, or `most` if it is larger.
int64_t AtMost(int64_t most, int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  return a > most / b ? most : std::min(most, a * b);
}

PaperPolicy ToCore(const NannCudaPolicy& policy) {
  return {{policy.widths, policy.widths + policy.num_widths},
          {policy.hops, policy.hops + policy.num_hops}};
}

std::string Outside(const char* name, int64_t got, int64_t least,
                    int64_t most) {
  return std::string(name) + " is " + std::to_string(got) + ", wanted " +
         std::to_string(least) + " to " + std::to_string(most);
}

void MakePaperRoom(const NannCudaGraph& graph, const NannCudaPolicy& policy,
                   const NannCudaQueries& queries, Room* room) {
  room->candidates = graph.num_entry_points;
  const std::vector<StepPlan> plans = PlanPaper(graph, policy);
  for (const StepPlan& plan : plans) {
    room->beam = std::max<int64_t>(room->beam, plan.beam_width);
  }
  int64_t met = 0, most_met = 0;
  for (const StepPlan& plan : plans) {
    if (plan.is_last) break;
    const int64_t degree = graph.levels[plan.level].max_degree;
    room->candidates = std::max(
        room->candidates, AtMost(graph.num_rows, plan.beam_width, degree));
    // Where rows tie, a frontier may fill all the room there is.
    const int64_t neighbors = AtMost(graph.num_rows, room->beam, degree);
    const int64_t before = plan.enters_level ? plan.beam_width : met;
    met = std::min(graph.num_rows, before + neighbors);
    most_met = std::max(most_met, met);
  }
  room->frontier = room->beam;
  room->answers = std::min<int64_t>({queries.k, policy.widths[0], room->beam});
  room->steps = static_cast<int64_t>(plans.size());
  room->visited_words = most_met;
}

void MakeBestFirstRoom(const NannCudaGraph& graph, const NannCudaPolicy& policy,
                       const NannCudaQueries& queries, Room* room) {
  const int64_t entries = std::min({queries.num_expand + queries.num_only_score,
                                    graph.num_rows, policy.max_evaluations});
  const int64_t most = std::min(graph.num_rows, policy.max_evaluations);
  room->beam = std::min(std::max(policy.ef, queries.k), graph.num_rows);
  room->frontier =
      std::max(std::min(queries.num_expand, graph.num_rows),
               std::min({policy.width, graph.num_rows, room->beam}));
  const int64_t neighbors =
      AtMost(most, room->frontier, graph.levels[0].max_degree);
  room->candidates = std::max(entries, neighbors);
  room->forbidden = AtMost(most, policy.width, policy.max_steps);
  // Each but the first expands a row.
  room->steps = std::min(policy.max_steps, graph.num_rows + 1);
  // The rows of the step that goes beyond the evaluations are met all the same.
  const int64_t all =
      AtMost(graph.num_rows, room->frontier, graph.levels[0].max_degree);
  room->visited_words = std::min(
      graph.num_rows,
      std::min(most + all, entries + AtMost(most, all, policy.max_steps)));
}

// Turns the rows that a query may meet into memory for them.
void ChooseVisited(const NannCudaGraph& graph, int64_t num_queries,
                   const NannCudaOptions& options, Room* room) {
  const int64_t bitmap = RoundUp((graph.num_rows + 31) / 32, 4);
  const int64_t table =
      std::max<int64_t>(4, PowerOfTwo(2 * room->visited_words));
  const int64_t most = options.max_bitmap_bytes > 0 ? options.max_bitmap_bytes
                                                    : kDefaultBitmapBytes;
  room->visited_is_bitmap =
      bitmap <= table || AtMost(INT64_MAX, bitmap * 4, num_queries) <= most;
  room->visited_words = room->visited_is_bitmap ? bitmap : table;
}

}  // namespace

std::string FindFault(const NannCudaGraph& graph, const NannCudaPolicy& policy,
                      const NannCudaQueries& queries,
                      const NannCudaOptions& options) {
  if (graph.num_rows < 1 || graph.num_rows > kMaxRows) {
    return Outside("num_rows", graph.num_rows, 1, kMaxRows);
  }
  if (graph.num_levels < 1 || graph.num_levels > NANN_CUDA_MAX_LEVELS) {
    return Outside("num_levels", graph.num_levels, 1, NANN_CUDA_MAX_LEVELS);
  }
  if (queries.k < 1) return Outside("k", queries.k, 1, kMaxRows);
  if (options.num_threads % kWarp != 0 || options.num_threads < 0 ||
      options.num_threads > kWarp * kMaxWarps) {
    return "num_threads is " + std::to_string(options.num_threads) +
           ", wanted a multiple of 32 up to 1024";
  }
  if (policy.is_paper) {
    const std::string fault = FindFault(ToCore(policy), graph.num_levels);
    if (fault.empty() && graph.num_entry_points < 1) {
      return "there are no entry points; policy paper begins with them";
    }
    return fault;
  }
  return FindFault(BestFirstPolicy{policy.ef, policy.width, policy.max_steps,
                                   policy.max_evaluations});
}

std::vector<StepPlan> PlanPaper(const NannCudaGraph& graph,
                                const NannCudaPolicy& policy) {
  std::vector<StepPlan> plans;
  for (int64_t level = graph.num_levels; level >= 0; --level) {
    for (int32_t hop = 0; hop < policy.hops[level]; ++hop) {
      StepPlan plan;
      plan.number = static_cast<int32_t>(plans.size());
      const bool of_level = policy.num_widths == policy.num_hops;
      const int32_t width =
          policy.widths[of_level ? level : policy.num_widths - 1 - plan.number];
      plan.beam_width =
          static_cast<int32_t>(std::min<int64_t>(width, graph.num_rows));
      plan.enters_level = hop + 1 == policy.hops[level];
      plan.is_last = plan.enters_level && level == 0;
      plan.level = static_cast<int32_t>(plan.enters_level ? level - 1 : level);
      plans.push_back(plan);
    }
  }
  return plans;
}

SearchView MakeView(const NannCudaGraph& graph, const NannCudaPolicy& policy,
                    const NannCudaQueries& queries,
                    const NannCudaOptions& options) {
  SearchView view;
  view.graph = graph;
  view.queries = queries;
  view.is_paper = policy.is_paper;
  view.is_filtered = queries.allowed != nullptr || queries.num_denied > 0;
  Room* const room = &view.room;
  if (policy.is_paper) {
    MakePaperRoom(graph, policy, queries, room);
    view.keeps_answers = view.is_filtered;
    const int64_t num_answers = std::min<int64_t>(queries.k, policy.widths[0]);
    for (int32_t hop = 0; hop < policy.hops[0]; ++hop) {
      // A beam that is narrow for a step drops answers.
      const bool is_narrow = policy.num_widths != policy.num_hops &&
                             policy.widths[hop] < num_answers;
      view.keeps_answers |= is_narrow;
    }
  } else {
    MakeBestFirstRoom(graph, policy, queries, room);
    view.width = std::min(policy.width, graph.num_rows);
    view.max_steps = policy.max_steps;
    view.max_evaluations = policy.max_evaluations;
  }
  if (options.has_room_for_ties) {
    room->candidates = room->frontier = graph.num_rows;
    room->visited_words = graph.num_rows;
  }
  ChooseVisited(graph, queries.num_queries, options, room);
  room->candidates = std::max<int64_t>(room->candidates, 1);
  room->tiles = (room->candidates + kTileRows - 1) / kTileRows;
  room->keys = std::max(room->candidates, room->beam);
  const int64_t widest = std::max({room->beam, room->answers, room->forbidden});
  room->sort = PowerOfTwo(std::min(room->keys, widest));
  if (!view.keeps_answers) room->answers = 0;
  if (!view.is_filtered) room->forbidden = 0;
  return view;
}

int64_t LayOutMemory(void* memory, SearchView* view) {
  const int64_t num_queries = view->queries.num_queries;
  const Room& room = view->room;
  SearchMemory* const parts = &view->memory;
  Layout layout(memory);
  layout.Take(num_queries, &parts->states);
  layout.Take(num_queries * room.visited_words, &parts->visited);
  layout.Take(num_queries * room.candidates, &parts->candidates);
  layout.Take(num_queries * room.candidates, &parts->scores);
  layout.Take(num_queries * room.keys, &parts->keys);
  const bool sorts_in_shared = room.sort <= kSortRoom;
  layout.Take(sorts_in_shared ? 0 : num_queries * room.sort, &parts->sort);
  layout.Take(num_queries * room.frontier, &parts->frontier);
  layout.Take(num_queries * room.frontier, &parts->offsets);
  layout.Take(num_queries * room.frontier, &parts->starts);
  layout.Take(num_queries * room.steps, &parts->num_scored);
  for (int side = 0; side < 2; ++side) {
    layout.Take(num_queries * room.beam, &parts->beams[side]);
    layout.Take(num_queries * room.answers, &parts->answers[side]);
    layout.Take(num_queries * room.forbidden, &parts->forbidden[side]);
    layout.Take(1, &parts->progress[side]);
    layout.Take(num_queries * room.tiles, &parts->tiles[side]);
  }
  return layout.size_bytes();
}

}  // namespace nann
