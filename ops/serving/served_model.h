// An exported model in TensorFlow's C++ runtime: what it offers, and answers.
//
// Knows SavedModels, and exec.pb with exec.meta.pb, binary or as text; knows
// neither protocols nor clocks.

#ifndef NANN_OPS_SERVING_SERVED_MODEL_H_
#define NANN_OPS_SERVING_SERVED_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/public/session.h"
#include "tensorflow/core/public/session_options.h"

namespace nann {

// Tensors by the names that a signature gives them.
using NamedTensors = std::map<std::string, tensorflow::Tensor>;

// Makes the ops of a library known to this process.
absl::Status LoadOps(const std::string& library);

// How a model is loaded and asked.
struct ModelOptions {
  tensorflow::SessionOptions session;
  tensorflow::RunOptions run;
  // Of nodes that name none, such as /GPU:1; "": TensorFlow chooses.
  std::string device;
};

// Options for requests that run in parallel: one thread for each, its own.
ModelOptions ThreadOfRequest();

class ServedModel {
 public:
  struct Input {
    std::string name;
    tensorflow::DataType dtype;
    tensorflow::PartialTensorShape shape;
    bool has_default = false;
    tensorflow::Tensor default_value;
  };
  struct Output {
    std::string name;
    tensorflow::DataType dtype;
  };
  // Inputs and outputs in the order of their names.
  struct Signature {
    std::vector<Input> inputs;
    std::vector<Output> outputs;
    tensorflow::Session::CallableHandle callable;
  };

  ~ServedModel();
  ServedModel(const ServedModel&) = delete;
  ServedModel& operator=(const ServedModel&) = delete;

  // Loads a SavedModel, such as export/nann/1.
  static absl::Status FromSavedModel(const std::string& folder,
                                     const ModelOptions& options,
                                     std::unique_ptr<ServedModel>* model);

  // Loads exec.pb, whose arrays lie in assets/ beside it, and exec.meta.pb.
  static absl::Status FromGraph(const std::string& graph_file,
                                const std::string& meta_file,
                                const ModelOptions& options,
                                std::unique_ptr<ServedModel>* model);

  std::vector<std::string> SignatureNames() const;

  // Null: there is none of this name.
  const Signature* Find(const std::string& signature) const;

  // The signatures as a MetaGraphDef without its graph.
  const std::string& signature_defs() const { return signature_defs_; }

  // Runs a signature in this thread; one tensor for each input and output.
  absl::Status Run(const Signature& signature,
                   const std::vector<tensorflow::Tensor>& feeds,
                   std::vector<tensorflow::Tensor>* outputs) const;

  // Answers one request; several threads may do so at once. What a signature
  // has a default for may be left out.
  absl::Status Answer(const std::string& signature, const NamedTensors& inputs,
                      NamedTensors* outputs) const;

 private:
  ServedModel(std::unique_ptr<tensorflow::Session> session,
              const tensorflow::RunOptions& run_options);

  absl::Status AddSignatures(const tensorflow::MetaGraphDef& meta);
  absl::Status AddSignature(const std::string& name,
                            const tensorflow::SignatureDef& described);

  std::unique_ptr<tensorflow::Session> session_;
  const tensorflow::RunOptions run_options_;
  std::map<std::string, Signature> signatures_;
  std::string signature_defs_;
};

}  // namespace nann

#endif  // NANN_OPS_SERVING_SERVED_MODEL_H_
