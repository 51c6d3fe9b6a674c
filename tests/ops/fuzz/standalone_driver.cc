// Runs a fuzz target where there is no libFuzzer, with the same arguments:
//
//   npy_fuzz -max_total_time=20 -seed=1 -max_len=4096 folder_or_file...
//
// First every file as it is, then random changes of them until the time is up.
// An input that ends the process lies in <artifact_prefix>crash-<target> then.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;
using Random = std::mt19937_64;

struct Options {
  int64_t max_total_time = 20;
  int64_t max_len = 4096;
  int64_t runs = -1;
  uint64_t seed = 1;
  std::string artifact_prefix = "./";
  std::vector<std::string> paths;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    const std::string value =
        equals == std::string::npos ? "" : argument.substr(equals + 1);
    if (name == "-max_total_time") {
      options.max_total_time = std::stoll(value);
    } else if (name == "-max_len") {
      options.max_len = std::stoll(value);
    } else if (name == "-runs") {
      options.runs = std::stoll(value);
    } else if (name == "-seed") {
      options.seed = std::stoull(value);
    } else if (name == "-artifact_prefix") {
      options.artifact_prefix = value;
    } else {
      options.paths.push_back(argument);
    }
  }
  return options;
}

Bytes ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

std::vector<Bytes> ReadCorpus(const std::vector<std::string>& paths) {
  std::vector<std::filesystem::path> files;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      files.push_back(entry.path());
    }
  }
  // The order of a folder is any.
  std::sort(files.begin(), files.end());
  std::vector<Bytes> corpus;
  for (const auto& file : files) corpus.push_back(ReadFile(file));
  if (corpus.empty()) corpus.emplace_back();
  return corpus;
}

// What one input may take.
constexpr unsigned kMaxSeconds = 20;

size_t Below(size_t limit, Random* random) { return (*random)() % limit; }

// Changes an input in one place.
void Mutate(const Bytes& other, Random* random, Bytes* input) {
  static constexpr uint8_t kTelling[] = {0,   1,   2,   127, 128, 254,
                                         255, '9', '(', ')', ',', '\''};
  const size_t size = input->size();
  const size_t place = Below(size + 1, random);
  switch (Below(7, random)) {
    case 0:
      input->insert(input->begin() + place, static_cast<uint8_t>((*random)()));
      return;
    case 1:
      if (size > 0) input->resize(place);
      return;
    case 2: {
      const size_t end = std::min(size, place + 1 + Below(8, random));
      input->erase(input->begin() + place, input->begin() + end);
      return;
    }
    case 3: {
      // A piece of another input.
      const size_t begin = Below(other.size() + 1, random);
      const size_t length =
          std::min(other.size() - begin, 1 + Below(32, random));
      input->insert(input->begin() + place, other.begin() + begin,
                    other.begin() + begin + length);
      return;
    }
    case 4:
      if (place < size) (*input)[place] ^= 1 << Below(8, random);
      return;
    case 5:
      if (place < size) (*input)[place] = static_cast<uint8_t>((*random)());
      return;
    default:
      if (place < size) {
        (*input)[place] = kTelling[Below(sizeof(kTelling), random)];
      }
  }
}

// Runs an input from memory of just its size. When that ends the process, the
// input is written to a file.
class Runner {
 public:
  explicit Runner(const std::string& artifact) { path = artifact; }

  void Run(const Bytes& input) {
    current = &input;
    const Bytes exact(input.begin(), input.end());
    alarm(kMaxSeconds);
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
    current = nullptr;
    ++num_runs;
  }

  static void Save() {
    if (current == nullptr) return;
    if (std::FILE* file = std::fopen(path.c_str(), "wb")) {
      std::fwrite(current->data(), 1, current->size(), file);
      std::fclose(file);
      std::fprintf(stderr, "the input lies in %s\n", path.c_str());
    }
  }

  int64_t num_runs = 0;

 private:
  static inline const Bytes* current = nullptr;
  static inline std::string path;
};

}  // namespace

// Called by the sanitizers before they end the process.
extern "C" void __sanitizer_set_death_callback(void (*callback)());

// A failed requirement, or an input that takes too long, ends it like a fault.
extern "C" const char* __asan_default_options() { return "handle_abort=1"; }

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const std::string name = std::filesystem::path(argv[0]).filename().string();
  Runner runner(options.artifact_prefix + "crash-" + name);
  __sanitizer_set_death_callback(Runner::Save);
  std::signal(SIGALRM, [](int) { std::abort(); });

  std::vector<Bytes> corpus = ReadCorpus(options.paths);
  for (const Bytes& input : corpus) runner.Run(input);
  const int64_t num_seeds = runner.num_runs;

  Random random(options.seed);
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(options.max_total_time);
  while (std::chrono::steady_clock::now() < end &&
         (options.runs < 0 || runner.num_runs < options.runs)) {
    Bytes input = corpus[Below(corpus.size(), &random)];
    for (size_t i = 1 + Below(5, &random); i > 0; --i) {
      Mutate(corpus[Below(corpus.size(), &random)], &random, &input);
    }
    if (static_cast<int64_t>(input.size()) > options.max_len) {
      input.resize(options.max_len);
    }
    runner.Run(input);
  }
  std::printf("%s: %lld seeds and %lld changed inputs\n", name.c_str(),
              static_cast<long long>(num_seeds),
              static_cast<long long>(runner.num_runs - num_seeds));
  return 0;
}
