// Requests recorded in a file, as TensorFlow Serving takes them for warm-up: a
// TFRecord of PredictionLog.

#ifndef NANN_BENCHMARK_RECORDED_REQUESTS_H_
#define NANN_BENCHMARK_RECORDED_REQUESTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/serving/served_model.h"

namespace nann {

struct RecordedRequest {
  std::string signature;  // serving_default where the request names none.
  NamedTensors inputs;
};

// Reads all requests of a file, which must all be requests to Predict.
absl::Status ReadRequests(const std::string& path,
                          std::vector<RecordedRequest>* requests);

}  // namespace nann

#endif  // NANN_BENCHMARK_RECORDED_REQUESTS_H_
