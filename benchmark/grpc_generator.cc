// What serving_generator.py does, for a small part of its processor time: sends
// a request over and over and says how long the answers took. Same arguments,
// same JSON:
//   grpc_generator TARGET REQUEST_FILE RATE SECONDS SEED
// Knows bytes only, so that no protobuf but gRPC's own is in the program.

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr char kPredict[] = "/tensorflow.serving.PredictionService/Predict";
constexpr int kNumChannels = 8;
constexpr auto kDeadline = std::chrono::seconds(10);
constexpr auto kConnecting = std::chrono::seconds(30);

double Seconds(Clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

double ProcessorSeconds() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

const char* Name(grpc::StatusCode code) {
  static const char* const kNames[] = {"OK",
                                       "CANCELLED",
                                       "UNKNOWN",
                                       "INVALID_ARGUMENT",
                                       "DEADLINE_EXCEEDED",
                                       "NOT_FOUND",
                                       "ALREADY_EXISTS",
                                       "PERMISSION_DENIED",
                                       "RESOURCE_EXHAUSTED",
                                       "FAILED_PRECONDITION",
                                       "ABORTED",
                                       "OUT_OF_RANGE",
                                       "UNIMPLEMENTED",
                                       "INTERNAL",
                                       "UNAVAILABLE",
                                       "DATA_LOSS",
                                       "UNAUTHENTICATED"};
  return code >= 0 && code <= 16 ? kNames[code] : "UNKNOWN";
}

struct Call {
  Clock::time_point moment;
  double latency_s = 0.0;
  int channel = 0;
  grpc::ClientContext context;
  grpc::ByteBuffer response;
  grpc::Status status;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
};

class Generator {
 public:
  Generator(const std::string& target, const std::string& request,
            int num_channels) {
    const grpc::Slice slice(request);
    request_ = grpc::ByteBuffer(&slice, 1);
    for (int i = 0; i < num_channels; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      const auto channel = grpc::CreateCustomChannel(
          target, grpc::InsecureChannelCredentials(), arguments);
      if (!channel->WaitForConnected(std::chrono::system_clock::now() +
                                     kConnecting)) {
        std::fprintf(stderr, "%s does not answer\n", target.c_str());
        std::exit(1);
      }
      stubs_.push_back(std::make_unique<grpc::GenericStub>(channel));
    }
  }

  // Sends at random moments, whether or not earlier ones have been answered.
  void OpenLoop(double rate, double seconds, int seed) {
    std::mt19937_64 random(seed);
    std::exponential_distribution<double> gap(rate);
    const size_t number = static_cast<size_t>(rate * seconds);
    calls_.reserve(number);
    start_ = Clock::now() + std::chrono::milliseconds(50);
    std::thread noting([this, number] {
      for (size_t i = 0; i < number; ++i) Note();
    });
    Clock::time_point moment = start_;
    for (size_t i = 0; i < number; ++i) {
      moment += std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>(gap(random)));
      std::this_thread::sleep_until(moment);
      Send(moment, static_cast<int>(i % stubs_.size()));
    }
    noting.join();
  }

  // Each client, a connection, sends when it has its answer.
  void ClosedLoop(double seconds) {
    start_ = Clock::now();
    size_t num_open = stubs_.size();
    for (size_t i = 0; i < stubs_.size(); ++i) {
      Send(Clock::now(), static_cast<int>(i));
    }
    while (num_open > 0) {
      const Call* const call = Note();
      if (Seconds(Clock::now() - start_) < seconds) {
        Send(Clock::now(), call->channel);
      } else {
        --num_open;
      }
    }
  }

  void Print(double seconds, double processor_s) const {
    std::printf("{\"seconds\": %.6f, \"processor_s\": %.6f", seconds,
                processor_s);
    PrintList("codes", [](const Call& call) {
      std::printf("\"%s\"", Name(call.status.error_code()));
    });
    PrintList("moments_s", [this](const Call& call) {
      std::printf("%.6f", Seconds(call.moment - start_));
    });
    PrintList("latencies_ms", [](const Call& call) {
      std::printf("%.4f", 1e3 * call.latency_s);
    });
    std::printf("}\n");
  }

 private:
  void Send(Clock::time_point moment, int channel) {
    calls_.push_back(std::make_unique<Call>());
    Call* const call = calls_.back().get();
    call->moment = moment;
    call->channel = channel;
    call->context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    call->reader = stubs_[channel]->PrepareUnaryCall(&call->context, kPredict,
                                                     request_, &queue_);
    call->reader->StartCall();
    call->reader->Finish(&call->response, &call->status, call);
  }

  // Waits for an answer.
  const Call* Note() {
    void* tag = nullptr;
    bool is_ok = false;
    queue_.Next(&tag, &is_ok);
    Call* const call = static_cast<Call*>(tag);
    call->latency_s = Seconds(Clock::now() - call->moment);
    call->response.Clear();
    return call;
  }

  template <typename PrintOne>
  void PrintList(const char* name, const PrintOne& print_one) const {
    std::printf(", \"%s\": [", name);
    for (size_t i = 0; i < calls_.size(); ++i) {
      if (i > 0) std::printf(", ");
      print_one(*calls_[i]);
    }
    std::printf("]");
  }

  grpc::ByteBuffer request_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  grpc::CompletionQueue queue_;
  Clock::time_point start_;
  std::vector<std::unique_ptr<Call>> calls_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr,
                 "grpc_generator TARGET REQUEST_FILE RATE SECONDS SEED\n");
    return 2;
  }
  std::ifstream file(argv[2], std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "%s cannot be read\n", argv[2]);
    return 2;
  }
  const std::string request{std::istreambuf_iterator<char>(file), {}};
  const double rate = std::atof(argv[3]);
  const double seconds = std::atof(argv[4]);
  const bool is_open = rate > 0;
  Generator generator(argv[1], request,
                      is_open ? kNumChannels : static_cast<int>(-rate));
  const double before = ProcessorSeconds();
  const Clock::time_point begin = Clock::now();
  if (is_open) {
    generator.OpenLoop(rate, seconds, std::atoi(argv[5]));
  } else {
    generator.ClosedLoop(seconds);
  }
  generator.Print(Seconds(Clock::now() - begin), ProcessorSeconds() - before);
  return 0;
}
