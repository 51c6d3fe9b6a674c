#include "ops/core/npy.h"

#include <cstring>
#include <limits>

namespace nann {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr int64_t kMagicBytes = 6;

// Reads the Python literal of a header, from left to right.
class Literal {
 public:
  Literal(const char* begin, const char* end) : at_(begin), end_(end) {}

  void SkipSpaces() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t')) ++at_;
  }

  bool Take(char wanted) {
    SkipSpaces();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  bool TakeWord(const char* word) {
    SkipSpaces();
    const int64_t length = static_cast<int64_t>(std::strlen(word));
    if (end_ - at_ < length || std::memcmp(at_, word, length) != 0) {
      return false;
    }
    at_ += length;
    return true;
  }

  bool TakeText(std::string* text) {
    SkipSpaces();
    if (at_ == end_ || (*at_ != '\'' && *at_ != '"')) return false;
    const char quote = *at_++;
    const char* const begin = at_;
    while (at_ < end_ && *at_ != quote) ++at_;
    if (at_ == end_) return false;
    text->assign(begin, at_++);
    return true;
  }

  bool TakeNumber(int64_t* number) {
    SkipSpaces();
    if (at_ == end_ || *at_ < '0' || *at_ > '9') return false;
    *number = 0;
    for (; at_ < end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
      const int64_t digit = *at_ - '0';
      if (*number > (std::numeric_limits<int64_t>::max() - digit) / 10) {
        return false;
      }
      *number = 10 * *number + digit;
    }
    return true;
  }

  bool AtEnd() {
    SkipSpaces();
    return at_ == end_;
  }

 private:
  const char* at_;
  const char* const end_;
};

bool TakeShape(Literal* literal, std::vector<int64_t>* shape) {
  if (!literal->Take('(')) return false;
  while (!literal->Take(')')) {
    int64_t length;
    if (!literal->TakeNumber(&length)) return false;
    shape->push_back(length);
    if (!literal->Take(',')) return literal->Take(')');
  }
  return true;
}

// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }.
std::string ParseDictionary(Literal literal, NpyHeader* header,
                            bool* fortran_order) {
  const std::string malformed =
      "its header is not a dictionary of descr, "
      "fortran_order and shape";
  bool has_descr = false, has_order = false, has_shape = false;
  if (!literal.Take('{')) return malformed;
  while (!literal.Take('}')) {
    std::string key;
    if (!literal.TakeText(&key) || !literal.Take(':')) return malformed;
    if (key == "descr" && !has_descr) {
      // A list stands for elements with fields.
      has_descr = literal.TakeText(&header->descr);
      if (!has_descr) return "its elements are structures, wanted numbers";
    } else if (key == "fortran_order" && !has_order) {
      *fortran_order = literal.TakeWord("True");
      has_order = *fortran_order || literal.TakeWord("False");
      if (!has_order) return malformed;
    } else if (key == "shape" && !has_shape) {
      has_shape = TakeShape(&literal, &header->shape);
      if (!has_shape) return malformed;
    } else {
      return malformed;
    }
    if (!literal.Take(',')) {
      if (!literal.Take('}')) return malformed;
      break;
    }
  }
  return has_descr && has_order && has_shape && literal.AtEnd() ? ""
                                                                : malformed;
}

// Unlike strchr, does not find the zero at the end.
bool IsOneOf(const std::string& set, char value) {
  return set.find(value) != std::string::npos;
}

// A file may say anything; a message stays short and readable.
std::string Quoted(const std::string& descr) {
  constexpr size_t kMaxSize = 20;
  if (descr.size() > kMaxSize) return "of an unknown type";
  for (const char c : descr) {
    if (c < ' ' || c > '~') return "of an unknown type";
  }
  return "'" + descr + "'";
}

// Reads the size of an element out of "<f4". "|" marks single bytes.
std::string ParseDescr(const std::string& descr, int64_t* item_bytes) {
  const bool is_known = descr.size() >= 3 && descr.size() <= 4 &&
                        IsOneOf("<|>=", descr[0]) &&
                        IsOneOf("biufVc", descr[1]);
  if (!is_known) {
    return "its elements are " + Quoted(descr) + ", wanted numbers";
  }
  if (descr[0] == '>') {
    return "its elements are big-endian (" + Quoted(descr) + "), wanted '<'";
  }
  *item_bytes = 0;
  for (size_t i = 2; i < descr.size(); ++i) {
    if (descr[i] < '0' || descr[i] > '9') {
      return "its elements are " + Quoted(descr) + ", wanted numbers";
    }
    *item_bytes = 10 * *item_bytes + (descr[i] - '0');
  }
  if (*item_bytes < 1) return "its elements have no bytes";
  return "";
}

// Multiplies the bytes of an element by all extents. Returns false where that
// is too much, be it that another extent is 0: nobody could count the elements.
bool SizeOf(const std::vector<int64_t>& shape, int64_t* num_bytes) {
  bool is_empty = false;
  for (const int64_t extent : shape) {
    if (extent == 0) {
      is_empty = true;
    } else if (*num_bytes > std::numeric_limits<int64_t>::max() / extent) {
      return false;
    } else {
      *num_bytes *= extent;
    }
  }
  if (is_empty) *num_bytes = 0;
  return true;
}

}  // namespace

std::string ParseNpy(const char* data, int64_t size, NpyHeader* header) {
  *header = NpyHeader();
  const auto byte = [&](int64_t i) {
    return static_cast<int64_t>(static_cast<unsigned char>(data[i]));
  };
  if (size < kMagicBytes + 2 || std::memcmp(data, kMagic, kMagicBytes) != 0) {
    return "it is no .npy file";
  }
  const int64_t version = byte(6);
  if (version < 1 || version > 3) {
    return "its version is " + std::to_string(version) + ", wanted 1 to 3";
  }
  const int64_t length_bytes = version == 1 ? 2 : 4;
  const int64_t begin = kMagicBytes + 2 + length_bytes;
  if (size < begin) return "it ends inside its header";
  int64_t length = 0;
  for (int64_t i = length_bytes; i > 0; --i) {
    length = length * 256 + byte(kMagicBytes + 1 + i);
  }
  if (length > size - begin) return "it ends inside its header";

  bool fortran_order = false;
  std::string fault = ParseDictionary(
      Literal(data + begin, data + begin + length), header, &fortran_order);
  if (fault.empty()) fault = ParseDescr(header->descr, &header->item_bytes);
  if (!fault.empty()) return fault;
  if (fortran_order) return "it is in Fortran order, wanted C order";

  header->data_offset = begin + length;
  header->data_bytes = header->item_bytes;
  if (!SizeOf(header->shape, &header->data_bytes)) {
    return "its shape is larger than any file";
  }
  const int64_t there = size - header->data_offset;
  if (there != header->data_bytes) {
    return "it holds " + std::to_string(there) +
           " bytes of elements, its header says " +
           std::to_string(header->data_bytes);
  }
  return "";
}

}  // namespace nann
