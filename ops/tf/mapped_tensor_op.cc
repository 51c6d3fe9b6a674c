// Nann>MappedTensor: an .npy file as a read-only tensor, without a copy.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ops/core/npy.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace nann {
namespace {

using tensorflow::AllocationDescription;
using tensorflow::DataType;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorBuffer;
using tensorflow::TensorShape;

// Kernels of TensorFlow read tensors with aligned vector instructions.
constexpr int64_t kAlignment = 64;

REGISTER_OP("Nann>MappedTensor")
    .Input("path: string")
    .Output("tensor: dtype")
    .Attr(
        "dtype: {float, half, bfloat16, double, int8, uint8, int16, uint16, "
        "int32, uint32, int64, uint64, bool}")
    .Attr("shape: shape = { unknown_rank: true }")
    // Not to be folded into the graph: that would copy the file.
    .SetIsStateful()
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle path, shape;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &path));
      tensorflow::PartialTensorShape declared;
      TF_RETURN_IF_ERROR(c->GetAttr("shape", &declared));
      TF_RETURN_IF_ERROR(c->MakeShapeFromPartialTensorShape(declared, &shape));
      c->set_output(0, shape);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Maps an .npy file into memory as a read-only tensor, without copying it.

The pages are shared by all that map the same file: several models, versions and
processes. The file must not be changed while it is mapped; replace it by rename.
It stays mapped as long as the session or function that holds the op, so that
every request gets the same memory.

path: Scalar. The file: NumPy format version 1 to 3, little-endian, C order, its
  data beginning at a multiple of 64 bytes (as numpy.save writes it).
tensor: The content of the file.
dtype: Type of the elements, as the file has it. bfloat16 is stored as 2-byte
  void or unsigned integers.
shape: Shape that the file must have; unknown dimensions are free.
)doc");

// The elements of a mapped file; unmaps it when nobody uses it any more.
class MappedBuffer : public TensorBuffer {
 public:
  MappedBuffer(void* mapping, size_t mapping_bytes, const NpyHeader& header)
      : TensorBuffer(static_cast<char*>(mapping) + header.data_offset),
        mapping_(mapping),
        mapping_bytes_(mapping_bytes),
        data_bytes_(header.data_bytes) {}
  ~MappedBuffer() override { munmap(mapping_, mapping_bytes_); }

  size_t size() const override { return data_bytes_; }
  TensorBuffer* root_buffer() override { return this; }
  void FillAllocationDescription(AllocationDescription* proto) const override {
    proto->set_requested_bytes(data_bytes_);
    proto->set_allocator_name("nann_mapped_file");
  }
  // No kernel may write into it or forward it as an output.
  bool OwnsMemory() const override { return false; }

 private:
  void* const mapping_;
  const size_t mapping_bytes_;
  const size_t data_bytes_;
};

// Returns whether elements that NumPy calls `descr` are of type `dtype`.
bool Matches(const std::string& descr, DataType dtype) {
  const std::string kind = descr.substr(1);
  switch (dtype) {
    case tensorflow::DT_FLOAT:
      return kind == "f4";
    case tensorflow::DT_HALF:
      return kind == "f2";
    case tensorflow::DT_BFLOAT16:
      return kind == "V2" || kind == "u2";
    case tensorflow::DT_DOUBLE:
      return kind == "f8";
    case tensorflow::DT_INT8:
      return kind == "i1";
    case tensorflow::DT_UINT8:
      return kind == "u1";
    case tensorflow::DT_INT16:
      return kind == "i2";
    case tensorflow::DT_UINT16:
      return kind == "u2";
    case tensorflow::DT_INT32:
      return kind == "i4";
    case tensorflow::DT_UINT32:
      return kind == "u4";
    case tensorflow::DT_INT64:
      return kind == "i8";
    case tensorflow::DT_UINT64:
      return kind == "u8";
    case tensorflow::DT_BOOL:
      return kind == "b1";
    default:
      return false;
  }
}

// Makes a tensor of a file.
absl::Status Map(const std::string& path, DataType dtype,
                 const tensorflow::PartialTensorShape& wanted, Tensor* tensor) {
  // Not to wait for the writer of a pipe, which is refused below.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    return absl::NotFoundError(
        absl::StrCat(path, " cannot be opened: ", std::strerror(errno)));
  }
  struct stat facts;
  if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode) ||
      facts.st_size == 0) {
    close(file);
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is empty or no file"));
  }
  const size_t size = facts.st_size;
  void* const mapping = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapping == MAP_FAILED) {
    return absl::InternalError(
        absl::StrCat(path, " cannot be mapped: ", std::strerror(errno)));
  }
  const auto refuse = [&](const std::string& fault) {
    munmap(mapping, size);
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", fault));
  };
  // Reads ahead; the walk itself will jump about.
  madvise(mapping, size, MADV_WILLNEED);
  NpyHeader header;
  const std::string fault =
      ParseNpy(static_cast<const char*>(mapping), size, &header);
  if (!fault.empty()) return refuse(fault);
  if (!Matches(header.descr, dtype)) {
    return refuse(absl::StrCat("its elements are '", header.descr, "', wanted ",
                               tensorflow::DataTypeString(dtype)));
  }
  if (header.data_offset % kAlignment != 0) {
    return refuse(absl::StrCat("its data begins at byte ", header.data_offset,
                               ", wanted a multiple of ", kAlignment,
                               "; save it anew with numpy.save"));
  }
  TensorShape shape;
  const absl::Status is_shape =
      TensorShape::BuildTensorShape(header.shape, &shape);
  if (!is_shape.ok()) return refuse(std::string(is_shape.message()));
  if (!wanted.IsCompatibleWith(shape)) {
    return refuse(absl::StrCat("its shape is ", shape.DebugString(),
                               ", wanted ", wanted.DebugString()));
  }
  auto* const buffer = new MappedBuffer(mapping, size, header);
  *tensor = Tensor(dtype, shape, buffer);
  buffer->Unref();  // The tensor holds its own reference.
  return absl::OkStatus();
}

class MappedTensorOp : public OpKernel {
 public:
  explicit MappedTensorOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dtype", &dtype_));
    OP_REQUIRES_OK(context, context->GetAttr("shape", &shape_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& path_tensor = context->input(0);
    OP_REQUIRES(context,
                tensorflow::TensorShapeUtils::IsScalar(path_tensor.shape()),
                absl::InvalidArgumentError(absl::StrCat(
                    "path has shape ", path_tensor.shape().DebugString(),
                    ", wanted a scalar")));
    const std::string path(path_tensor.scalar<tensorflow::tstring>()());
    std::lock_guard<std::mutex> lock(mutex_);
    if (!is_mapped_ || path != path_) {
      is_mapped_ = false;
      OP_REQUIRES_OK(context, Map(path, dtype_, shape_, &tensor_));
      path_ = path;
      is_mapped_ = true;
    }
    context->set_output(0, tensor_);
  }

 private:
  DataType dtype_;
  tensorflow::PartialTensorShape shape_;
  std::mutex mutex_;
  // Mapped once: the next requests get the same memory.
  bool is_mapped_ = false;
  std::string path_;
  Tensor tensor_;
};

REGISTER_KERNEL_BUILDER(
    Name("Nann>MappedTensor").Device(tensorflow::DEVICE_CPU), MappedTensorOp);

}  // namespace
}  // namespace nann
