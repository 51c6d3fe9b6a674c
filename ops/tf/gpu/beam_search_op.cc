// Nann>BeamSearch on a GPU: ops/tf/beam_search_op.cc says what it does. Graph
// and item state come from the memory of the host, and the kernel keeps a copy
// of them on the device; user state and what the scorer has captured are there
// already. The scorer is called with all queries at once.

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ops/tf/gpu/device_model.h"
#include "ops/tf/gpu/device_walk.h"
#include "ops/tf/gpu/registration.h"
#include "ops/tf/scorer_function.h"
#include "ops/tf/search_call.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace nann {
namespace {

using tensorflow::AsyncOpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;

class BeamSearchGpuOp : public AsyncOpKernel {
 public:
  explicit BeamSearchGpuOp(OpKernelConstruction* context)
      : AsyncOpKernel(context) {
    std::string policy;
    OP_REQUIRES_OK(context, context->GetAttr("policy", &policy));
    is_paper_ = policy == "paper";
    OP_REQUIRES_OK(context, context->GetAttr("scorer", &function_));
  }

  void ComputeAsync(OpKernelContext* context, DoneCallback done) override {
    SearchCall call;
    call.is_paper = is_paper_;
    std::shared_ptr<const DeviceModel> model;
    ScorerFunction scorer;
    OP_REQUIRES_OK_ASYNC(context, ReadGraph(context, &call.graph), done);
    OP_REQUIRES_OK_ASYNC(context, CheckEntries(call.graph), done);
    OP_REQUIRES_OK_ASYNC(context, ReadCall(context, &call), done);
    OP_REQUIRES_OK_ASYNC(context, GetModel(context, call, &model), done);
    OP_REQUIRES_OK_ASYNC(context, GetScorer(context, call, &scorer), done);
    const auto walk = std::make_shared<DeviceWalk>(
        context, scorer, std::move(call), std::move(model), done);
    OP_REQUIRES_OK_ASYNC(context, walk->Prepare(), done);
    walk->Run();
  }

 private:
  // What ReadCall relies on before the graph is looked at as a whole.
  static absl::Status CheckEntries(const GraphView& graph) {
    if (graph.levels[0].row_splits.size() > 1) return absl::OkStatus();
    return absl::InvalidArgumentError("row_splits[0] is empty, wanted rows");
  }

  // The one that is on the device, or a new one: checked, then copied.
  absl::Status GetModel(OpKernelContext* context, const SearchCall& call,
                        std::shared_ptr<const DeviceModel>* model) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (model_ == nullptr || !model_->IsOf(context, call)) {
      const std::string fault = FindFault(call.graph);
      if (!fault.empty()) return absl::InvalidArgumentError(fault);
      model_ = nullptr;  // There may be no room for two.
      auto made = std::make_shared<DeviceModel>();
      TF_RETURN_IF_ERROR(made->Copy(context, call));
      model_ = std::move(made);
    }
    *model = model_;
    return absl::OkStatus();
  }

  absl::Status GetScorer(OpKernelContext* context, const SearchCall& call,
                         ScorerFunction* scorer) {
    tensorflow::FunctionLibraryRuntime* const library =
        context->function_library();
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
    scorers_.push_back(*scorer);
    return absl::OkStatus();
  }

  bool is_paper_ = false;
  tensorflow::NameAttrList function_;
  std::mutex mutex_;
  std::vector<ScorerFunction> scorers_;
  std::shared_ptr<const DeviceModel> model_;
};

REGISTER_KERNEL_BUILDER(Name("Nann>BeamSearch")
                            .NANN_GPU_KERNEL.HostMemory("values")
                            .HostMemory("row_splits")
                            .HostMemory("entry_points")
                            .HostMemory("expand")
                            .HostMemory("only_score")
                            .HostMemory("allowed")
                            .HostMemory("denied")
                            .HostMemory("widths")
                            .HostMemory("hops")
                            .HostMemory("limits")
                            .HostMemory("k")
                            .HostMemory("item_state")
                            .HostMemory("rows")
                            .HostMemory("scores")
                            .HostMemory("num_scored"),
                        BeamSearchGpuOp);

}  // namespace
}  // namespace nann
