// The Python module nann._serving: models in memory, and who may run when.
// Holds the interpreter lock only while Python objects are touched.

#include <dlfcn.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <mutex>
#include <thread>

#include "ops/serving/prediction.h"
#include "tensorflow/core/framework/tensor.h"

namespace nann {
namespace {

namespace py = pybind11;
using tensorflow::Tensor;

// A failed run: the number of its code, and a sentence.
[[noreturn]] void Raise(const absl::Status& status) {
  const py::object error =
      py::module_::import("nann._serving").attr("RunError");
  PyErr_SetObject(error.ptr(), py::make_tuple(static_cast<int>(status.code()),
                                              std::string(status.message()))
                                   .ptr());
  throw py::error_already_set();
}

// Loaded by TensorFlow before.
SetCallLimit FindSetCallLimit(const std::string& op_library) {
  void* const library = dlopen(op_library.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  void* const function =
      library == nullptr ? nullptr : dlsym(library, "NannSetCallLimit");
  if (function == nullptr) {
    throw py::value_error(op_library + " is not loaded");
  }
  return reinterpret_cast<SetCallLimit>(function);
}

// An array as Python passes it: type, shape, and raw bytes or a list of texts.
using ArrayParts = std::tuple<int, std::vector<int64_t>, py::object>;

Tensor ToTensor(const ArrayParts& parts) {
  const auto dtype = static_cast<tensorflow::DataType>(std::get<0>(parts));
  Tensor tensor(dtype, tensorflow::TensorShape(std::get<1>(parts)));
  if (dtype == tensorflow::DT_STRING) {
    const auto texts = std::get<2>(parts).cast<std::vector<std::string>>();
    auto values = tensor.flat<tensorflow::tstring>();
    for (int64_t i = 0; i < tensor.NumElements(); ++i) values(i) = texts.at(i);
    return tensor;
  }
  const auto raw = std::get<2>(parts).cast<py::buffer>().request();
  const auto size = static_cast<size_t>(raw.size * raw.itemsize);
  if (size != tensor.TotalBytes()) throw py::value_error("array is not whole");
  std::memcpy(tensor.data(), raw.ptr, size);
  return tensor;
}

ArrayParts FromTensor(const Tensor& tensor) {
  const auto sizes = tensor.shape().dim_sizes();
  std::vector<int64_t> shape(sizes.begin(), sizes.end());
  if (tensor.dtype() == tensorflow::DT_STRING) {
    py::list texts;
    const auto values = tensor.flat<tensorflow::tstring>();
    for (int64_t i = 0; i < tensor.NumElements(); ++i) {
      texts.append(py::bytes(values(i).data(), values(i).size()));
    }
    return {tensor.dtype(), shape, texts};
  }
  return {
      tensor.dtype(), shape,
      py::bytes(static_cast<const char*>(tensor.data()), tensor.TotalBytes())};
}

// A model that Python owns, and that requests without Python use too.
class Model {
 public:
  Model(const std::string& folder, const std::string& op_library)
      : set_limit_(FindSetCallLimit(op_library)) {
    std::unique_ptr<ServedModel> model;
    absl::Status status;
    {
      const py::gil_scoped_release release;
      status = ServedModel::FromSavedModel(folder, ThreadOfRequest(), &model);
    }
    if (!status.ok()) Raise(status);
    model_ = std::move(model);
  }

  py::bytes signature_defs() const { return model_->signature_defs(); }

  std::vector<ArrayParts> Run(const std::string& name,
                              const std::vector<ArrayParts>& arrays,
                              uintptr_t limit) const {
    const ServedModel::Signature* const signature = model_->Find(name);
    if (signature == nullptr || signature->inputs.size() != arrays.size()) {
      throw py::value_error("no signature " + name + " of so many inputs");
    }
    std::vector<Tensor> feeds, outputs;
    for (const ArrayParts& parts : arrays) feeds.push_back(ToTensor(parts));
    absl::Status status;
    {
      const py::gil_scoped_release release;
      set_limit_(reinterpret_cast<const CallLimit*>(limit));
      status = model_->Run(*signature, feeds, &outputs);
      set_limit_(nullptr);
    }
    if (!status.ok()) Raise(status);
    std::vector<ArrayParts> found;
    for (const Tensor& tensor : outputs) found.push_back(FromTensor(tensor));
    return found;
  }

  // Frees it when no request uses it any more. Nobody may begin to.
  void Close() {
    const py::gil_scoped_release release;
    while (model_.use_count() > 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    model_.reset();
  }

  std::shared_ptr<const ServedModel> served() const { return model_; }

 private:
  const SetCallLimit set_limit_;
  std::shared_ptr<const ServedModel> model_;
};

// The turn of a thread of Python, which sleeps until it comes.
class ThreadTurn : public Turn {
 public:
  explicit ThreadTurn(Admission* admission) : admission_(admission) {
    const bool has_place = admission->TakePlace(this);
    const std::lock_guard<std::mutex> lock(mutex_);
    has_place_ = has_place_ || has_place;
  }

  void Come() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    has_place_ = true;
    changed_.notify_all();
  }

  // Leaves the queue, and wakes the thread.
  void Leave() {
    if (!admission_->GiveUp(this)) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    has_left_ = true;
    changed_.notify_all();
  }

  // Returns whether it has a place; without one, it waits no longer.
  bool Wait(std::optional<double> seconds) {
    if (HasPlace()) return true;
    // Whoever holds the mutex must not wait for the interpreter's lock: others
    // hold that one while they wait for the mutex.
    const py::gil_scoped_release release;
    if (WaitFor(seconds) || admission_->GiveUp(this)) return HasPlace();
    // It is about to come, or has left.
    WaitFor(std::nullopt);
    return HasPlace();
  }

 private:
  bool HasPlace() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return has_place_;
  }

  // Returns whether it has come, or has left.
  bool WaitFor(std::optional<double> seconds) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto is_over = [this] { return has_place_ || has_left_; };
    if (seconds) {
      return changed_.wait_for(lock, std::chrono::duration<double>(*seconds),
                               is_over);
    }
    changed_.wait(lock, is_over);
    return true;
  }

  Admission* const admission_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_place_ = false;
  bool has_left_ = false;
};

std::pair<int, int64_t> Enter(Admission& admission) {
  int64_t num_inside;
  const Admission::Entry entry = admission.Enter(&num_inside);
  return {static_cast<int>(entry), num_inside};
}

void BindAdmission(py::module_& module) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<Admission>(module, "Admission")
      .def(py::init<int64_t, int64_t, double>())
      .def("enter", &Enter)
      .def("leave", &Admission::Leave)
      .def("give_place", &Admission::GivePlace)
      .def("close", &Admission::Close)
      .def("wait_until_empty", &Admission::WaitUntilEmpty, Release())
      .def("set_patient", &Admission::SetPatient)
      .def("waiting_bound", &Admission::WaitingBound)
      .def_property_readonly("max_running", &Admission::max_running)
      .def_property_readonly("max_waiting", &Admission::max_waiting)
      .def_property_readonly("num_running", &Admission::num_running)
      .def_property_readonly("num_waiting", &Admission::num_waiting)
      .def_property_readonly("is_open", &Admission::is_open);
  py::class_<ThreadTurn>(module, "Turn")
      .def(py::init<Admission*>(), py::keep_alive<1, 2>())
      .def("leave", &ThreadTurn::Leave)
      .def("wait", &ThreadTurn::Wait);
}

// A log that forgets what it has told, as tuples.
std::pair<std::vector<py::tuple>, int64_t> TakeRecords(RequestLog& log) {
  auto [records, num_lost] = log.Take();
  std::vector<py::tuple> found;
  for (const RequestRecord& x : records) {
    found.push_back(py::make_tuple(x.peer, x.signature, x.version, x.code,
                                   x.message, x.seconds, x.waited_s,
                                   x.num_users, x.num_scored, x.ended_at_s));
  }
  return {std::move(found), num_lost};
}

void Serve(Prediction& prediction, const std::map<int64_t, Model*>& models,
           int64_t current, std::map<std::string, int64_t> labels) {
  VersionTable table;
  for (const auto& [version, model] : models) {
    table.models[version] = model->served();
  }
  table.current = current;
  table.labels = {labels.begin(), labels.end()};
  prediction.Serve(std::move(table));
}

}  // namespace

PYBIND11_MODULE(_serving, module) {
  // Arguments: the number of a status code, and a sentence.
  module.attr("RunError") = py::reinterpret_steal<py::object>(
      PyErr_NewException("nann._serving.RunError", nullptr, nullptr));
  BindAdmission(module);
  py::class_<Model>(module, "Model")
      .def(py::init<const std::string&, const std::string&>())
      .def("signature_defs", &Model::signature_defs)
      .def("run", &Model::Run)
      .def("close", &Model::Close);
  py::class_<RequestLog>(module, "RequestLog")
      .def(py::init<size_t>())
      .def("take", &TakeRecords);
  py::class_<Prediction>(module, "Prediction")
      .def(py::init([](const std::string& model_name, int64_t max_users,
                       int64_t max_answers, Admission* admission,
                       RequestLog* log, const std::string& op_library) {
             return std::make_unique<Prediction>(
                 model_name, RequestLimits{max_users, max_answers}, admission,
                 log, FindSetCallLimit(op_library));
           }),
           py::keep_alive<1, 5>(), py::keep_alive<1, 6>())
      .def("serve", &Serve)
      // For nann._front, which is compiled without what this module knows.
      .def("address", [](Prediction& prediction) {
        return reinterpret_cast<uintptr_t>(
            static_cast<PredictService*>(&prediction));
      });
}

}  // namespace nann
