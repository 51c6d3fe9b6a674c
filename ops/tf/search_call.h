// What one call of Nann>BeamSearch gives to its searches, read and checked.

#ifndef NANN_OPS_TF_SEARCH_CALL_H_
#define NANN_OPS_TF_SEARCH_CALL_H_

#include <cstdint>
#include <vector>

#include "ops/core/beam_search.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace nann {

// Everything that the searches of one call share. Holds the tensors that its
// views look into.
struct SearchCall {
  GraphView graph;
  bool is_paper = false;
  PaperPolicy paper;
  BestFirstPolicy best_first;
  int64_t num_queries = 0;
  int64_t num_steps = 0;
  int64_t k = 0;
  tensorflow::Tensor expand, only_score, allowed, denied;
  std::vector<tensorflow::Tensor> user_state, item_state, captured;
  std::vector<RowMemory> memory;

  Query ToQuery(int64_t i) const;

  // Of the arguments of the scorer.
  tensorflow::DataTypeVector ScorerTypes() const;

  // Begins the search for query i.
  void Start(int64_t i, BeamSearch* search) const;
};

// Views the graph; whether a search can walk it is not looked at here.
absl::Status ReadGraph(tensorflow::OpKernelContext* context, GraphView* graph);

// Lists the tensors that a graph is viewed in.
absl::Status ReadGraphTensors(tensorflow::OpKernelContext* context,
                              std::vector<tensorflow::Tensor>* tensors);

// Returns whether both are the same memory in the same shapes. It cannot have
// become another's in the meantime, for the tensors hold it.
bool AreSame(const std::vector<tensorflow::Tensor>& some,
             const std::vector<tensorflow::Tensor>& others);

// Reads and checks all other inputs. `call` has its graph and is_paper.
absl::Status ReadCall(tensorflow::OpKernelContext* context, SearchCall* call);

}  // namespace nann

#endif  // NANN_OPS_TF_SEARCH_CALL_H_
