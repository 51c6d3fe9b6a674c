#include "benchmark/conf_fields.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/dynamic_message.h"

namespace nann {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::DescriptorProto;
using google::protobuf::DynamicMessageFactory;
using google::protobuf::FieldDescriptor;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorProto;
using google::protobuf::Message;

enum class Kind { kText, kTexts, kPath, kPaths, kNumber, kInteger };

struct Field {
  const char* name;
  Kind kind;
  const char* help;
};

constexpr char kModels[] = "bench_model_config";

constexpr Field kModelFields[] = {
    {"name", Kind::kText, "Of the model, for the report."},
    {"saved_model", Kind::kPath, "Folder of a SavedModel, such as nann/1."},
    {"frozen_graph", Kind::kPath, "Or exec.pb, with assets/ beside it,"},
    {"meta_graph", Kind::kPath, "and its exec.meta.pb."},
    {"signature_key", Kind::kText,
     "Only requests to this signature; default: all, each to its own."},
    {"runmeta", Kind::kPaths,
     "Requests: a TFRecord of PredictionLog. In a file it may be repeated."},
    {"config_proto", Kind::kPath,
     "File of a tensorflow.ConfigProto as text; default: each request is run "
     "by the thread that sends it."},
    {"run_options", Kind::kPath, "File of a tensorflow.RunOptions as text."},
    {"predictor_num", Kind::kInteger,
     "Instances of the model that take turns; default 1."},
    {"devices", Kind::kTexts,
     "Where instances run that the model leaves a choice, in turn, such as "
     "/GPU:1; default: TensorFlow chooses. In a file it may be repeated."},
    {"qps", Kind::kNumber,
     "Requests a second in an open loop; default -1: as fast as possible, in a "
     "closed loop."},
    {"switch_interval", Kind::kNumber,
     "Seconds after which the model is loaded anew and takes over, again and "
     "again; default 0: never."},
};

constexpr Field kFields[] = {
    {"bench_thread_count", Kind::kInteger,
     "Threads that send requests; default 0: one for each processor."},
    {"duration", Kind::kNumber, "Seconds that are measured; default 10."},
    {"warm_up", Kind::kNumber, "Seconds before that do not count; default 2."},
    {"max_queue_size", Kind::kInteger,
     "Requests of an open loop that may wait for a thread; the next is shed; "
     "default 1000."},
    {"arrivals", Kind::kText,
     "Of an open loop: poisson (default) or constant."},
    {"seed", Kind::kInteger, "Of random arrivals; default 0."},
    {"op_library", Kind::kPath,
     "Our TensorFlow ops; default: those of the repository, if they are "
     "built."},
    {"json", Kind::kPath, "A file to write the result to."},
};

void AddFields(const Field* fields, size_t number, DescriptorProto* message) {
  for (size_t i = 0; i < number; ++i) {
    FieldDescriptorProto* field = message->add_field();
    field->set_name(fields[i].name);
    field->set_number(message->field_size());
    const bool is_repeated =
        fields[i].kind == Kind::kPaths || fields[i].kind == Kind::kTexts;
    field->set_label(is_repeated ? FieldDescriptorProto::LABEL_REPEATED
                                 : FieldDescriptorProto::LABEL_OPTIONAL);
    field->set_type(
        fields[i].kind == Kind::kNumber    ? FieldDescriptorProto::TYPE_DOUBLE
        : fields[i].kind == Kind::kInteger ? FieldDescriptorProto::TYPE_INT64
                                           : FieldDescriptorProto::TYPE_STRING);
  }
}

const Descriptor* MakeDescriptor() {
  FileDescriptorProto file;
  file.set_name("benchmark_conf.proto");
  file.set_package("nann");
  DescriptorProto* model = file.add_message_type();
  model->set_name("ModelConf");
  AddFields(kModelFields, std::size(kModelFields), model);
  DescriptorProto* root = file.add_message_type();
  root->set_name("BenchmarkConf");
  AddFields(kFields, std::size(kFields), root);
  FieldDescriptorProto* models = root->add_field();
  models->set_name(kModels);
  models->set_number(root->field_size());
  models->set_label(FieldDescriptorProto::LABEL_REPEATED);
  models->set_type(FieldDescriptorProto::TYPE_MESSAGE);
  models->set_type_name(".nann.ModelConf");
  // Never freed: messages may outlive everything else.
  auto* pool = new DescriptorPool();
  return pool->BuildFile(file)->FindMessageTypeByName("BenchmarkConf");
}

const Descriptor* ConfDescriptor() {
  static const Descriptor* const descriptor = MakeDescriptor();
  return descriptor;
}

// Overwrites a value where the message has the field.
void Get(const Message& message, const char* name, std::string* value) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (message.GetReflection()->HasField(message, field)) {
    *value = message.GetReflection()->GetString(message, field);
  }
}

void Get(const Message& message, const char* name, double* value) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (message.GetReflection()->HasField(message, field)) {
    *value = message.GetReflection()->GetDouble(message, field);
  }
}

void Get(const Message& message, const char* name, int64_t* value) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (message.GetReflection()->HasField(message, field)) {
    *value = message.GetReflection()->GetInt64(message, field);
  }
}

void Get(const Message& message, const char* name,
         std::vector<std::string>* values) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  const auto* reflection = message.GetReflection();
  for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
    values->push_back(reflection->GetRepeatedString(message, field, i));
  }
}

ModelConf ToModel(const Message& message) {
  ModelConf model;
  Get(message, "name", &model.name);
  Get(message, "saved_model", &model.saved_model);
  Get(message, "frozen_graph", &model.frozen_graph);
  Get(message, "meta_graph", &model.meta_graph);
  Get(message, "signature_key", &model.signature_key);
  Get(message, "config_proto", &model.config_proto);
  Get(message, "run_options", &model.run_options);
  Get(message, "predictor_num", &model.predictor_num);
  Get(message, "qps", &model.qps);
  Get(message, "switch_interval", &model.switch_interval);
  Get(message, "runmeta", &model.runmeta);
  Get(message, "devices", &model.devices);
  return model;
}

}  // namespace

std::unique_ptr<Message> NewConfMessage() {
  static auto* const factory = new DynamicMessageFactory();
  return std::unique_ptr<Message>(
      factory->GetPrototype(ConfDescriptor())->New());
}

const FieldDescriptor* ModelsField() {
  return ConfDescriptor()->FindFieldByName(kModels);
}

bool IsPath(const FieldDescriptor& field) {
  const auto is_it = [&field](const Field& known) {
    return known.name == field.name() &&
           (known.kind == Kind::kPath || known.kind == Kind::kPaths);
  };
  return std::any_of(std::begin(kModelFields), std::end(kModelFields), is_it) ||
         std::any_of(std::begin(kFields), std::end(kFields), is_it);
}

BenchmarkConf ToConf(const Message& message) {
  BenchmarkConf conf;
  Get(message, "bench_thread_count", &conf.bench_thread_count);
  Get(message, "duration", &conf.duration);
  Get(message, "warm_up", &conf.warm_up);
  Get(message, "max_queue_size", &conf.max_queue_size);
  Get(message, "arrivals", &conf.arrivals);
  Get(message, "seed", &conf.seed);
  Get(message, "op_library", &conf.op_library);
  Get(message, "json", &conf.json);
  const auto* reflection = message.GetReflection();
  for (int i = 0; i < reflection->FieldSize(message, ModelsField()); ++i) {
    conf.models.push_back(
        ToModel(reflection->GetRepeatedMessage(message, ModelsField(), i)));
  }
  return conf;
}

std::string DescribeFields() {
  std::string text = "Fields of the file, and flags:\n";
  for (const Field& field : kFields) {
    absl::StrAppend(&text, "  ", field.name, "\n      ", field.help, "\n");
  }
  absl::StrAppend(&text, "Fields of each ", kModels,
                  " {...}; as flags they are for all models:\n");
  for (const Field& field : kModelFields) {
    absl::StrAppend(&text, "  ", field.name, "\n      ", field.help, "\n");
  }
  return text;
}

}  // namespace nann
