// Answers requests to Predict with the versions that Python has loaded: the
// usual request, from bytes to bytes, without Python. An equal and faster way
// beside the predictor of Python (nann/serving/predictor.py), which gets
// whatever is unusual or wrong.

#ifndef NANN_OPS_SERVING_PREDICTION_H_
#define NANN_OPS_SERVING_PREDICTION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/requests/predict_request.h"
#include "ops/requests/predict_service.h"
#include "ops/serving/served_model.h"

namespace nann {

// The function NannSetCallLimit of the op library.
using SetCallLimit = void (*)(const CallLimit*);

// Which versions answer.
struct VersionTable {
  std::map<int64_t, std::shared_ptr<const ServedModel>> models;
  int64_t current = 0;
  std::map<std::string, int64_t, std::less<>> labels;
};

// What one request may ask for, as in nann/serving/signature.py.
struct RequestLimits {
  int64_t max_users;
  int64_t max_answers;
};

class Prediction : public PredictService {
 public:
  // Both references outlive this.
  Prediction(std::string model_name, RequestLimits limits, Admission* admission,
             RequestLog* log, SetCallLimit set_limit);

  // Answers with these versions from now on.
  void Serve(VersionTable table);

  Admission& admission() override { return *admission_; }
  std::unique_ptr<PreparedRequest> Prepare(std::string_view raw) override;
  void Note(RequestRecord record) override { log_->Add(std::move(record)); }

 private:
  class Prepared;

  struct Chosen {
    int64_t version;
    std::shared_ptr<const ServedModel> model;
  };

  // Null: not loaded, or not known.
  Chosen Choose(const PredictRequestView& request) const;

  // Checks the inputs as Signature.feeds of Python does. False: not as wanted.
  bool Feeds(const ServedModel::Signature& signature,
             const PredictRequestView& request,
             std::vector<tensorflow::Tensor>* feeds) const;

  const std::string model_name_;
  const RequestLimits limits_;
  Admission* const admission_;
  RequestLog* const log_;
  const SetCallLimit set_limit_;
  mutable std::mutex mutex_;
  std::shared_ptr<const VersionTable> table_;
};

}  // namespace nann

#endif  // NANN_OPS_SERVING_PREDICTION_H_
