// How the items' state is kept.

#ifndef NANN_OPS_CORE_STATE_TYPE_H_
#define NANN_OPS_CORE_STATE_TYPE_H_

namespace nann {

enum class StateType { kFloat32, kFloat16, kBfloat16 };

}  // namespace nann

#endif  // NANN_OPS_CORE_STATE_TYPE_H_
