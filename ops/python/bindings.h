// The parts of nann._core that have a file of their own.

#ifndef NANN_OPS_PYTHON_BINDINGS_H_
#define NANN_OPS_PYTHON_BINDINGS_H_

#include <pybind11/pybind11.h>

namespace nann {

// The search of vectors by their codes.
void AddVectorIndex(pybind11::module_& module);

// Better neighbor lists for it.
void AddRefine(pybind11::module_& module);

}  // namespace nann

#endif  // NANN_OPS_PYTHON_BINDINGS_H_
