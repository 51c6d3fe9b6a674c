// The header of an .npy file, versions 1 to 3.
//
// Source: NumPy Enhancement Proposal 1 and numpy/lib/format.py.

#ifndef NANN_OPS_CORE_NPY_H_
#define NANN_OPS_CORE_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

namespace nann {

struct NpyHeader {
  std::string descr;           // Such as "<f4": byte order, kind, bytes.
  std::vector<int64_t> shape;  // Empty for a single value.
  int64_t item_bytes = 0;
  int64_t data_offset = 0;  // Where the elements begin.
  int64_t data_bytes = 0;   // What the elements take.
};

// Reads the header at the beginning of a file of `size` bytes, of which `data`
// holds them all. Returns what is wrong, in a sentence, or "".
//
// Refused: what is no .npy file, big-endian or structured elements, Fortran
// order, and files that are shorter or longer than their header says.
std::string ParseNpy(const char* data, int64_t size, NpyHeader* header);

}  // namespace nann

#endif  // NANN_OPS_CORE_NPY_H_
