// How the kernels for GPUs are registered.

#ifndef NANN_OPS_TF_GPU_REGISTRATION_H_
#define NANN_OPS_TF_GPU_REGISTRATION_H_

#include "tensorflow/core/framework/types.h"

// By their label only (nann/ops.py, search_on_gpu): TensorFlow would else
// choose a GPU for every search and scan on a machine that has one, whose graph
// and items lie in the memory of the host. Tests run the kernels on a
// processor.
#ifdef NANN_EMULATED
#define NANN_GPU_KERNEL Device(tensorflow::DEVICE_CPU).Label("gpu")
#else
#define NANN_GPU_KERNEL Device(tensorflow::DEVICE_GPU).Label("gpu")
#endif

#endif  // NANN_OPS_TF_GPU_REGISTRATION_H_
