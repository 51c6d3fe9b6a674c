#include "ops/requests/predict_request.h"

#include <algorithm>

#include "ops/requests/wire.h"

namespace nann {
namespace {

// Sizes and numbers of dimensions that NumPy would take as well.
constexpr uint64_t kMostElements = 1 << 24;
constexpr size_t kMostDimensions = 8;

// Sees to it that a field that may be there once is not there twice: what a
// second one means is a matter of its type.
class Once {
 public:
  bool operator()(int64_t number) {
    if (number < 1 || number >= 64) return false;
    const uint64_t bit = uint64_t{1} << number;
    const bool is_first = (seen_ & bit) == 0;
    seen_ |= bit;
    return is_first;
  }

 private:
  uint64_t seen_ = 0;
};

// Int64Value, of which 0 is not written.
bool ReadInt64(std::string_view raw, int64_t* value) {
  WireReader reader(raw);
  *value = 0;
  while (reader.Next()) {
    if (reader.number() != 1 || reader.is_bytes()) return false;
    *value = static_cast<int64_t>(reader.varint());
  }
  return reader.is_good();
}

bool ReadSpec(std::string_view raw, PredictRequestView* request) {
  WireReader reader(raw);
  Once once;
  while (reader.Next()) {
    if (!reader.is_bytes() || !once(reader.number())) return false;
    int64_t version;
    switch (reader.number()) {
      case 1:
        request->model = reader.bytes();
        break;
      case 2:
        if (!ReadInt64(reader.bytes(), &version)) return false;
        request->version = version;
        break;
      case 3:
        request->signature = reader.bytes();
        break;
      case 4:
        request->label = reader.bytes();
        break;
      default:
        return false;
    }
  }
  // Of a version and a label the later one would count.
  return reader.is_good() && !(request->version && request->label);
}

bool ReadShape(std::string_view raw, std::vector<int64_t>* shape) {
  WireReader reader(raw);
  while (reader.Next()) {
    // Without names of dimensions, and not of unknown rank.
    if (reader.number() != 2 || !reader.is_bytes()) return false;
    WireReader dimension(reader.bytes());
    uint64_t size = 0;
    while (dimension.Next()) {
      if (dimension.number() != 1 || dimension.is_bytes()) return false;
      size = dimension.varint();
    }
    if (!dimension.is_good() || size > kMostElements) return false;
    shape->push_back(static_cast<int64_t>(size));
    if (shape->size() > kMostDimensions) return false;
  }
  return reader.is_good();
}

bool ReadTensor(std::string_view raw, TensorView* tensor) {
  WireReader reader(raw);
  Once once;
  while (reader.Next()) {
    if (!once(reader.number())) return false;
    const bool is_bytes = reader.is_bytes();
    switch (reader.number()) {
      case 1:
        if (is_bytes) return false;
        tensor->dtype = static_cast<int64_t>(reader.varint());
        break;
      case 2:
        if (!is_bytes || !ReadShape(reader.bytes(), &tensor->shape)) {
          return false;
        }
        break;
      case 3:  // The version of the message.
        if (is_bytes) return false;
        break;
      case 4:
        if (!is_bytes) return false;
        tensor->content = reader.bytes();
        break;
      case kFloatValues:
      case kIntValues:
      case kInt64Values:
      case kHalfValues:
        // One field of values, and packed.
        if (!is_bytes || tensor->field != 0) return false;
        tensor->values = reader.bytes();
        tensor->field = reader.number();
        break;
      default:
        return false;
    }
  }
  return reader.is_good();
}

bool ReadInput(std::string_view raw, PredictRequestView* request) {
  WireReader reader(raw);
  Once once;
  std::pair<std::string_view, TensorView> input;
  while (reader.Next()) {
    if (!reader.is_bytes() || !once(reader.number())) return false;
    if (reader.number() == 1) {
      input.first = reader.bytes();
    } else if (reader.number() != 2 ||
               !ReadTensor(reader.bytes(), &input.second)) {
      return false;
    }
  }
  const auto has_same_name = [&](const auto& other) {
    return other.first == input.first;
  };
  // Of two the later one would count.
  if (!reader.is_good() || std::any_of(request->inputs.begin(),
                                       request->inputs.end(), has_same_name)) {
    return false;
  }
  request->inputs.push_back(std::move(input));
  return true;
}

}  // namespace

bool ReadPredictRequest(std::string_view raw, PredictRequestView* request) {
  WireReader reader(raw);
  bool has_spec = false;
  while (reader.Next()) {
    if (!reader.is_bytes()) return false;
    switch (reader.number()) {
      case 1:
        if (has_spec || !ReadSpec(reader.bytes(), request)) return false;
        has_spec = true;
        break;
      case 2:
        if (!ReadInput(reader.bytes(), request)) return false;
        break;
      case 3:
        request->outputs.push_back(reader.bytes());
        break;
      default:
        return false;
    }
  }
  return reader.is_good();
}

}  // namespace nann
