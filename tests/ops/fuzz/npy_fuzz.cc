// Any bytes as an .npy file: refused with a reason, or understood in full.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "ops/core/npy.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nann::NpyHeader header;
  const std::string fault = nann::ParseNpy(reinterpret_cast<const char*>(data),
                                           static_cast<int64_t>(size), &header);
  if (!fault.empty()) {
    Require(fault.size() < 200);
    for (const char c : fault) Require(c >= ' ' && c <= '~');
    return 0;
  }
  const int64_t size_bytes = static_cast<int64_t>(size);
  Require(header.item_bytes >= 1 && header.item_bytes <= 99);
  Require(header.data_offset >= 10 && header.data_offset <= size_bytes);
  Require(header.data_bytes == size_bytes - header.data_offset);
  Require(header.descr.size() >= 3 && header.descr.size() <= 4);
  Require(std::string("<|=").find(header.descr[0]) != std::string::npos);
  Require(std::string("biufVc").find(header.descr[1]) != std::string::npos);
  bool is_empty = false;
  for (const int64_t extent : header.shape) {
    Require(extent >= 0);
    is_empty = is_empty || extent == 0;
  }
  int64_t num_bytes = is_empty ? 0 : header.item_bytes;
  for (const int64_t extent : header.shape) {
    if (is_empty) break;
    Require(num_bytes <= size_bytes / extent);
    num_bytes *= extent;
  }
  Require(num_bytes == header.data_bytes);
  return 0;
}
