#include "benchmark/report.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <iomanip>
#include <ostream>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tensorflow/c/c_api.h"

#ifndef NANN_VERSION
#define NANN_VERSION "unknown"
#endif

namespace nann {
namespace {

constexpr double kMillisecond = 1e6;

// A JSON object, in the order in which its members are added.
class Json {
 public:
  void Add(const std::string& name, const std::string& text) {
    std::string escaped;
    for (const char c : text) {
      if (c == '"' || c == '\\') escaped += '\\';
      if (static_cast<unsigned char>(c) < 0x20) {
        absl::StrAppendFormat(&escaped, "\\u%04x", c);
      } else {
        escaped += c;
      }
    }
    AddRaw(name, absl::StrCat("\"", escaped, "\""));
  }
  void Add(const std::string& name, double number) {
    AddRaw(name, absl::StrFormat("%.9g", number));
  }
  void Add(const std::string& name, int64_t number) {
    AddRaw(name, absl::StrCat(number));
  }
  void Add(const std::string& name, const Json& object) {
    AddRaw(name, object.ToText());
  }
  std::string ToText() const {
    return absl::StrCat("{", absl::StrJoin(members_, ", "), "}");
  }

 private:
  void AddRaw(const std::string& name, const std::string& value) {
    members_.push_back(absl::StrCat("\"", name, "\": ", value));
  }
  std::vector<std::string> members_;
};

std::string Processor() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (absl::StartsWith(line, "model name")) {
      return line.substr(line.find(": ") + 2);
    }
  }
  return "unknown";
}

Json Machine() {
  Json machine;
  utsname name;
  uname(&name);
  const double memory =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  machine.Add("processor", Processor());
  machine.Add("cores", int64_t{std::thread::hardware_concurrency()});
  machine.Add("memory_gb", memory / (1 << 30));
  machine.Add("system", absl::StrCat(name.sysname, "-", name.release));
  return machine;
}

int64_t PeakResidentBytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} << 10;
}

double PerSecond(const Report& report, const TargetResult& result) {
  return report.seconds > 0
             ? static_cast<double>(result.latencies.count()) / report.seconds
             : 0.0;
}

double MeanScored(const AnswerFacts& facts) {
  return static_cast<double>(facts.num_scored) /
         static_cast<double>(facts.num_users);
}

// Of one answer; of all models together.
double ProcessorMs(const Report& report) {
  int64_t answers = 0;
  for (const ReportedModel& model : report.models) {
    answers += model.result.latencies.count() + model.result.num_errors;
  }
  return answers == 0 ? 0.0 : 1e3 * report.processor_seconds / answers;
}

// Name and value of each latency, in milliseconds.
std::vector<std::pair<std::string, double>> Latencies(const Histogram& times) {
  return {{"mean_ms", times.mean() / kMillisecond},
          {"p50_ms", times.Percentile(50) / kMillisecond},
          {"p90_ms", times.Percentile(90) / kMillisecond},
          {"p99_ms", times.Percentile(99) / kMillisecond},
          {"p99_9_ms", times.Percentile(99.9) / kMillisecond},
          {"max_ms", times.max() / kMillisecond}};
}

Json Figures(const Report& report, const ReportedModel& model) {
  const TargetResult& result = model.result;
  Json figures;
  figures.Add("qps_asked", model.conf.qps);
  figures.Add("answers_per_s", PerSecond(report, result));
  figures.Add("answers", result.latencies.count());
  figures.Add("errors", result.num_errors);
  figures.Add("shed", result.num_shed);
  for (const auto& [name, value] : Latencies(result.latencies)) {
    figures.Add(name, value);
  }
  if (result.facts.num_users > 0) {
    figures.Add("num_scored", MeanScored(result.facts));
  }
  figures.Add("requests", model.num_requests);
  figures.Add("switches", model.num_switches);
  figures.Add("failed_switches", model.num_failed_switches);
  if (!result.first_error.empty()) {
    figures.Add("first_error", result.first_error);
  }
  return figures;
}

std::string NameOf(const ReportedModel& model, size_t place) {
  return model.conf.name.empty() ? absl::StrCat("model_", place)
                                 : model.conf.name;
}

}  // namespace

void PrintProgress(const Progress& progress, std::ostream& out) {
  out << absl::StreamFormat(
      "%4d s %s %9.0f answers/s   p50 %8.3f ms   p99 %8.3f ms   %d errors\n",
      progress.now / kSecond, progress.is_warm_up ? "(warm-up)" : "         ",
      static_cast<double>(progress.latencies.count()),
      progress.latencies.Percentile(50) / kMillisecond,
      progress.latencies.Percentile(99) / kMillisecond, progress.num_errors);
  out.flush();
}

void PrintTable(const Report& report, std::ostream& out) {
  const auto line = [&out](const std::string& name, const std::string& value) {
    out << "  " << std::left << std::setw(24) << name << value << "\n";
  };
  for (size_t i = 0; i < report.models.size(); ++i) {
    const ReportedModel& model = report.models[i];
    const TargetResult& result = model.result;
    out << NameOf(model, i) << ", "
        << (model.conf.qps < 0
                ? std::string("closed loop")
                : absl::StrCat("open loop, ", report.conf.arrivals, ", ",
                               model.conf.qps, " requests/s asked"))
        << "\n";
    line("answers/s", absl::StrFormat("%.1f", PerSecond(report, result)));
    for (const auto& [name, value] : Latencies(result.latencies)) {
      line(name, absl::StrFormat("%.3f", value));
    }
    line("answers", absl::StrCat(result.latencies.count()));
    line("errors", absl::StrCat(result.num_errors));
    line("shed", absl::StrCat(result.num_shed));
    if (result.facts.num_users > 0) {
      line("items scored", absl::StrFormat("%.1f", MeanScored(result.facts)));
    }
    if (model.conf.switch_interval > 0) {
      line("switches", absl::StrCat(model.num_switches, ", failed ",
                                    model.num_failed_switches));
    }
    if (!result.first_error.empty()) line("first error", result.first_error);
  }
  out << "all\n";
  line("seconds", absl::StrFormat("%.2f", report.seconds));
  line("threads", absl::StrCat(report.conf.bench_thread_count));
  line("processor ms a request", absl::StrFormat("%.4f", ProcessorMs(report)));
  line("peak resident MB",
       absl::StrFormat("%.1f", static_cast<double>(PeakResidentBytes()) / 1e6));
}

std::string ToJson(const Report& report) {
  Json versions, figures, models, all;
  versions.Add("nann", std::string(NANN_VERSION));
  versions.Add("tensorflow", std::string(TF_Version()));
  for (size_t i = 0; i < report.models.size(); ++i) {
    models.Add(NameOf(report.models[i], i), Figures(report, report.models[i]));
  }
  figures.Add("threads", report.conf.bench_thread_count);
  figures.Add("arrivals", report.conf.arrivals);
  figures.Add("seconds", report.seconds);
  figures.Add("processor_ms_per_request", ProcessorMs(report));
  figures.Add("peak_rss_mb", static_cast<double>(PeakResidentBytes()) / 1e6);
  figures.Add("models", models);
  all.Add("command", report.command);
  all.Add("machine", Machine());
  all.Add("versions", versions);
  all.Add("figures", figures);
  return all.ToText() + "\n";
}

}  // namespace nann
