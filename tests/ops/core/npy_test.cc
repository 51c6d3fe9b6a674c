// Headers of .npy files, right and wrong.

#include "ops/core/npy.h"

#include <cstring>
#include <string>
#include <vector>

#include "tests/ops/core/testing.h"

namespace nann {
namespace {

// A file of a version, with a dictionary and some bytes of elements.
std::string File(int version, const std::string& dictionary,
                 int64_t data_bytes) {
  std::string file = "\x93NUMPY";
  file += static_cast<char>(version);
  file += '\0';
  const uint64_t length = dictionary.size();
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) {
    file += static_cast<char>(length >> 8 * i & 255);
  }
  return file + dictionary + std::string(data_bytes, '\0');
}

std::string Dictionary(const std::string& descr, const std::string& shape) {
  return "{'descr': " + descr + ", 'fortran_order': False, 'shape': " + shape +
         ", }\n";
}

std::string Fault(const std::string& file, NpyHeader* header) {
  // A copy of its own length, so that reading beyond it is seen.
  std::vector<char> bytes(file.begin(), file.end());
  return ParseNpy(bytes.data(), static_cast<int64_t>(bytes.size()), header);
}

void CheckRefused(const std::string& file, const std::string& part) {
  NpyHeader header;
  const std::string fault = Fault(file, &header);
  if (fault.find(part) == std::string::npos || fault.empty()) {
    testing::Fail(__FILE__, __LINE__, "'" + fault + "', wanted " + part);
  }
}

TEST(EveryVersionIsRead) {
  for (int version = 1; version <= 3; ++version) {
    const std::string file =
        File(version, Dictionary("'<f4'", "(3, 2)"), 3 * 2 * 4);
    NpyHeader header;
    CHECK_EQ(Fault(file, &header), "");
    CHECK_EQ(header.descr, "<f4");
    CHECK_EQ(header.shape, (std::vector<int64_t>{3, 2}));
    CHECK_EQ(header.item_bytes, int64_t{4});
    CHECK_EQ(header.data_bytes, int64_t{24});
    CHECK_EQ(header.data_offset, static_cast<int64_t>(file.size()) - 24);
  }
}

TEST(EveryShapeIsRead) {
  const struct {
    const char* text;
    std::vector<int64_t> shape;
    int64_t data_bytes;
  } shapes[] = {{"()", {}, 8},
                {"(5,)", {5}, 40},
                {"(2,3,4)", {2, 3, 4}, 192},
                {"( 2 ,\t3 )", {2, 3}, 48},
                {"(0,)", {0}, 0},
                {"(3, 0)", {3, 0}, 0}};
  for (const auto& [text, shape, data_bytes] : shapes) {
    NpyHeader header;
    CHECK_EQ(Fault(File(1, Dictionary("'<i8'", text), data_bytes), &header),
             "");
    CHECK_EQ(header.shape, shape);
  }
}

TEST(EveryKindOfNumberIsRead) {
  for (const char* const descr :
       {"'<f2'", "'<f4'", "'<f8'", "'|i1'", "'|u1'", "'<i2'", "'<u8'", "'|b1'",
        "'|V2'", "'<c8'", "'=i4'", "\"<f4\""}) {
    const int64_t item_bytes = descr[3] - '0';
    NpyHeader header;
    CHECK_EQ(Fault(File(1, Dictionary(descr, "(2,)"), 2 * item_bytes), &header),
             "");
    CHECK_EQ(header.item_bytes, item_bytes);
  }
}

TEST(FileThatEndsEarlyIsRefused) {
  const std::string file = File(1, Dictionary("'<f4'", "(3, 2)"), 24);
  NpyHeader header;
  for (size_t size = 0; size < file.size(); ++size) {
    CHECK(!Fault(file.substr(0, size), &header).empty());
  }
  CHECK_EQ(Fault(file, &header), "");
  CheckRefused(file + "x", "holds 25 bytes of elements, its header says 24");
}

TEST(WhatIsNoNpyFileIsRefused) {
  CheckRefused("", "no .npy file");
  CheckRefused("PK\x03\x04 an archive", "no .npy file");
  CheckRefused(File(0, "", 0), "version is 0, wanted 1 to 3");
  CheckRefused(File(4, "", 0), "version is 4, wanted 1 to 3");
  CheckRefused(File(255, "", 0), "version is 255");
}

TEST(WrongElementsAreRefused) {
  const struct {
    const char* descr;
    const char* fault;
  } wrong[] = {{"'>f4'", "big-endian ('>f4'), wanted '<'"},
               {"'|O'", "'|O', wanted numbers"},
               {"'<U3'", "'<U3', wanted numbers"},
               {"'<M8'", "'<M8', wanted numbers"},
               {"'<f'", "'<f', wanted numbers"},
               {"'<f0'", "no bytes"},
               {"'<f-'", "wanted numbers"},
               {"'<f123'", "wanted numbers"},
               {"''", "wanted numbers"},
               {"[('a', '<f4')]", "structures, wanted numbers"},
               {"4", "structures, wanted numbers"}};
  for (const auto& [descr, fault] : wrong) {
    CheckRefused(File(1, Dictionary(descr, "(1,)"), 4), fault);
  }
  CheckRefused(File(1, Dictionary("'\xff'", "(1,)"), 4), "of an unknown type");
  const std::string longer(1000, 'f');
  CheckRefused(File(1, Dictionary("'" + longer + "'", "(1,)"), 4),
               "its elements are of an unknown type, wanted numbers");
  const std::string zero(1, '\0');
  CheckRefused(File(1, Dictionary("'" + zero + "f4'", "(1,)"), 4),
               "wanted numbers");
  CheckRefused(File(1, Dictionary("'<" + zero + "4'", "(1,)"), 4),
               "wanted numbers");
}

TEST(ShapeLargerThanAnyFileIsRefused) {
  for (const char* const shape :
       {"(9223372036854775807,)", "(4294967296, 4294967296)",
        "(0, 4294967296, 4294967296)", "(4294967296, 4294967296, 0)"}) {
    CheckRefused(File(1, Dictionary("'<f4'", shape), 0),
                 "larger than any file");
  }
  CheckRefused(File(1, Dictionary("'<f4'", "(9223372036854775808,)"), 0),
               "not a dictionary");
  CheckRefused(File(1, Dictionary("'<f4'", "(1000000,)"), 4),
               "holds 4 bytes of elements, its header says 4000000");
}

TEST(MalformedDictionaryIsRefused) {
  const std::string order = "'fortran_order': False";
  for (const std::string& text : std::vector<std::string>{
           "", "{", "{}", "[]", "{'descr': '<f4'}",
           "{'descr': '<f4', " + order + "}",
           "{'descr': '<f4', " + order + ", 'shape': (1,)",
           "{'descr': '<f4', " + order + ", 'shape': (1,)} x",
           "{'descr': '<f4', " + order + ", 'shape': (-1,)}",
           "{'descr': '<f4', " + order + ", 'shape': (,)}",
           "{'descr': '<f4', " + order + ", 'shape': (1,,)}",
           "{'descr': '<f4', " + order + ", 'shape': 1}",
           "{'descr': '<f4', " + order + ", 'shape': (1,), 'more': 1}",
           "{'descr': '<f4', 'descr': '<f4', " + order + ", 'shape': (1,)}",
           "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
           "{'descr' '<f4', " + order + ", 'shape': (1,)}"}) {
    CheckRefused(File(1, text, 4), "not a dictionary");
  }
  CheckRefused(File(1, "{'descr': '<f4", 4), "wanted numbers");
  CheckRefused(
      File(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", 4),
      "Fortran order, wanted C order");
}

}  // namespace
}  // namespace nann
