#include "ops/tf/scorer_function.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/common_runtime/function_body.h"
#include "tensorflow/core/graph/graph.h"

namespace nann {
namespace {

using tensorflow::DataType;
using tensorflow::DataTypeString;
using tensorflow::DataTypeVector;
using tensorflow::FunctionLibraryRuntime;
using tensorflow::Tensor;

absl::Status CheckSignature(const tensorflow::FunctionBody& body,
                            const DataTypeVector& argument_types) {
  if (body.arg_types.size() != argument_types.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the scorer takes ", body.arg_types.size(),
                     " arguments, user_state, item_state and captured are ",
                     argument_types.size()));
  }
  for (size_t i = 0; i < argument_types.size(); ++i) {
    if (body.arg_types[i] != argument_types[i]) {
      return absl::InvalidArgumentError(
          absl::StrCat("argument ", i, " of the scorer is ",
                       DataTypeString(body.arg_types[i]), ", got ",
                       DataTypeString(argument_types[i])));
    }
  }
  if (body.ret_types == DataTypeVector{tensorflow::DT_FLOAT}) {
    return absl::OkStatus();
  }
  const auto name = [](std::string* text, DataType type) {
    text->append(DataTypeString(type));
  };
  const std::string got = absl::StrJoin(body.ret_types, ", ", name);
  return absl::InvalidArgumentError(absl::StrCat("the scorer returns ",
                                                 got.empty() ? "nothing" : got,
                                                 ", wanted one float"));
}

// Returns whether a function has no nodes that call functions or wait.
bool IsSimple(const tensorflow::FunctionBody& body) {
  if (body.graph == nullptr) return false;
  for (const tensorflow::Node* node : body.graph->op_nodes()) {
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
                         const DataTypeVector& argument_types,
                         ScorerFunction* scorer) {
  scorer->library = library;
  FunctionLibraryRuntime::InstantiateOptions options;
  const tensorflow::AttrSlice attributes(&function.attr());
  TF_RETURN_IF_ERROR(library->Instantiate(function.name(), attributes, options,
                                          &scorer->handle));
  const tensorflow::FunctionBody* const body =
      library->GetFunctionBody(scorer->handle);
  if (body == nullptr) {
    return absl::InternalError("the scorer is on another device");
  }
  return CheckSignature(*body, argument_types);
}

void MakeSimple(const tensorflow::NameAttrList& function,
                ScorerFunction* scorer) {
  FunctionLibraryRuntime* const library = scorer->library;
  if (!IsSimple(*library->GetFunctionBody(scorer->handle))) return;
  FunctionLibraryRuntime::InstantiateOptions options;
  // One thread and no bookkeeping between nodes: several times less overhead.
  options.executor_type = "SINGLE_THREADED_EXECUTOR";
  // Else the executor would say only at the first call that it cannot.
  options.create_kernels_eagerly = true;
  FunctionLibraryRuntime::Handle simple;
  if (library
          ->Instantiate(function.name(),
                        tensorflow::AttrSlice(&function.attr()), options,
                        &simple)
          .ok()) {
    scorer->handle = simple;
    scorer->is_simple = true;
  }
}

absl::Status ScorerFrame::GetArg(int index, const Tensor** value) {
  *value = &arguments[index];
  return absl::OkStatus();
}

absl::Status ScorerFrame::SetRetval(int, const Tensor& value) {
  scores = value;
  return absl::OkStatus();
}

}  // namespace nann
