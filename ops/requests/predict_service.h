// Between a server of gRPC (ops/front) and the models (ops/serving): the two
// are compiled apart, because the headers of gRPC and those of TensorFlow
// bring different versions of the same libraries. Standard library only.

#ifndef NANN_OPS_REQUESTS_PREDICT_SERVICE_H_
#define NANN_OPS_REQUESTS_PREDICT_SERVICE_H_

#include <memory>
#include <string>
#include <string_view>

#include "ops/core/call_limit.h"
#include "ops/requests/admission.h"
#include "ops/requests/request_log.h"

namespace nann {

// A request that can be answered here.
class PreparedRequest {
 public:
  enum class Outcome {
    kAnswered,
    // The limit ended the run.
    kStopped,
    // The run failed: the predictor of Python finds out why, and says it.
    kFailed,
  };

  virtual ~PreparedRequest() = default;

  // Runs it in this thread. `response`: a PredictResponse. Fills in what the
  // record says of the model.
  virtual Outcome Run(const CallLimit& limit, std::string* response,
                      RequestRecord* record) = 0;
};

class PredictService {
 public:
  virtual ~PredictService() = default;

  // The limits of all requests, whoever answers them.
  virtual Admission& admission() = 0;

  // Reads a PredictRequest. Null: not one that is answered here; the predictor
  // of Python knows what to do, or to say.
  virtual std::unique_ptr<PreparedRequest> Prepare(std::string_view raw) = 0;

  // Keeps what became of a request that was not passed on to Python.
  virtual void Note(RequestRecord record) = 0;
};

}  // namespace nann

#endif  // NANN_OPS_REQUESTS_PREDICT_SERVICE_H_
