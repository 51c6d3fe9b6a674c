#include "tests/ops/cuda/emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <vector>

EmulatedIndex threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace nann::emulator {
namespace {

constexpr int64_t kStackBytes = 64 << 10;
constexpr int kWarp = 32;

enum class State { kReady, kWaitsForBlock, kWaitsForWarp, kDone };

struct Fiber {
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
  ucontext_t context;
  jmp_buf jump;
  bool has_begun = false;
  State state = State::kReady;
  int line = 0;
  int parity = 0;  // Of its exchanges.
};

struct Warp {
  uint64_t values[2][kWarp];
  int num_waiting = 0;
  std::vector<int> ready;  // Its threads that can go on.
};

// One launch at a time: the names of CUDA are global.
std::recursive_mutex mutex;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Warp> warps;
std::vector<int> order;  // Of the warps: who goes first.
int num_ready = 0;
unsigned char* shared = nullptr;
int64_t shared_size = 0;
const std::function<void()>* body = nullptr;
ucontext_t main_context;
jmp_buf main_jump;
int current = -1;
int num_threads = 0;
int num_waiting = 0;  // For the block.
int num_done = 0;
std::mt19937_64 random_numbers{1};

void RunBody() {
  (*body)();
  fibers[current]->state = State::kDone;
  ++num_done;
  _longjmp(main_jump, 1);
}

void Resume(int number) {
  Fiber& fiber = *fibers[number];
  current = number;
  threadIdx.x = number;
  if (_setjmp(main_jump) != 0) return;
  if (fiber.has_begun) _longjmp(fiber.jump, 1);
  fiber.has_begun = true;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = &main_context;
  makecontext(&fiber.context, RunBody, 0);
  setcontext(&fiber.context);
}

// Back to the scheduler, until it is this fiber's turn again.
void Leave() {
  Fiber& fiber = *fibers[current];
  if (_setjmp(fiber.jump) == 0) _longjmp(main_jump, 1);
}

void MakeReady(int number) {
  fibers[number]->state = State::kReady;
  warps[number / kWarp].ready.push_back(number);
  ++num_ready;
}

// Takes a thread of the first warp that has one: a warp that runs far ahead of
// the others shows what a missing barrier does. Sometimes of any warp.
int TakeReady() {
  size_t place = 0;
  if (random_numbers() % 8 == 0) place = random_numbers() % order.size();
  while (warps[order[place]].ready.empty()) place = (place + 1) % order.size();
  std::vector<int>& ready = warps[order[place]].ready;
  std::swap(ready[random_numbers() % ready.size()], ready.back());
  const int number = ready.back();
  ready.pop_back();
  --num_ready;
  return number;
}

void Release(int first, int number) {
  for (int i = first; i < first + number; ++i) {
    if (fibers[i]->line != fibers[first]->line) {
      const std::string message =
          "waits at line " + std::to_string(fibers[i]->line) +
          " while another waits at line " + std::to_string(fibers[first]->line);
      Stop(message.c_str());
    }
    MakeReady(i);
  }
  // Others first, from one barrier of the block to the next.
  if (number == num_threads) {
    std::shuffle(order.begin(), order.end(), random_numbers);
  }
}

void RunBlock() {
  num_waiting = num_done = 0;
  for (Warp& warp : warps) warp.num_waiting = 0;
  FillWithNoise(shared, shared_size);
  for (int i = 0; i < num_threads; ++i) {
    fibers[i]->has_begun = false;
    MakeReady(i);
  }
  std::shuffle(order.begin(), order.end(), random_numbers);
  while (num_ready > 0) Resume(TakeReady());
  if (num_done < num_threads) {
    for (int i = 0; i < num_threads; ++i) {
      if (fibers[i]->state == State::kDone) continue;
      current = i;
      const std::string message = "waits at line " +
                                  std::to_string(fibers[i]->line) +
                                  " for threads that do not come";
      Stop(message.c_str());
    }
  }
}

}  // namespace

void Launch(dim3 grid, dim3 threads, int64_t shared_bytes,
            const std::function<void()>& kernel) {
  std::lock_guard<std::recursive_mutex> lock(mutex);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || threads.x == 0 || threads.x > 1024 ||
      threads.x % kWarp != 0 || threads.y != 1 || threads.z != 1 ||
      shared_bytes > kMaxSharedBytes) {
    Fail(cudaErrorInvalidValue);
    return;
  }
  num_threads = static_cast<int>(threads.x);
  while (static_cast<int>(fibers.size()) < num_threads) {
    fibers.push_back(std::make_unique<Fiber>());
  }
  warps.resize(num_threads / kWarp);
  order.resize(warps.size());
  std::iota(order.begin(), order.end(), 0);
  const auto memory = std::make_unique<unsigned char[]>(shared_bytes + 128);
  shared = reinterpret_cast<unsigned char*>(
      (reinterpret_cast<uintptr_t>(memory.get()) + 127) / 128 * 128);
  shared_size = shared_bytes;
  gridDim = grid;
  blockDim = threads;
  body = &kernel;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx.x = x;
        blockIdx.y = y;
        blockIdx.z = z;
        RunBlock();
      }
    }
  }
}

void Stop(const char* message) {
  std::fprintf(stderr, "emulator: block %u, thread %d: %s\n", blockIdx.x,
               current, message);
  std::abort();
}

unsigned char* SharedMemory() { return shared; }

void FillWithNoise(void* memory, int64_t size_bytes) {
  // Different at each time, so that it is not right by chance.
  const auto value = static_cast<unsigned char>(random_numbers() % 255 + 1);
  if (size_bytes > 0) std::memset(memory, value, size_bytes);
}

void WaitForBlock(int line) {
  Fiber& fiber = *fibers[current];
  fiber.line = line;
  fiber.state = State::kWaitsForBlock;
  if (++num_waiting == num_threads) {
    num_waiting = 0;
    Release(0, num_threads);
  }
  Leave();
}

void WaitForWarp(int line) {
  Fiber& fiber = *fibers[current];
  fiber.line = line;
  fiber.state = State::kWaitsForWarp;
  const int warp = current / kWarp;
  if (++warps[warp].num_waiting == kWarp) {
    warps[warp].num_waiting = 0;
    Release(warp * kWarp, kWarp);
  }
  Leave();
}

void MayYield() {
  if (random_numbers() % 8 != 0) return;
  MakeReady(current);
  Leave();
}

const uint64_t* Exchange(uint64_t value, int line) {
  Fiber& fiber = *fibers[current];
  fiber.parity ^= 1;
  Warp& warp = warps[current / kWarp];
  uint64_t* const values = warp.values[fiber.parity];
  values[current % kWarp] = value;
  WaitForWarp(line);
  return values;
}

void Seed(uint64_t seed) { random_numbers.seed(seed); }

}  // namespace nann::emulator

extern "C" __attribute__((visibility("default"))) void NannEmulatorSeed(
    uint64_t seed) {
  nann::emulator::Seed(seed);
}
