#include "ops/serving/prediction.h"

#include <algorithm>
#include <functional>

#include "ops/requests/wire.h"
#include "ops/serving/tensor_wire.h"

namespace nann {
namespace {

using tensorflow::Tensor;
using Signature = ServedModel::Signature;

constexpr char kDefaultSignature[] = "serving_default";
constexpr char kNumScored[] = "num_scored";

// Fields of PredictResponse, of ModelSpec and of a map.
constexpr int kOutputs = 1;
constexpr int kSpec = 2;
constexpr int kSpecName = 1;
constexpr int kSpecVersion = 2;
constexpr int kSpecSignature = 3;
constexpr int kKey = 1;
constexpr int kValue = 2;

bool IsPlain(const Signature& signature) {
  const auto is_plain = [](const auto& info) {
    return IsPlainType(info.dtype);
  };
  return std::all_of(signature.inputs.begin(), signature.inputs.end(),
                     is_plain) &&
         std::all_of(signature.outputs.begin(), signature.outputs.end(),
                     is_plain);
}

bool IsWanted(const PredictRequestView& request, const std::string& output) {
  return request.outputs.empty() ||
         std::find(request.outputs.begin(), request.outputs.end(), output) !=
             request.outputs.end();
}

// Whether the output filter names nothing that is not there.
bool AreOutputs(const Signature& signature,
                const std::vector<std::string_view>& names) {
  return std::all_of(names.begin(), names.end(), [&](std::string_view name) {
    return std::any_of(signature.outputs.begin(), signature.outputs.end(),
                       [&](const auto& output) { return output.name == name; });
  });
}

const TensorView* Given(const PredictRequestView& request,
                        std::string_view name) {
  for (const auto& [given, view] : request.inputs) {
    if (given == name) return &view;
  }
  return nullptr;
}

int64_t LastOf(const Tensor& tensor) {
  if (tensor.dtype() == tensorflow::DT_INT64) {
    return tensor.flat<int64_t>()(tensor.NumElements() - 1);
  }
  return tensor.flat<int32_t>()(tensor.NumElements() - 1);
}

// Whether the request may ask for so much; see _check_size in
// nann/serving/signature.py.
bool IsSizeAllowed(const Signature& signature,
                   const PredictRequestView& request,
                   const std::vector<Tensor>& feeds, int64_t num_users,
                   const RequestLimits& limits) {
  if (num_users > limits.max_users) return false;
  const Tensor* widths = nullptr;
  const Tensor* k = nullptr;
  const Tensor* items = nullptr;
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const std::string& name = signature.inputs[i].name;
    if (Given(request, name) == nullptr) continue;
    if (name == "level_topn") widths = &feeds[i];
    if (name == "k") k = &feeds[i];
    if (name == "item_ids") items = &feeds[i];
  }
  const Tensor* const given = widths != nullptr ? widths : k;
  if (given == nullptr || given->NumElements() == 0) {
    return items == nullptr || items->NumElements() <= limits.max_answers;
  }
  if (given->dtype() != tensorflow::DT_INT32 &&
      given->dtype() != tensorflow::DT_INT64) {
    return false;
  }
  const int64_t last = LastOf(*given);
  return last >= 1 && last <= limits.max_answers &&
         num_users * last <= limits.max_answers;
}

void Describe(const Signature& signature, const std::vector<Tensor>& outputs,
              RequestRecord* record) {
  const Tensor& first = outputs.front();
  record->num_users = first.dims() > 0 ? first.dim_size(0) : 1;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const tensorflow::DataType dtype = outputs[i].dtype();
    if (signature.outputs[i].name != kNumScored ||
        (dtype != tensorflow::DT_INT32 && dtype != tensorflow::DT_INT64)) {
      continue;
    }
    for (int64_t j = 0; j < outputs[i].NumElements(); ++j) {
      record->num_scored.push_back(dtype == tensorflow::DT_INT64
                                       ? outputs[i].flat<int64_t>()(j)
                                       : outputs[i].flat<int32_t>()(j));
    }
  }
}

}  // namespace

// A request with the model that will answer it, which stays in memory for it.
class Prediction::Prepared : public PreparedRequest {
 public:
  Prepared(const Prediction* owner, Chosen chosen, std::string name,
           const Signature* signature, std::vector<Tensor> feeds,
           std::vector<bool> is_wanted)
      : owner_(owner),
        chosen_(std::move(chosen)),
        name_(std::move(name)),
        signature_(signature),
        feeds_(std::move(feeds)),
        is_wanted_(std::move(is_wanted)) {}

  Outcome Run(const CallLimit& limit, std::string* response,
              RequestRecord* record) override;

 private:
  const Prediction* const owner_;
  const Chosen chosen_;
  const std::string name_;
  const Signature* const signature_;
  const std::vector<Tensor> feeds_;
  const std::vector<bool> is_wanted_;  // Of each output.
};

Prediction::Prediction(std::string model_name, RequestLimits limits,
                       Admission* admission, RequestLog* log,
                       SetCallLimit set_limit)
    : model_name_(std::move(model_name)),
      limits_(limits),
      admission_(admission),
      log_(log),
      set_limit_(set_limit),
      table_(std::make_shared<VersionTable>()) {}

void Prediction::Serve(VersionTable table) {
  auto made = std::make_shared<const VersionTable>(std::move(table));
  const std::lock_guard<std::mutex> lock(mutex_);
  table_.swap(made);
}

Prediction::Chosen Prediction::Choose(const PredictRequestView& request) const {
  // Held no longer than this: a table keeps its models.
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t version = request.version.value_or(table_->current);
  if (request.label) {
    const auto found = table_->labels.find(*request.label);
    if (found == table_->labels.end()) return {0, nullptr};
    version = found->second;
  }
  const auto found = table_->models.find(version);
  if (found == table_->models.end()) return {0, nullptr};
  return {version, found->second};
}

bool Prediction::Feeds(const Signature& signature,
                       const PredictRequestView& request,
                       std::vector<Tensor>* feeds) const {
  size_t num_given = 0;
  int64_t num_users = -1;
  for (const ServedModel::Input& input : signature.inputs) {
    const TensorView* const view = Given(request, input.name);
    feeds->emplace_back(input.default_value);
    if (view == nullptr) {
      if (!input.has_default) return false;
      continue;
    }
    ++num_given;
    Tensor& tensor = feeds->back();
    if (!ReadTensorValues(*view, &tensor) || tensor.dtype() != input.dtype ||
        !input.shape.IsCompatibleWith(tensor.shape())) {
      return false;
    }
    // The first of two sizes is the number of users.
    if (input.shape.dims() != 2) continue;
    if (num_users >= 0 && tensor.dim_size(0) != num_users) return false;
    num_users = tensor.dim_size(0);
  }
  // Otherwise there is an input that the signature does not have.
  return num_given == request.inputs.size() &&
         IsSizeAllowed(signature, request, *feeds,
                       num_users < 0 ? 1 : num_users, limits_);
}

std::unique_ptr<PreparedRequest> Prediction::Prepare(std::string_view raw) {
  PredictRequestView request;
  if (!ReadPredictRequest(raw, &request) || request.model != model_name_) {
    return nullptr;
  }
  Chosen chosen = Choose(request);
  if (chosen.model == nullptr) return nullptr;
  std::string name(request.signature.empty() ? kDefaultSignature
                                             : request.signature);
  const Signature* const signature = chosen.model->Find(name);
  std::vector<Tensor> feeds;
  if (signature == nullptr || !IsPlain(*signature) ||
      !AreOutputs(*signature, request.outputs) ||
      !Feeds(*signature, request, &feeds)) {
    return nullptr;
  }
  std::vector<bool> is_wanted;
  for (const auto& output : signature->outputs) {
    is_wanted.push_back(IsWanted(request, output.name));
  }
  return std::make_unique<Prepared>(this, std::move(chosen), std::move(name),
                                    signature, std::move(feeds),
                                    std::move(is_wanted));
}

Prediction::Prepared::Outcome Prediction::Prepared::Run(const CallLimit& limit,
                                                        std::string* response,
                                                        RequestRecord* record) {
  record->signature = name_;
  record->version = chosen_.version;
  std::vector<Tensor> outputs;
  owner_->set_limit_(&limit);
  const absl::Status status = chosen_.model->Run(*signature_, feeds_, &outputs);
  owner_->set_limit_(nullptr);
  if (!status.ok()) {
    const bool is_stopped = limit.IsCancelled() || limit.IsPast();
    return is_stopped ? Outcome::kStopped : Outcome::kFailed;
  }
  Describe(*signature_, outputs, record);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!is_wanted_[i]) continue;
    std::string entry, tensor;
    AppendTensor(outputs[i], &tensor);
    AppendBytes(kKey, signature_->outputs[i].name, &entry);
    AppendBytes(kValue, tensor, &entry);
    AppendBytes(kOutputs, entry, response);
  }
  std::string version, spec;
  if (chosen_.version != 0) AppendNumber(1, chosen_.version, &version);
  AppendBytes(kSpecName, owner_->model_name_, &spec);
  AppendBytes(kSpecVersion, version, &spec);
  AppendBytes(kSpecSignature, name_, &spec);
  AppendBytes(kSpec, spec, response);
  return Outcome::kAnswered;
}

}  // namespace nann
