#include "ops/requests/admission.h"

#include <algorithm>
#include <chrono>

namespace nann {
namespace {

constexpr double kWeightOfLast = 0.05;
// A few that were held up say little about the others.
constexpr double kMostTimes = 4.0;

}  // namespace

Admission::Admission(int64_t max_running, int64_t max_waiting,
                     double max_wait_s)
    : max_running_(max_running),
      max_waiting_(max_waiting),
      max_wait_s_(max_wait_s) {}

Admission::Entry Admission::Enter(int64_t* num_inside) {
  const std::lock_guard<std::mutex> lock(mutex_);
  *num_inside = num_inside_;
  if (!is_open_) return Entry::kClosed;
  const double bound = static_cast<double>(max_running_) + WaitingBoundLocked();
  if (static_cast<double>(num_inside_) >= bound) return Entry::kFull;
  ++num_inside_;
  return Entry::kEntered;
}

void Admission::Leave() {
  const std::lock_guard<std::mutex> lock(mutex_);
  --num_inside_;
  if (!is_open_ && num_inside_ == 0) became_empty_.notify_all();
}

bool Admission::TakePlace(Turn* turn) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (num_running_ < max_running_) {
    ++num_running_;
    return true;
  }
  waiting_.push_back(turn);
  return false;
}

bool Admission::GiveUp(Turn* turn) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = std::find(waiting_.begin(), waiting_.end(), turn);
  if (found == waiting_.end()) return false;
  waiting_.erase(found);
  return true;
}

void Admission::GivePlace(double run_s) {
  Turn* next = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (run_s >= 0.0 && run_s_ == 0.0) {
      run_s_ = run_s;
    } else if (run_s >= 0.0) {
      run_s_ += kWeightOfLast * (std::min(run_s, kMostTimes * run_s_) - run_s_);
    }
    if (waiting_.empty()) {
      --num_running_;
    } else {
      // The place goes from hand to hand, so nobody can jump the queue.
      next = waiting_.front();
      waiting_.pop_front();
    }
  }
  if (next != nullptr) next->Come();
}

void Admission::Close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_open_ = false;
  if (num_inside_ == 0) became_empty_.notify_all();
}

bool Admission::WaitUntilEmpty(double seconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  return became_empty_.wait_for(lock, std::chrono::duration<double>(seconds),
                                [this] { return num_inside_ == 0; });
}

void Admission::SetPatient(bool is_patient) {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_patient_ = is_patient;
}

int64_t Admission::num_running() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return num_running_;
}

int64_t Admission::num_waiting() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int64_t>(waiting_.size());
}

bool Admission::is_open() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return is_open_;
}

double Admission::WaitingBound() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return WaitingBoundLocked();
}

double Admission::WaitingBoundLocked() const {
  const double most = static_cast<double>(max_waiting_);
  if (run_s_ == 0.0 || is_patient_) return most;
  const double running = static_cast<double>(max_running_);
  const double in_time = max_wait_s_ * running / run_s_;
  // One for each that runs keeps them busy, however slow they are.
  return std::min(most, std::max(in_time, running));
}

}  // namespace nann
