#include "tests/ops/core/testing.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace nann::testing {
namespace {

using Tests = std::vector<std::pair<const char*, void (*)()>>;

Tests* AllTests() {
  static Tests tests;
  return &tests;
}

std::mutex reporting;
std::atomic<int64_t> num_failures{0};
std::atomic<int64_t> num_allocations{0};

// What fails in a loop fails often.
constexpr int64_t kMaxReports = 20;

}  // namespace

Registration::Registration(const char* name, void (*body)()) {
  AllTests()->emplace_back(name, body);
}

void Fail(const char* file, int line, const std::string& what) {
  if (num_failures++ >= kMaxReports) return;
  std::lock_guard<std::mutex> lock(reporting);
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

int64_t NumAllocations() { return num_allocations; }

void* Allocate(std::size_t size) {
  ++num_allocations;
  void* const memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace nann::testing

void* operator new(std::size_t size) { return nann::testing::Allocate(size); }
void* operator new[](std::size_t size) { return nann::testing::Allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

int main() {
  using nann::testing::num_failures;
  for (const auto& [name, body] : *nann::testing::AllTests()) {
    const int64_t before = num_failures;
    body();
    std::printf("%s %s\n", num_failures == before ? "ok    " : "FAILED", name);
  }
  return num_failures == 0 ? 0 : 1;
}
