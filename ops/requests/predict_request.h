// A PredictRequest of TensorFlow Serving, looked at where it lies. Whatever is
// unusual about one is not read here: the caller passes it on to the predictor
// of Python, which reads everything, and says what is wrong. Standard library
// only.

#ifndef NANN_OPS_REQUESTS_PREDICT_REQUEST_H_
#define NANN_OPS_REQUESTS_PREDICT_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace nann {

// A TensorProto.
struct TensorView {
  int64_t dtype = 0;
  std::vector<int64_t> shape;
  // Raw values, or else `values`: the packed ones of the field `field`.
  std::string_view content;
  std::string_view values;
  int64_t field = 0;
};

struct PredictRequestView {
  std::string_view model;
  std::string_view signature;
  std::optional<int64_t> version;
  std::optional<std::string_view> label;
  std::vector<std::pair<std::string_view, TensorView>> inputs;
  std::vector<std::string_view> outputs;  // The output filter.
};

// Fields of a TensorProto that hold values.
constexpr int kFloatValues = 5;
constexpr int kIntValues = 7;
constexpr int kInt64Values = 10;
constexpr int kHalfValues = 13;

// False: damaged, or unusual. The views point into `raw`.
bool ReadPredictRequest(std::string_view raw, PredictRequestView* request);

}  // namespace nann

#endif  // NANN_OPS_REQUESTS_PREDICT_REQUEST_H_
