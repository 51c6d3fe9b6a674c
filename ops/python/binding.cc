// The Python module nann._core: the search with any Python callable, or a
// built-in metric, as its scorer. Checks what comes from Python and holds the
// interpreter lock only while Python code runs.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ops/core/beam_search.h"
#include "ops/core/graph_view.h"
#include "ops/core/kernels/kernels.h"
#include "ops/core/metric_search.h"
#include "ops/core/scratch_pool.h"
#include "ops/core/validate.h"
#include "ops/python/arrays.h"
#include "ops/python/bindings.h"
#include "ops/python/for_each_query.h"

namespace nann {
namespace {

using Policy = std::variant<PaperPolicy, BestFirstPolicy>;

// A table of vectors and the vectors to look for in it.
struct VectorScorer {
  Array<float> table;    // [I, D]
  Array<float> queries;  // [B, D]
  Vectors vectors;

  VectorScorer(Array<float> table_in, Array<float> queries_in,
               const std::string& metric)
      : table(std::move(table_in)), queries(std::move(queries_in)) {
    if (table.ndim() != 2 || queries.ndim() != 2) {
      throw py::value_error("vectors and queries have two dimensions");
    }
    if (table.shape(1) != queries.shape(1)) {
      throw py::value_error("queries are " + std::to_string(queries.shape(1)) +
                            " wide, wanted " + std::to_string(table.shape(1)) +
                            " like the vectors");
    }
    if (metric != "l2" && metric != "ip") {
      throw py::value_error("metric is '" + metric + "', wanted l2 or ip");
    }
    vectors = {table.data(), table.shape(1),
               metric == "l2" ? Metric::kL2 : Metric::kInnerProduct};
  }
};

// Everything a batch of searches shares.
struct Batch {
  Policy policy;
  int64_t k;
  Array<int32_t> expand;      // [B, F]
  Array<int32_t> only_score;  // [B, M]
  Array<uint8_t> allowed;     // [B, bytes]; B = 1: for all, 0: none
  Array<int32_t> denied;      // [B, X]

  Query ToQuery(int64_t i) const {
    Query query;
    query.k = k;
    query.expand = Row(expand, i);
    query.only_score = Row(only_score, i);
    if (allowed.shape(0) > 0) {
      const int64_t row = allowed.shape(0) == 1 ? 0 : i;
      query.filter.allowed = Row(allowed, row).data();
    }
    query.filter.denied = Row(denied, i);
    return query;
  }
};

struct Answers {
  py::array_t<int32_t> rows;
  py::array_t<float> scores;
  std::vector<std::vector<int32_t>> num_scored;
};

class Graph {
 public:
  Graph(const std::vector<std::pair<py::object, py::object>>& levels,
        const py::object& entry_points)
      : entry_points_(ToIntegers<int32_t>(entry_points, "entry_points")) {
    for (const auto& [values, row_splits] : levels) {
      levels_.emplace_back(ToIntegers<int32_t>(values, "values"),
                           ToIntegers<int64_t>(row_splits, "row_splits"));
    }
    for (const auto& [values, row_splits] : levels_) {
      view_.levels.push_back(
          {View(values, "values"), View(row_splits, "row_splits")});
    }
    view_.entry_points = View(entry_points_, "entry_points");
    Check(FindFault(view_));
  }

  int64_t num_rows() const { return view_.num_rows(); }

  py::tuple SearchWithFunction(const py::function& score, const Batch& batch,
                               int num_threads) {
    return Search(batch, num_threads, [&](int64_t query, BeamSearch* search) {
      Span<const int32_t> rows;
      while (search->Next(&rows)) {
        py::gil_scoped_acquire lock;
        const py::array_t<int32_t> asked(rows.size(), rows.data());
        const auto scores = ToScores(score(asked, query), rows.size());
        const int64_t fault = search->Absorb(scores.data());
        if (fault >= 0) CheckScored(rows[fault]);
      }
    });
  }

  py::tuple SearchVectors(const VectorScorer& scorer, const Batch& batch,
                          int num_threads) {
    if (scorer.table.shape(0) != num_rows()) {
      throw py::value_error("there are " +
                            std::to_string(scorer.table.shape(0)) +
                            " vectors, wanted " + std::to_string(num_rows()) +
                            ", one for each row of the graph");
    }
    if (scorer.queries.shape(0) != batch.expand.shape(0)) {
      throw py::value_error("there are " +
                            std::to_string(scorer.queries.shape(0)) +
                            " query vectors for " +
                            std::to_string(batch.expand.shape(0)) + " queries");
    }
    const Vectors vectors = scorer.vectors;
    const float* const queries = scorer.queries.data();
    return Search(
        batch, num_threads,
        [&](int64_t query, BeamSearch* search) {
          const float* const wanted = queries + query * vectors.width;
          CheckScored(MetricScorer(vectors).Run(wanted, search));
        },
        vectors);
  }

 private:
  // Drives the search of one query to its end. Called without the lock.
  using Driver = std::function<void(int64_t query, BeamSearch* search)>;

  // Takes the row whose score is not a number, or -1.
  static void CheckScored(int64_t row) {
    if (row < 0) return;
    throw py::value_error("the score of row " + std::to_string(row) +
                          " is not a number");
  }

  py::tuple Search(const Batch& batch, int num_threads, const Driver& drive,
                   const Vectors& vectors = {}) {
    const int64_t num_queries = batch.expand.shape(0);
    CheckBatch(batch, num_queries);
    if (num_threads < 1) {
      throw py::value_error("num_threads is " + std::to_string(num_threads) +
                            ", wanted at least 1");
    }
    py::array_t<int32_t> rows({num_queries, batch.k});
    py::array_t<float> scores({num_queries, batch.k});
    std::fill_n(rows.mutable_data(), rows.size(), -1);
    std::fill_n(scores.mutable_data(), scores.size(),
                -std::numeric_limits<float>::infinity());
    std::vector<std::vector<int32_t>> num_scored(num_queries);
    std::vector<RowMemory> memory;
    if (vectors.data != nullptr) {
      memory.push_back({reinterpret_cast<const char*>(vectors.data),
                        vectors.width * static_cast<int64_t>(sizeof(float))});
    }
    int32_t* const rows_out = rows.mutable_data();
    float* const scores_out = scores.mutable_data();
    {
      py::gil_scoped_release unlock;
      ForEachQuery(num_queries, num_threads, [&](int64_t i) {
        auto search = pool_.Take();
        search->FetchAhead(memory);
        const Query query = batch.ToQuery(i);
        std::visit(
            [&](const auto& policy) { search->Start(view_, policy, query); },
            batch.policy);
        drive(i, &*search);
        search->Finish(batch.k, rows_out + i * batch.k,
                       scores_out + i * batch.k);
        num_scored[i].assign(search->num_scored().begin(),
                             search->num_scored().end());
      });
    }
    return py::make_tuple(rows, scores, ToMatrix(num_scored));
  }

  void CheckBatch(const Batch& batch, int64_t num_queries) const {
    if (const auto* paper = std::get_if<PaperPolicy>(&batch.policy)) {
      Check(FindFault(*paper, static_cast<int64_t>(view_.levels.size())));
    } else {
      Check(FindFault(std::get<BestFirstPolicy>(batch.policy)));
    }
    const int64_t wanted_bytes = (num_rows() + 7) / 8;
    if (batch.allowed.shape(0) > 0 && batch.allowed.shape(1) != wanted_bytes) {
      throw py::value_error(
          "allowed has " + std::to_string(batch.allowed.shape(1)) +
          " bytes a query, wanted " + std::to_string(wanted_bytes));
    }
    Query empty;
    empty.k = batch.k;
    Check(FindFault(empty, num_rows()));
    for (int64_t i = 0; i < num_queries; ++i) {
      Check(FindFault(batch.ToQuery(i), num_rows()));
    }
  }

  static py::array_t<int32_t> ToMatrix(
      const std::vector<std::vector<int32_t>>& lists) {
    size_t longest = 0;
    for (const auto& list : lists) longest = std::max(longest, list.size());
    const int64_t height = static_cast<int64_t>(lists.size());
    py::array_t<int32_t> matrix({height, static_cast<int64_t>(longest)});
    std::fill_n(matrix.mutable_data(), matrix.size(), 0);
    for (int64_t i = 0; i < height; ++i) {
      std::copy(lists[i].begin(), lists[i].end(),
                matrix.mutable_data() + i * static_cast<int64_t>(longest));
    }
    return matrix;
  }

  std::vector<std::pair<Array<int32_t>, Array<int64_t>>> levels_;
  Array<int32_t> entry_points_;
  GraphView view_;
  ScratchPool<BeamSearch> pool_;
};

Batch MakeBatch(Policy policy, int64_t k, const py::object& expand_in,
                const py::object& only_score_in, const py::object& allowed_in,
                const py::object& denied_in) {
  auto expand = ToIntegers<int32_t>(expand_in, "expand");
  auto only_score = ToIntegers<int32_t>(only_score_in, "only_score");
  auto allowed = ToIntegers<uint8_t>(allowed_in, "allowed");
  auto denied = ToIntegers<int32_t>(denied_in, "denied");
  const int64_t num_queries = expand.ndim() == 2 ? expand.shape(0) : -1;
  for (const auto& [name, array] :
       {std::pair<const char*, const py::array&>{"expand", expand},
        {"only_score", only_score},
        {"denied", denied}}) {
    if (array.ndim() != 2 || array.shape(0) != num_queries) {
      throw py::value_error(std::string(name) + " has shape " +
                            std::string(py::str(array.attr("shape"))) +
                            ", wanted a row for each query");
    }
  }
  if (allowed.ndim() != 2 ||
      (allowed.shape(0) > 1 && allowed.shape(0) != num_queries)) {
    throw py::value_error(
        "allowed has shape " + std::string(py::str(allowed.attr("shape"))) +
        ", wanted a row for each query, one for all, or none");
  }
  return {std::move(policy),  k,
          std::move(expand),  std::move(only_score),
          std::move(allowed), std::move(denied)};
}

PYBIND11_MODULE(_core, module) {
  module.doc() = "The search over a graph of items, in C++.";
  py::class_<PaperPolicy>(module, "PaperPolicy")
      .def(py::init([](std::vector<int32_t> widths, std::vector<int32_t> hops) {
             return PaperPolicy{std::move(widths), std::move(hops)};
           }),
           py::arg("widths"), py::arg("hops"));
  py::class_<BestFirstPolicy>(module, "BestFirstPolicy")
      .def(py::init([](int64_t ef, int64_t width, int64_t max_steps,
                       int64_t max_evaluations) {
             return BestFirstPolicy{ef, width, max_steps, max_evaluations};
           }),
           py::arg("ef"), py::arg("width"), py::arg("max_steps"),
           py::arg("max_evaluations"));
  py::class_<VectorScorer>(module, "VectorScorer")
      .def(py::init<Array<float>, Array<float>, const std::string&>(),
           py::arg("vectors"), py::arg("queries"), py::arg("metric"));
  py::class_<Batch>(module, "Batch")
      .def(py::init(&MakeBatch), py::arg("policy"), py::arg("k"),
           py::arg("expand"), py::arg("only_score"), py::arg("allowed"),
           py::arg("denied"));
  py::class_<Graph>(module, "Graph",
                    "Neighbor lists to search. The arrays are checked once and "
                    "shared, not copied: do not change them.")
      .def(py::init<const std::vector<std::pair<py::object, py::object>>&,
                    const py::object&>(),
           py::arg("levels"), py::arg("entry_points"))
      .def_property_readonly("num_rows", &Graph::num_rows)
      .def("search", &Graph::SearchWithFunction, py::arg("score"),
           py::arg("batch"), py::arg("num_threads"))
      .def("search_vectors", &Graph::SearchVectors, py::arg("scorer"),
           py::arg("batch"), py::arg("num_threads"));
  AddVectorIndex(module);
  AddRefine(module);
  module.def("instruction_set", [] { return BestKernels().name; });
}

}  // namespace
}  // namespace nann
