#include "benchmark/predictor.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/env.h"

namespace nann {
namespace {

// The output that tells how many items were scored, for each user.
constexpr char kNumScored[] = "num_scored";

absl::Status Prefixed(const absl::Status& status, const std::string& text) {
  return absl::Status(status.code(), absl::StrCat(text, status.message()));
}

absl::Status ReadOptions(const ModelConf& conf, ModelOptions* options) {
  tensorflow::Env* const env = tensorflow::Env::Default();
  *options = ThreadOfRequest();
  if (!conf.config_proto.empty()) {
    TF_RETURN_IF_ERROR(tensorflow::ReadTextProto(env, conf.config_proto,
                                                 &options->session.config));
  }
  if (conf.run_options.empty()) return absl::OkStatus();
  return tensorflow::ReadTextProto(env, conf.run_options, &options->run);
}

}  // namespace

Predictor::~Predictor() { StopSwitching(); }

absl::Status Predictor::Create(const ModelConf& conf,
                               std::unique_ptr<Predictor>* predictor) {
  ModelOptions options;
  TF_RETURN_IF_ERROR(ReadOptions(conf, &options));
  predictor->reset(new Predictor(conf, options));
  TF_RETURN_IF_ERROR((*predictor)->ReadAllRequests());
  return (*predictor)->Load(&(*predictor)->instances_);
}

absl::Status Predictor::ReadAllRequests() {
  for (const std::string& path : conf_.runmeta) {
    std::vector<RecordedRequest> found;
    TF_RETURN_IF_ERROR(ReadRequests(path, &found));
    for (RecordedRequest& request : found) {
      if (!conf_.signature_key.empty() &&
          request.signature != conf_.signature_key) {
        continue;
      }
      requests_.push_back(std::move(request));
    }
  }
  if (!requests_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("no request of ", conf_.runmeta[0], " is to signature_key ",
                   conf_.signature_key));
}

absl::Status Predictor::Load(std::shared_ptr<Instances>* instances) const {
  auto loaded = std::make_shared<Instances>();
  for (int64_t number = 0; number < conf_.predictor_num; ++number) {
    std::unique_ptr<ServedModel>& model = loaded->emplace_back();
    TF_RETURN_IF_ERROR(LoadInstance(number, &model));
    for (size_t i = 0; i < requests_.size(); ++i) {
      NamedTensors outputs;
      const absl::Status status =
          model->Answer(requests_[i].signature, requests_[i].inputs, &outputs);
      if (!status.ok()) {
        return Prefixed(status, absl::StrCat("request ", i, ": "));
      }
    }
  }
  *instances = std::move(loaded);
  return absl::OkStatus();
}

absl::Status Predictor::LoadInstance(
    int64_t number, std::unique_ptr<ServedModel>* model) const {
  ModelOptions options = options_;
  if (!conf_.devices.empty()) {
    options.device = conf_.devices[number % conf_.devices.size()];
  }
  const absl::Status status =
      conf_.saved_model.empty()
          ? ServedModel::FromGraph(conf_.frozen_graph, conf_.meta_graph,
                                   options, model)
          : ServedModel::FromSavedModel(conf_.saved_model, options, model);
  if (options.device.empty() || status.ok()) return status;
  return Prefixed(status, absl::StrCat("devices: ", options.device, ": "));
}

std::shared_ptr<Predictor::Instances> Predictor::Current() {
  std::lock_guard<std::mutex> lock(mutex_);
  return instances_;
}

absl::Status Predictor::Answer(int64_t number, AnswerFacts* facts) {
  const std::shared_ptr<Instances> instances = Current();
  const RecordedRequest& request = requests_[number % requests_.size()];
  NamedTensors outputs;
  TF_RETURN_IF_ERROR((*instances)[number % instances->size()]->Answer(
      request.signature, request.inputs, &outputs));
  const auto found = outputs.find(kNumScored);
  if (found == outputs.end() || found->second.dtype() != tensorflow::DT_INT32) {
    return absl::OkStatus();
  }
  const auto num_scored = found->second.flat<int32_t>();
  facts->num_users = num_scored.size();
  for (int64_t i = 0; i < num_scored.size(); ++i) {
    facts->num_scored += num_scored(i);
  }
  return absl::OkStatus();
}

void Predictor::StartSwitching() {
  if (conf_.switch_interval == 0) return;
  switching_ = std::thread([this] {
    const std::chrono::duration<double> interval(conf_.switch_interval);
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stop_.wait_for(lock, interval, [this] { return is_stopping_; })) {
      lock.unlock();
      ++(Switch().ok() ? num_switches_ : num_failed_switches_);
      lock.lock();
    }
  });
}

absl::Status Predictor::Switch() {
  std::shared_ptr<Instances> next;
  TF_RETURN_IF_ERROR(Load(&next));
  {
    std::lock_guard<std::mutex> lock(mutex_);
    std::swap(instances_, next);
  }
  // Not by the request that happens to be the last one to use them.
  while (next.use_count() > 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return absl::OkStatus();
}

void Predictor::StopSwitching() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    is_stopping_ = true;
  }
  stop_.notify_all();
  if (switching_.joinable()) switching_.join();
}

}  // namespace nann
