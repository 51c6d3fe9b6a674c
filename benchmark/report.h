// What a load came to, as a table and as JSON.

#ifndef NANN_BENCHMARK_REPORT_H_
#define NANN_BENCHMARK_REPORT_H_

#include <iosfwd>
#include <string>
#include <vector>

#include "benchmark/benchmark_conf.h"
#include "benchmark/load.h"

namespace nann {

// A target with its name and what else is known of it.
struct ReportedModel {
  ModelConf conf;
  TargetResult result;
  int64_t num_requests = 0;  // Different ones.
  int64_t num_switches = 0;
  int64_t num_failed_switches = 0;
};

struct Report {
  std::string command;
  BenchmarkConf conf;
  double seconds = 0.0;
  double processor_seconds = 0.0;
  std::vector<ReportedModel> models;
};

// One line for a second.
void PrintProgress(const Progress& progress, std::ostream& out);

void PrintTable(const Report& report, std::ostream& out);

// {"command", "machine", "versions", "figures"}, as benchmark/harness.py has
// them; figures: one object for each model.
std::string ToJson(const Report& report);

}  // namespace nann

#endif  // NANN_BENCHMARK_REPORT_H_
