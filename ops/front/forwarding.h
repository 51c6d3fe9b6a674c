// A call passed on, message by message, both ways, with its metadata and its
// deadline, to another server; and that server's status passed back.

#ifndef NANN_OPS_FRONT_FORWARDING_H_
#define NANN_OPS_FRONT_FORWARDING_H_

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <memory>

#include "ops/front/tag.h"

namespace nann {

class ServerCall;

class Forwarding {
 public:
  // `call` owns this.
  Forwarding(ServerCall* call, grpc::GenericStub* to);

  // `first`: a message that has been read already, or null.
  void Start(const grpc::ByteBuffer* first);

  // From any thread, once started.
  void Cancel() { context_.TryCancel(); }

 private:
  void CopyMetadata();

  // Towards the other server.
  void Started(bool is_ok);
  void RequestRead(bool is_ok);
  void RequestWritten(bool is_ok);
  void RequestsEnded(bool is_ok);
  // Back.
  void AnswerRead(bool is_ok);
  void AnswerWritten(bool is_ok);
  void StatusCame(bool is_ok);
  void Finished(bool is_ok);

  ServerCall* const call_;
  grpc::GenericStub* const to_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> other_;
  bool has_first_ = false;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer answer_;
  grpc::Status status_;

  MethodTag<Forwarding> started_{this, &Forwarding::Started};
  MethodTag<Forwarding> request_read_{this, &Forwarding::RequestRead};
  MethodTag<Forwarding> request_written_{this, &Forwarding::RequestWritten};
  MethodTag<Forwarding> requests_ended_{this, &Forwarding::RequestsEnded};
  MethodTag<Forwarding> answer_read_{this, &Forwarding::AnswerRead};
  MethodTag<Forwarding> answer_written_{this, &Forwarding::AnswerWritten};
  MethodTag<Forwarding> status_came_{this, &Forwarding::StatusCame};
  MethodTag<Forwarding> finished_{this, &Forwarding::Finished};
};

}  // namespace nann

#endif  // NANN_OPS_FRONT_FORWARDING_H_
