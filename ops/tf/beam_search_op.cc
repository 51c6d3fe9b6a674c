// Nann>BeamSearch: the search inside a TensorFlow graph, with any TensorFlow
// function as its scorer. This file checks, views and drives; the search itself
// is ops/core/beam_search.h.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ops/core/beam_search.h"
#include "ops/core/scratch_pool.h"
#include "ops/core/validate.h"
#include "tensorflow/core/common_runtime/function_body.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/graph/graph.h"
#include "tensorflow/core/platform/cpu_info.h"

namespace nann {
namespace {

using tensorflow::AsyncOpKernel;
using tensorflow::FunctionLibraryRuntime;
using tensorflow::NameAttrList;
using tensorflow::OpInputList;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// num_scored has a column for each step.
constexpr int64_t kMaxSteps = 1 << 20;

absl::Status SetShapes(tensorflow::shape_inference::InferenceContext* c) {
  std::vector<tensorflow::shape_inference::ShapeHandle> expand;
  TF_RETURN_IF_ERROR(c->input("expand", &expand));
  tensorflow::shape_inference::ShapeHandle matrix;
  TF_RETURN_IF_ERROR(c->WithRank(expand[0], 2, &matrix));
  const auto num_queries = c->Dim(matrix, 0);
  const auto unknown = c->UnknownDim();
  TF_RETURN_IF_ERROR(c->set_output("rows", {c->Matrix(num_queries, unknown)}));
  TF_RETURN_IF_ERROR(
      c->set_output("scores", {c->Matrix(num_queries, unknown)}));
  return c->set_output("num_scored", {c->Matrix(num_queries, unknown)});
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
  points last. Policy paper; else empty.
hops: [num_levels + 1] expansions on each level, likewise; the last is 1.
limits: [4] ef, width, max_steps, max_evaluations. Policy best_first; else empty.
k: Scalar, answers of a query.
user_state: What the scorer needs of a query, each [B, ...].
item_state: What the scorer needs of a row, each [I, ...].
captured: What the scorer needs besides.
rows: [B, k] best first, padded with -1.
scores: [B, k], padded with -inf.
num_scored: [B, S] rows scored at each step, padded with 0. S is the number of
  steps under policy paper, max_steps under best_first.
scorer: The function.
)doc");

template <typename T>
Span<const T> Flat(const Tensor& tensor) {
  return {tensor.flat<T>().data(), tensor.NumElements()};
}

absl::Status Fault(const std::string& fault) {
  return fault.empty() ? absl::OkStatus() : absl::InvalidArgumentError(fault);
}

// Everything that the searches of one call share, checked.
struct Call {
  GraphView graph;
  bool is_paper = false;
  PaperPolicy paper;
  BestFirstPolicy best_first;
  int64_t num_queries = 0;
  int64_t num_steps = 0;
  int64_t k = 0;
  Tensor expand, only_score, allowed, denied;
  std::vector<Tensor> user_state, item_state, captured;
  std::vector<RowMemory> memory;

  Query ToQuery(int64_t i) const {
    const auto row = [i](const Tensor& matrix) {
      const int64_t width = matrix.dim_size(1);
      return Span<const int32_t>(matrix.flat<int32_t>().data() + i * width,
                                 width);
    };
    Query query;
    query.k = k;
    query.expand = row(expand);
    query.only_score = row(only_score);
    query.filter.denied = row(denied);
    if (allowed.dim_size(0) > 0) {
      query.filter.allowed =
          allowed.flat<uint8_t>().data() + i * allowed.dim_size(1);
    }
    return query;
  }

  void Start(int64_t i, BeamSearch* search) const {
    search->FetchAhead(memory);
    if (is_paper) {
      search->Start(graph, paper, ToQuery(i));
    } else {
      search->Start(graph, best_first, ToQuery(i));
    }
  }
};

absl::Status WithRank(const Tensor& tensor, int rank, const char* name) {
  if (tensor.dims() == rank) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " has shape ", tensor.shape().DebugString(),
                   ", wanted ", rank, " dimensions"));
}

absl::Status ReadGraph(OpKernelContext* context, GraphView* graph) {
  OpInputList values, row_splits;
  TF_RETURN_IF_ERROR(context->input_list("values", &values));
  TF_RETURN_IF_ERROR(context->input_list("row_splits", &row_splits));
  for (int i = 0; i < values.size(); ++i) {
    TF_RETURN_IF_ERROR(WithRank(values[i], 1, "values"));
    TF_RETURN_IF_ERROR(WithRank(row_splits[i], 1, "row_splits"));
    graph->levels.push_back(
        {Flat<int32_t>(values[i]), Flat<int64_t>(row_splits[i])});
  }
  const Tensor* entry_points;
  TF_RETURN_IF_ERROR(context->input("entry_points", &entry_points));
  TF_RETURN_IF_ERROR(WithRank(*entry_points, 1, "entry_points"));
  graph->entry_points = Flat<int32_t>(*entry_points);
  return absl::OkStatus();
}

absl::Status ReadPolicy(OpKernelContext* context, Call* call) {
  const Tensor *widths, *hops, *limits, *k;
  TF_RETURN_IF_ERROR(context->input("widths", &widths));
  TF_RETURN_IF_ERROR(context->input("hops", &hops));
  TF_RETURN_IF_ERROR(context->input("limits", &limits));
  TF_RETURN_IF_ERROR(context->input("k", &k));
  TF_RETURN_IF_ERROR(WithRank(*k, 0, "k"));
  call->k = k->scalar<int32_t>()();
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
    if (limits->NumElements() != 4) {
      return absl::InvalidArgumentError(absl::StrCat(
          "limits has ", limits->NumElements(),
          " entries, wanted 4: ef, width, max_steps, max_evaluations"));
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

absl::Status ReadQueries(OpKernelContext* context, Call* call) {
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
        absl::StrCat("allowed has ", call->allowed.dim_size(1),
                     " bytes a query, wanted ", wanted_bytes));
  }
  for (int64_t i = 0; i < call->num_queries; ++i) {
    TF_RETURN_IF_ERROR(Fault(FindFault(call->ToQuery(i), num_rows)));
  }
  return absl::OkStatus();
}

absl::Status ReadStates(OpKernelContext* context, Call* call) {
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
    for (const Tensor& tensor : inputs) {
      kept->push_back(tensor);
      if (length < 0) continue;
      if (tensor.dims() < 1 || tensor.dim_size(0) != length) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, " has shape ", tensor.shape().DebugString(),
                         ", wanted ", length, " along the first dimension"));
      }
      if (!tensorflow::DataTypeCanUseMemcpy(tensor.dtype())) {
        return absl::InvalidArgumentError(absl::StrCat(
            name, " is of type ", tensorflow::DataTypeString(tensor.dtype()),
            ", wanted numbers"));
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

// The scorer function of a kernel, ready to run.
struct Scorer {
  FunctionLibraryRuntime* library = nullptr;
  FunctionLibraryRuntime::Handle handle;
  // No node of it waits for another thread: it runs in the caller's.
  bool is_simple = false;
};

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

absl::Status Instantiate(FunctionLibraryRuntime* library,
                         const NameAttrList& function, Scorer* scorer) {
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

// What one search keeps from step to step and from call to call.
struct Scratch {
  BeamSearch search;
  std::vector<Tensor> gathered;  // Item state of a step's rows, with room.
  std::vector<Tensor> arguments;
  std::vector<Tensor> results;
};

// Runs the searches of one call, several at a time, and calls `done` once.
//
// A search never waits: where the scorer runs in another thread, its callback
// carries on. Whoever comes second (the callback, or the loop that started the
// scorer) takes the next step, so that a long search does not grow a stack.
class Walk : public std::enable_shared_from_this<Walk> {
 public:
  Walk(OpKernelContext* context, const Scorer& scorer, Call call,
       ScratchPool<Scratch>* pool, AsyncOpKernel::DoneCallback done)
      : context_(context),
        scorer_(scorer),
        call_(std::move(call)),
        pool_(pool),
        done_(std::move(done)),
        allocator_(context->get_allocator({})) {}

  absl::Status AllocateOutputs() {
    const TensorShape answers({call_.num_queries, call_.k});
    TF_RETURN_IF_ERROR(context_->allocate_output(0, answers, &rows_));
    TF_RETURN_IF_ERROR(context_->allocate_output(1, answers, &scores_));
    TF_RETURN_IF_ERROR(context_->allocate_output(
        2, {call_.num_queries, call_.num_steps}, &num_scored_));
    rows_->flat<int32_t>().setConstant(-1);
    scores_->flat<float>().setConstant(-std::numeric_limits<float>::infinity());
    num_scored_->flat<int32_t>().setZero();
    return absl::OkStatus();
  }

  // Works through all queries with as many workers as there are processors.
  void Run() {
    const int64_t num_workers = std::max<int64_t>(
        1, std::min<int64_t>(call_.num_queries,
                             tensorflow::port::MaxParallelism()));
    active_workers_ = num_workers;
    const auto self = shared_from_this();
    for (int64_t i = 1; i < num_workers; ++i) {
      (*context_->runner())([self] { self->NextSearch(self->pool_->Take()); });
    }
    NextSearch(pool_->Take());
  }

 private:
  using Lease = ScratchPool<Scratch>::Lease;

  // One search on its way; owned by whoever takes its next step.
  struct OneSearch {
    OneSearch(int64_t number, Lease scratch)
        : number(number), scratch(std::move(scratch)) {}

    const int64_t number;
    Lease scratch;
    Span<const int32_t> asked;
    absl::Status status;
    // 1 once the callback or the loop that started the scorer has come by.
    std::atomic<int> arrived{0};
  };

  // Takes the next query, or leaves if there is none.
  void NextSearch(Lease scratch) {
    while (true) {
      const int64_t number = next_query_++;
      if (number >= call_.num_queries || has_failed_) {
        // Nothing of the kernel may be touched after the call has ended.
        {
          const Lease finished = std::move(scratch);
        }
        Leave();
        return;
      }
      auto query = std::make_shared<OneSearch>(number, std::move(scratch));
      call_.Start(number, &query->scratch->search);
      SetUserState(query.get());
      if (!Advance(query)) return;
      scratch = std::move(query->scratch);
    }
  }

  void SetUserState(OneSearch* query) {
    std::vector<Tensor>& arguments = query->scratch->arguments;
    arguments.clear();
    for (const Tensor& tensor : call_.user_state) {
      if (call_.num_queries == 1) {
        arguments.push_back(tensor);
        continue;
      }
      Tensor slice = tensor.Slice(query->number, query->number + 1);
      // Kernels take their input to be aligned; a slice may begin anywhere.
      arguments.push_back(
          slice.IsAligned() ? slice : tensorflow::tensor::DeepCopy(slice));
    }
    arguments.resize(arguments.size() + call_.item_state.size());
    arguments.insert(arguments.end(), call_.captured.begin(),
                     call_.captured.end());
  }

  // Takes steps until the search ends (true) or a callback carries on (false).
  bool Advance(const std::shared_ptr<OneSearch>& query) {
    Scratch& scratch = *query->scratch;
    while (scratch.search.Next(&query->asked)) {
      if (IsCancelled()) {
        Fail(absl::CancelledError("the search was cancelled"));
        return true;
      }
      Gather(query->asked, &scratch);
      scratch.results.clear();
      if (scorer_.is_simple) {
        auto options = RunOptions();
        query->status = scorer_.library->RunSync(
            options, scorer_.handle, scratch.arguments, &scratch.results);
      } else if (!RunInBackground(query)) {
        return false;
      }
      if (!Absorb(query.get())) return true;
    }
    WriteAnswers(*query);
    return true;
  }

  // Starts the scorer. Returns true if it is done, false if its callback will
  // carry on.
  bool RunInBackground(const std::shared_ptr<OneSearch>& query) {
    query->arrived = 0;
    const auto self = shared_from_this();
    Scratch& scratch = *query->scratch;
    scorer_.library->Run(RunOptions(), scorer_.handle, scratch.arguments,
                         &scratch.results,
                         [self, query](const absl::Status& status) {
                           query->status = status;
                           if (query->arrived.exchange(1) == 0) return;
                           const bool goes_on = self->Absorb(query.get());
                           if (goes_on && !self->Advance(query)) return;
                           self->NextSearch(std::move(query->scratch));
                         });
    return query->arrived.exchange(1) == 1;
  }

  FunctionLibraryRuntime::Options RunOptions() {
    FunctionLibraryRuntime::Options options(context_->step_id());
    options.rendezvous = context_->rendezvous();
    options.cancellation_manager = context_->cancellation_manager();
    options.collective_executor = context_->collective_executor();
    options.step_container = context_->step_container();
    options.stats_collector = context_->stats_collector();
    options.runner = context_->runner();
    options.run_all_kernels_inline = scorer_.is_simple;
    return options;
  }

  bool IsCancelled() const {
    auto* const manager = context_->cancellation_manager();
    return manager != nullptr && manager->IsCancelled();
  }

  // Copies the item state of some rows into arguments of the scorer.
  void Gather(Span<const int32_t> rows, Scratch* scratch) {
    scratch->gathered.resize(call_.item_state.size());
    for (size_t i = 0; i < call_.item_state.size(); ++i) {
      const Tensor& state = call_.item_state[i];
      Tensor& room = scratch->gathered[i];
      if (!HasRoom(room, state, rows.size())) {
        TensorShape shape = state.shape();
        shape.set_dim(0, std::max<int64_t>(2 * rows.size(), 256));
        room = Tensor(allocator_, state.dtype(), shape);
      }
      const int64_t row_bytes = call_.memory[i].row_bytes;
      const char* const from = call_.memory[i].data;
      char* to = static_cast<char*>(room.data());
      for (const int32_t row : rows) {
        std::memcpy(to, from + row * row_bytes, row_bytes);
        to += row_bytes;
      }
      // [n, ...] -> [1, n, ...], in the same memory.
      TensorShape shape = state.shape();
      shape.set_dim(0, rows.size());
      shape.InsertDim(0, 1);
      Tensor& argument = scratch->arguments[call_.user_state.size() + i];
      const bool is_reshaped =
          argument.CopyFrom(room.Slice(0, rows.size()), shape);
      DCHECK(is_reshaped);
    }
  }

  static bool HasRoom(const Tensor& room, const Tensor& state, int64_t size) {
    if (room.dtype() != state.dtype() || room.dims() != state.dims() ||
        room.dim_size(0) < size) {
      return false;
    }
    for (int i = 1; i < room.dims(); ++i) {
      if (room.dim_size(i) != state.dim_size(i)) return false;
    }
    return true;
  }

  // Hands the scores to the search. Returns false if that is not possible.
  bool Absorb(OneSearch* query) {
    const absl::Status status = Scores(*query);
    if (!status.ok()) {
      Fail(status);
      return false;
    }
    Scratch& scratch = *query->scratch;
    const float* const scores = scratch.results[0].flat<float>().data();
    const int64_t fault = scratch.search.Absorb(scores);
    if (fault >= 0) {
      Fail(absl::InvalidArgumentError(absl::StrCat(
          "the scorer gave ", scores[fault], " for row ", query->asked[fault],
          " of query ", query->number, ", wanted a number")));
      return false;
    }
    return true;
  }

  absl::Status Scores(const OneSearch& query) const {
    TF_RETURN_IF_ERROR(query.status);
    const std::vector<Tensor>& results = query.scratch->results;
    if (results.size() != 1 || results[0].dtype() != tensorflow::DT_FLOAT) {
      return absl::InvalidArgumentError(
          "the scorer wants to return one float32 tensor");
    }
    if (results[0].NumElements() != query.asked.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the scorer gave scores of shape ", results[0].shape().DebugString(),
          " for ", query.asked.size(), " rows"));
    }
    return absl::OkStatus();
  }

  void WriteAnswers(const OneSearch& query) {
    const BeamSearch& search = query.scratch->search;
    search.Finish(call_.k,
                  rows_->flat<int32_t>().data() + query.number * call_.k,
                  scores_->flat<float>().data() + query.number * call_.k);
    const Span<const int32_t> counts = search.num_scored();
    std::copy(
        counts.begin(), counts.end(),
        num_scored_->flat<int32_t>().data() + query.number * call_.num_steps);
  }

  void Fail(const absl::Status& status) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!has_failed_) status_ = status;
    has_failed_ = true;
  }

  // The last worker to leave ends the call.
  void Leave() {
    if (--active_workers_ > 0) return;
    context_->SetStatus(status_);
    // Releases what is held before the context goes.
    AsyncOpKernel::DoneCallback done = std::move(done_);
    done();
  }

  OpKernelContext* const context_;
  const Scorer scorer_;
  const Call call_;
  ScratchPool<Scratch>* const pool_;
  AsyncOpKernel::DoneCallback done_;
  tensorflow::Allocator* const allocator_;
  Tensor* rows_ = nullptr;
  Tensor* scores_ = nullptr;
  Tensor* num_scored_ = nullptr;

  std::atomic<int64_t> next_query_{0};
  std::atomic<int64_t> active_workers_{0};
  std::atomic<bool> has_failed_{false};
  std::mutex mutex_;
  absl::Status status_;
};

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
    Call call;
    call.is_paper = is_paper_;
    OP_REQUIRES_OK_ASYNC(context, ReadGraph(context, &call.graph), done);
    OP_REQUIRES_OK_ASYNC(context, CheckGraph(context, call.graph), done);
    OP_REQUIRES_OK_ASYNC(context, ReadPolicy(context, &call), done);
    OP_REQUIRES_OK_ASYNC(context, ReadQueries(context, &call), done);
    OP_REQUIRES_OK_ASYNC(context, ReadStates(context, &call), done);
    Scorer scorer;
    OP_REQUIRES_OK_ASYNC(context, GetScorer(context, &scorer), done);
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
    for (const char* const name : {"values", "row_splits"}) {
      OpInputList inputs;
      TF_RETURN_IF_ERROR(context->input_list(name, &inputs));
      tensors.insert(tensors.end(), inputs.begin(), inputs.end());
    }
    const Tensor* entry_points;
    TF_RETURN_IF_ERROR(context->input("entry_points", &entry_points));
    tensors.push_back(*entry_points);
    std::lock_guard<std::mutex> lock(mutex_);
    bool is_known = tensors.size() == checked_.size();
    for (size_t i = 0; is_known && i < tensors.size(); ++i) {
      is_known = tensors[i].SharesBufferWith(checked_[i]) &&
                 tensors[i].shape() == checked_[i].shape();
    }
    if (is_known) return absl::OkStatus();
    TF_RETURN_IF_ERROR(Fault(FindFault(graph)));
    checked_ = std::move(tensors);
    return absl::OkStatus();
  }

  absl::Status GetScorer(OpKernelContext* context, Scorer* scorer) {
    FunctionLibraryRuntime* const library = context->function_library();
    if (library == nullptr) {
      return absl::InternalError("there is no function library");
    }
    std::lock_guard<std::mutex> lock(mutex_);
    if (scorer_.library != library) {
      TF_RETURN_IF_ERROR(Instantiate(library, function_, &scorer_));
    }
    *scorer = scorer_;
    return absl::OkStatus();
  }

  bool is_paper_ = false;
  NameAttrList function_;
  ScratchPool<Scratch> pool_;
  std::mutex mutex_;
  Scorer scorer_;
  std::vector<Tensor> checked_;
};

REGISTER_KERNEL_BUILDER(Name("Nann>BeamSearch").Device(tensorflow::DEVICE_CPU),
                        BeamSearchOp);

}  // namespace
}  // namespace nann
