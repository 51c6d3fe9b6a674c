// Any bytes as a PredictRequest: left to Python, or views within the bytes.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ops/requests/predict_request.h"
#include "ops/requests/wire.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view raw(reinterpret_cast<const char*>(data), size);
  nann::PredictRequestView request;
  if (!nann::ReadPredictRequest(raw, &request)) return 0;
  const auto is_within = [&](std::string_view view) {
    return view.empty() || (view.data() >= raw.data() &&
                            view.data() + view.size() <= raw.data() + size);
  };
  Require(is_within(request.model) && is_within(request.signature));
  Require(!(request.label && request.version));
  for (const std::string_view output : request.outputs) {
    Require(is_within(output));
  }
  for (const auto& [name, tensor] : request.inputs) {
    Require(is_within(name) && is_within(tensor.content));
    Require(is_within(tensor.values));
    Require(tensor.shape.size() <= 8);
    for (const int64_t extent : tensor.shape) {
      Require(extent >= 0 && extent <= 1 << 24);
    }
    nann::WireReader reader(tensor.values);
    uint64_t value;
    while (!reader.is_at_end() && reader.ReadVarint(&value)) {
    }
  }
  return 0;
}
