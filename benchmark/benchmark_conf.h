// What nann_benchmark is to do: a file, flags, or both.
//
// The file is protobuf's text format, as documented for the original's tool: a
// format with comments, whose reader names line and field of what is wrong,
// and which TensorFlow's libraries bring along. Every field is a flag as well.

#ifndef NANN_BENCHMARK_BENCHMARK_CONF_H_
#define NANN_BENCHMARK_BENCHMARK_CONF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace nann {

struct ModelConf {
  std::string name;
  // One of the two.
  std::string saved_model;
  std::string frozen_graph, meta_graph;

  std::string signature_key;         // "": that of each request.
  std::vector<std::string> runmeta;  // Files of requests.
  std::string config_proto, run_options;
  int64_t predictor_num = 1;
  std::vector<std::string> devices;  // Of instances, in turn; or none.
  double qps = -1.0;
  double switch_interval = 0.0;  // Seconds; 0: never.
};

struct BenchmarkConf {
  std::vector<ModelConf> models;
  int64_t bench_thread_count = 0;  // 0: one for each processor.
  double duration = 10.0;          // Seconds.
  double warm_up = 2.0;            // Seconds before that do not count.
  int64_t max_queue_size = 1000;
  std::string arrivals = "poisson";
  int64_t seed = 0;
  std::string op_library;
  std::string json;
};

// Reads `[FILE] [--field=value ...]`. A flag takes precedence over the file;
// one that describes a model is for all of them. Paths in the file are relative
// to its folder.
absl::Status ParseArguments(const std::vector<std::string>& arguments,
                            BenchmarkConf* conf);

// Every field with what it means.
std::string DescribeFields();

}  // namespace nann

#endif  // NANN_BENCHMARK_BENCHMARK_CONF_H_
