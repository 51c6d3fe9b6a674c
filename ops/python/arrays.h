// Arrays that come from Python, checked where NumPy would bend them.

#ifndef NANN_OPS_PYTHON_ARRAYS_H_
#define NANN_OPS_PYTHON_ARRAYS_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <limits>
#include <string>

#include "ops/core/span.h"

namespace nann {

namespace py = pybind11;

// Read without a copy where the array is what is wanted, else converted.
template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

inline void Check(const std::string& fault) {
  if (!fault.empty()) throw py::value_error(fault);
}

// Converts to whole numbers of type T, but none that is not one or does not
// fit: NumPy would cut it to size, in silence.
template <typename T>
Array<T> ToIntegers(const py::object& given, const char* name) {
  const py::array array(given);
  if (array.size() == 0 || array.dtype().equal(py::dtype::of<T>())) {
    return Array<T>(array);
  }
  const char kind = array.dtype().kind();
  if (kind != 'i' && kind != 'u') {
    throw py::value_error(std::string(name) + " is of type " +
                          std::string(py::str(array.dtype())) + ", wanted " +
                          std::string(py::str(py::dtype::of<T>())));
  }
  const Array<int64_t> wide(array);
  for (int64_t i = 0; i < wide.size(); ++i) {
    const int64_t value = wide.data()[i];
    if (value < int64_t{std::numeric_limits<T>::min()} ||
        value > int64_t{std::numeric_limits<T>::max()} ||
        (kind == 'u' && value < 0)) {
      throw py::value_error(std::string(name) + "[" + std::to_string(i) +
                            "] = " + std::to_string(value) + " is no " +
                            std::string(py::str(py::dtype::of<T>())));
    }
  }
  return Array<T>(wide);
}

// What a scorer gave for some rows. What Python raises on the way is left
// alone.
inline Array<float> ToScores(const py::object& given, int64_t num_rows) {
  const py::array array(given);
  // Types of machine learning, such as bfloat16, are of kind V to NumPy.
  const bool is_numbers =
      std::string("biufV").find(array.dtype().kind()) != std::string::npos;
  if (!is_numbers || array.ndim() != 1 || array.size() != num_rows) {
    throw py::value_error("the scorer gave " +
                          std::string(py::str(array.dtype())) + " of shape " +
                          std::string(py::str(array.attr("shape"))) +
                          ", wanted one number for each of " +
                          std::to_string(num_rows) + " rows");
  }
  return Array<float>(array);
}

template <typename T>
Span<const T> View(const Array<T>& array, const char* name) {
  if (array.ndim() != 1) {
    throw py::value_error(std::string(name) + " has " +
                          std::to_string(array.ndim()) +
                          " dimensions, wanted 1");
  }
  return {array.data(), array.size()};
}

// Row `query` of a matrix with a row for each query.
template <typename T>
Span<const T> Row(const Array<T>& matrix, int64_t query) {
  return {matrix.data() + query * matrix.shape(1), matrix.shape(1)};
}

}  // namespace nann

#endif  // NANN_OPS_PYTHON_ARRAYS_H_
