// A request that is read, and what is left to Python. Whole requests, as
// clients write them, come from Python (tests/nann/serving/front_test.py).

#include "ops/requests/predict_request.h"

#include <cstdint>
#include <string>
#include <vector>

#include "ops/requests/wire.h"
#include "tests/ops/core/testing.h"

namespace nann {
namespace {

std::string Bytes(int number, const std::string& value) {
  std::string out;
  AppendBytes(number, value, &out);
  return out;
}

std::string Number(int number, uint64_t value) {
  std::string out;
  AppendNumber(number, value, &out);
  return out;
}

std::string Tensor() {
  const std::string shape = Bytes(2, Number(1, 1)) + Bytes(2, Number(1, 300));
  return Number(1, 9) + Bytes(2, shape) + Bytes(4, "content");
}

std::string Input(const std::string& name, const std::string& tensor) {
  return Bytes(2, Bytes(1, name) + Bytes(2, tensor));
}

std::string Spec() {
  return Bytes(1, "nann") + Bytes(2, Number(1, 7)) + Bytes(3, "retrieve");
}

bool IsRead(const std::string& raw) {
  PredictRequestView request;
  return ReadPredictRequest(raw, &request);
}

TEST(WholeRequestIsRead) {
  PredictRequestView request;
  const std::string raw = Bytes(1, Spec()) + Input("history", Tensor()) +
                          Bytes(3, "scores") + Bytes(3, "item_ids");
  CHECK(ReadPredictRequest(raw, &request));
  CHECK(request.model == "nann");
  CHECK(request.signature == "retrieve");
  CHECK(request.version.has_value());
  CHECK_EQ(*request.version, 7);
  CHECK(!request.label.has_value());
  CHECK_EQ(request.outputs.size(), size_t{2});
  CHECK_EQ(request.inputs.size(), size_t{1});
  CHECK(request.inputs[0].first == "history");
  const TensorView& tensor = request.inputs[0].second;
  CHECK_EQ(tensor.dtype, 9);
  CHECK_EQ(tensor.shape, (std::vector<int64_t>{1, 300}));
  CHECK(tensor.content == "content");
  CHECK_EQ(tensor.field, 0);
}

TEST(PrefixesAreRefusedUnlessTheyAreWhole) {
  const std::string whole = Bytes(1, Spec()) + Input("history", Tensor());
  const size_t spec_size = Bytes(1, Spec()).size();
  for (size_t size = 0; size <= whole.size(); ++size) {
    const bool is_whole =
        size == 0 || size == spec_size || size == whole.size();
    CHECK_EQ(IsRead(whole.substr(0, size)), is_whole);
  }
}

TEST(UnusualRequestsAreLeftToPython) {
  const std::string input = Input("history", Tensor());
  CHECK(IsRead(input));
  // Twice the same, where the last one would count, or both.
  CHECK(!IsRead(input + input));
  CHECK(!IsRead(Bytes(1, Spec()) + Bytes(1, Spec())));
  CHECK(!IsRead(Bytes(1, Bytes(1, "a") + Bytes(1, "b"))));
  CHECK(!IsRead(Input("history", Tensor() + Bytes(4, "content"))));
  CHECK(!IsRead(Bytes(1, Spec() + Bytes(4, "label"))));
  // Fields that are not known, or of another type.
  CHECK(!IsRead(Bytes(9, "")));
  CHECK(!IsRead(Number(1, 1)));
  CHECK(!IsRead(Input("history", Bytes(8, "text"))));
  CHECK(!IsRead(Input("history", Number(10, 5))));
  // Shapes that are too large, or not known.
  CHECK(IsRead(Input("x", Bytes(2, Bytes(2, Number(1, 1 << 24))))));
  CHECK(!IsRead(Input("x", Bytes(2, Bytes(2, Number(1, (1 << 24) + 1))))));
  CHECK(!IsRead(Input("x", Bytes(2, Bytes(2, Number(1, UINT64_MAX))))));
  CHECK(!IsRead(Input("x", Bytes(2, Number(3, 1)))));
  std::string nine;
  for (int i = 0; i < 9; ++i) nine += Bytes(2, Number(1, 1));
  CHECK(!IsRead(Input("x", Bytes(2, nine))));
}

TEST(VarintsKeepAllBits) {
  for (const uint64_t value : {uint64_t{0}, uint64_t{127}, uint64_t{128},
                               uint64_t{1} << 63, UINT64_MAX}) {
    std::string raw;
    AppendVarint(value, &raw);
    uint64_t found;
    WireReader reader(raw);
    CHECK(reader.ReadVarint(&found));
    CHECK_EQ(found, value);
    CHECK(reader.is_good());
  }
  uint64_t found;
  CHECK(!WireReader(std::string_view("\xff", 1)).ReadVarint(&found));
  const std::string too_long(10, '\xff');
  CHECK(!WireReader(too_long).ReadVarint(&found));
}

}  // namespace
}  // namespace nann
