// A sum of terms against plain loops: on every instruction set, and with a
// user's state as it comes.

#include "ops/core/term_scorer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "ops/core/kernels/kernels.h"
#include "tests/ops/core/kernel_inputs.h"
#include "tests/ops/core/testing.h"

namespace nann {
namespace {

using testing::Below;
using testing::Eighths;
using testing::EveryKernel;
using testing::Halves;
using testing::Random;

constexpr float kPadding = -1e9f;

// A user and items with their arrays.
struct World {
  TermUser user;
  TermItems items;
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<int32_t>> ids;
  std::vector<float> vector, bias, query, reply;

  const float* Own(std::vector<float> values) {
    floats.push_back(std::move(values));
    return floats.back().data();
  }
  const int32_t* SomeIds(int64_t size, Random* random) {
    ids.push_back(testing::RandomRows(size, 5, random));
    return ids.back().data();
  }
};

// Draws a world; its positions come in multiples of `lanes`.
World MakeWorld(int64_t lanes, Random* random) {
  World world;
  TermUser& user = world.user;
  const auto some = [&](int64_t size) {
    return world.Own(Eighths(size, random));
  };
  user.width = Below(70, random);
  user.vector = some(user.width);
  user.max_logit = static_cast<float>(1 + Below(3, random));
  if (Below(4, random) > 0) {
    user.query_width = kTermLanes * (1 + Below(2, random));
    user.padded_length = lanes * Below(60 / lanes + 1, random);
    user.length = user.padded_length;
    user.keys = some(user.query_width * user.length);
    user.values = some(user.length * user.query_width);
    std::vector<float> logits = Eighths(user.length, random);
    if (user.length > 0) {
      std::fill(logits.begin() + 1 + Below(user.length, random), logits.end(),
                kPadding);
    }
    user.key_logits = world.Own(logits);
  }
  if (Below(4, random) > 0) {
    user.num_ids = lanes * Below(60 / lanes + 1, random);
    user.category_ids = world.SomeIds(user.num_ids, random);
    user.category_weights = some(user.num_ids);
    user.item_ids = world.SomeIds(user.num_ids, random);
    std::vector<float> masses = Eighths(user.num_ids, random);
    for (float& mass : masses) mass = std::max(mass, 0.0f);
    user.repeat_mass = world.Own(masses);
  }
  const int64_t n = Below(2 * kPairBlock + 2, random);
  world.items.n = n;
  world.vector = Eighths(n * user.width, random);
  world.bias = Eighths(n, random);
  world.query = Eighths(n * user.query_width, random);
  world.reply = Eighths(n * user.query_width, random);
  world.items.category_ids = world.SomeIds(n, random);
  world.items.item_ids = world.SomeIds(n, random);
  return world;
}

double AttentionOf(const World& world, int64_t item) {
  const TermUser& user = world.user;
  double sum = 0, answer = 0;
  for (int64_t p = 0; p < user.length; ++p) {
    double product = 0, value = 0;
    for (int64_t j = 0; j < user.query_width; ++j) {
      const int64_t place = item * user.query_width + j;
      product += world.query[place] * user.keys[j * user.length + p];
      value += world.reply[place] * user.values[p * user.query_width + j];
    }
    const double logit = user.max_logit * std::tanh(product / user.max_logit);
    const double weight = std::exp(logit + user.key_logits[p]);
    sum += weight;
    answer += weight * value;
  }
  return sum > 0 ? answer / sum : 0;
}

// Returns s and the mass of an item.
std::pair<double, double> TermsOf(const World& world, int64_t item) {
  const TermUser& user = world.user;
  double score = world.bias[item], mass = 0;
  for (int64_t j = 0; j < user.width; ++j) {
    score += world.vector[item * user.width + j] * user.vector[j];
  }
  score += AttentionOf(world, item);
  for (int64_t p = 0; p < user.num_ids; ++p) {
    if (user.category_ids[p] == world.items.category_ids[item]) {
      score += user.category_weights[p];
    }
    if (user.item_ids[p] == world.items.item_ids[item]) {
      mass += user.repeat_mass[p];
    }
  }
  return {score, mass};
}

// Calls check(items) with the state in every type.
template <typename Check>
void InEveryType(const World& world, const Check& check) {
  TermItems items = world.items;
  items.vector = world.vector.data();
  items.bias = world.bias.data();
  items.query = world.query.data();
  items.reply = world.reply.data();
  check(items);
  for (const StateType type : {StateType::kFloat16, StateType::kBfloat16}) {
    const auto vector = Halves(world.vector, type);
    const auto bias = Halves(world.bias, type);
    const auto query = Halves(world.query, type);
    const auto reply = Halves(world.reply, type);
    items.type = type;
    items.vector = vector.data();
    items.bias = bias.data();
    items.query = query.data();
    items.reply = reply.data();
    check(items);
  }
}

// Working memory of just the size that is asked for.
std::unique_ptr<float, void (*)(void*)> Scratch(const World& world) {
  const int64_t size = TermScratchSize(world.user, world.items.n);
  return {static_cast<float*>(std::malloc(size * sizeof(float))), std::free};
}

TEST(TermsOfEveryInstructionSetArePlainArithmetic) {
  Random random(4);
  for (int number = 0; number < 60; ++number) {
    const World world = MakeWorld(kTermLanes, &random);
    const auto scratch = Scratch(world);
    InEveryType(world, [&](const TermItems& items) {
      for (const Kernels* kernels : EveryKernel()) {
        std::vector<float> scores(items.n), masses(items.n);
        kernels->score_terms(world.user, items, scratch.get(), scores.data(),
                             masses.data());
        for (int64_t i = 0; i < items.n; ++i) {
          const auto [score, mass] = TermsOf(world, i);
          CHECK(std::abs(scores[i] - score) < 1e-5 * (10 + std::abs(score)));
          CHECK(std::abs(masses[i] - mass) < 1e-5 * (1 + mass));
        }
      }
    });
  }
}

TEST(UsersOfAnyLengthAreScored) {
  Random random(5);
  for (int number = 0; number < 60; ++number) {
    const World world = MakeWorld(1, &random);
    const auto scratch = Scratch(world);
    InEveryType(world, [&](const TermItems& items) {
      std::vector<float> scores(items.n);
      ScoreTerms(world.user, items, scratch.get(), scores.data());
      for (int64_t i = 0; i < items.n; ++i) {
        const auto [score, mass] = TermsOf(world, i);
        const double wanted = std::log(std::exp(score) + mass);
        CHECK(std::abs(scores[i] - wanted) < 1e-5 * (10 + std::abs(wanted)));
      }
    });
  }
}

TEST(MassesOfAnySizeAreAdded) {
  const float extremes[] = {-1e30f, -1e4f, -1, 0, 1, 1e4f, 1e30f};
  const int32_t id = 1;
  const float weight = 0, vector = 1;
  for (const float score : extremes) {
    for (const float mass : {1e-37f, 1.0f, 1e38f, INFINITY}) {
      TermUser user;
      user.width = 1;
      user.vector = &vector;
      user.num_ids = 1;
      user.category_ids = user.item_ids = &id;
      user.category_weights = &weight;
      user.repeat_mass = &mass;
      TermItems items;
      items.vector = items.bias = &score;
      items.category_ids = items.item_ids = &id;
      items.n = 1;
      std::vector<float> scratch(TermScratchSize(user, 1));
      float found;
      ScoreTerms(user, items, scratch.data(), &found);
      const double twice = 2.0 * score, of_mass = std::log(double{mass});
      const double larger = std::max(twice, of_mass);
      const double wanted =
          larger + (std::isinf(larger)
                        ? 0
                        : std::log1p(std::exp(-std::abs(twice - of_mass))));
      CHECK(found == wanted ||
            std::abs(found - wanted) <= 1e-6 * std::abs(wanted));
    }
  }
}

}  // namespace
}  // namespace nann
