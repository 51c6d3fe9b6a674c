// Answers queries with a SavedModel in TensorFlow's C++ runtime, as a server
// without Python does.
//
//   load_saved_model OPS_LIBRARY MODEL_FOLDER < queries > answers
//
// Standard input: a line "num_users width num_entries", then for each user a
// line of `width` floats and `num_entries` rows. Standard output: for each user
// a line of rows, a line of scores and a line of num_scored.

#include <cstdint>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/c/c_api.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"

namespace {

using tensorflow::Tensor;

// cc/saved_model/tag_constants.h is not among the headers of the Python wheel.
constexpr char kServe[] = "serve";
constexpr char kSignature[] = "serving_default";

bool LoadOps(const char* path) {
  TF_Status* const status = TF_NewStatus();
  TF_DeleteLibraryHandle(TF_LoadLibrary(path, status));
  const bool is_loaded = TF_GetCode(status) == TF_OK;
  if (!is_loaded) std::cerr << TF_Message(status) << "\n";
  TF_DeleteStatus(status);
  return is_loaded;
}

bool ReadQueries(Tensor* users, Tensor* entries) {
  int64_t num_users, width, num_entries;
  if (!(std::cin >> num_users >> width >> num_entries)) return false;
  *users = Tensor(tensorflow::DT_FLOAT, {num_users, width});
  *entries = Tensor(tensorflow::DT_INT32, {num_users, num_entries});
  for (int64_t i = 0; i < num_users; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      std::cin >> users->matrix<float>()(i, j);
    }
    for (int64_t j = 0; j < num_entries; ++j) {
      std::cin >> entries->matrix<int32_t>()(i, j);
    }
  }
  return !std::cin.fail();
}

template <typename T>
void PrintRow(const Tensor& tensor, int64_t row) {
  for (int64_t i = 0; i < tensor.dim_size(1); ++i) {
    std::cout << (i > 0 ? " " : "") << tensor.matrix<T>()(row, i);
  }
  std::cout << "\n";
}

absl::Status Answer(const std::string& folder, const Tensor& users,
                    const Tensor& entries, std::vector<Tensor>* answers) {
  tensorflow::SavedModelBundle model;
  TF_RETURN_IF_ERROR(
      tensorflow::LoadSavedModel({}, {}, folder, {kServe}, &model));
  const auto& signature = model.GetSignatures().at(kSignature);
  std::vector<std::string> fetches;
  for (const char* const name : {"rows", "scores", "num_scored"}) {
    fetches.push_back(signature.outputs().at(name).name());
  }
  const std::vector<std::pair<std::string, Tensor>> feeds = {
      {signature.inputs().at("users").name(), users},
      {signature.inputs().at("entries").name(), entries}};
  return model.GetSession()->Run(feeds, fetches, {}, answers);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " OPS_LIBRARY MODEL_FOLDER\n";
    return 2;
  }
  Tensor users, entries;
  if (!LoadOps(argv[1]) || !ReadQueries(&users, &entries)) return 1;
  std::vector<Tensor> answers;
  const absl::Status status = Answer(argv[2], users, entries, &answers);
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
  for (int64_t i = 0; i < users.dim_size(0); ++i) {
    PrintRow<int32_t>(answers[0], i);
    PrintRow<float>(answers[1], i);
    PrintRow<int32_t>(answers[2], i);
  }
  return 0;
}
