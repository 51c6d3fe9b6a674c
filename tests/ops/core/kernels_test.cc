// The kernels of every instruction set against plain loops, on memory that ends
// where the arrays end.

#include "ops/core/kernels/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "ops/core/pair_scorer.h"
#include "tests/ops/core/kernel_inputs.h"
#include "tests/ops/core/random_world.h"
#include "tests/ops/core/testing.h"

namespace nann {
namespace {

using testing::Below;
using testing::Eighths;
using testing::EveryKernel;
using testing::Halves;
using testing::Random;

std::vector<float> WholeNumbers(int64_t size, Random* random) {
  std::vector<float> numbers(size);
  for (float& number : numbers) {
    number = static_cast<float>(Below(19, random) - 9);
  }
  return numbers;
}

TEST(MetricsOfEveryInstructionSetAreExact) {
  Random random(1);
  for (int64_t d = 0; d < 70; ++d) {
    const std::vector<float> query = WholeNumbers(d, &random);
    const std::vector<float> table = WholeNumbers(5 * d, &random);
    const std::vector<int32_t> rows = {4, 0, 2, 2};
    std::vector<float> wanted_l2(4), wanted_ip(4);
    for (int64_t r = 0; r < 4; ++r) {
      for (int64_t j = 0; j < d; ++j) {
        const float a = query[j], b = table[rows[r] * d + j];
        wanted_l2[r] -= (a - b) * (a - b);
        wanted_ip[r] += a * b;
      }
    }
    for (const Kernels* kernels : EveryKernel()) {
      std::vector<float> l2(4), ip(4);
      kernels->score_l2(query.data(), table.data(), d, rows.data(), 4,
                        l2.data());
      kernels->score_ip(query.data(), table.data(), d, rows.data(), 4,
                        ip.data());
      CHECK_EQ(l2, wanted_l2);
      CHECK_EQ(ip, wanted_ip);
    }
  }
}

TEST(CodesOfEveryInstructionSetAreExact) {
  Random random(2);
  for (int64_t stride = 64; stride <= 192; stride += 64) {
    // The largest codes as well: sums of two of their squares just fit.
    const bool is_extreme = stride == 128;
    std::vector<uint8_t> query(stride), codes(3 * stride);
    std::vector<int8_t> direction(stride);
    for (int64_t j = 0; j < stride; ++j) {
      query[j] = is_extreme ? 0 : static_cast<uint8_t>(Below(128, &random));
      direction[j] =
          static_cast<int8_t>(is_extreme ? -127 : Below(255, &random) - 127);
    }
    for (uint8_t& code : codes) {
      code = is_extreme ? 127 : static_cast<uint8_t>(Below(128, &random));
    }
    const std::vector<int32_t> rows = {2, 0};
    std::vector<float> wanted_l2(2), wanted_ip(2);
    for (int64_t r = 0; r < 2; ++r) {
      for (int64_t j = 0; j < stride; ++j) {
        const int code = codes[rows[r] * stride + j];
        const int apart = query[j] - code;
        wanted_l2[r] -= static_cast<float>(apart * apart);
        wanted_ip[r] += static_cast<float>(direction[j] * code);
      }
    }
    for (const Kernels* kernels : EveryKernel()) {
      std::vector<float> l2(2), ip(2);
      kernels->score_codes_l2(query.data(), codes.data(), stride, rows.data(),
                              2, l2.data());
      kernels->score_codes_ip(direction.data(), codes.data(), stride,
                              rows.data(), 2, ip.data());
      CHECK_EQ(l2, wanted_l2);
      CHECK_EQ(ip, wanted_ip);
    }
  }
}

// A pair scorer with its arrays.
struct Pairs {
  PairModel model;
  PairItems items;
  std::vector<std::vector<float>> owned;
  std::vector<float> query, hidden;

  const float* Own(std::vector<float> values) {
    owned.push_back(std::move(values));
    return owned.back().data();
  }
};

Pairs MakePairs(Random* random) {
  Pairs pairs;
  PairModel& model = pairs.model;
  const auto some = [&](int64_t size) {
    return pairs.Own(Eighths(size, random));
  };
  model.query_width = kPairLanes * Below(3, random);
  model.width = kPairLanes * (1 + Below(4, random));
  if (model.query_width > 0) {
    model.length = 1 + Below(40, random);
    model.padded_length =
        (model.length + kPairLanes - 1) / kPairLanes * kPairLanes;
    model.key_stride = model.padded_length + kPairLanes * Below(2, random);
    model.keys = some(model.query_width * model.key_stride);
    std::vector<float> bias = Eighths(model.padded_length, random);
    std::fill(bias.begin() + model.length, bias.end(), -1e9f);
    model.key_bias = pairs.Own(bias);
    model.values = some(model.length * model.width);
  }
  if (Below(2, random) == 0) model.user_hidden = some(model.width);
  int64_t inputs = model.width;
  for (int64_t i = Below(3, random); i > 0; --i) {
    const int64_t outputs = kPairLanes * (1 + Below(5, random));
    model.layers.push_back(
        {some(inputs), some(inputs * outputs), some(outputs), inputs, outputs});
    inputs = outputs;
  }
  model.last_slope = some(inputs);
  model.out = some(inputs);
  pairs.items.n = 1 + Below(2 * kPairBlock + 2, random);
  pairs.query = Eighths(pairs.items.n * model.query_width, random);
  pairs.hidden = Eighths(pairs.items.n * model.width, random);
  return pairs;
}

std::vector<double> PRelu(std::vector<double> x, const float* slope) {
  for (size_t i = 0; i < x.size(); ++i) x[i] *= x[i] > 0 ? 1 : slope[i];
  return x;
}

double ScoreOne(const Pairs& pairs, int64_t item) {
  const PairModel& model = pairs.model;
  std::vector<double> x(pairs.hidden.begin() + item * model.width,
                        pairs.hidden.begin() + (item + 1) * model.width);
  std::vector<double> weights(model.length);
  double sum = 0;
  for (int64_t p = 0; p < model.length; ++p) {
    double logit = model.key_bias[p];
    for (int64_t j = 0; j < model.query_width; ++j) {
      logit += pairs.query[item * model.query_width + j] *
               model.keys[j * model.key_stride + p];
    }
    weights[p] = std::exp(logit);
    sum += weights[p];
  }
  for (int64_t j = 0; j < model.width; ++j) {
    if (model.user_hidden != nullptr) x[j] += model.user_hidden[j];
    for (int64_t p = 0; p < model.length; ++p) {
      x[j] += weights[p] / sum * model.values[p * model.width + j];
    }
  }
  for (const PairLayer& layer : model.layers) {
    x = PRelu(x, layer.slope);
    std::vector<double> y(layer.bias, layer.bias + layer.outputs);
    for (int64_t i = 0; i < layer.inputs; ++i) {
      for (int64_t j = 0; j < layer.outputs; ++j) {
        y[j] += x[i] * layer.kernel[i * layer.outputs + j];
      }
    }
    x = y;
  }
  x = PRelu(x, model.last_slope);
  double score = 0;
  for (size_t j = 0; j < x.size(); ++j) score += x[j] * model.out[j];
  return score;
}

TEST(PairPaddingAtTheEndIsLeftOut) {
  std::vector<float> bias(2 * kPairLanes, 0.5f);
  std::fill(bias.begin() + kPairLanes, bias.end(), -1e9f);
  bias[3] = -1e9f;
  PairModel model;
  model.length = kPairLanes + 5;
  model.padded_length = 2 * kPairLanes;
  model.key_bias = bias.data();
  LeaveOutPadding(&model);
  CHECK_EQ(model.length, kPairLanes);
  CHECK_EQ(model.padded_length, kPairLanes);

  std::fill(bias.begin(), bias.end(), -1e9f);
  LeaveOutPadding(&model);
  CHECK_EQ(model.length, kPairLanes);
}

TEST(PairScorerOfEveryInstructionSetIsPlainArithmetic) {
  Random random(3);
  for (int world = 0; world < 40; ++world) {
    Pairs pairs = MakePairs(&random);
    std::vector<double> wanted;
    double largest = 1;
    for (int64_t i = 0; i < pairs.items.n; ++i) {
      wanted.push_back(ScoreOne(pairs, i));
      largest = std::max(largest, std::abs(wanted.back()));
    }
    const size_t scratch_bytes = PairScratchSize(pairs.model) * sizeof(float);
    const std::unique_ptr<float, void (*)(void*)> scratch(
        static_cast<float*>(std::aligned_alloc(64, scratch_bytes)), std::free);
    for (const StateType type :
         {StateType::kFloat32, StateType::kFloat16, StateType::kBfloat16}) {
      const auto query = Halves(pairs.query, type);
      const auto hidden = Halves(pairs.hidden, type);
      pairs.items.type = type;
      pairs.items.query = query.data();
      pairs.items.hidden = hidden.data();
      if (type == StateType::kFloat32) {
        pairs.items.query = pairs.query.data();
        pairs.items.hidden = pairs.hidden.data();
      }
      for (const Kernels* kernels : EveryKernel()) {
        std::vector<float> scores(pairs.items.n);
        kernels->score_pairs(pairs.model, pairs.items, scratch.get(),
                             scores.data());
        for (int64_t i = 0; i < pairs.items.n; ++i) {
          CHECK(std::abs(scores[i] - wanted[i]) < 1e-5 * largest);
        }
      }
    }
  }
}

}  // namespace
}  // namespace nann
