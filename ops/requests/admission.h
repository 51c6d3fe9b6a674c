// How many requests run, how many wait, and who is sent away at once.
//
// A fixed number runs; some more wait in order of arrival, as many as will run
// within the longest wait at the pace of late; whoever comes beyond that is
// refused at once. So the wait is bounded for long and for short searches, and
// so is memory. Standard library only; used from any thread.

#ifndef NANN_OPS_REQUESTS_ADMISSION_H_
#define NANN_OPS_REQUESTS_ADMISSION_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

namespace nann {

// A request that waits for its place.
class Turn {
 public:
  virtual ~Turn() = default;

  // Called once, from the thread of whoever left, when the place is there.
  virtual void Come() = 0;
};

class Admission {
 public:
  enum class Entry { kEntered, kClosed, kFull };

  // `max_wait_s`: how long the last of `max_waiting` may have to wait, if
  // requests take as long as they did of late; infinity: as long as it takes.
  Admission(int64_t max_running, int64_t max_waiting, double max_wait_s);

  // Lets a request in; who has entered leaves. `num_inside`: those that were
  // there already.
  Entry Enter(int64_t* num_inside);
  void Leave();

  // Takes a place to run. False: `turn` waits, and comes unless it gives up.
  bool TakePlace(Turn* turn);

  // Takes a turn out of the queue. False: it has come, or is about to.
  bool GiveUp(Turn* turn);

  // Gives the place to who waits longest. `run_s`: how long the request ran;
  // below 0: it did not.
  void GivePlace(double run_s);

  // Refuses whoever comes from now on.
  void Close();
  // Returns whether all have left in time.
  bool WaitUntilEmpty(double seconds);

  // Patient, it lets requests wait up to the fixed number: for what slows all
  // of them down for a moment.
  void SetPatient(bool is_patient);

  int64_t max_running() const { return max_running_; }
  int64_t max_waiting() const { return max_waiting_; }
  int64_t num_running() const;
  int64_t num_waiting() const;
  bool is_open() const;
  // How many may wait now.
  double WaitingBound() const;

 private:
  double WaitingBoundLocked() const;

  const int64_t max_running_;
  const int64_t max_waiting_;
  const double max_wait_s_;

  mutable std::mutex mutex_;
  std::condition_variable became_empty_;
  std::deque<Turn*> waiting_;
  int64_t num_inside_ = 0;
  int64_t num_running_ = 0;
  // How long a request runs, by those of late; 0: none has run.
  double run_s_ = 0.0;
  bool is_patient_ = false;
  bool is_open_ = true;
};

}  // namespace nann

#endif  // NANN_OPS_REQUESTS_ADMISSION_H_
