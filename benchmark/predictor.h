// A model under load: its instances, its requests, and its change of version.

#ifndef NANN_BENCHMARK_PREDICTOR_H_
#define NANN_BENCHMARK_PREDICTOR_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "benchmark/benchmark_conf.h"
#include "benchmark/load.h"
#include "benchmark/recorded_requests.h"
#include "ops/serving/served_model.h"

namespace nann {

class Predictor : public Target {
 public:
  ~Predictor() override;

  // Loads the instances, and has each answer every request once: what fails
  // here would fail under load.
  static absl::Status Create(const ModelConf& conf,
                             std::unique_ptr<Predictor>* predictor);

  // Requests and instances take turns.
  absl::Status Answer(int64_t number, AnswerFacts* facts) override;

  // From now on loads the model anew every `switch_interval` seconds, lets the
  // new instances take over and unloads the old ones.
  void StartSwitching();
  void StopSwitching();

  const ModelConf& conf() const { return conf_; }
  size_t num_requests() const { return requests_.size(); }
  int64_t num_switches() const { return num_switches_; }
  int64_t num_failed_switches() const { return num_failed_switches_; }

 private:
  using Instances = std::vector<std::unique_ptr<ServedModel>>;

  Predictor(const ModelConf& conf, const ModelOptions& options)
      : conf_(conf), options_(options) {}

  absl::Status ReadAllRequests();
  absl::Status Load(std::shared_ptr<Instances>* instances) const;
  absl::Status LoadInstance(int64_t number,
                            std::unique_ptr<ServedModel>* model) const;
  absl::Status Switch();
  std::shared_ptr<Instances> Current();

  const ModelConf conf_;
  const ModelOptions options_;
  std::vector<RecordedRequest> requests_;

  std::mutex mutex_;  // Of what follows.
  std::shared_ptr<Instances> instances_;
  bool is_stopping_ = false;
  std::condition_variable stop_;

  std::thread switching_;
  std::atomic<int64_t> num_switches_{0};
  std::atomic<int64_t> num_failed_switches_{0};
};

}  // namespace nann

#endif  // NANN_BENCHMARK_PREDICTOR_H_
