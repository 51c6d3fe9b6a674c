#include "ops/front/server_call.h"

#include <grpcpp/support/slice.h>

#include <chrono>
#include <string_view>
#include <utility>

#include "ops/front/forwarding.h"

namespace nann {
namespace {

constexpr char kPredict[] = "/tensorflow.serving.PredictionService/Predict";

thread_local std::vector<ServerCall*>* ready_list = nullptr;

double Seconds(int64_t from_ns) {
  return static_cast<double>(NowNs() - from_ns) / 1e9;
}

// The moment of the monotonic clock at which a call ends; 0: none.
int64_t DeadlineNs(const grpc::ServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return 0;
  const auto left = deadline - std::chrono::system_clock::now();
  const int64_t left_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
  const int64_t now_ns = NowNs();
  if (left_ns > INT64_MAX - now_ns) return 0;
  return std::max(int64_t{1}, now_ns + left_ns);
}

}  // namespace

void ServerCall::Await(Front* front) { new ServerCall(front); }

void ServerCall::SetReadyList(std::vector<ServerCall*>* ready) {
  ready_list = ready;
}

ServerCall::ServerCall(Front* front) : front_(front), stream_(&context_) {
  front_->num_objects_.fetch_add(1);
  context_.AsyncNotifyWhenDone(&done_);
  front_->calls_.RequestCall(&context_, &stream_, front_->queue_.get(),
                             front_->queue_.get(), &accepted_);
}

ServerCall::~ServerCall() {
  if (is_counted_) front_->num_calls_.fetch_sub(1);
  front_->num_objects_.fetch_sub(1);
}

void ServerCall::LetGo() {
  if (num_pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void ServerCall::Accepted(bool is_ok) {
  if (!is_ok) {
    // The server ends: there is no call, and it will not be done.
    delete this;
    return;
  }
  Await(front_);
  begin_ns_ = NowNs();
  limit_.deadline_ns = DeadlineNs(context_);
  is_counted_ = true;
  if (front_->num_calls_.fetch_add(1) >= front_->options_.max_calls) {
    record_.peer = context_.peer();
    Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED,
           "too many calls; try again later");
  } else if (context_.method() == kPredict) {
    Hold();
    stream_.Read(&request_, &request_came_);
  } else {
    Forward(false);
  }
  LetGo();
}

void ServerCall::RequestCame(bool is_ok) {
  if (is_ok) {
    Enter();
  } else if (limit_.IsPast()) {
    Finish(grpc::StatusCode::DEADLINE_EXCEEDED, "the deadline has passed");
  } else {
    // It has been cancelled, or is too long, or is none.
    Finish(grpc::StatusCode::INVALID_ARGUMENT, "there is no request");
  }
  LetGo();
}

void ServerCall::Enter() {
  record_.peer = context_.peer();
  Admission& admission = front_->service_->admission();
  int64_t num_inside;
  switch (admission.Enter(&num_inside)) {
    case Admission::Entry::kClosed:
      Refuse(grpc::StatusCode::UNAVAILABLE, "the server is shutting down");
      return;
    case Admission::Entry::kFull:
      Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED,
             std::to_string(num_inside) +
                 " requests are running or waiting already; try again later");
      return;
    case Admission::Entry::kEntered:
      break;
  }
  prepared_ = Prepare();
  if (prepared_ == nullptr) {
    admission.Leave();
    Forward(true);
    return;
  }
  entered_ns_ = NowNs();
  Hold();
  if (admission.TakePlace(this)) {
    RunInPlace();
  } else if (limit_.IsCancelled() && admission.GiveUp(this)) {
    // Cancelled before it began to wait.
    Drop("");
    LetGo();
  }
}

std::unique_ptr<PreparedRequest> ServerCall::Prepare() {
  grpc::Slice slice;
  if (!request_.TrySingleSlice(&slice).ok() &&
      !request_.DumpToSingleSlice(&slice).ok()) {
    return nullptr;
  }
  return front_->service_->Prepare(std::string_view(
      reinterpret_cast<const char*>(slice.begin()), slice.size()));
}

void ServerCall::Come() {
  if (ready_list != nullptr) {
    ready_list->push_back(this);
  } else {
    // A thread of Python has left: one of the front's must take over.
    alarm_.Set(queue(), std::chrono::system_clock::now(), &turn_came_);
  }
}

void ServerCall::TurnCame(bool) { RunInPlace(); }

void ServerCall::RunInPlace() {
  Run();
  LetGo();
}

void ServerCall::Run() {
  Admission& admission = front_->service_->admission();
  record_.waited_s = Seconds(entered_ns_);
  if (limit_.IsCancelled() || limit_.IsPast()) {
    admission.GivePlace(-1.0);
    Drop("the deadline passed before the search ran");
    return;
  }
  std::string response;
  const int64_t run_ns = NowNs();
  const PreparedRequest::Outcome outcome =
      prepared_->Run(limit_, &response, &record_);
  // A model that is not used any more can be freed.
  prepared_.reset();
  admission.GivePlace(Seconds(run_ns));
  if (outcome == PreparedRequest::Outcome::kStopped) {
    Drop("the deadline passed while the search ran");
    return;
  }
  admission.Leave();
  if (outcome == PreparedRequest::Outcome::kFailed) {
    Forward(true);
    return;
  }
  const grpc::Slice answer(response);
  Hold();
  stream_.WriteAndFinish(grpc::ByteBuffer(&answer, 1), grpc::WriteOptions(),
                         grpc::Status::OK, &finished_);
  Note(grpc::StatusCode::OK, "");
}

void ServerCall::Drop(const char* late) {
  front_->service_->admission().Leave();
  if (limit_.IsPast()) {
    Refuse(grpc::StatusCode::DEADLINE_EXCEEDED,
           *late != '\0' ? late : "the deadline passed while waiting to run");
  } else {
    Refuse(grpc::StatusCode::CANCELLED, "the client cancelled the request");
  }
}

void ServerCall::Refuse(grpc::StatusCode code, const std::string& message) {
  Finish(code, message);
  Note(code, message);
}

void ServerCall::Finish(grpc::StatusCode code, const std::string& message) {
  Hold();
  stream_.Finish(grpc::Status(code, message), &finished_);
}

void ServerCall::Forward(bool with_request) {
  forwarding_ = std::make_unique<Forwarding>(this, front_->python_.get());
  forwarding_->Start(with_request ? &request_ : nullptr);
  forwarded_.store(forwarding_.get());
  if (limit_.is_cancelled.load() != 0) forwarding_->Cancel();
}

void ServerCall::Note(grpc::StatusCode code, const std::string& message) {
  record_.code = static_cast<int>(code);
  record_.message = message;
  record_.seconds = Seconds(begin_ns_);
  record_.ended_at_s = std::chrono::duration<double>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count();
  front_->service_->Note(std::move(record_));
}

void ServerCall::Finished(bool) { LetGo(); }

void ServerCall::Done(bool) {
  if (context_.IsCancelled()) {
    limit_.is_cancelled = 1;
    if (Forwarding* const forwarded = forwarded_.load()) forwarded->Cancel();
    if (front_->service_->admission().GiveUp(this)) {
      Drop("");
      LetGo();
    }
  }
  LetGo();
}

}  // namespace nann
