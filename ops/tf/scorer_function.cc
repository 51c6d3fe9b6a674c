#include "ops/tf/scorer_function.h"

#include "tensorflow/core/common_runtime/function_body.h"
#include "tensorflow/core/graph/graph.h"

namespace nann {
namespace {

using tensorflow::FunctionLibraryRuntime;

// Returns whether a function has nodes that call functions or wait.
bool IsSimple(const tensorflow::FunctionBody& body) {
  for (const tensorflow::Node* node : body.graph->op_nodes()) {
    if (!node->IsOp()) continue;
    for (const auto& attribute : node->def().attr()) {
      if (attribute.second.has_func() ||
          attribute.second.list().func_size() > 0) {
        return false;
      }
    }
    if (node->IsControlFlow() || node->IsSend() || node->IsRecv()) {
      return false;
    }
  }
  return true;
}

}  // namespace

absl::Status Instantiate(FunctionLibraryRuntime* library,
                         const tensorflow::NameAttrList& function,
                         ScorerFunction* scorer) {
  scorer->library = library;
  FunctionLibraryRuntime::InstantiateOptions options;
  const tensorflow::AttrSlice attributes(&function.attr());
  TF_RETURN_IF_ERROR(library->Instantiate(function.name(), attributes, options,
                                          &scorer->handle));
  const tensorflow::FunctionBody* const body =
      library->GetFunctionBody(scorer->handle);
  scorer->is_simple = body != nullptr && IsSimple(*body);
  if (!scorer->is_simple) return absl::OkStatus();
  // One thread and no bookkeeping between nodes: several times less overhead.
  options.executor_type = "SINGLE_THREADED_EXECUTOR";
  FunctionLibraryRuntime::Handle simple;
  if (library->Instantiate(function.name(), attributes, options, &simple)
          .ok()) {
    scorer->handle = simple;
  } else {
    scorer->is_simple = false;
  }
  return absl::OkStatus();
}

}  // namespace nann
