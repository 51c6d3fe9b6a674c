// Percentiles of the histogram against those of the sorted values.

#include "benchmark/histogram.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/ops/core/testing.h"

namespace nann {
namespace {

int64_t ExactPercentile(const std::vector<int64_t>& sorted, double percent) {
  const double place = std::ceil(percent / 100 * sorted.size() - 1e-9);
  return sorted[std::max<int64_t>(static_cast<int64_t>(place), 1) - 1];
}

TEST(PercentilesAreThoseOfTheSortedValues) {
  std::mt19937_64 random(1);
  for (const int bits : {3, 8, 9, 20, 40, 62}) {
    std::vector<int64_t> values(999);
    Histogram histogram;
    for (int64_t& value : values) {
      // As many small values as large ones.
      value = static_cast<int64_t>(random() >> (64 - 1 - random() % bits));
      histogram.Add(value);
    }
    std::sort(values.begin(), values.end());
    for (const double percent : {0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
      const int64_t exact = ExactPercentile(values, percent);
      const int64_t found = histogram.Percentile(percent);
      CHECK(found >= exact);
      CHECK(static_cast<double>(found - exact) <= 0.008 * exact);
    }
    CHECK_EQ(histogram.max(), values.back());
    CHECK_EQ(histogram.count(), int64_t{999});
  }
}

TEST(SmallValuesAreExact) {
  Histogram histogram;
  for (int64_t value = 0; value < 256; ++value) histogram.Add(value);
  CHECK_EQ(histogram.Percentile(50), int64_t{127});
  CHECK_EQ(histogram.Percentile(100), int64_t{255});
  CHECK_EQ(histogram.mean(), 127.5);
}

TEST(ExtremesHaveABucket) {
  Histogram histogram;
  histogram.Add(-5);
  CHECK_EQ(histogram.Percentile(50), int64_t{0});
  histogram.Add(INT64_MAX);
  CHECK_EQ(histogram.Percentile(100), INT64_MAX);
}

TEST(EmptyHistogramIsZero) {
  const Histogram histogram;
  CHECK_EQ(histogram.Percentile(99), int64_t{0});
  CHECK_EQ(histogram.mean(), 0.0);
}

TEST(MergedHistogramIsThatOfAllValues) {
  Histogram all, odd, even;
  for (int64_t value = 0; value < 5000; ++value) {
    all.Add(value * 1000);
    (value % 2 == 1 ? odd : even).Add(value * 1000);
  }
  odd.Merge(even);
  for (const double percent : {10.0, 50.0, 99.9}) {
    CHECK_EQ(odd.Percentile(percent), all.Percentile(percent));
  }
  CHECK_EQ(odd.count(), all.count());
  CHECK_EQ(odd.mean(), all.mean());
  odd.Clear();
  CHECK_EQ(odd.count(), int64_t{0});
}

}  // namespace
}  // namespace nann
