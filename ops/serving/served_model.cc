#include "ops/serving/served_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/cc/saved_model/reader.h"
#include "tensorflow/core/framework/device_attributes.pb.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/util/device_name_utils.h"

namespace nann {
namespace {

using tensorflow::DataTypeString;
using tensorflow::DeviceNameUtils;
using tensorflow::GraphDef;
using tensorflow::MetaGraphDef;
using tensorflow::NodeDef;
using tensorflow::Session;
using tensorflow::SignatureDef;
using tensorflow::Tensor;

// cc/saved_model/tag_constants.h is not among the headers of the Python wheel.
constexpr char kServe[] = "serve";
// The input of exec.pb that says where its arrays are.
constexpr char kAssetsInput[] = "assets_dir";
constexpr char kAssets[] = "assets";
// The operation that reads the arrays of a graph of stock ops.
constexpr char kReadArrays[] = "read_arrays";
// A signature that TensorFlow makes for its own use.
constexpr char kInitSignature[] = "__saved_model_init_op";

// Lets the arrays of exec.pb be found: its default is the folder that the
// program runs in.
void SetAssetsFolder(const std::string& folder, GraphDef* graph) {
  std::string constant;
  for (const NodeDef& node : graph->node()) {
    if (node.name() == kAssetsInput && node.input_size() == 1) {
      constant = node.input(0);
    }
  }
  for (NodeDef& node : *graph->mutable_node()) {
    if (node.name() != constant) continue;
    Tensor value(tensorflow::DT_STRING, {});
    value.scalar<tensorflow::tstring>()() = folder;
    value.AsProtoField((*node.mutable_attr())["value"].mutable_tensor());
  }
}

bool HasNode(const GraphDef& graph, const std::string& name) {
  return std::any_of(
      graph.node().begin(), graph.node().end(),
      [&name](const NodeDef& node) { return node.name() == name; });
}

// Maps of a message come in no order.
template <typename Map>
std::map<std::string, typename Map::mapped_type> InOrder(const Map& entries) {
  return {entries.begin(), entries.end()};
}

std::string FolderOf(const std::string& file) {
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "." : file.substr(0, slash);
}

// Gives nodes that name no device the one that is wanted. TensorFlow itself
// would say only at the first request that there is none of this name.
absl::Status SetDevice(const std::string& device, Session* session,
                       GraphDef* graph) {
  std::vector<tensorflow::DeviceAttributes> there;
  TF_RETURN_IF_ERROR(session->ListDevices(&there));
  DeviceNameUtils::ParsedName wanted, name;
  const bool is_name =
      DeviceNameUtils::ParseFullOrLocalName(device, &wanted) && wanted.has_id;
  std::vector<std::string> names;
  for (const tensorflow::DeviceAttributes& known : there) {
    names.push_back(known.name());
    if (!is_name || !DeviceNameUtils::ParseFullName(known.name(), &name) ||
        !DeviceNameUtils::IsCompleteSpecification(wanted, name)) {
      continue;
    }
    for (NodeDef& node : *graph->mutable_node()) {
      if (node.device().empty()) node.set_device(known.name());
    }
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "device ", device, " is not among ", absl::StrJoin(names, ", ")));
}

absl::Status MakeSession(const ModelOptions& options, GraphDef* graph,
                         std::unique_ptr<Session>* session) {
  Session* made = nullptr;
  TF_RETURN_IF_ERROR(tensorflow::NewSession(options.session, &made));
  session->reset(made);
  if (!options.device.empty()) {
    TF_RETURN_IF_ERROR(SetDevice(options.device, session->get(), graph));
  }
  return (*session)->Create(*graph);
}

// Reads a protobuf; .pbtxt is text.
template <typename Proto>
absl::Status ReadProto(const std::string& path, Proto* proto) {
  tensorflow::Env* const env = tensorflow::Env::Default();
  return absl::EndsWith(path, ".pbtxt")
             ? tensorflow::ReadTextProto(env, path, proto)
             : tensorflow::ReadBinaryProto(env, path, proto);
}

}  // namespace

absl::Status LoadOps(const std::string& library) {
  TF_Status* const status = TF_NewStatus();
  TF_DeleteLibraryHandle(TF_LoadLibrary(library.c_str(), status));
  const bool is_loaded = TF_GetCode(status) == TF_OK;
  const std::string message = TF_Message(status);
  TF_DeleteStatus(status);
  if (is_loaded) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the op library ", library, " cannot be loaded: ", message));
}

ModelOptions ThreadOfRequest() {
  ModelOptions options;
  options.session.config.set_intra_op_parallelism_threads(1);
  // Below 0: ops run in the thread of the caller.
  options.session.config.set_inter_op_parallelism_threads(-1);
  // To optimize a graph takes five times as long as the rest of loading it,
  // while requests wait for the processors, and made none faster: exported
  // graphs are frozen, and their time is spent in our ops.
  options.session.config.mutable_graph_options()
      ->mutable_rewrite_options()
      ->set_disable_meta_optimizer(true);
  return options;
}

ServedModel::ServedModel(std::unique_ptr<Session> session,
                         const tensorflow::RunOptions& run_options)
    : session_(std::move(session)), run_options_(run_options) {}

ServedModel::~ServedModel() {
  for (const auto& [name, signature] : signatures_) {
    session_->ReleaseCallable(signature.callable).IgnoreError();
  }
  session_->Close().IgnoreError();
}

absl::Status ServedModel::FromSavedModel(const std::string& folder,
                                         const ModelOptions& options,
                                         std::unique_ptr<ServedModel>* model) {
  MetaGraphDef meta;
  TF_RETURN_IF_ERROR(
      tensorflow::ReadMetaGraphDefFromSavedModel(folder, {kServe}, &meta));
  std::unique_ptr<Session> session;
  TF_RETURN_IF_ERROR(MakeSession(options, meta.mutable_graph_def(), &session));
  TF_RETURN_IF_ERROR(tensorflow::RestoreSession({}, meta, folder, &session));
  model->reset(new ServedModel(std::move(session), options.run));
  return (*model)->AddSignatures(meta);
}

absl::Status ServedModel::FromGraph(const std::string& graph_file,
                                    const std::string& meta_file,
                                    const ModelOptions& options,
                                    std::unique_ptr<ServedModel>* model) {
  GraphDef graph;
  MetaGraphDef meta;
  TF_RETURN_IF_ERROR(ReadProto(graph_file, &graph));
  TF_RETURN_IF_ERROR(ReadProto(meta_file, &meta));
  SetAssetsFolder(absl::StrCat(FolderOf(graph_file), "/", kAssets), &graph);
  std::unique_ptr<Session> session;
  TF_RETURN_IF_ERROR(MakeSession(options, &graph, &session));
  if (HasNode(graph, kReadArrays)) {
    TF_RETURN_IF_ERROR(session->Run({}, {}, {kReadArrays}, nullptr));
  }
  model->reset(new ServedModel(std::move(session), options.run));
  return (*model)->AddSignatures(meta);
}

std::vector<std::string> ServedModel::SignatureNames() const {
  std::vector<std::string> names;
  for (const auto& [name, signature] : signatures_) names.push_back(name);
  return names;
}

absl::Status ServedModel::AddSignatures(const MetaGraphDef& meta) {
  MetaGraphDef without_graph;
  *without_graph.mutable_signature_def() = meta.signature_def();
  signature_defs_ = without_graph.SerializeAsString();
  for (const auto& [name, described] : meta.signature_def()) {
    if (name == kInitSignature) continue;
    TF_RETURN_IF_ERROR(AddSignature(name, described));
  }
  if (!signatures_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("the model has no signatures");
}

absl::Status ServedModel::AddSignature(const std::string& name,
                                       const SignatureDef& described) {
  Signature signature;
  tensorflow::CallableOptions callable;
  *callable.mutable_run_options() = run_options_;
  for (const auto& [input_name, info] : InOrder(described.inputs())) {
    Input input;
    input.name = input_name;
    input.dtype = info.dtype();
    input.shape = tensorflow::PartialTensorShape(info.tensor_shape());
    const auto found = described.defaults().find(input_name);
    if (found != described.defaults().end()) {
      input.has_default = true;
      if (!input.default_value.FromProto(found->second)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the default of ", name, "'s input ", input_name, " is damaged"));
      }
    }
    signature.inputs.push_back(std::move(input));
    callable.add_feed(info.name());
  }
  for (const auto& [output_name, info] : InOrder(described.outputs())) {
    signature.outputs.push_back({output_name, info.dtype()});
    callable.add_fetch(info.name());
  }
  TF_RETURN_IF_ERROR(session_->MakeCallable(callable, &signature.callable));
  signatures_[name] = std::move(signature);
  return absl::OkStatus();
}

const ServedModel::Signature* ServedModel::Find(
    const std::string& signature) const {
  const auto found = signatures_.find(signature);
  return found == signatures_.end() ? nullptr : &found->second;
}

absl::Status ServedModel::Run(const Signature& signature,
                              const std::vector<Tensor>& feeds,
                              std::vector<Tensor>* outputs) const {
  return session_->RunCallable(signature.callable, feeds, outputs, nullptr);
}

absl::Status ServedModel::Answer(const std::string& name,
                                 const NamedTensors& inputs,
                                 NamedTensors* outputs) const {
  const auto found = signatures_.find(name);
  if (found == signatures_.end()) {
    return absl::NotFoundError(
        absl::StrCat("signature '", name, "' is not among ",
                     absl::StrJoin(SignatureNames(), ", ")));
  }
  const Signature& signature = found->second;
  const auto is_input = [&](const std::string& input_name) {
    return std::any_of(
        signature.inputs.begin(), signature.inputs.end(),
        [&](const Input& input) { return input.name == input_name; });
  };
  for (const auto& [input_name, tensor] : inputs) {
    if (!is_input(input_name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " has no input ", input_name));
    }
  }
  std::vector<Tensor> feeds;
  for (const Input& input : signature.inputs) {
    const auto given = inputs.find(input.name);
    if (given == inputs.end() && !input.has_default) {
      return absl::InvalidArgumentError(
          absl::StrCat("input ", input.name, " of ", name, " is missing"));
    }
    feeds.push_back(given == inputs.end() ? input.default_value
                                          : given->second);
    if (feeds.back().dtype() != input.dtype) {
      return absl::InvalidArgumentError(
          absl::StrCat("input ", input.name, " of ", name, " is of type ",
                       DataTypeString(feeds.back().dtype()), ", wanted ",
                       DataTypeString(input.dtype)));
    }
  }
  std::vector<Tensor> answers;
  TF_RETURN_IF_ERROR(Run(signature, feeds, &answers));
  outputs->clear();
  for (size_t i = 0; i < answers.size(); ++i) {
    (*outputs)[signature.outputs[i].name] = std::move(answers[i]);
  }
  return absl::OkStatus();
}

}  // namespace nann
