// Tests without a framework: TEST(Name) { CHECK(...); CHECK_EQ(..., ...); }
//
// A failed check says where and goes on; the program then ends with 1.

#ifndef NANN_TESTS_OPS_CORE_TESTING_H_
#define NANN_TESTS_OPS_CORE_TESTING_H_

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

namespace nann::testing {

// Adds a test to those that main runs.
struct Registration {
  Registration(const char* name, void (*body)());
};

// Reports a failed check. From any thread.
void Fail(const char* file, int line, const std::string& what);

// Calls of operator new so far, in all threads.
int64_t NumAllocations();

template <typename T>
std::string ToText(const T& value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

template <typename T>
std::string ToText(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += " " + ToText(value);
  return text + " ]";
}

template <typename A, typename B>
void CheckEqual(const A& a, const B& b, const char* what, const char* file,
                int line) {
  if (a == b) return;
  Fail(file, line, std::string(what) + ": " + ToText(a) + " and " + ToText(b));
}

}  // namespace nann::testing

#define TEST(name)                                                         \
  static void Test##name();                                                \
  static const nann::testing::Registration kTest##name(#name, Test##name); \
  static void Test##name()

#define CHECK(condition)                                   \
  do {                                                     \
    if (!(condition)) {                                    \
      nann::testing::Fail(__FILE__, __LINE__, #condition); \
    }                                                      \
  } while (false)

#define CHECK_EQ(a, b) \
  nann::testing::CheckEqual((a), (b), #a " == " #b, __FILE__, __LINE__)

#endif  // NANN_TESTS_OPS_CORE_TESTING_H_
