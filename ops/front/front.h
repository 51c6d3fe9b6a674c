// A server of gRPC that answers usual requests to Predict itself, without the
// lock of Python's interpreter, and passes on everything else, unchanged, to
// the server of Python at a private address.
//
// Its threads lead in turn: the one that gets a request from the network runs
// it, while another one goes on to look at the network. As there is one more
// thread than requests may run, nobody waits to be refused.

#ifndef NANN_OPS_FRONT_FRONT_H_
#define NANN_OPS_FRONT_FRONT_H_

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ops/requests/predict_service.h"

namespace nann {

class ServerCall;

struct FrontOptions {
  std::string address;         // host:port; port 0: a free one.
  std::string python_address;  // Of the server of Python.
  int max_message_bytes = 0;
  int64_t max_calls = 0;  // Those beyond are refused unread.
  // PEM; no certificate: no TLS, no authority: any client.
  std::string certificate;
  std::string key;
  std::string client_authority;
};

class Front {
 public:
  // `service` outlives this.
  Front(PredictService* service, FrontOptions options);
  ~Front();

  // Begins to answer. Returns the port, or 0 if the address cannot be had.
  int Start();

  // Takes no more calls, and gives those under way some time.
  void Stop(double seconds);

 private:
  friend class ServerCall;

  void Work();

  PredictService* const service_;
  const FrontOptions options_;
  grpc::AsyncGenericService calls_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::GenericStub> python_;
  // Calls under way.
  std::atomic<int64_t> num_calls_{0};
  // The same, and those that are awaited.
  std::atomic<int64_t> num_objects_{0};
  std::vector<std::thread> threads_;
};

}  // namespace nann

#endif  // NANN_OPS_FRONT_FRONT_H_
