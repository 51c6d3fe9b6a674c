// A batch of queries shared out among threads.

#ifndef NANN_OPS_PYTHON_FOR_EACH_QUERY_H_
#define NANN_OPS_PYTHON_FOR_EACH_QUERY_H_

#include <pybind11/pybind11.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace nann {

// Returns a function that lets Ctrl-C end a long batch. Python sees signals
// only where Python code runs, and with a built-in metric none does.
inline std::function<void()> InterruptCheck() {
  using Clock = std::chrono::steady_clock;
  const std::chrono::milliseconds period(100);
  return [period, at = Clock::now() + period]() mutable {
    if (Clock::now() < at) return;
    pybind11::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    at = Clock::now() + period;
  };
}

// Runs `body` for every query on some threads; the first exception of any is
// thrown here.
inline void ForEachQuery(int64_t num_queries, int num_threads,
                         const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&](const std::function<void()>& before) {
    for (int64_t i = next++; i < num_queries; i = next++) {
      try {
        before();
        body(i);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex);
        if (failure == nullptr) failure = std::current_exception();
        next = num_queries;
      }
    }
  };
  std::vector<std::thread> threads;
  const int64_t helpers = std::min<int64_t>(num_threads, num_queries) - 1;
  try {
    for (int64_t i = 0; i < helpers; ++i) threads.emplace_back(work, [] {});
  } catch (const std::system_error&) {
    // There are no more threads to be had; these will do.
  }
  work(InterruptCheck());
  for (std::thread& thread : threads) thread.join();
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace nann

#endif  // NANN_OPS_PYTHON_FOR_EACH_QUERY_H_
