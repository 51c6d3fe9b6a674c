// The Python module nann._front.

#include <pybind11/pybind11.h>

#include "ops/front/front.h"

namespace nann {
namespace {

namespace py = pybind11;

std::unique_ptr<Front> MakeFront(uintptr_t service, const std::string& address,
                                 const std::string& python_address,
                                 int max_message_bytes, int64_t max_calls,
                                 const std::string& certificate,
                                 const std::string& key,
                                 const std::string& client_authority) {
  return std::make_unique<Front>(
      reinterpret_cast<PredictService*>(service),
      FrontOptions{address, python_address, max_message_bytes, max_calls,
                   certificate, key, client_authority});
}

}  // namespace

PYBIND11_MODULE(_front, module) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<Front>(module, "Front")
      .def(py::init(&MakeFront))
      .def("start", &Front::Start, Release())
      .def("stop", &Front::Stop, Release());
}

}  // namespace nann
