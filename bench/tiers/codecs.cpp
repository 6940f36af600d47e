// What the tiers' codecs cost, on one thread: prints a line of JSON. `bench tiers` compiles and runs it.
//
//   codecs tiers FILE D    encoding and decoding of each tier, on rows of D floats
//   codecs train FILE D    training a codebook on all rows, on one thread and on all
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "kernel.hpp"
#include "quantize/codebook.hpp"

using namespace hebb;

namespace {

constexpr int kPasses = 9;
const char* const kNames[kTiers] = {"hot", "warm", "cool", "cold", "archive"};

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The median of the seconds that passes of `task` take; the first one, which warms up, is not counted.
template <typename Task>
double medianOf(int passes, const Task& task) {
  std::vector<double> seconds;
  for (int pass = -1; pass < passes; pass++) {
    const auto start = std::chrono::steady_clock::now();
    task();
    if (pass >= 0) seconds.push_back(since(start));
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

void onThis(uint32_t n, const std::function<void(uint32_t)>& task) {
  for (uint32_t i = 0; i < n; i++) task(i);
}

void onAll(uint32_t n, const std::function<void(uint32_t)>& task) {
  std::atomic<uint32_t> next{0};
  const auto work = [&] {
    for (uint32_t i; (i = next++) < n;) task(i);
  };
  std::vector<std::thread> others;
  for (uint32_t t = 1; t < std::thread::hardware_concurrency(); t++) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

struct Rows {
  std::vector<float> values;
  std::vector<const float*> pointers;
  std::vector<float> scales;
};

bool read(const char* path, uint32_t d, Rows* out) {
  FILE* const file = std::fopen(path, "rb");
  if (!file) return false;
  std::fseek(file, 0, SEEK_END);
  out->values.resize(static_cast<size_t>(std::ftell(file)) / sizeof(float));
  std::rewind(file);
  const bool whole = std::fread(out->values.data(), sizeof(float), out->values.size(), file) == out->values.size();
  std::fclose(file);
  for (size_t at = 0; at < out->values.size(); at += d) out->pointers.push_back(&out->values[at]);
  out->scales.assign(out->pointers.size(), 1.0f);
  return whole;
}

CodebookOptions standard(uint32_t d) {
  return {.dimensions = d,
          .metric = Metric::kL2,
          .seed = 1,
          .subvectors = 0,
          .centroids8 = 256,
          .centroids4 = 16,
          .outlierThreshold = 2.5f,
          .coder = EntropyCoder::kAns,
          .residualBits = 4,
          .iterations = 20};
}

int tiers(const Rows& rows, uint32_t d, std::vector<uint64_t>& block) {
  const char* error = nullptr;
  uint8_t* const bytes = reinterpret_cast<uint8_t*>(block.data());
  if (!Codebook::train(standard(d), rows.pointers, rows.scales, onAll, bytes)) return 1;
  const auto codebook = Codebook::open(bytes, d, Metric::kL2, &error);
  if (!codebook) return std::fprintf(stderr, "%s\n", error), 1;
  const uint32_t n = static_cast<uint32_t>(std::min<size_t>(rows.pointers.size(), 1000));
  std::printf("{");
  for (uint32_t t = 1; t < kTiers; t++) {
    const Tier tier = static_cast<Tier>(t);
    const Codec& codec = codebook->codec(tier);
    const size_t each = recordBytes(tier, d);
    std::vector<uint8_t> records(n * each);
    std::vector<float> x(d);
    CodecRoom room;
    TierQuery query;
    const double encode = medianOf(kPasses, [&] {
      for (uint32_t i = 0; i < n; i++) codec.encode(rows.pointers[i], room, &records[i * each]);
    });
    bool whole = true;
    const double decode = medianOf(kPasses, [&] {
      for (uint32_t i = 0; i < n; i++) whole &= codec.decode(&records[i * each], room, x.data());
    });
    if (!whole) return std::fprintf(stderr, "tier %s does not decode what it encoded\n", kNames[t]), 1;
    float sum = 0;
    codec.prepare(rows.pointers[0], &query);
    const double distance = medianOf(kPasses, [&] {
      for (uint32_t i = 0; i < n; i++) sum += codec.distance(query, room, &records[i * each]);
    });
    // The sum is told, so that nothing of it is left out.
    std::printf("%s\"%s\":{\"codec\":\"%s\",\"encodeUs\":%.6g,\"decodeUs\":%.6g,\"distanceUs\":%.6g,\"sum\":%.3g}",
                t > 1 ? "," : "", kNames[t], codec.name(), encode / n * 1e6, decode / n * 1e6, distance / n * 1e6, sum);
  }
  std::printf("}\n");
  return 0;
}

int train(const Rows& rows, uint32_t d, std::vector<uint64_t>& block) {
  const auto run = [&](const CodebookEach& each) {
    return medianOf(3, [&] {
      std::fill(block.begin(), block.end(), 0);
      Codebook::train(standard(d), rows.pointers, rows.scales, each, reinterpret_cast<uint8_t*>(block.data()));
    });
  };
  std::printf("{\"oneThread\":%.6g,\"allThreads\":%.6g}\n", run(onThis), run(onAll));
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 1;
  const char* error = nullptr;
  kernel = selectKernel(std::getenv("HEBB_KERNEL"), &error);
  if (!kernel) return std::fprintf(stderr, "%s\n", error), 1;
  const uint32_t d = static_cast<uint32_t>(std::atoi(arguments[3]));
  Rows rows;
  if (!read(arguments[2], d, &rows)) return std::fprintf(stderr, "%s cannot be read\n", arguments[2]), 1;
  std::vector<uint64_t> block(Codebook::bytes(d) / 8 + 1);
  return std::strcmp(arguments[1], "train") == 0 ? train(rows, d, block) : tiers(rows, d, block);
}
