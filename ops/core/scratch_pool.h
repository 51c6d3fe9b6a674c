// Memory of finished searches, lent to the next ones.

#ifndef NANN_OPS_CORE_SCRATCH_POOL_H_
#define NANN_OPS_CORE_SCRATCH_POOL_H_

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace nann {

// Lends objects of type T; there are as many as were ever in use at once. A
// search costs megabytes of memory to set up and microseconds to run.
template <typename T>
class ScratchPool {
 public:
  class Lease {
   public:
    Lease(ScratchPool* pool, std::unique_ptr<T> object)
        : pool_(pool), object_(std::move(object)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&& other) {
      std::swap(pool_, other.pool_);
      std::swap(object_, other.object_);
      return *this;
    }
    ~Lease() {
      if (object_ != nullptr) pool_->Return(std::move(object_));
    }

    T& operator*() const { return *object_; }
    T* operator->() const { return object_.get(); }

   private:
    ScratchPool* pool_;
    std::unique_ptr<T> object_;
  };

  Lease Take() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return Lease(this, std::make_unique<T>());
    std::unique_ptr<T> object = std::move(free_.back());
    free_.pop_back();
    return Lease(this, std::move(object));
  }

 private:
  void Return(std::unique_ptr<T> object) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(object));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> free_;
};

}  // namespace nann

#endif  // NANN_OPS_CORE_SCRATCH_POOL_H_
