// One call from its arrival to its end. Deletes itself when no operation of it
// is under way any more.

#ifndef NANN_OPS_FRONT_SERVER_CALL_H_
#define NANN_OPS_FRONT_SERVER_CALL_H_

#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ops/core/call_limit.h"
#include "ops/front/front.h"
#include "ops/front/tag.h"
#include "ops/requests/admission.h"
#include "ops/requests/predict_service.h"

namespace nann {

class Forwarding;

class ServerCall : public Turn {
 public:
  // Waits for one more call.
  static void Await(Front* front);

  // Calls whose turn came in this thread go to this list, and run when it is
  // done with the current one.
  static void SetReadyList(std::vector<ServerCall*>* ready);

  ~ServerCall() override;

  // The turn came: another call left its place to this one.
  void Come() override;

  // Runs a call that has its place, then lets go of it.
  void RunInPlace();

  // Operations under way keep the call.
  void Hold() { num_pending_.fetch_add(1, std::memory_order_relaxed); }
  void LetGo();

  grpc::GenericServerContext* context() { return &context_; }
  grpc::GenericServerAsyncReaderWriter* stream() { return &stream_; }
  grpc::CompletionQueue* queue() { return front_->queue_.get(); }

 private:
  explicit ServerCall(Front* front);

  void Accepted(bool is_ok);
  void RequestCame(bool is_ok);
  void TurnCame(bool is_ok);
  void Finished(bool is_ok);
  void Done(bool is_ok);

  // Lets a request in, or sends it away.
  void Enter();
  // Reads what has come. Null: it is for Python.
  std::unique_ptr<PreparedRequest> Prepare();
  // Runs it, if it still should run.
  void Run();
  // Ends a call that nobody waits for any more, or that nobody can answer in
  // time.
  void Drop(const char* late);
  void Refuse(grpc::StatusCode code, const std::string& message);
  void Finish(grpc::StatusCode code, const std::string& message);
  void Forward(bool with_request);
  void Note(grpc::StatusCode code, const std::string& message);

  Front* const front_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer request_;
  grpc::Alarm alarm_;
  CallLimit limit_;
  RequestRecord record_;
  std::unique_ptr<PreparedRequest> prepared_;
  int64_t begin_ns_ = 0;
  int64_t entered_ns_ = 0;
  bool is_counted_ = false;
  std::unique_ptr<Forwarding> forwarding_;
  // The same, once it may be cancelled.
  std::atomic<Forwarding*> forwarded_{nullptr};
  // Until it is accepted: that, and the end of the call.
  std::atomic<int> num_pending_{2};

  MethodTag<ServerCall> accepted_{this, &ServerCall::Accepted};
  MethodTag<ServerCall> request_came_{this, &ServerCall::RequestCame};
  MethodTag<ServerCall> turn_came_{this, &ServerCall::TurnCame};
  MethodTag<ServerCall> finished_{this, &ServerCall::Finished};
  MethodTag<ServerCall> done_{this, &ServerCall::Done};
};

}  // namespace nann

#endif  // NANN_OPS_FRONT_SERVER_CALL_H_
