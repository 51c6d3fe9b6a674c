/* The scorers that are built in: vectors under a metric, and the pair part of
 * an attention scorer (ops/core/pair_scorer.h). Each scores what a search asks
 * for, or all rows there are. Like nann_cuda.h: pointers to the device, work
 * goes into a stream, int is 0 or a failure. */

#ifndef NANN_OPS_CUDA_SCORERS_H_
#define NANN_OPS_CUDA_SCORERS_H_

#include "ops/cuda/nann_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NANN_CUDA_MAX_LAYERS = 4 };

/* Types of the items' state. */
enum NannCudaType {
  NANN_CUDA_FLOAT32 = 0,
  NANN_CUDA_FLOAT16 = 1,
  NANN_CUDA_BFLOAT16 = 2
};

/* Rows and queries aligned to 16 bytes. */
typedef struct NannCudaVectors {
  int32_t type;
  int32_t is_l2; /* Minus the squared distance; else the inner product. */
  int64_t width;
  const void* rows;     /* [I, width] */
  const float* queries; /* [B, width] */
} NannCudaVectors;

typedef struct NannCudaPairLayer {
  const float* slope;  /* [inputs], of the PReLU before it. */
  const float* kernel; /* [inputs, outputs] */
  const float* bias;   /* [outputs] */
  int64_t inputs, outputs;
} NannCudaPairLayer;

/* All widths are multiples of 16, up to 1024. */
typedef struct NannCudaPairs {
  int32_t type; /* Of the items' state. */
  /* With float16 and bfloat16: products of numbers of that type in the matrix
   * units, sums in float32. 0: all in float32. */
  int32_t uses_matrix_units;
  int64_t num_queries;
  int64_t query_width; /* 0: no attention. */
  int64_t length;      /* Of the histories. */
  int64_t num_values;  /* Up to length; beyond, values are 0. */
  int64_t width;
  const void* item_query;   /* [I, query_width] */
  const void* item_hidden;  /* [I, width] */
  const float* keys;        /* [B, query_width, length] */
  const float* key_bias;    /* [B, length] */
  const float* values;      /* [B, num_values, width] */
  const float* user_hidden; /* [B, width], or null. */
  int64_t num_layers;
  NannCudaPairLayer layers[NANN_CUDA_MAX_LAYERS];
  const float* last_slope; /* [outputs of the last layer] */
  const float* out;        /* Likewise. */
} NannCudaPairs;

/* Scores the rows of a search's step into NannCudaStep.scores. */
NANN_CUDA_API int NannCudaScoreVectors(const NannCudaSearch* search,
                                       const NannCudaVectors* vectors,
                                       void* stream);

/* A whole search, from start to end without the host; policy best first. What
 * follows it is NannCudaSearchFinish. */
NANN_CUDA_API int NannCudaWalkVectors(NannCudaSearch* search,
                                      const NannCudaVectors* vectors,
                                      void* stream);

/* A scorer of pairs with weights and user state as its kernels want them, in
 * memory of NannCudaPairBytes, aligned to 256 bytes. New and Prepare only copy
 * the struct and put work into the stream. New returns null on failure. */
typedef struct NannCudaPairScorer NannCudaPairScorer;
NANN_CUDA_API NannCudaPairScorer* NannCudaPairScorerNew(
    const NannCudaPairs* pairs);
NANN_CUDA_API void NannCudaPairScorerDelete(NannCudaPairScorer* scorer);
NANN_CUDA_API int64_t NannCudaPairScorerBytes(const NannCudaPairScorer* scorer);
NANN_CUDA_API int NannCudaPairScorerPrepare(NannCudaPairScorer* scorer,
                                            void* memory, void* stream);
NANN_CUDA_API int NannCudaScorePairs(const NannCudaSearch* search,
                                     const NannCudaPairScorer* scorer,
                                     void* stream);

/* Scores N rows for each query, without a search: the first N of the items'
 * state, the same for all queries, or N of each query's own, [B, N, ...].
 * scores: [B, N]. */
NANN_CUDA_API int NannCudaScorePairRows(const NannCudaPairScorer* scorer,
                                        int64_t num_rows,
                                        int32_t has_rows_per_query,
                                        float* scores, void* stream);

/* A whole search. Policy paper: nothing waits. Best first: the host looks every
 * few steps, a few steps late, whether any query goes on. */
NANN_CUDA_API int NannCudaWalkPairs(NannCudaSearch* search,
                                    const NannCudaPairScorer* scorer,
                                    void* stream);

/* The best k of all rows. `memory` of NannCudaScanBytes, aligned to 256. */
typedef struct NannCudaScan {
  int64_t num_rows, num_queries, k;
  int64_t part_rows; /* Scored at once. 0: 2^18. */
  void* memory;
  int32_t* rows;   /* [B, k], padded with -1. */
  float* scores;   /* [B, k], padded with -inf. */
  int32_t* faults; /* [B, 2], as NannCudaSearchFinish. */
} NannCudaScan;

NANN_CUDA_API int64_t NannCudaScanBytes(const NannCudaScan* scan);
NANN_CUDA_API int NannCudaScanVectors(const NannCudaScan* scan,
                                      const NannCudaVectors* vectors,
                                      void* stream);
NANN_CUDA_API int NannCudaScanPairs(const NannCudaScan* scan,
                                    const NannCudaPairScorer* scorer,
                                    void* stream);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* NANN_OPS_CUDA_SCORERS_H_ */
