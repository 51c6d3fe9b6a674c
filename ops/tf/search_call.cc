#include "ops/tf/search_call.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ops/core/validate.h"
#include "tensorflow/core/framework/types.h"

namespace nann {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// num_scored has a column for each step, rows and scores one for each answer.
constexpr int64_t kMaxSteps = 1 << 20;
constexpr int64_t kMaxAnswers = 1 << 20;

template <typename T>
Span<const T> Flat(const Tensor& tensor) {
  return {static_cast<const T*>(tensor.data()), tensor.NumElements()};
}

absl::Status Fault(const std::string& fault) {
  return fault.empty() ? absl::OkStatus() : absl::InvalidArgumentError(fault);
}

absl::Status WithRank(const Tensor& tensor, int rank, const std::string& name) {
  if (tensor.dims() == rank) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name, " has shape ", tensor.shape().DebugString(), ", wanted ", rank,
      rank == 1 ? " dimension" : " dimensions"));
}

std::string Place(const char* list, size_t i) {
  return absl::StrCat(list, "[", i, "]");
}

absl::Status ReadPolicy(OpKernelContext* context, SearchCall* call) {
  const Tensor *widths, *hops, *limits, *k;
  TF_RETURN_IF_ERROR(context->input("widths", &widths));
  TF_RETURN_IF_ERROR(context->input("hops", &hops));
  TF_RETURN_IF_ERROR(context->input("limits", &limits));
  TF_RETURN_IF_ERROR(context->input("k", &k));
  TF_RETURN_IF_ERROR(WithRank(*k, 0, "k"));
  call->k = k->scalar<int32_t>()();
  if (call->k < 1 || call->k > kMaxAnswers) {
    return absl::InvalidArgumentError(
        absl::StrCat("k is ", call->k, ", wanted 1 to ", kMaxAnswers));
  }
  if (call->is_paper) {
    TF_RETURN_IF_ERROR(WithRank(*widths, 1, "widths"));
    TF_RETURN_IF_ERROR(WithRank(*hops, 1, "hops"));
    const auto list = [](const Tensor& tensor) {
      const Span<const int32_t> flat = Flat<int32_t>(tensor);
      return std::vector<int32_t>(flat.begin(), flat.end());
    };
    call->paper = {list(*widths), list(*hops)};
    TF_RETURN_IF_ERROR(Fault(FindFault(
        call->paper, static_cast<int64_t>(call->graph.levels.size()))));
    for (const int32_t hops_of_level : call->paper.hops) {
      call->num_steps += hops_of_level;
    }
  } else {
    if (limits->dims() != 1 || limits->dim_size(0) != 4) {
      return absl::InvalidArgumentError(
          absl::StrCat("limits has shape ", limits->shape().DebugString(),
                       ", wanted [4]: ef, width, max_steps, max_evaluations"));
    }
    const Span<const int64_t> flat = Flat<int64_t>(*limits);
    call->best_first = {flat[0], flat[1], flat[2], flat[3]};
    TF_RETURN_IF_ERROR(Fault(FindFault(call->best_first)));
    call->num_steps = call->best_first.max_steps;
  }
  if (call->num_steps > kMaxSteps) {
    return absl::InvalidArgumentError(
        absl::StrCat("a search may take ", call->num_steps,
                     " steps, wanted at most ", kMaxSteps));
  }
  return absl::OkStatus();
}

absl::Status ReadQueries(OpKernelContext* context, SearchCall* call) {
  const std::pair<const char*, Tensor*> matrices[] = {
      {"expand", &call->expand},
      {"only_score", &call->only_score},
      {"allowed", &call->allowed},
      {"denied", &call->denied}};
  for (const auto& [name, kept] : matrices) {
    const Tensor* tensor;
    TF_RETURN_IF_ERROR(context->input(name, &tensor));
    TF_RETURN_IF_ERROR(WithRank(*tensor, 2, name));
    *kept = *tensor;
  }
  call->num_queries = call->expand.dim_size(0);
  for (const auto& [name, tensor] : matrices) {
    if (tensor == &call->allowed && tensor->dim_size(0) == 0) continue;
    if (tensor->dim_size(0) != call->num_queries) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " has shape ", tensor->shape().DebugString(),
          ", wanted a row for each of ", call->num_queries, " queries"));
    }
  }
  const int64_t num_rows = call->graph.num_rows();
  const int64_t wanted_bytes = (num_rows + 7) / 8;
  if (call->allowed.dim_size(0) > 0 &&
      call->allowed.dim_size(1) != wanted_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("allowed has shape ", call->allowed.shape().DebugString(),
                     ", wanted [", call->num_queries, ",", wanted_bytes,
                     "]: a bit for each of ", num_rows, " rows"));
  }
  for (int64_t i = 0; i < call->num_queries; ++i) {
    const std::string fault = FindFault(call->ToQuery(i), num_rows);
    if (!fault.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("query ", i, ": ", fault));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadStates(OpKernelContext* context, SearchCall* call) {
  const struct {
    const char* name;
    std::vector<Tensor>* kept;
    int64_t length;
  } lists[] = {{"user_state", &call->user_state, call->num_queries},
               {"item_state", &call->item_state, call->graph.num_rows()},
               {"captured", &call->captured, -1}};
  for (const auto& [name, kept, length] : lists) {
    OpInputList inputs;
    TF_RETURN_IF_ERROR(context->input_list(name, &inputs));
    kept->assign(inputs.begin(), inputs.end());
    if (length < 0) continue;
    for (size_t i = 0; i < kept->size(); ++i) {
      const Tensor& tensor = (*kept)[i];
      if (tensor.dims() < 1 || tensor.dim_size(0) != length) {
        return absl::InvalidArgumentError(absl::StrCat(
            Place(name, i), " has shape ", tensor.shape().DebugString(),
            ", wanted ", length, " along the first dimension"));
      }
      if (!tensorflow::DataTypeCanUseMemcpy(tensor.dtype())) {
        return absl::InvalidArgumentError(absl::StrCat(
            Place(name, i), " is of type ",
            tensorflow::DataTypeString(tensor.dtype()), ", wanted numbers"));
      }
    }
  }
  for (const Tensor& tensor : call->item_state) {
    const int64_t row_bytes =
        static_cast<int64_t>(tensor.TotalBytes()) / tensor.dim_size(0);
    call->memory.push_back({tensor.tensor_data().data(), row_bytes});
  }
  return absl::OkStatus();
}

}  // namespace

Query SearchCall::ToQuery(int64_t i) const {
  const auto row = [i](const Tensor& matrix) {
    const int64_t width = matrix.dim_size(1);
    return Span<const int32_t>(Flat<int32_t>(matrix).data() + i * width, width);
  };
  Query query;
  query.k = k;
  query.expand = row(expand);
  query.only_score = row(only_score);
  query.filter.denied = row(denied);
  if (allowed.dim_size(0) > 0) {
    query.filter.allowed =
        Flat<uint8_t>(allowed).data() + i * allowed.dim_size(1);
  }
  return query;
}

tensorflow::DataTypeVector SearchCall::ScorerTypes() const {
  tensorflow::DataTypeVector types;
  for (const auto* list : {&user_state, &item_state, &captured}) {
    for (const Tensor& tensor : *list) types.push_back(tensor.dtype());
  }
  return types;
}

void SearchCall::Start(int64_t i, BeamSearch* search) const {
  search->FetchAhead(memory);
  if (is_paper) {
    search->Start(graph, paper, ToQuery(i));
  } else {
    search->Start(graph, best_first, ToQuery(i));
  }
}

absl::Status ReadGraph(OpKernelContext* context, GraphView* graph) {
  OpInputList values, row_splits;
  TF_RETURN_IF_ERROR(context->input_list("values", &values));
  TF_RETURN_IF_ERROR(context->input_list("row_splits", &row_splits));
  for (int i = 0; i < values.size(); ++i) {
    TF_RETURN_IF_ERROR(WithRank(values[i], 1, Place("values", i)));
    TF_RETURN_IF_ERROR(WithRank(row_splits[i], 1, Place("row_splits", i)));
    graph->levels.push_back(
        {Flat<int32_t>(values[i]), Flat<int64_t>(row_splits[i])});
  }
  const Tensor* entry_points;
  TF_RETURN_IF_ERROR(context->input("entry_points", &entry_points));
  TF_RETURN_IF_ERROR(WithRank(*entry_points, 1, "entry_points"));
  graph->entry_points = Flat<int32_t>(*entry_points);
  return absl::OkStatus();
}

absl::Status ReadGraphTensors(OpKernelContext* context,
                              std::vector<Tensor>* tensors) {
  for (const char* const name : {"values", "row_splits"}) {
    OpInputList inputs;
    TF_RETURN_IF_ERROR(context->input_list(name, &inputs));
    tensors->insert(tensors->end(), inputs.begin(), inputs.end());
  }
  const Tensor* entry_points;
  TF_RETURN_IF_ERROR(context->input("entry_points", &entry_points));
  tensors->push_back(*entry_points);
  return absl::OkStatus();
}

bool AreSame(const std::vector<Tensor>& some,
             const std::vector<Tensor>& others) {
  if (some.size() != others.size()) return false;
  for (size_t i = 0; i < some.size(); ++i) {
    if (!some[i].SharesBufferWith(others[i]) ||
        some[i].data() != others[i].data() ||
        some[i].shape() != others[i].shape()) {
      return false;
    }
  }
  return true;
}

absl::Status ReadCall(OpKernelContext* context, SearchCall* call) {
  TF_RETURN_IF_ERROR(ReadPolicy(context, call));
  TF_RETURN_IF_ERROR(ReadQueries(context, call));
  return ReadStates(context, call);
}

}  // namespace nann
