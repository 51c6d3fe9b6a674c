// What a completion queue hands back when an operation has ended.

#ifndef NANN_OPS_FRONT_TAG_H_
#define NANN_OPS_FRONT_TAG_H_

namespace nann {

class Tag {
 public:
  virtual ~Tag() = default;

  // `is_ok`: whether the operation succeeded.
  virtual void Run(bool is_ok) = 0;
};

// Calls a method of an object.
template <typename T>
class MethodTag : public Tag {
 public:
  using Method = void (T::*)(bool);

  MethodTag(T* object, Method method) : object_(object), method_(method) {}

  void Run(bool is_ok) override { (object_->*method_)(is_ok); }

 private:
  T* const object_;
  const Method method_;
};

}  // namespace nann

#endif  // NANN_OPS_FRONT_TAG_H_
