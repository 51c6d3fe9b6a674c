#include "benchmark/recorded_requests.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/lib/io/record_reader.h"
#include "tensorflow/core/platform/env.h"

namespace nann {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// The wheel has no headers of TensorFlow Serving's protobufs, and of those only
// these fields are needed. Source:
// tensorflow_serving/apis/prediction_log.proto, predict.proto, model.proto.
constexpr int kPredictLog = 6;  // PredictionLog.predict_log
constexpr int kRequest = 1;     // PredictLog.request
constexpr int kModelSpec = 1;   // PredictRequest.model_spec
constexpr int kInputs = 2;      // PredictRequest.inputs, a map
constexpr int kSignature = 3;   // ModelSpec.signature_name
constexpr int kKey = 1;
constexpr int kValue = 2;

constexpr char kDefaultSignature[] = "serving_default";

// Calls `field` with number and content of each field that has a length; passes
// over the others. False where the message is damaged or `field` says so.
bool ForEachField(const std::string& message,
                  const std::function<bool(int, const std::string&)>& field) {
  CodedInputStream stream(reinterpret_cast<const uint8_t*>(message.data()),
                          static_cast<int>(message.size()));
  while (const uint32_t tag = stream.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) !=
        WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&stream, tag)) return false;
      continue;
    }
    uint32_t size;
    std::string content;
    if (!stream.ReadVarint32(&size) ||
        !stream.ReadString(&content, static_cast<int>(size)) ||
        !field(WireFormatLite::GetTagFieldNumber(tag), content)) {
      return false;
    }
  }
  return stream.ConsumedEntireMessage();
}

// Finds the last field of a number, which is the one that counts.
bool FindField(const std::string& message, int number, std::string* content) {
  bool is_there = false;
  const bool is_good =
      ForEachField(message, [&](int found, const std::string& value) {
        if (found == number) {
          *content = value;
          is_there = true;
        }
        return true;
      });
  return is_good && is_there;
}

bool ParseInput(const std::string& entry, NamedTensors* inputs) {
  std::string name, value;
  tensorflow::TensorProto proto;
  tensorflow::Tensor tensor;
  if (!FindField(entry, kKey, &name) || !FindField(entry, kValue, &value) ||
      !proto.ParseFromString(value) || !tensor.FromProto(proto)) {
    return false;
  }
  (*inputs)[name] = std::move(tensor);
  return true;
}

bool ParseRequest(const std::string& record, RecordedRequest* request) {
  std::string log, message;
  if (!FindField(record, kPredictLog, &log) ||
      !FindField(log, kRequest, &message)) {
    return false;
  }
  request->signature = kDefaultSignature;
  return ForEachField(message, [&](int number, const std::string& content) {
    if (number == kModelSpec) {
      std::string signature;
      if (FindField(content, kSignature, &signature) && !signature.empty()) {
        request->signature = signature;
      }
    }
    return number != kInputs || ParseInput(content, &request->inputs);
  });
}

}  // namespace

absl::Status ReadRequests(const std::string& path,
                          std::vector<RecordedRequest>* requests) {
  tensorflow::Env* const env = tensorflow::Env::Default();
  std::unique_ptr<tensorflow::RandomAccessFile> file;
  uint64_t size_bytes;
  TF_RETURN_IF_ERROR(env->NewRandomAccessFile(path, &file));
  TF_RETURN_IF_ERROR(env->GetFileSize(path, &size_bytes));
  tensorflow::io::SequentialRecordReader reader(file.get());
  requests->clear();
  tensorflow::tstring record;
  while (true) {
    const absl::Status status = reader.ReadRecord(&record);
    if (absl::IsOutOfRange(status) && reader.TellOffset() == size_bytes) break;
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ", record ", requests->size(),
                       ", cannot be read: ", status.message()));
    }
    RecordedRequest request;
    if (!ParseRequest(std::string(record), &request)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ", record ", requests->size(),
                       ", is no PredictionLog with a request to Predict"));
    }
    requests->push_back(std::move(request));
  }
  if (!requests->empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, " holds no requests"));
}

}  // namespace nann
