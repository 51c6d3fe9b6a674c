// Nann>BeamSearch: the search inside a TensorFlow graph, with any TensorFlow
// function as its scorer. The search itself is ops/core/beam_search.h; what
// drives it is walk.h.

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ops/core/scratch_pool.h"
#include "ops/tf/scorer_function.h"
#include "ops/tf/search_call.h"
#include "ops/tf/walk.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace nann {
namespace {

using tensorflow::AsyncOpKernel;
using tensorflow::FunctionLibraryRuntime;
using tensorflow::NameAttrList;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Finds how many steps a search may take, if that is known already.
absl::Status FindSteps(InferenceContext* c, int input_limits,
                       DimensionHandle* steps) {
  std::string policy;
  TF_RETURN_IF_ERROR(c->GetAttr("policy", &policy));
  *steps = c->UnknownDim();
  const Tensor* const hops = c->input_tensor(input_limits - 1);
  const Tensor* const limits = c->input_tensor(input_limits);
  if (policy == "paper" && hops != nullptr) {
    int64_t sum = 0;
    for (int64_t i = 0; i < hops->NumElements(); ++i) {
      sum += hops->flat<int32_t>()(i);
    }
    if (sum >= 0) *steps = c->MakeDim(sum);
  }
  if (policy == "best_first" && limits != nullptr &&
      limits->NumElements() == 4 && limits->flat<int64_t>()(2) >= 0) {
    *steps = c->MakeDim(limits->flat<int64_t>()(2));
  }
  return absl::OkStatus();
}

absl::Status SetShapes(InferenceContext* c) {
  int num_levels;
  TF_RETURN_IF_ERROR(c->GetAttr("num_levels", &num_levels));
  // The places of the inputs, after those of each level.
  const int expand = 2 * num_levels + 1;
  const int limits = expand + 6;
  const int k = limits + 1;
  ShapeHandle matrix, scalar;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(expand), 2, &matrix));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(k), 0, &scalar));
  const DimensionHandle num_queries = c->Dim(matrix, 0);
  DimensionHandle num_answers, num_steps;
  TF_RETURN_IF_ERROR(c->MakeDimForScalarInput(k, &num_answers));
  TF_RETURN_IF_ERROR(FindSteps(c, limits, &num_steps));
  c->set_output(0, c->Matrix(num_queries, num_answers));
  c->set_output(1, c->Matrix(num_queries, num_answers));
  c->set_output(2, c->Matrix(num_queries, num_steps));
  return absl::OkStatus();
}

REGISTER_OP("Nann>BeamSearch")
    .Input("values: num_levels * int32")
    .Input("row_splits: num_levels * int64")
    .Input("entry_points: int32")
    .Input("expand: int32")
    .Input("only_score: int32")
    .Input("allowed: uint8")
    .Input("denied: int32")
    .Input("widths: int32")
    .Input("hops: int32")
    .Input("limits: int64")
    .Input("k: int32")
    .Input("user_state: Tuser")
    .Input("item_state: Titem")
    .Input("captured: Tcaptured")
    .Output("rows: int32")
    .Output("scores: float")
    .Output("num_scored: int32")
    .Attr("policy: {'best_first', 'paper'} = 'best_first'")
    .Attr("scorer: func")
    .Attr("num_levels: int >= 1")
    .Attr("Tuser: list(type) >= 0")
    .Attr("Titem: list(type) >= 0")
    .Attr("Tcaptured: list(type) >= 0")
    // The scorer may have state of its own.
    .SetIsStateful()
    .SetShapeFn(SetShapes)
    .Doc(R"doc(
Finds the best items of each of B queries by walking a graph of I rows.

The scorer is called once for each step of a search, as
  scorer(user_state..., item_state..., captured...)
with the user state of the query, each [1, ...], and the item state of the n rows
that the search has met, each [1, n, ...]. It returns n float32 scores; higher is
better. Queries are independent; several run in parallel.

values: Neighbors of each level, [E] rows.
row_splits: Where each row's neighbors begin and end, [I + 1], for each level.
entry_points: [P] rows of the level above; policy paper begins with them.
expand: [B, F] rows to start from and to expand whatever their score, padded with
  -1. Policy best_first.
only_score: [B, M] rows to start from and to expand if they score well, padded
  with -1. Policy best_first.
allowed: [B, (I + 7) / 8] bits (row r is bit r % 8 of byte r / 8) of the rows that
  may be returned, or [0, 0]: all.
denied: [B, X] rows that may not be returned, padded with -1.
widths: [num_levels + 1] beam width of each level from level 0 up, the entry
  points last; or [sum of hops] of each step, from the last one back. Policy
  paper; else empty.
hops: [num_levels + 1] expansions on each level, likewise; the last is 1.
limits: [4] ef, width, max_steps (at most 2^20), max_evaluations. Policy
  best_first; else empty.
k: Scalar, answers of a query, at most 2^20.
user_state: What the scorer needs of a query, each [B, ...].
item_state: What the scorer needs of a row, each [I, ...].
captured: What the scorer needs besides.
rows: [B, k] best first, padded with -1.
scores: [B, k], padded with -inf.
num_scored: [B, S] rows scored at each step, padded with 0. S is the number of
  steps under policy paper, max_steps under best_first.
scorer: The function.
)doc");

class BeamSearchOp : public AsyncOpKernel {
 public:
  explicit BeamSearchOp(OpKernelConstruction* context)
      : AsyncOpKernel(context) {
    std::string policy;
    OP_REQUIRES_OK(context, context->GetAttr("policy", &policy));
    is_paper_ = policy == "paper";
    OP_REQUIRES_OK(context, context->GetAttr("scorer", &function_));
  }

  void ComputeAsync(OpKernelContext* context, DoneCallback done) override {
    SearchCall call;
    call.is_paper = is_paper_;
    OP_REQUIRES_OK_ASYNC(context, ReadGraph(context, &call.graph), done);
    OP_REQUIRES_OK_ASYNC(context, CheckGraph(context, call.graph), done);
    OP_REQUIRES_OK_ASYNC(context, ReadCall(context, &call), done);
    ScorerFunction scorer;
    OP_REQUIRES_OK_ASYNC(context, GetScorer(context, call, &scorer), done);
    const auto walk =
        std::make_shared<Walk>(context, scorer, std::move(call), &pool_, done);
    OP_REQUIRES_OK_ASYNC(context, walk->AllocateOutputs(), done);
    walk->Run();
  }

 private:
  // Looks at every neighbor, but only once for the same memory: the tensors are
  // kept, so that it cannot become another graph's in the meantime.
  absl::Status CheckGraph(OpKernelContext* context, const GraphView& graph) {
    std::vector<Tensor> tensors;
    TF_RETURN_IF_ERROR(ReadGraphTensors(context, &tensors));
    std::lock_guard<std::mutex> lock(mutex_);
    if (AreSame(tensors, checked_)) return absl::OkStatus();
    const std::string fault = FindFault(graph);
    if (!fault.empty()) return absl::InvalidArgumentError(fault);
    checked_ = std::move(tensors);
    return absl::OkStatus();
  }

  // A session runs the same kernel with several libraries, one for each set of
  // feeds and fetches.
  absl::Status GetScorer(OpKernelContext* context, const SearchCall& call,
                         ScorerFunction* scorer) {
    FunctionLibraryRuntime* const library = context->function_library();
    if (library == nullptr) {
      return absl::InternalError("there is no function library");
    }
    std::lock_guard<std::mutex> lock(mutex_);
    for (const ScorerFunction& known : scorers_) {
      if (known.library == library) {
        *scorer = known;
        return absl::OkStatus();
      }
    }
    TF_RETURN_IF_ERROR(
        Instantiate(library, function_, call.ScorerTypes(), scorer));
    MakeSimple(function_, scorer);
    scorers_.push_back(*scorer);
    return absl::OkStatus();
  }

  bool is_paper_ = false;
  NameAttrList function_;
  ScratchPool<Walk::Scratch> pool_;
  std::mutex mutex_;
  std::vector<ScorerFunction> scorers_;
  std::vector<Tensor> checked_;
};

REGISTER_KERNEL_BUILDER(Name("Nann>BeamSearch").Device(tensorflow::DEVICE_CPU),
                        BeamSearchOp);

}  // namespace
}  // namespace nann
