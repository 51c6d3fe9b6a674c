// The part of nann._core that searches vectors by their codes.

#ifndef NANN_OPS_PYTHON_VECTOR_INDEX_BINDING_H_
#define NANN_OPS_PYTHON_VECTOR_INDEX_BINDING_H_

#include <pybind11/pybind11.h>

namespace nann {

void AddVectorIndex(pybind11::module_& module);

}  // namespace nann

#endif  // NANN_OPS_PYTHON_VECTOR_INDEX_BINDING_H_
