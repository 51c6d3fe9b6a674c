/* The search on a GPU, for programs in any language.
 *
 * A search walks for B queries at once. Graph, item state, visited sets and
 * beams stay on the device; every call but those that say so only puts work
 * into a stream and returns. Streams are cudaStream_t as void*; null is the
 * default stream. Pointers are to memory of the device unless it says "host".
 *
 *   NannCudaSearch* search = NannCudaSearchNew(&graph, &policy, &queries, ...);
 *   NannCudaSearchSetMemory(search, memory of NannCudaSearchBytes(search));
 *   NannCudaSearchStart(search, stream);
 *   while (...) {
 *     (score NannCudaSearchStep(search)->rows)
 *     NannCudaSearchAbsorb(search, scores, stream);
 *   }
 *   NannCudaSearchFinish(search, rows, scores, num_scored, faults, stream);
 *   NannCudaSearchDelete(search);
 *
 * Rules, order of answers and number of evaluations are those of
 * ops/core/beam_search.h. Functions that return int return 0, or 1 with a
 * sentence in NannCudaError().
 */

#ifndef NANN_OPS_CUDA_NANN_CUDA_H_
#define NANN_OPS_CUDA_NANN_CUDA_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NANN_CUDA_API __attribute__((visibility("default")))

enum { NANN_CUDA_MAX_LEVELS = 8 };

/* What ends a query before its time. */
enum NannCudaFault {
  NANN_CUDA_NO_FAULT = 0,
  NANN_CUDA_NOT_A_NUMBER = 1, /* A score. */
  NANN_CUDA_NO_ROOM = 2,      /* More rows tie than there is room for. */
};

typedef struct NannCudaLevel {
  const int32_t* values;
  const int64_t* row_splits;
  int64_t max_degree;
} NannCudaLevel;

typedef struct NannCudaGraph {
  int64_t num_rows;
  int64_t num_levels;
  NannCudaLevel levels[NANN_CUDA_MAX_LEVELS]; /* From level 0 up. */
  const int32_t* entry_points;                /* Of policy paper. */
  int64_t num_entry_points;
} NannCudaGraph;

typedef struct NannCudaPolicy {
  int32_t is_paper;
  /* Policy best first. */
  int64_t ef, width, max_steps, max_evaluations;
  /* Policy paper, as in ops/core/beam_search.h. Host. */
  const int32_t* widths;
  int64_t num_widths;
  const int32_t* hops;
  int64_t num_hops;
} NannCudaPolicy;

typedef struct NannCudaQueries {
  int64_t num_queries, k;
  const int32_t* expand; /* [B, num_expand] */
  int64_t num_expand;
  const int32_t* only_score; /* [B, num_only_score] */
  int64_t num_only_score;
  const uint8_t* allowed; /* [B, (I + 7) / 8], or null: all. */
  const int32_t* denied;  /* [B, num_denied] */
  int64_t num_denied;
} NannCudaQueries;

typedef struct NannCudaOptions {
  /* Rows that tie may make a step larger than widths and degrees say. 0: a
   * query that meets it ends with NANN_CUDA_NO_ROOM. 1: room for all rows. */
  int32_t has_room_for_ties;
  /* Threads of a block, a multiple of 32 up to 1024. 0: 512. */
  int32_t num_threads;
  /* Bytes for the bitmaps of all queries; beyond, each keeps a hash table of
   * the rows it has met, if that is smaller. 0: 1 GiB. */
  int64_t max_bitmap_bytes;
} NannCudaOptions;

/* Of the step whose rows are to be scored. */
typedef struct NannCudaProgress {
  int32_t num_active;     /* Queries that are not over. */
  int32_t max_candidates; /* Of one query. */
  int32_t num_tiles;      /* Groups of up to 64 rows, all queries together. */
  int32_t num_no_room;    /* Queries that ended with NANN_CUDA_NO_ROOM. */
} NannCudaProgress;

typedef struct NannCudaStep {
  const int32_t* rows;   /* [B, capacity] */
  float* scores;         /* [B, capacity], of the built-in scorers. */
  const int32_t* number; /* Of query i at number[i * number_stride]. */
  int64_t number_stride;
  int64_t capacity;
} NannCudaStep;

typedef struct NannCudaSearch NannCudaSearch;

NANN_CUDA_API const char* NannCudaError(void);

/* Host only. The structs are copied, what they point to outlives the search.
 * Returns null with a sentence in NannCudaError(). */
NANN_CUDA_API NannCudaSearch* NannCudaSearchNew(const NannCudaGraph* graph,
                                                const NannCudaPolicy* policy,
                                                const NannCudaQueries* queries,
                                                const NannCudaOptions* options);
NANN_CUDA_API void NannCudaSearchDelete(NannCudaSearch* search);
NANN_CUDA_API int64_t NannCudaSearchBytes(const NannCudaSearch* search);
/* Of each query, of NannCudaSearchBytes. */
NANN_CUDA_API int64_t NannCudaVisitedBytes(const NannCudaSearch* search);
/* Memory aligned to 256 bytes, of any content. */
NANN_CUDA_API void NannCudaSearchSetMemory(NannCudaSearch* search,
                                           void* memory);
/* The most steps that there can be. */
NANN_CUDA_API int64_t NannCudaSearchMaxSteps(const NannCudaSearch* search);

NANN_CUDA_API int NannCudaSearchStart(NannCudaSearch* search, void* stream);
NANN_CUDA_API NannCudaStep NannCudaSearchStep(const NannCudaSearch* search);
/* Takes the scores, [B, stride], of the rows of the step, and finds those of
 * the next. */
NANN_CUDA_API int NannCudaSearchAbsorb(NannCudaSearch* search,
                                       const float* scores, int64_t stride,
                                       void* stream);
/* Copies to the host what is known of the step; waits for the stream. */
NANN_CUDA_API int NannCudaSearchRead(const NannCudaSearch* search,
                                     NannCudaProgress* progress, void* stream);
/* Copies the state of the step's rows together: gathered [B, padded, row_bytes]
 * of state [I, row_bytes], both aligned to 16 bytes. Beyond a query's rows lies
 * the state of row 0. */
NANN_CUDA_API int NannCudaGatherRows(const NannCudaSearch* search,
                                     const void* state, int64_t row_bytes,
                                     int64_t padded, void* gathered,
                                     void* stream);
/* rows, scores: [B, k], padded with -1 and -inf. num_scored: [B, S] for the
 * most steps S. faults: [B, 2], NannCudaFault and row. */
NANN_CUDA_API int NannCudaSearchFinish(const NannCudaSearch* search,
                                       int32_t* rows, float* scores,
                                       int32_t* num_scored, int32_t* faults,
                                       void* stream);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* NANN_OPS_CUDA_NANN_CUDA_H_ */
