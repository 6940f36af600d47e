// The codecs of residuals as codebook.cpp trains, keeps and opens them.
//
// Training a codec gives its part of a codebook: a head, and what the codec itself reads behind it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "codebook.hpp"
#include "residual.hpp"

namespace hebb {

enum class Kind : uint32_t { kScalar = 1, kLevels = 2, kSigns = 3, kProduct = 4, kPairs = 5, kEcsq = 6 };

// In front of a codec's part. What it says is of this machine's byte order, as all of a store is.
struct PartHead {
  uint32_t kind, bytes;  // of the part, its head with it; a multiple of 8
  uint32_t factored;
  uint32_t lengthBase, lengthStep, ratioBase, ratioStep;
  uint32_t count;  // scalar: bits a value; levels, product, pairs: centroids; ecsq: lower bits
  uint32_t parts;  // product: subvectors; pairs, ecsq: symbols of the alphabet
  uint32_t reserved;
};

// What a codec is opened with: its head, what lies behind it, and how many bytes a record has.
struct Part {
  const PartHead& head;
  const uint8_t* body;
  size_t size;
  uint32_t recordBytes;
  Factoring factoring;
};

// Null where the part is none of that codec.
std::unique_ptr<ResidualCodec> openScalar(const Origin& origin, const Part& part);
std::unique_ptr<ResidualCodec> openLevels(const Origin& origin, const Part& part);
std::unique_ptr<ResidualCodec> openSigns(const Origin& origin, const Part& part);
std::unique_ptr<ResidualCodec> openProduct(const Origin& origin, const Part& part);
std::unique_ptr<ResidualCodec> openPairs(const Origin& origin, const Part& part);
std::unique_ptr<ResidualCodec> openEcsq(const Origin& origin, const Part& part);

// The vectors that a codebook is trained on, in an order that depends on the seed.
class Sample {
 public:
  Sample(const CodebookOptions& options, const std::vector<const float*>& vectors, const std::vector<float>& scales,
         const CodebookEach& each)
      : options(options), each(each), vectors_(vectors), scales_(scales) {}

  uint32_t size() const { return static_cast<uint32_t>(order_.size()); }
  // As the metric compares it.
  void vector(uint32_t i, float* out) const;
  // Less the mean, in the plain frame or the rotated one, there divided by |r| / sqrt(d); zeros where |r| is none.
  // out has frame.room() values.
  void residual(const Origin& origin, uint32_t i, bool rotated, float* out) const;
  // Values [from, from + n) of the residual in the plain frame.
  void slice(const Origin& origin, uint32_t i, uint32_t from, uint32_t n, float* out) const;

  const CodebookOptions& options;
  const CodebookEach& each;

  // Vectors [from, to) of the others' order.
  Sample part(uint32_t from, uint32_t to) const;
  void shuffle();

 private:
  const std::vector<const float*>& vectors_;
  const std::vector<float>& scales_;
  std::vector<uint32_t> order_;
};

// What training a codec gives: a head in which count and parts are set, and the body.
struct Trained {
  Kind kind;
  Factored factored;
  uint32_t count = 0, parts = 0;
  std::vector<uint8_t> body;
};

Trained trainScalar(const Origin& origin, const Sample& sample, uint32_t bits, Factored factored);
Trained trainLevels(const Origin& origin, const Sample& sample, uint32_t bytes, Factored factored);
Trained trainProduct(const Origin& origin, const Sample& sample, uint32_t subvectors, Factored factored);
Trained trainPairs(const Origin& origin, const Sample& sample, uint32_t bytes);
// Nothing where there is no room for it.
std::optional<Trained> trainEcsq(const Origin& origin, const Sample& sample, uint32_t bytes, Factored factored);

// Whether a record of so many bytes has room for pairs and something of their residuals.
bool pairsFit(uint32_t dimensions, uint32_t bytes);

// All values, for a body.
void append(std::vector<uint8_t>& body, const void* bytes, size_t size);
bool allFinite(const float* values, size_t n);

}  // namespace hebb
