// Puts exported models under load in TensorFlow's C++ runtime.
//
//   nann_benchmark benchmark_conf [--field=value ...]
//   nann_benchmark --saved_model=nann/1 --runmeta=requests.tfrecords ...
//
// Exit status: 0: all was answered; 1: there were errors; 2: wrong input.

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "benchmark/benchmark_conf.h"
#include "benchmark/load.h"
#include "benchmark/predictor.h"
#include "benchmark/report.h"
#include "tensorflow/core/platform/env.h"

#ifndef NANN_OPS_LIBRARY
#define NANN_OPS_LIBRARY ""
#endif

namespace {

constexpr int kAnswered = 0, kErrors = 1, kWrongInput = 2;

absl::Status LoadOps(const nann::BenchmarkConf& conf) {
  if (!conf.op_library.empty()) return nann::LoadOps(conf.op_library);
  // A graph of stock ops does without; any other says what it misses.
  const std::string built = NANN_OPS_LIBRARY;
  if (!tensorflow::Env::Default()->FileExists(built).ok()) {
    return absl::OkStatus();
  }
  return nann::LoadOps(built);
}

absl::Status Create(const nann::BenchmarkConf& conf,
                    std::vector<std::unique_ptr<nann::Predictor>>* predictors) {
  TF_RETURN_IF_ERROR(LoadOps(conf));
  for (const nann::ModelConf& model : conf.models) {
    predictors->emplace_back();
    const absl::Status status =
        nann::Predictor::Create(model, &predictors->back());
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat("model ", model.name,
                                                      ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

nann::LoadOptions OptionsOf(const nann::BenchmarkConf& conf) {
  const auto to_nanos = [](double seconds) {
    return static_cast<nann::Nanos>(seconds * nann::kSecond);
  };
  nann::LoadOptions options;
  for (const nann::ModelConf& model : conf.models) {
    options.schedule.qps.push_back(model.qps);
  }
  options.schedule.arrivals = conf.arrivals == "constant"
                                  ? nann::Arrivals::kConstant
                                  : nann::Arrivals::kPoisson;
  options.schedule.max_queue_size = conf.max_queue_size;
  options.schedule.measured_from = to_nanos(conf.warm_up);
  options.schedule.end = to_nanos(conf.warm_up + conf.duration);
  options.schedule.seed = static_cast<uint64_t>(conf.seed);
  options.num_threads = static_cast<int>(conf.bench_thread_count);
  return options;
}

nann::Report Run(
    const nann::BenchmarkConf& conf,
    const std::vector<std::unique_ptr<nann::Predictor>>& predictors) {
  std::vector<nann::Target*> targets;
  for (const auto& predictor : predictors) {
    targets.push_back(predictor.get());
    predictor->StartSwitching();
  }
  const nann::LoadResult result = nann::RunLoad(
      OptionsOf(conf), targets,
      [](const nann::Progress& done) { nann::PrintProgress(done, std::cout); });
  nann::Report report;
  report.conf = conf;
  report.seconds = result.seconds;
  report.processor_seconds = result.processor_seconds;
  for (size_t i = 0; i < predictors.size(); ++i) {
    predictors[i]->StopSwitching();
    report.models.push_back(
        {predictors[i]->conf(), result.targets[i],
         static_cast<int64_t>(predictors[i]->num_requests()),
         predictors[i]->num_switches(), predictors[i]->num_failed_switches()});
  }
  return report;
}

int Fail(const char* program, const absl::Status& status) {
  std::cerr << program << ": " << status.message() << "\n";
  return kWrongInput;
}

}  // namespace

int main(int argc, char** argv) {
  // TensorFlow's notes about itself would bury the report.
  setenv("TF_CPP_MIN_LOG_LEVEL", "2", /*replace=*/0);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h") {
      std::cout << "usage: " << argv[0]
                << " [benchmark_conf] [--field=value ...]\n\n"
                << nann::DescribeFields()
                << "\nA server is asked by benchmark/grpc_load.py --grpc "
                   "host:port.\n";
      return kAnswered;
    }
    if (absl::StartsWith(argument, "--grpc")) {
      return Fail(argv[0],
                  absl::InvalidArgumentError(
                      "a server is asked by a program of its own: python "
                      "benchmark/grpc_load.py --grpc host:port"));
    }
  }
  nann::BenchmarkConf conf;
  absl::Status status = nann::ParseArguments(arguments, &conf);
  std::vector<std::unique_ptr<nann::Predictor>> predictors;
  if (status.ok()) status = Create(conf, &predictors);
  if (!status.ok()) return Fail(argv[0], status);
  nann::Report report = Run(conf, predictors);
  report.command = absl::StrCat(argv[0], " ", absl::StrJoin(arguments, " "));
  nann::PrintTable(report, std::cout);
  if (!conf.json.empty()) {
    status = tensorflow::WriteStringToFile(tensorflow::Env::Default(),
                                           conf.json, nann::ToJson(report));
    if (!status.ok()) return Fail(argv[0], status);
  }
  for (const nann::ReportedModel& model : report.models) {
    if (model.result.num_errors + model.num_failed_switches > 0) return kErrors;
  }
  return kAnswered;
}
