#include "ops/front/front.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <utility>

#include "ops/front/server_call.h"

namespace nann {
namespace {

// Calls that may arrive at once without waiting to be noticed.
constexpr int kNumAwaited = 16;

std::shared_ptr<grpc::ServerCredentials> Credentials(
    const FrontOptions& options) {
  if (options.certificate.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions ssl(
      options.client_authority.empty()
          ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
          : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  ssl.pem_key_cert_pairs.push_back({options.key, options.certificate});
  ssl.pem_root_certs = options.client_authority;
  return grpc::SslServerCredentials(ssl);
}

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace

Front::Front(PredictService* service, FrontOptions options)
    : service_(service), options_(std::move(options)) {}

Front::~Front() { Stop(0.0); }

int Front::Start() {
  python_ =
      std::make_unique<grpc::GenericStub>(ChannelTo(options_.python_address));
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options_.address, Credentials(options_), &port);
  builder.RegisterAsyncGenericService(&calls_);
  builder.SetMaxReceiveMessageSize(options_.max_message_bytes);
  builder.SetMaxSendMessageSize(-1);
  // Two servers on one port would each get some of the requests.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  queue_ = builder.AddCompletionQueue();
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    queue_->Shutdown();
    void* tag;
    bool is_ok;
    while (queue_->Next(&tag, &is_ok)) {
    }
    return 0;
  }
  for (int i = 0; i < kNumAwaited; ++i) ServerCall::Await(this);
  const int64_t num_threads = service_->admission().max_running() + 1;
  for (int64_t i = 0; i < num_threads; ++i) {
    threads_.emplace_back([this] { Work(); });
  }
  return port;
}

void Front::Work() {
  std::vector<ServerCall*> ready;
  ServerCall::SetReadyList(&ready);
  void* tag;
  bool is_ok;
  while (queue_->Next(&tag, &is_ok)) {
    static_cast<Tag*>(tag)->Run(is_ok);
    while (!ready.empty()) {
      ServerCall* const call = ready.back();
      ready.pop_back();
      call->RunInPlace();
    }
  }
}

void Front::Stop(double seconds) {
  if (server_ == nullptr) return;
  server_->Shutdown(
      std::chrono::system_clock::now() +
      std::chrono::microseconds(static_cast<int64_t>(1e6 * seconds)));
  // A queue that is shut down takes no more operations, not even the last ones
  // of calls that were cut off.
  while (num_objects_.load() > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  queue_->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  server_.reset();
  // The server of Python waits for its connections to end.
  python_.reset();
}

}  // namespace nann
