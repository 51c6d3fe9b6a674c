// The search on a GPU against the definition, as a program of its own: for
// compute-sanitizer, and where there is no Python. The number of worlds may be
// given; the scores come from the host.

#include <cstdlib>
#include <string>
#include <vector>

#include "ops/cuda/device_memory.h"
#include "ops/cuda/nann_cuda.h"
#include "tests/ops/core/oracle.h"
#include "tests/ops/core/random_world.h"
#include "tests/ops/core/testing.h"

namespace nann {
namespace {

using testing::Below;
using testing::Found;
using testing::Random;
using testing::World;

// An array on the device.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(int64_t size)
      : size_(size),
        data_(static_cast<T*>(NannCudaAllocate(size * sizeof(T)))) {}
  explicit DeviceArray(const std::vector<T>& values)
      : DeviceArray(static_cast<int64_t>(values.size())) {
    Set(values);
  }
  DeviceArray(DeviceArray&& other) : size_(other.size_), data_(other.data_) {
    other.data_ = nullptr;
  }
  ~DeviceArray() { NannCudaFree(data_); }

  void Set(const std::vector<T>& values) {
    CHECK_EQ(NannCudaToDevice(data_, values.data(), size_ * sizeof(T), nullptr),
             0);
  }
  std::vector<T> Get() const { return Read(data_, size_); }
  T* data() const { return data_; }

  static std::vector<T> Read(const T* from, int64_t size) {
    std::vector<T> values(size);
    CHECK_EQ(NannCudaToHost(values.data(), from, size * sizeof(T), nullptr), 0);
    return values;
  }

 private:
  int64_t size_;
  T* data_;
};

// A world on the device.
struct DeviceWorld {
  explicit DeviceWorld(const World& world)
      : entry_points(world.entry_points),
        expand(world.expand),
        only_score(world.only_score),
        allowed(world.allowed),
        denied(world.denied) {
    graph = {};
    graph.num_rows = world.num_rows();
    graph.num_levels = static_cast<int64_t>(world.levels.size());
    for (size_t i = 0; i < world.levels.size(); ++i) {
      const World::OwnedLevel& level = world.levels[i];
      values.emplace_back(level.values);
      row_splits.emplace_back(level.row_splits);
      graph.levels[i] = {values[i].data(), row_splits[i].data(), 6};
    }
    graph.entry_points = entry_points.data();
    graph.num_entry_points = static_cast<int64_t>(world.entry_points.size());
    queries = {1,
               world.k,
               expand.data(),
               static_cast<int64_t>(world.expand.size()),
               only_score.data(),
               static_cast<int64_t>(world.only_score.size()),
               world.has_allowed ? allowed.data() : nullptr,
               denied.data(),
               static_cast<int64_t>(world.denied.size())};
  }

  std::vector<DeviceArray<int32_t>> values;
  std::vector<DeviceArray<int64_t>> row_splits;
  DeviceArray<int32_t> entry_points, expand, only_score;
  DeviceArray<uint8_t> allowed;
  DeviceArray<int32_t> denied;
  NannCudaGraph graph;
  NannCudaQueries queries;
};

NannCudaPolicy ToPolicy(const PaperPolicy& policy) {
  NannCudaPolicy result = {};
  result.is_paper = 1;
  result.widths = policy.widths.data();
  result.num_widths = static_cast<int64_t>(policy.widths.size());
  result.hops = policy.hops.data();
  result.num_hops = static_cast<int64_t>(policy.hops.size());
  return result;
}

NannCudaPolicy ToPolicy(const BestFirstPolicy& policy) {
  NannCudaPolicy result = {};
  result.ef = policy.ef;
  result.width = policy.width;
  result.max_steps = policy.max_steps;
  result.max_evaluations = policy.max_evaluations;
  return result;
}

void ScoreStep(const World& world, NannCudaSearch* search) {
  const NannCudaStep step = NannCudaSearchStep(search);
  const int32_t number = DeviceArray<int32_t>::Read(step.number, 1)[0];
  std::vector<float> scores;
  for (const int32_t row : DeviceArray<int32_t>::Read(step.rows, number)) {
    scores.push_back(world.scores[row]);
  }
  const DeviceArray<float> given(scores);
  CHECK_EQ(NannCudaSearchAbsorb(search, given.data(), step.capacity, nullptr),
           0);
}

Found Run(const World& world, const NannCudaPolicy& policy,
          const NannCudaOptions& options) {
  const DeviceWorld on_device(world);
  NannCudaSearch* const search = NannCudaSearchNew(
      &on_device.graph, &policy, &on_device.queries, &options);
  CHECK(search != nullptr);
  const DeviceArray<uint8_t> memory(NannCudaSearchBytes(search));
  NannCudaSearchSetMemory(search, memory.data());
  const int64_t num_steps = NannCudaSearchMaxSteps(search);
  const DeviceArray<int32_t> rows(world.k), num_scored(num_steps), faults(2);
  const DeviceArray<float> scores(world.k);
  CHECK_EQ(NannCudaSearchStart(search, nullptr), 0);
  NannCudaProgress progress;
  while (NannCudaSearchRead(search, &progress, nullptr) == 0 &&
         progress.num_active > 0) {
    ScoreStep(world, search);
  }
  CHECK_EQ(NannCudaSearchFinish(search, rows.data(), scores.data(),
                                num_scored.data(), faults.data(), nullptr),
           0);
  NannCudaSearchDelete(search);
  CHECK_EQ(faults.Get()[0], int32_t{NANN_CUDA_NO_FAULT});
  Found found = {rows.Get(), scores.Get(), num_scored.Get()};
  while (!found.rows.empty() && found.rows.back() < 0) found.rows.pop_back();
  found.scores.resize(found.rows.size());
  return found;
}

void CheckEqual(const Found& found, Found expected) {
  CHECK_EQ(found.rows, expected.rows);
  CHECK_EQ(found.scores, expected.scores);
  expected.num_scored.resize(found.num_scored.size(), 0);
  CHECK_EQ(found.num_scored, expected.num_scored);
}

int64_t NumWorlds() {
  const char* const number = std::getenv("NANN_NUM_WORLDS");
  return number == nullptr ? 200 : std::atoll(number);
}

TEST(SearchOnTheDeviceIsTheDefinition) {
  if (NannCudaNumDevices() == 0) {
    testing::Fail(__FILE__, __LINE__,
                  "no GPU: " + std::string(NannCudaError()));
    return;
  }
  Random random(11);
  for (int64_t i = 0; i < NumWorlds(); ++i) {
    const World world = testing::MakeWorld(1 + Below(70, &random), &random);
    for (const int32_t num_threads : {32, 256}) {
      // The second as a table of rows.
      const NannCudaOptions options = {1, num_threads, num_threads / 256};
      CheckEqual(Run(world, ToPolicy(world.paper), options),
                 SearchPaper(world));
      CheckEqual(Run(world, ToPolicy(world.best_first), options),
                 SearchBestFirst(world));
    }
  }
}

}  // namespace
}  // namespace nann
