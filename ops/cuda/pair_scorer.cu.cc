// Search and scan with the pair part of an attention scorer.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>

#include "ops/cuda/error.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/layout.h"
#include "ops/cuda/pair_tile.h"
#include "ops/cuda/pair_tile_matrix.h"
#include "ops/cuda/scan.h"
#include "ops/cuda/scorers.h"
#include "ops/cuda/search.h"

struct NannCudaPairScorer {
  NannCudaPairs pairs;
  void* memory = nullptr;
};

namespace nann {
namespace {

// What a step of best first may run ahead of the host's look at it.
constexpr int kStepsAtOnce = 4;
constexpr int64_t kMaxWidth = 1024;
constexpr float kNoWeight = -3e38f;
constexpr int kFirstWithBfloat16 = 80;

// to [B, to_rows, to_columns] = from [B, rows, columns], and `fill` around it.
template <typename T>
__global__ void PadKernel(const float* from, int64_t rows, int64_t columns,
                          T* to, int64_t to_rows, int64_t to_columns,
                          int64_t number, float fill) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < number;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t column = i % to_columns;
    const int64_t row = i / to_columns % to_rows;
    const int64_t matrix = i / to_columns / to_rows;
    const bool is_inside = row < rows && column < columns;
    to[i] = FromFloat<T>(
        is_inside ? from[(matrix * rows + row) * columns + column] : fill);
  }
}

template <typename T>
void Pad(const float* from, int64_t rows, int64_t columns, T* to,
         int64_t to_rows, int64_t to_columns, int64_t matrices, float fill,
         cudaStream_t stream) {
  const int64_t number = matrices * to_rows * to_columns;
  if (number == 0) return;
  constexpr int64_t kThreads = 256;
  NANN_LAUNCH(PadKernel<T>, NumBlocks((number + kThreads - 1) / kThreads),
              kThreads, 0, stream, from, rows, columns, to, to_rows, to_columns,
              number, fill);
}

int64_t PaddedLength(const NannCudaPairs& pairs) {
  if (pairs.query_width == 0) return 0;
  return std::max(kLanes, RoundUp(pairs.length, kLanes));
}

int32_t Widest(const NannCudaPairs& pairs) {
  int64_t widest =
      std::max({pairs.query_width, PaddedLength(pairs), pairs.width});
  for (int64_t i = 0; i < pairs.num_layers; ++i) {
    widest = std::max(widest, pairs.layers[i].outputs);
  }
  return static_cast<int32_t>(widest);
}

// The model for the kernels, in the scorer's memory. Returns its size.
template <typename S, typename T>
int64_t LayOut(const NannCudaPairScorer& scorer, DevicePairs<S, T>* model) {
  const NannCudaPairs& pairs = scorer.pairs;
  const int64_t length = PaddedLength(pairs);
  *model = {};
  model->item_query = static_cast<const S*>(pairs.item_query);
  model->item_hidden = static_cast<const S*>(pairs.item_hidden);
  model->user_hidden = pairs.user_hidden;
  model->query_width = static_cast<int32_t>(pairs.query_width);
  model->length = static_cast<int32_t>(length);
  model->width = static_cast<int32_t>(pairs.width);
  model->widest = Widest(pairs);
  model->num_layers = static_cast<int32_t>(pairs.num_layers);
  model->last_slope = pairs.last_slope;
  model->out = pairs.out;
  Layout layout(scorer.memory);
  T *keys, *values;
  float* bias;
  layout.Take(pairs.num_queries * pairs.query_width * length, &keys);
  layout.Take(pairs.num_queries * length, &bias);
  layout.Take(pairs.num_queries * length * pairs.width, &values);
  model->keys = keys;
  model->key_bias = bias;
  model->values = values;
  for (int64_t i = 0; i < pairs.num_layers; ++i) {
    const NannCudaPairLayer& layer = pairs.layers[i];
    T* kernel;
    layout.Take(layer.inputs * layer.outputs, &kernel);
    model->layers[i] = {layer.slope, kernel, layer.bias,
                        static_cast<int32_t>(layer.inputs),
                        static_cast<int32_t>(layer.outputs)};
  }
  return layout.size_bytes();
}

template <typename S, typename T>
int Prepare(const NannCudaPairScorer& scorer, const DevicePairs<S, T>& model,
            cudaStream_t stream) {
  const NannCudaPairs& pairs = scorer.pairs;
  const int64_t number = pairs.num_queries, length = model.length;
  Pad(pairs.keys, pairs.query_width, pairs.length, const_cast<T*>(model.keys),
      pairs.query_width, length, number, 0, stream);
  Pad(pairs.key_bias, 1, pairs.length, const_cast<float*>(model.key_bias), 1,
      length, number, kNoWeight, stream);
  Pad(pairs.values, pairs.num_values, pairs.width, const_cast<T*>(model.values),
      length, pairs.width, number, 0, stream);
  for (int64_t i = 0; i < pairs.num_layers; ++i) {
    const NannCudaPairLayer& layer = pairs.layers[i];
    Pad(layer.kernel, layer.inputs, layer.outputs,
        const_cast<T*>(model.layers[i].kernel), layer.inputs, layer.outputs, 1,
        0, stream);
  }
  return CheckLaunch("user state of a scorer");
}

// ---- Kernels ----

// By rows of float32 numbers.
template <typename S>
struct Plain {
  using Model = DevicePairs<S, float>;
  static constexpr int kThreads = kPassThreads;
  static int64_t SharedBytes(const Model& model) {
    return PassBytes(model.widest);
  }
  template <typename Rows>
  __device__ static void Score(const Model& model, const Rows& rows,
                               const Tile& tile) {
    ScorePairsPlainly(model, rows, tile);
  }
};

// Whether the device that is compiled for takes products of T.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <typename T>
constexpr bool kHasProducts = !std::is_same_v<T, __nv_bfloat16>;
#else
template <typename T>
constexpr bool kHasProducts = true;
#endif

template <typename T>
struct ByMatrix {
  using Model = DevicePairs<T, T>;
  static constexpr int kThreads = kMatrixThreads;
  static int64_t SharedBytes(const Model& model) {
    return kMatrixWarps * MatrixBytesOfWarp(model.widest);
  }
  template <typename Rows>
  __device__ static void Score(const Model& model, const Rows& rows,
                               const Tile& tile) {
    if constexpr (kHasProducts<T>) ScorePairsByMatrix(model, rows, tile);
  }
};

template <typename Kind, typename Rows>
__global__ void __launch_bounds__(Kind::kThreads)
    ScorePairsKernel(typename Kind::Model model, Rows rows) {
  for (int32_t i = blockIdx.x; i < rows.num_tiles(); i += gridDim.x) {
    Kind::Score(model, rows, rows.tile(i));
  }
}

template <typename Kind, typename Rows>
int ScoreRows(const typename Kind::Model& model, const Rows& rows,
              int64_t num_tiles, cudaStream_t stream) {
  const int64_t shared_bytes = Kind::SharedBytes(model);
  if (!AllowShared(ScorePairsKernel<Kind, Rows>, shared_bytes)) {
    return SetError("the scorer is " + std::to_string(model.widest) +
                    " wide, more than fits into shared memory");
  }
  NANN_LAUNCH((ScorePairsKernel<Kind, Rows>), NumBlocks(num_tiles),
              Kind::kThreads, shared_bytes, stream, model, rows);
  return CheckLaunch("scores of pairs");
}

// Whether kHasProducts was true for the code that this device runs.
bool HasMatrixUnits(int32_t type) {
  if (type != NANN_CUDA_BFLOAT16) return true;
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(
             &attributes,
             ScorePairsKernel<ByMatrix<__nv_bfloat16>, SearchRows>) ==
             cudaSuccess &&
         attributes.ptxVersion >= kFirstWithBfloat16;
}

// Calls `use` with the way of scoring and the model for it.
template <typename Use>
int64_t WithModel(const NannCudaPairScorer& scorer, const Use& use) {
  const auto call = [&](auto kind) {
    typename decltype(kind)::Model model;
    const int64_t size_bytes = LayOut(scorer, &model);
    return use(kind, model, size_bytes);
  };
  const bool by_matrix = scorer.pairs.uses_matrix_units != 0;
  switch (scorer.pairs.type) {
    case NANN_CUDA_FLOAT16:
      return by_matrix ? call(ByMatrix<__half>()) : call(Plain<__half>());
    case NANN_CUDA_BFLOAT16:
      return by_matrix ? call(ByMatrix<__nv_bfloat16>())
                       : call(Plain<__nv_bfloat16>());
    default:
      return call(Plain<float>());
  }
}

std::string FindFault(const NannCudaPairs& pairs) {
  if (pairs.type < NANN_CUDA_FLOAT32 || pairs.type > NANN_CUDA_BFLOAT16) {
    return "type of the item state is " + std::to_string(pairs.type) +
           ", wanted 0 to 2";
  }
  if (pairs.num_layers < 0 || pairs.num_layers > NANN_CUDA_MAX_LAYERS) {
    return "num_layers is " + std::to_string(pairs.num_layers) +
           ", wanted 0 to " + std::to_string(NANN_CUDA_MAX_LAYERS);
  }
  if (pairs.num_values < 0 || pairs.num_values > pairs.length) {
    return "num_values is " + std::to_string(pairs.num_values) +
           ", wanted 0 to length, " + std::to_string(pairs.length);
  }
  int64_t bad = -1;  // The first.
  const auto look = [&bad](int64_t width, bool is_right) {
    const bool is_good =
        width % kLanes == 0 && width >= 0 && width <= kMaxWidth;
    if (bad < 0 && !(is_good && is_right)) bad = width;
  };
  look(pairs.query_width, true);
  look(PaddedLength(pairs), true);
  look(pairs.width, pairs.width > 0);
  int64_t inputs = pairs.width;
  for (int64_t i = 0; i < pairs.num_layers; ++i) {
    const NannCudaPairLayer& layer = pairs.layers[i];
    look(layer.inputs, layer.inputs == inputs);
    look(layer.outputs, layer.outputs > 0);
    inputs = layer.outputs;
  }
  if (bad < 0) return "";
  return "a width of the scorer is " + std::to_string(bad) +
         ", wanted a multiple of 16 up to 1024, that of the layer before";
}

}  // namespace
}  // namespace nann

NannCudaPairScorer* NannCudaPairScorerNew(const NannCudaPairs* pairs) {
  const std::string fault = nann::FindFault(*pairs);
  if (!fault.empty()) {
    nann::SetError(fault);
    return nullptr;
  }
  auto scorer = std::make_unique<NannCudaPairScorer>();
  scorer->pairs = *pairs;
  scorer->pairs.uses_matrix_units &= nann::HasMatrixUnits(pairs->type);
  return scorer.release();
}

void NannCudaPairScorerDelete(NannCudaPairScorer* scorer) { delete scorer; }

int64_t NannCudaPairScorerBytes(const NannCudaPairScorer* scorer) {
  return nann::WithModel(*scorer, [](auto, const auto&, int64_t size_bytes) {
    return size_bytes;
  });
}

int NannCudaPairScorerPrepare(NannCudaPairScorer* scorer, void* memory,
                              void* stream) {
  scorer->memory = memory;
  return static_cast<int>(nann::WithModel(
      *scorer, [&](auto, const auto& model, int64_t) -> int64_t {
        return nann::Prepare(*scorer, model, nann::ToStream(stream));
      }));
}

int NannCudaScorePairs(const NannCudaSearch* search,
                       const NannCudaPairScorer* scorer, void* stream) {
  const nann::SearchView& view = search->view;
  const int64_t most = view.queries.num_queries * view.room.tiles;
  if (most == 0) return 0;
  return static_cast<int>(nann::WithModel(
      *scorer, [&](auto kind, const auto& model, int64_t) -> int64_t {
        return nann::ScoreRows<decltype(kind)>(model,
                                               nann::RowsOf(view, search->step),
                                               most, nann::ToStream(stream));
      }));
}

int NannCudaScorePairRows(const NannCudaPairScorer* scorer, int64_t num_rows,
                          int32_t has_rows_per_query, float* scores,
                          void* stream) {
  const int64_t num_queries = scorer->pairs.num_queries;
  const int64_t tiles_of_query =
      (num_rows + nann::kTileRows - 1) / nann::kTileRows;
  if (num_rows < 0 || num_rows >= INT32_MAX ||
      num_queries * tiles_of_query >= INT32_MAX) {
    return nann::SetError("num_rows is " + std::to_string(num_rows) + " for " +
                          std::to_string(num_queries) +
                          " queries, wanted fewer at once");
  }
  const int64_t num_tiles = num_queries * tiles_of_query;
  if (num_tiles == 0) return 0;
  const nann::GivenRows rows = {
      scores, num_rows, has_rows_per_query ? num_rows : 0,
      static_cast<int32_t>(num_queries), static_cast<int32_t>(num_tiles)};
  return static_cast<int>(nann::WithModel(
      *scorer, [&](auto kind, const auto& model, int64_t) -> int64_t {
        return nann::ScoreRows<decltype(kind)>(model, rows, num_tiles,
                                               nann::ToStream(stream));
      }));
}

int NannCudaScanPairs(const NannCudaScan* scan,
                      const NannCudaPairScorer* scorer, void* stream) {
  return static_cast<int>(nann::WithModel(
      *scorer, [&](auto kind, const auto& model, int64_t) -> int64_t {
        return nann::Scan(*scan, nann::ToStream(stream), [&](const auto& rows) {
          const int64_t tiles =
              (rows.number + nann::kTileRows - 1) / nann::kTileRows;
          return nann::ScoreRows<decltype(kind)>(
              model, rows, tiles * scan->num_queries, nann::ToStream(stream));
        });
      }));
}

int NannCudaWalkPairs(NannCudaSearch* search, const NannCudaPairScorer* scorer,
                      void* stream) {
  if (NannCudaSearchStart(search, stream)) return 1;
  const NannCudaStep step = NannCudaSearchStep(search);
  nann::LateProgress* const late = &search->late_progress;
  if (nann::Check(late->Start(), "look at a search")) return 1;
  const int64_t num_steps = NannCudaSearchMaxSteps(search);
  for (int64_t i = 0; i < num_steps; ++i) {
    if (NannCudaScorePairs(search, scorer, stream)) return 1;
    if (NannCudaSearchAbsorb(search, step.scores, step.capacity, stream)) {
      return 1;
    }
    if (search->view.is_paper || (i + 1) % nann::kStepsAtOnce != 0) continue;
    const NannCudaProgress* const progress =
        search->view.memory.progress[search->step % 2];
    if (late->IsOver(progress, nann::ToStream(stream))) break;
  }
  return nann::CheckLaunch("search of pairs");
}
