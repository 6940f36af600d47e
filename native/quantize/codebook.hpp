// What is learned from a sample once for all records of a version: the mean, centroids, tables.
//
// A codebook is one block of bytes in section `codebooks`, and is read where it lies. It chooses each
// tier's codec among candidates by how far estimated distances are off on vectors that it was not trained on:
//
// An eighth of the sample is held out, and of that 128 vectors ask: for each, its 24 nearest among the others are
// known. Each candidate that fits the tier's bytes is trained on the rest, encodes these neighbours, and estimates how
// far they are. What it is off by counts apart from what is the same for all neighbours of a query, for that changes no
// order, and in parts of how far the exact distances differ: so it says how often neighbours would be confused,
// whatever the scale. Codecs that take several times as long to read, because they are entropy coded, have to be off
// clearly less.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "codec.hpp"

namespace hebb {

enum class EntropyCoder : uint8_t { kNone = 0, kHuffman = 1, kAns = 2 };

// What the config has to say (config.toml, [tensor_compress]).
struct CodebookOptions {
  uint32_t dimensions;
  Metric metric;
  uint64_t seed;
  uint32_t subvectors;     // of the product quantizer of tier archive; 0: as many as its bytes allow
  uint32_t centroids8;     // of an 8-bit code (cool, archive), 2-256
  uint32_t centroids4;     // of a 4-bit code (cold), 2-16
  float outlierThreshold;  // standard deviations beyond which tier cold keeps a value aside
  EntropyCoder coder;      // of values in tiers cool and cold
  uint32_t residualBits;   // bits a value that these may take, 0-8; beyond what is left of 8, that
  uint32_t iterations;     // of k-means, at most
};

// Calls fn(i) for i below a count, on as many threads as it likes (space.hpp's Each).
using CodebookEach = std::function<void(uint32_t, const std::function<void(uint32_t)>&)>;

// Vectors that a codebook needs at least.
constexpr uint32_t kLeastSample = 256;

class Codebook {
 public:
  // Bytes that a codebook of these dimensions may take, whatever it chooses.
  static uint64_t bytes(uint32_t dimensions);

  // Trains on `sample`, pointers to vectors as the metric compares them once multiplied with their scale, and
  // writes the block (zeroed before) at `out`. The same bytes for the same arguments, whatever `each` does and
  // whatever kernel runs. False where the sample is smaller than kLeastSample.
  static bool train(const CodebookOptions& options, const std::vector<const float*>& sample,
                    const std::vector<float>& scales, const CodebookEach& each, uint8_t* out);

  // Reads a block, which has to stay where it is. Null where it is not one of these dimensions and metric, or
  // its own checksum fails; `error` says why.
  static std::unique_ptr<Codebook> open(const uint8_t* block, uint32_t dimensions, Metric metric, const char** error);

  // Tier kWarm to kArchive.
  const Codec& codec(Tier tier) const { return *codecs_[static_cast<uint32_t>(tier)]; }

  ~Codebook();

 private:
  Codebook();
  std::unique_ptr<struct Origin> origin_;  // what the codecs share
  std::unique_ptr<Codec> codecs_[kTiers];
};

// fp16 needs no training: the codec of tier warm before there is any codebook. x = scale x what is encoded: the
// caller's power of two (graph/retier.cpp, halfExponent) keeps it in range.
std::unique_ptr<Codec> halfCodec(uint32_t dimensions, Metric metric);

}  // namespace hebb
