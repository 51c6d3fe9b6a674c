// The fields of benchmark_conf as a protobuf message made at run time: the
// Python wheel brings protobuf's reader, but no compiler for .proto files.

#ifndef NANN_BENCHMARK_CONF_FIELDS_H_
#define NANN_BENCHMARK_CONF_FIELDS_H_

#include <memory>

#include "benchmark/benchmark_conf.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace nann {

// An empty benchmark_conf.
std::unique_ptr<google::protobuf::Message> NewConfMessage();

// The field that holds the models.
const google::protobuf::FieldDescriptor* ModelsField();

// Whether a field is the path of something.
bool IsPath(const google::protobuf::FieldDescriptor& field);

// Turns the message into plain data; defaults are those of the structs.
BenchmarkConf ToConf(const google::protobuf::Message& message);

}  // namespace nann

#endif  // NANN_BENCHMARK_CONF_FIELDS_H_
