#include "ops/front/forwarding.h"

#include <string>

#include "ops/front/server_call.h"

namespace nann {
namespace {

// Tells the other server where the call came from.
constexpr char kPeer[] = "nann-peer";

bool StartsWith(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

// Whether the library writes it itself, or it is none of the client's affair.
bool IsOwn(const std::string& key) {
  return key.empty() || key[0] == ':' || StartsWith(key, "grpc-") ||
         key == "user-agent" || key == "content-type" || key == "te" ||
         key == "host" || key == kPeer;
}

}  // namespace

Forwarding::Forwarding(ServerCall* call, grpc::GenericStub* to)
    : call_(call), to_(to) {}

void Forwarding::Start(const grpc::ByteBuffer* first) {
  has_first_ = first != nullptr;
  if (has_first_) request_ = *first;
  CopyMetadata();
  context_.set_deadline(call_->context()->deadline());
  other_ =
      to_->PrepareCall(&context_, call_->context()->method(), call_->queue());
  call_->Hold();
  other_->StartCall(&started_);
}

void Forwarding::CopyMetadata() {
  for (const auto& [key, value] : call_->context()->client_metadata()) {
    const std::string name(key.data(), key.size());
    if (IsOwn(name)) continue;
    context_.AddMetadata(name, std::string(value.data(), value.size()));
  }
  context_.AddMetadata(kPeer, call_->context()->peer());
}

void Forwarding::Started(bool is_ok) {
  call_->Hold();
  if (!is_ok) {
    other_->Finish(&status_, &status_came_);
  } else {
    other_->Read(&answer_, &answer_read_);
    call_->Hold();
    if (has_first_) {
      other_->Write(request_, &request_written_);
    } else {
      call_->stream()->Read(&request_, &request_read_);
    }
  }
  call_->LetGo();
}

void Forwarding::RequestRead(bool is_ok) {
  call_->Hold();
  if (is_ok) {
    other_->Write(request_, &request_written_);
  } else {
    other_->WritesDone(&requests_ended_);
  }
  call_->LetGo();
}

void Forwarding::RequestWritten(bool is_ok) {
  if (is_ok) {
    call_->Hold();
    call_->stream()->Read(&request_, &request_read_);
  }
  call_->LetGo();
}

void Forwarding::RequestsEnded(bool) { call_->LetGo(); }

void Forwarding::AnswerRead(bool is_ok) {
  call_->Hold();
  if (is_ok) {
    call_->stream()->Write(answer_, &answer_written_);
  } else {
    other_->Finish(&status_, &status_came_);
  }
  call_->LetGo();
}

void Forwarding::AnswerWritten(bool is_ok) {
  call_->Hold();
  if (is_ok) {
    other_->Read(&answer_, &answer_read_);
  } else {
    // The client has gone.
    Cancel();
    other_->Finish(&status_, &status_came_);
  }
  call_->LetGo();
}

void Forwarding::StatusCame(bool) {
  for (const auto& [key, value] : context_.GetServerTrailingMetadata()) {
    const std::string name(key.data(), key.size());
    if (IsOwn(name)) continue;
    call_->context()->AddTrailingMetadata(
        name, std::string(value.data(), value.size()));
  }
  call_->Hold();
  call_->stream()->Finish(status_, &finished_);
  call_->LetGo();
}

void Forwarding::Finished(bool) { call_->LetGo(); }

}  // namespace nann
