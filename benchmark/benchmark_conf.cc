#include "benchmark/benchmark_conf.h"

#include <memory>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "benchmark/conf_fields.h"
#include "google/protobuf/text_format.h"
#include "tensorflow/core/platform/env.h"

namespace nann {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

// Keeps what the reader of the text format says.
class Errors : public google::protobuf::io::ErrorCollector {
 public:
  void RecordError(int line, int column, absl::string_view message) override {
    if (!first_.empty()) return;
    first_ = line < 0 ? std::string(message)
                      : absl::StrCat("line ", line + 1, ", column ", column + 1,
                                     ": ", message);
  }
  const std::string& first() const { return first_; }

 private:
  std::string first_;
};

std::string FolderOf(const std::string& file) {
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash + 1);
}

// Makes the relative paths of a message relative to a folder.
void Rebase(const std::string& folder, Message* message) {
  const auto* reflection = message->GetReflection();
  const auto rebased = [&](const std::string& path) {
    return path.empty() || path[0] == '/' ? path : folder + path;
  };
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      for (int i = 0; i < reflection->FieldSize(*message, field); ++i) {
        Rebase(folder, reflection->MutableRepeatedMessage(message, field, i));
      }
    } else if (IsPath(*field) && field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(*message, field); ++i) {
        reflection->SetRepeatedString(
            message, field, i,
            rebased(reflection->GetRepeatedString(*message, field, i)));
      }
    } else if (IsPath(*field)) {
      reflection->SetString(message, field,
                            rebased(reflection->GetString(*message, field)));
    }
  }
}

absl::Status ReadFile(const std::string& path, Message* message) {
  std::string text;
  TF_RETURN_IF_ERROR(
      tensorflow::ReadFileToString(tensorflow::Env::Default(), path, &text));
  Errors errors;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  if (!parser.ParseFromString(text, message)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ", ", errors.first()));
  }
  Rebase(FolderOf(path), message);
  return absl::OkStatus();
}

// Sets a field to the text of a flag. A list's former values are dropped.
absl::Status SetField(const FieldDescriptor& field, const std::string& value,
                      Message* message) {
  const bool is_text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
  message->GetReflection()->ClearField(message, &field);
  TextFormat::Parser parser;
  Errors errors;
  parser.RecordErrorsTo(&errors);
  if (parser.ParseFieldValueFromString(
          is_text ? absl::StrCat("\"", absl::CEscape(value), "\"") : value,
          &field, message)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--", field.name(), " is ", value, ": ", errors.first()));
}

absl::Status SetFlag(const std::string& name, const std::string& value,
                     Message* root) {
  const FieldDescriptor* field = root->GetDescriptor()->FindFieldByName(name);
  const FieldDescriptor* models = ModelsField();
  if (field != nullptr && field != models) return SetField(*field, value, root);
  field = models->message_type()->FindFieldByName(name);
  if (field == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " is no flag; see --help"));
  }
  const auto* reflection = root->GetReflection();
  if (reflection->FieldSize(*root, models) == 0) {
    reflection->AddMessage(root, models);
  }
  for (int i = 0; i < reflection->FieldSize(*root, models); ++i) {
    Message* model = reflection->MutableRepeatedMessage(root, models, i);
    TF_RETURN_IF_ERROR(SetField(*field, value, model));
  }
  return absl::OkStatus();
}

absl::Status Wrong(const std::string& name, const std::string& got,
                   const std::string& wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", got, ", wanted ", wanted));
}

absl::Status CheckExists(const std::string& name, const std::string& path) {
  if (tensorflow::Env::Default()->FileExists(path).ok()) {
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat(name, ": ", path, " is not there"));
}

absl::Status CheckModel(const ModelConf& model) {
  if (model.saved_model.empty() == model.frozen_graph.empty()) {
    return absl::InvalidArgumentError(
        "give either saved_model or frozen_graph, the model to run");
  }
  if (model.frozen_graph.empty() != model.meta_graph.empty()) {
    return absl::InvalidArgumentError(
        "frozen_graph and meta_graph (exec.pb and exec.meta.pb) go together");
  }
  if (model.runmeta.empty()) {
    return absl::InvalidArgumentError(
        "runmeta is missing, a file of requests; gen_runmeta.py writes one");
  }
  if (!model.saved_model.empty()) {
    TF_RETURN_IF_ERROR(
        CheckExists("saved_model", model.saved_model + "/saved_model.pb"));
  } else {
    TF_RETURN_IF_ERROR(CheckExists("frozen_graph", model.frozen_graph));
    TF_RETURN_IF_ERROR(CheckExists("meta_graph", model.meta_graph));
  }
  for (const std::string& path : model.runmeta) {
    TF_RETURN_IF_ERROR(CheckExists("runmeta", path));
  }
  for (const std::string& path : {model.config_proto, model.run_options}) {
    if (!path.empty()) TF_RETURN_IF_ERROR(CheckExists("options", path));
  }
  if (model.predictor_num < 1 || model.predictor_num > 1000) {
    return Wrong("predictor_num", absl::StrCat(model.predictor_num),
                 "1 to 1000");
  }
  if (model.qps != -1 && !(model.qps > 0)) {
    return Wrong("qps", absl::StrCat(model.qps),
                 "a number above 0, or -1 for as fast as possible");
  }
  if (!(model.switch_interval >= 0)) {
    return Wrong("switch_interval", absl::StrCat(model.switch_interval),
                 "seconds, or 0 for never");
  }
  return absl::OkStatus();
}

absl::Status Check(const BenchmarkConf& conf) {
  if (conf.models.empty()) {
    return absl::InvalidArgumentError(
        "no model is given: give a benchmark_conf, as gen_benchmark_conf.py "
        "writes it, or --saved_model and --runmeta; see --help");
  }
  for (const ModelConf& model : conf.models) {
    const absl::Status status = CheckModel(model);
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat("model ", model.name,
                                                      ": ", status.message()));
    }
  }
  if (conf.bench_thread_count < 0 || conf.bench_thread_count > 4096) {
    return Wrong("bench_thread_count", absl::StrCat(conf.bench_thread_count),
                 "0 (one for each processor) to 4096");
  }
  if (!(conf.duration > 0 && conf.duration <= 1e6)) {
    return Wrong("duration", absl::StrCat(conf.duration), "seconds above 0");
  }
  if (!(conf.warm_up >= 0 && conf.warm_up <= 1e6)) {
    return Wrong("warm_up", absl::StrCat(conf.warm_up), "seconds");
  }
  if (conf.max_queue_size < 0) {
    return Wrong("max_queue_size", absl::StrCat(conf.max_queue_size),
                 "0 or more");
  }
  if (conf.arrivals != "poisson" && conf.arrivals != "constant") {
    return Wrong("arrivals", conf.arrivals, "poisson or constant");
  }
  if (conf.op_library.empty()) return absl::OkStatus();
  return CheckExists("op_library", conf.op_library);
}

}  // namespace

absl::Status ParseArguments(const std::vector<std::string>& arguments,
                            BenchmarkConf* conf) {
  const std::unique_ptr<Message> root = NewConfMessage();
  bool has_file = false;
  for (const std::string& argument : arguments) {
    if (absl::StartsWith(argument, "--")) continue;
    if (has_file) {
      return absl::InvalidArgumentError(
          absl::StrCat(argument, ": only one benchmark_conf is read"));
    }
    has_file = true;
    TF_RETURN_IF_ERROR(ReadFile(argument, root.get()));
  }
  for (const std::string& argument : arguments) {
    if (!absl::StartsWith(argument, "--")) continue;
    const size_t equals = argument.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat(argument, " has no value; wanted --field=value"));
    }
    TF_RETURN_IF_ERROR(SetFlag(argument.substr(2, equals - 2),
                               argument.substr(equals + 1), root.get()));
  }
  *conf = ToConf(*root);
  TF_RETURN_IF_ERROR(Check(*conf));
  if (conf->bench_thread_count == 0) {
    conf->bench_thread_count =
        std::max<int64_t>(1, std::thread::hardware_concurrency());
  }
  return absl::OkStatus();
}

}  // namespace nann
