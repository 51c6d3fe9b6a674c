// The compiled server under clients that cancel, give little time, send what
// is not for it, and stop it in the middle. A program of its own: it wants
// gRPC's C++ library. Models and Python are played.

#include "ops/front/front.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/ops/core/testing.h"

namespace nann {
namespace {

constexpr char kPredict[] = "/tensorflow.serving.PredictionService/Predict";
constexpr int64_t kMostRecords = 1 << 20;

// Answers what it got, turned round, after as many microseconds as it has
// bytes.
class Echo : public PreparedRequest {
 public:
  explicit Echo(std::string_view raw) : text_(raw) {}

  Outcome Run(const CallLimit& limit, std::string* response,
              RequestRecord* record) override {
    for (size_t i = 0; i < text_.size(); ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(1));
      if (limit.IsCancelled() || limit.IsPast()) return Outcome::kStopped;
    }
    if (text_[0] == '!') return Outcome::kFailed;
    response->assign(text_.rbegin(), text_.rend());
    record->version = 7;
    return Outcome::kAnswered;
  }

 private:
  const std::string text_;
};

class EchoService : public PredictService {
 public:
  EchoService() : admission_(2, 6, 1e9), log_(kMostRecords) {}

  Admission& admission() override { return admission_; }
  std::unique_ptr<PreparedRequest> Prepare(std::string_view raw) override {
    if (raw.empty() || raw[0] == '?') return nullptr;
    return std::make_unique<Echo>(raw);
  }
  void Note(RequestRecord record) override { log_.Add(std::move(record)); }
  RequestLog& log() { return log_; }

 private:
  Admission admission_;
  RequestLog log_;
};

grpc::ByteBuffer BufferOf(const std::string& text) {
  const grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

std::string TextOf(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  if (!buffer.DumpToSingleSlice(&slice).ok()) return "";
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

class Client {
 public:
  explicit Client(int port) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(
        "127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(),
        arguments));
  }

  // Sends one request; cancels it after a while unless that is 0.
  grpc::Status Send(const std::string& request, int timeout_us, int cancel_us,
                    std::string* answer) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::microseconds(timeout_us));
    grpc::ByteBuffer response;
    grpc::Status status;
    grpc::CompletionQueue queue;
    const auto call =
        stub_->PrepareUnaryCall(&context, kPredict, BufferOf(request), &queue);
    call->StartCall();
    call->Finish(&response, &status, this);
    if (cancel_us > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(cancel_us));
      context.TryCancel();
    }
    void* tag;
    bool is_ok;
    CHECK(queue.Next(&tag, &is_ok));
    if (status.ok()) *answer = TextOf(response);
    return status;
  }

 private:
  std::unique_ptr<grpc::GenericStub> stub_;
};

FrontOptions Options() {
  FrontOptions options;
  options.address = "127.0.0.1:0";
  // Nobody is there: what is passed on is UNAVAILABLE.
  options.python_address = "unix:/nowhere/python";
  options.max_message_bytes = 1 << 20;
  options.max_calls = 100;
  return options;
}

void SendMany(int port, int seed, int number, std::atomic<int>* num_ok) {
  Client client(port);
  std::mt19937 random(seed);
  for (int i = 0; i < number; ++i) {
    std::string request(1 + random() % 300, 'a' + random() % 26);
    if (random() % 8 == 0) request[0] = '?';
    if (random() % 8 == 0) request[0] = '!';
    const int timeout_us = random() % 3 == 0 ? random() % 5000 : 10'000'000;
    const int cancel_us = random() % 4 == 0 ? 1 + random() % 3000 : 0;
    std::string answer;
    const grpc::Status status =
        client.Send(request, timeout_us, cancel_us, &answer);
    switch (status.error_code()) {
      case grpc::StatusCode::OK:
        ++*num_ok;
        CHECK(answer == std::string(request.rbegin(), request.rend()));
        CHECK(request[0] != '?' && request[0] != '!');
        break;
      case grpc::StatusCode::UNAVAILABLE:
      case grpc::StatusCode::RESOURCE_EXHAUSTED:
        break;
      case grpc::StatusCode::CANCELLED:
        break;
      case grpc::StatusCode::DEADLINE_EXCEEDED:
        CHECK(timeout_us < 10'000'000);
        break;
      default:
        CHECK_EQ(static_cast<int>(status.error_code()), 0);
    }
  }
}

TEST(AnyClientLeavesNothingBehind) {
  EchoService service;
  Front front(&service, Options());
  const int port = front.Start();
  CHECK(port > 0);
  std::atomic<int> num_ok{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] { SendMany(port, i, 150, &num_ok); });
  }
  for (std::thread& client : clients) client.join();
  service.admission().Close();
  CHECK(service.admission().WaitUntilEmpty(60.0));
  CHECK_EQ(service.admission().num_running(), 0);
  CHECK_EQ(service.admission().num_waiting(), 0);
  front.Stop(1.0);
  CHECK(num_ok > 100);
  const auto [records, num_lost] = service.log().Take();
  CHECK_EQ(num_lost, 0);
  int num_noted = 0;
  for (const RequestRecord& record : records) num_noted += record.code == 0;
  // An answer may come too late for its client.
  CHECK(num_noted >= num_ok);
}

TEST(StoppingCutsOffWhatIsUnderWay) {
  for (int round = 0; round < 5; ++round) {
    EchoService service;
    Front front(&service, Options());
    const int port = front.Start();
    std::atomic<int> num_ok{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&, i] { SendMany(port, i, 40, &num_ok); });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(30 * round));
    front.Stop(0.0);
    CHECK_EQ(service.admission().num_running(), 0);
    CHECK_EQ(service.admission().num_waiting(), 0);
    for (std::thread& client : clients) client.join();
  }
}

TEST(TakenAddressIsSaid) {
  EchoService service;
  Front first(&service, Options());
  FrontOptions options = Options();
  options.address = "127.0.0.1:" + std::to_string(first.Start());
  Front second(&service, options);
  CHECK_EQ(second.Start(), 0);
}

}  // namespace
}  // namespace nann
