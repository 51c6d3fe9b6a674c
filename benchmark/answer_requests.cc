// Answers recorded requests with an exported model, without Python.
//
//   answer_requests [--ops=LIBRARY] MODEL_FOLDER REQUESTS
//   answer_requests [--ops=LIBRARY] --meta=exec.meta.pb exec.pb REQUESTS
//
// REQUESTS is a TFRecord of PredictionLog, such as the model's own
// assets.extra/tf_serving_warmup_requests. Standard output: for each request
// and output a line "request name type dimensions values", separated by spaces;
// dimensions by commas, strings as hexadecimal digits.

#include <cstdint>
#include <iomanip>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "benchmark/recorded_requests.h"
#include "ops/serving/served_model.h"

namespace {

using tensorflow::Tensor;

template <typename T>
void PrintNumbers(const Tensor& tensor) {
  const auto flat = tensor.flat<T>();
  for (int64_t i = 0; i < flat.size(); ++i) std::cout << " " << flat(i);
}

void PrintTexts(const Tensor& tensor) {
  const auto flat = tensor.flat<tensorflow::tstring>();
  for (int64_t i = 0; i < flat.size(); ++i) {
    std::cout << " " << absl::BytesToHexString(std::string(flat(i)));
  }
}

absl::Status Print(size_t request, const std::string& name,
                   const Tensor& tensor) {
  std::cout << request << " " << name << " "
            << tensorflow::DataTypeString(tensor.dtype()) << " "
            << absl::StrJoin(tensor.shape().dim_sizes(), ",");
  switch (tensor.dtype()) {
    case tensorflow::DT_FLOAT:
      PrintNumbers<float>(tensor);
      break;
    case tensorflow::DT_INT32:
      PrintNumbers<int32_t>(tensor);
      break;
    case tensorflow::DT_INT64:
      PrintNumbers<int64_t>(tensor);
      break;
    case tensorflow::DT_STRING:
      PrintTexts(tensor);
      break;
    default:
      return absl::UnimplementedError(
          absl::StrCat("output ", name, " is of type ",
                       tensorflow::DataTypeString(tensor.dtype()),
                       ", wanted float, int32, int64 or string"));
  }
  std::cout << "\n";
  return absl::OkStatus();
}

absl::Status Run(const std::string& ops, const std::string& meta,
                 const std::string& model_path, const std::string& requests) {
  if (!ops.empty()) TF_RETURN_IF_ERROR(nann::LoadOps(ops));
  const nann::ModelOptions options = nann::ThreadOfRequest();
  std::unique_ptr<nann::ServedModel> model;
  TF_RETURN_IF_ERROR(
      meta.empty()
          ? nann::ServedModel::FromSavedModel(model_path, options, &model)
          : nann::ServedModel::FromGraph(model_path, meta, options, &model));
  std::vector<nann::RecordedRequest> recorded;
  TF_RETURN_IF_ERROR(nann::ReadRequests(requests, &recorded));
  for (size_t i = 0; i < recorded.size(); ++i) {
    nann::NamedTensors outputs;
    TF_RETURN_IF_ERROR(
        model->Answer(recorded[i].signature, recorded[i].inputs, &outputs));
    for (const auto& [name, tensor] : outputs) {
      TF_RETURN_IF_ERROR(Print(i, name, tensor));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  std::string ops, meta;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--ops=")) {
      ops = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--meta=")) {
      meta = std::string(argument);
    } else {
      paths.emplace_back(argument);
    }
  }
  if (paths.size() != 2) {
    std::cerr << "usage: " << argv[0]
              << " [--ops=LIBRARY] [--meta=exec.meta.pb] MODEL REQUESTS\n";
    return 2;
  }
  std::cout << std::setprecision(std::numeric_limits<float>::max_digits10);
  const absl::Status status = Run(ops, meta, paths[0], paths[1]);
  if (!status.ok()) {
    std::cerr << argv[0] << ": " << status.message() << "\n";
    return 1;
  }
  return 0;
}
