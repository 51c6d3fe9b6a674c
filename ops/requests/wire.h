// The wire format of protocol buffers, read without copies and without trust:
// a reader ends at the first thing that is not as it should be. Standard
// library only. Source: protobuf.dev/programming-guides/encoding.

#ifndef NANN_OPS_REQUESTS_WIRE_H_
#define NANN_OPS_REQUESTS_WIRE_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace nann {

enum class WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

class WireReader {
 public:
  explicit WireReader(std::string_view message) : rest_(message) {}

  // Reads the key and the value of the next field: of a varint, or of bytes.
  // False at the end, at damage, and at a field of another type.
  bool Next() {
    uint64_t key;
    if (rest_.empty() || !ReadVarint(&key)) return Fail(rest_.empty());
    number_ = static_cast<int64_t>(key >> 3);
    type_ = static_cast<WireType>(key & 7);
    if (number_ == 0 || key > UINT32_MAX) return Fail(false);
    if (type_ == WireType::kVarint) {
      return ReadVarint(&varint_) || Fail(false);
    }
    uint64_t size;
    if (type_ != WireType::kBytes || !ReadVarint(&size) ||
        size > rest_.size()) {
      return Fail(false);
    }
    bytes_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  // Reads a plain varint, as packed fields hold them.
  bool ReadVarint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return Fail(false);
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return shift < 63 || byte < 2 || Fail(false);
    }
    return Fail(false);
  }

  bool is_at_end() const { return rest_.empty(); }
  // Whether all was as it should be, up to the end.
  bool is_good() const { return is_good_ && rest_.empty(); }

  int64_t number() const { return number_; }
  bool is_bytes() const { return type_ == WireType::kBytes; }
  std::string_view bytes() const { return bytes_; }
  uint64_t varint() const { return varint_; }

 private:
  bool Fail(bool is_good) {
    is_good_ = is_good_ && is_good;
    return false;
  }

  std::string_view rest_;
  std::string_view bytes_;
  uint64_t varint_ = 0;
  int64_t number_ = 0;
  WireType type_ = WireType::kVarint;
  bool is_good_ = true;
};

inline void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 128) {
    out->push_back(static_cast<char>(value | 128));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

inline void AppendKey(int number, WireType type, std::string* out) {
  AppendVarint(static_cast<uint64_t>(number) << 3 | static_cast<int>(type),
               out);
}

inline void AppendNumber(int number, uint64_t value, std::string* out) {
  AppendKey(number, WireType::kVarint, out);
  AppendVarint(value, out);
}

inline void AppendBytes(int number, std::string_view value, std::string* out) {
  AppendKey(number, WireType::kBytes, out);
  AppendVarint(value.size(), out);
  out->append(value);
}

}  // namespace nann

#endif  // NANN_OPS_REQUESTS_WIRE_H_
