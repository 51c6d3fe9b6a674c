#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "ops/core/codes.h"
#include "ops/core/scratch_pool.h"
#include "ops/core/vector_search.h"
#include "ops/python/arrays.h"
#include "ops/python/bindings.h"
#include "ops/python/for_each_query.h"

namespace nann {
namespace {

void CheckShape(const py::array& array, const char* name, int64_t height,
                int64_t width) {
  if (array.ndim() == 2 && array.shape(0) == height &&
      array.shape(1) == width) {
    return;
  }
  throw py::value_error(
      std::string(name) + " has " + std::to_string(array.ndim()) +
      " dimensions and " + std::to_string(array.size()) + " numbers, wanted [" +
      std::to_string(height) + ", " + std::to_string(width) + "]");
}

void CheckRows(const Array<int32_t>& array, const char* name, int64_t least,
               int64_t num_rows) {
  const int32_t* const rows = array.data();
  for (int64_t i = 0; i < array.size(); ++i) {
    if (rows[i] < least || rows[i] >= num_rows) {
      throw py::value_error(std::string(name) + " holds " +
                            std::to_string(rows[i]) + ", outside [" +
                            std::to_string(least) + ", " +
                            std::to_string(num_rows) + ")");
    }
  }
}

// Keeps the arrays that a VectorIndex borrows.
class PyVectorIndex {
 public:
  PyVectorIndex(Array<int32_t> neighbors, Array<uint8_t> codes,
                Array<float> offset, float step, Array<float> vectors,
                Array<int32_t> entries, const std::string& metric)
      : neighbors_(std::move(neighbors)),
        codes_(std::move(codes)),
        offset_(std::move(offset)),
        vectors_(std::move(vectors)),
        entries_(std::move(entries)) {
    if (metric != "l2" && metric != "ip") {
      throw py::value_error("metric is '" + metric + "', wanted l2 or ip");
    }
    if (neighbors_.ndim() != 2) {
      throw py::value_error("neighbors is no matrix");
    }
    const int64_t num_rows = neighbors_.shape(0);
    const int64_t width = offset_.size();
    CheckShape(vectors_, "vectors", num_rows, width);
    CheckShape(codes_, "codes", num_rows, CodeStride(width));
    CheckRows(neighbors_, "neighbors", -1, num_rows);
    CheckRows(entries_, "entries", 0, num_rows);
    index_.neighbors = neighbors_.data();
    index_.num_rows = num_rows;
    index_.degree = neighbors_.shape(1);
    index_.codes = codes_.data();
    index_.scale = {{offset_.data(), width}, step};
    index_.vectors = {vectors_.data(), width,
                      metric == "l2" ? Metric::kL2 : Metric::kInnerProduct};
    index_.entries = {entries_.data(), entries_.size()};
  }

  py::tuple Search(const Array<float>& queries, int64_t k, int64_t ef,
                   int num_threads) {
    const int64_t width = index_.vectors.width;
    const int64_t number = queries.ndim() == 2 ? queries.shape(0) : 0;
    CheckShape(queries, "queries", number, width);
    if (k < 1 || ef < 1) {
      throw py::value_error("k is " + std::to_string(k) + " and ef is " +
                            std::to_string(ef) + ", wanted at least 1");
    }
    py::array_t<int32_t> rows({number, k});
    py::array_t<float> scores({number, k});
    py::array_t<int32_t> num_scored({number, int64_t{1}});
    std::fill_n(rows.mutable_data(), rows.size(), -1);
    std::fill_n(scores.mutable_data(), scores.size(),
                -std::numeric_limits<float>::infinity());
    int32_t* const rows_out = rows.mutable_data();
    float* const scores_out = scores.mutable_data();
    int32_t* const num_scored_out = num_scored.mutable_data();
    const float* const from = queries.data();
    {
      py::gil_scoped_release unlock;
      ForEachQuery(number, num_threads, [&](int64_t i) {
        auto search = pool_.Take();
        search->Search(index_, from + i * width, k, ef, rows_out + i * k,
                       scores_out + i * k);
        num_scored_out[i] = static_cast<int32_t>(search->num_scored());
      });
    }
    return py::make_tuple(rows, scores, num_scored);
  }

 private:
  Array<int32_t> neighbors_;
  Array<uint8_t> codes_;
  Array<float> offset_;
  Array<float> vectors_;
  Array<int32_t> entries_;
  VectorIndex index_;
  ScratchPool<VectorSearch> pool_;
};

// Fills [n, CodeStride] with the codes of vectors [n, width].
void EncodeRows(const Array<float>& vectors, const Array<float>& offset,
                float step, py::array_t<uint8_t, py::array::c_style> codes) {
  const int64_t width = offset.size();
  const int64_t number = vectors.ndim() == 2 ? vectors.shape(0) : 0;
  CheckShape(vectors, "vectors", number, width);
  CheckShape(codes, "codes", number, CodeStride(width));
  const CodeScale scale = {{offset.data(), width}, step};
  uint8_t* const out = codes.mutable_data();
  for (int64_t i = 0; i < number; ++i) {
    Encode(scale, vectors.data() + i * width, out + i * CodeStride(width));
  }
}

}  // namespace

void AddVectorIndex(py::module_& module) {
  py::class_<PyVectorIndex>(module, "VectorIndex")
      .def(py::init<Array<int32_t>, Array<uint8_t>, Array<float>, float,
                    Array<float>, Array<int32_t>, const std::string&>(),
           py::arg("neighbors"), py::arg("codes"), py::arg("offset"),
           py::arg("step"), py::arg("vectors"), py::arg("entries"),
           py::arg("metric"))
      .def("search", &PyVectorIndex::Search, py::arg("queries"), py::arg("k"),
           py::arg("ef"), py::arg("num_threads"));
  module.def("code_stride", &CodeStride, py::arg("width"));
  module.def("encode", &EncodeRows, py::arg("vectors"), py::arg("offset"),
             py::arg("step"), py::arg("codes").noconvert());
}

}  // namespace nann
