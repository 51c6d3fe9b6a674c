#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/core/refine.h"
#include "ops/python/arrays.h"
#include "ops/python/bindings.h"
#include "ops/python/for_each_query.h"

namespace nann {
namespace {

using Table = py::array_t<int32_t, py::array::c_style>;

// Rows that a thread takes at a time.
constexpr int64_t kBlock = 256;

void ForEachBlock(int64_t num_rows, int num_threads,
                  const std::function<void(int64_t, int64_t)>& body) {
  const int64_t num_blocks = (num_rows + kBlock - 1) / kBlock;
  ForEachQuery(num_blocks, num_threads, [&](int64_t block) {
    const int64_t begin = block * kBlock;
    body(begin, std::min(begin + kBlock, num_rows));
  });
}

void CheckTables(const Array<float>& vectors, const Array<int32_t>& lists,
                 int64_t num_lists) {
  if (vectors.ndim() != 2 || lists.ndim() != 2 || lists.shape(0) != num_lists) {
    throw py::value_error("vectors and lists are no matrices that fit");
  }
  const int32_t* const rows = lists.data();
  for (int64_t i = 0; i < lists.size(); ++i) {
    if (rows[i] >= vectors.shape(0)) {
      throw py::value_error("a list holds " + std::to_string(rows[i]) +
                            ", outside [0, " +
                            std::to_string(vectors.shape(0)) + ")");
    }
  }
}

// Chooses neighbors of rows first_row, ... among candidates [n, C].
Table Choose(const Array<float>& vectors, int32_t first_row,
             const Array<int32_t>& candidates, int64_t degree, float alpha,
             int num_threads) {
  CheckTables(vectors, candidates, candidates.shape(0));
  const int64_t number = candidates.shape(0);
  Table chosen({number, degree});
  const float* const data = vectors.data();
  const int64_t width = vectors.shape(1);
  const int32_t* const from = candidates.data();
  const int64_t length = candidates.shape(1);
  int32_t* const to = chosen.mutable_data();
  {
    py::gil_scoped_release unlock;
    ForEachBlock(number, num_threads, [&](int64_t begin, int64_t end) {
      NeighborChooser chooser(data, width, {degree, alpha});
      for (int64_t i = begin; i < end; ++i) {
        chooser.Choose(first_row + static_cast<int32_t>(i),
                       {from + i * length, length}, to + i * degree);
      }
    });
  }
  return chosen;
}

// Links both ways: who names a row becomes its neighbor, as far as there is
// room.
Table LinkBothWays(const Array<float>& vectors, const Array<int32_t>& table,
                   float alpha, int num_threads) {
  CheckTables(vectors, table, vectors.shape(0));
  const int64_t num_rows = table.shape(0);
  const int64_t degree = table.shape(1);
  Table linked({num_rows, degree});
  const float* const data = vectors.data();
  const int64_t width = vectors.shape(1);
  const int32_t* const from = table.data();
  int32_t* const to = linked.mutable_data();
  {
    py::gil_scoped_release unlock;
    const ReverseLists reverse = Reverse(from, num_rows, degree);
    ForEachBlock(num_rows, num_threads, [&](int64_t begin, int64_t end) {
      NeighborChooser chooser(data, width, {degree, alpha});
      std::vector<int32_t> candidates;
      for (int64_t i = begin; i < end; ++i) {
        const int32_t row = static_cast<int32_t>(i);
        candidates.assign(from + i * degree, from + (i + 1) * degree);
        const Span<const int32_t> naming = reverse.Of(row);
        candidates.insert(candidates.end(), naming.begin(), naming.end());
        chooser.KeepOrChoose(row, candidates, to + i * degree);
      }
    });
  }
  return linked;
}

}  // namespace

void AddRefine(py::module_& module) {
  module.def("choose_neighbors", &Choose, py::arg("vectors"),
             py::arg("first_row"), py::arg("candidates"), py::arg("degree"),
             py::arg("alpha"), py::arg("num_threads"));
  module.def("link_both_ways", &LinkBothWays, py::arg("vectors"),
             py::arg("table"), py::arg("alpha"), py::arg("num_threads"));
}

}  // namespace nann
