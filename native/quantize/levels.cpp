// Tier cold: the rotated residual, every value the nearest of 16 centroids that all share, in 4 bits; and where there
// is room, values that are far out kept aside, as place and size.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../simd/tiers.hpp"
#include "codecs.hpp"
#include "kmeans.hpp"

namespace hebb {
namespace {

constexpr uint32_t kTrained = 1024;   // vectors that centroids are trained on
constexpr uint32_t kPoints = 65536;   // values of them
constexpr uint32_t kMostSlots = 256;  // outliers that a record keeps at most

// Where an outlier's place takes 10 bits, its size has 6 of two bytes; else 8 of three.
uint32_t slotBytes(uint32_t d) {
  return d <= 1024 ? 2 : 3;
}
uint32_t slotsOf(uint32_t d, uint32_t codeBytes) {
  return std::min((codeBytes - (d + 1) / 2) / slotBytes(d), kMostSlots);
}

// What a codebook keeps: the centroids, ascending, and how the sizes of outliers are coded.
struct Body {
  float levels[16];
  float threshold;
  uint32_t base, step;
};

// Places of values beyond the threshold, those farthest out first, at most `slots`.
void farthest(const float* z, uint32_t d, float threshold, uint32_t slots, std::vector<uint32_t>& out) {
  out.clear();
  if (slots == 0) return;
  for (uint32_t i = 0; i < d; i++) {
    if (std::fabs(z[i]) > threshold) out.push_back(i);
  }
  std::sort(out.begin(), out.end(), [&](uint32_t a, uint32_t b) {
    const float x = std::fabs(z[a]), y = std::fabs(z[b]);
    return x > y || (x == y && a < b);
  });
  if (out.size() > slots) out.resize(slots);
}

class LevelsCodec final : public ResidualCodec {
 public:
  LevelsCodec(const Origin& origin, const Part& part, const Body& body, const Magnitude& sizes)
      : ResidualCodec(origin, true, part.factoring, part.recordBytes),
        count_(part.head.count),
        slots_(slotsOf(origin.dimensions, codeBytes())),
        threshold_(body.threshold),
        sizes_(sizes) {
    for (uint32_t l = 0; l + 1 < count_; l++) middles_[l] = 0.5f * (body.levels[l] + body.levels[l + 1]);
    for (uint32_t l = 0; l < 16; l++) levels_[l] = body.levels[std::min(l, count_ - 1)];
  }

  const char* name() const override { return "levels"; }

 private:
  void code(const float* z, CodecRoom& room, uint8_t* code) const override {
    const uint32_t d = dimensions();
    room.symbols.assign(size_t{d} + 1, 0);
    uint8_t* const symbols = room.symbols.data();
    constexpr uint32_t kBlock = 64;
    for (uint32_t from = 0; from < d; from += kBlock) {
      int32_t levels[kBlock] = {};
      const uint32_t n = std::min(kBlock, d - from);
      for (uint32_t l = 0; l + 1 < count_; l++) {
        const float middle = middles_[l];
        for (uint32_t i = 0; i < n; i++) levels[i] += z[from + i] > middle;
      }
      for (uint32_t i = 0; i < n; i++) symbols[from + i] = static_cast<uint8_t>(levels[i]);
    }
    std::memset(code, 0, codeBytes());
    uint8_t* slot = code + (d + 1) / 2;
    std::vector<uint32_t> places;
    farthest(z, d, threshold_, slots_, places);
    for (const uint32_t place : places) {
      symbols[place] = static_cast<uint8_t>(z[place] < 0 ? 0 : count_ - 1);
      const uint32_t size = sizes_.code(std::fabs(z[place]));
      const uint32_t word = slotBytes(d) == 2 ? place << 6 | size : place << 8 | size;
      for (uint32_t i = 0; i < slotBytes(d); i++) *slot++ = static_cast<uint8_t>(word >> (8 * i));
    }
    for (uint32_t i = 0; i < (d + 1) / 2; i++) code[i] = static_cast<uint8_t>(symbols[2 * i] | symbols[2 * i + 1] << 4);
  }

  bool expand(const uint8_t* code, float, CodecRoom&, float* out) const override {
    const uint32_t d = dimensions();
    kernel->tiers->levels(code, d, levels_, out);
    const uint8_t* slot = code + (d + 1) / 2;
    for (uint32_t s = 0; s < slots_; s++, slot += slotBytes(d)) {
      const uint32_t word = slot[0] | uint32_t{slot[1]} << 8;
      const uint32_t place = slotBytes(d) == 2 ? word >> 6 : word >> 8 | uint32_t{slot[2]} << 8;
      const uint32_t size = slotBytes(d) == 2 ? word & 63 : word & 255;
      if (size == 0) continue;
      if (place >= d) return false;
      const uint32_t level = code[place / 2] >> (4 * (place % 2)) & 15;
      out[place] = 2 * level < count_ ? -sizes_.value(size) : sizes_.value(size);
    }
    return true;
  }

  uint32_t count_, slots_;
  float threshold_;
  Magnitude sizes_;
  float middles_[16] = {};
  float levels_[16];
};

}  // namespace

Trained trainLevels(const Origin& origin, const Sample& sample, uint32_t bytes, Factored factored) {
  const uint32_t d = origin.dimensions, count = std::min(sample.size(), kTrained);
  const uint32_t slots = slotsOf(d, bytes - factorBytes(factored));
  const uint32_t perVector = std::max(1u, kPoints / count);
  Body body = {};
  body.threshold = std::min(std::max(sample.options.outlierThreshold, 0.5f), 16.0f);
  std::vector<float> z(origin.frame.room()), values;
  std::vector<uint32_t> places;
  float widest = 2 * body.threshold;
  for (uint32_t i = 0; i < count; i++) {
    sample.residual(origin, i, true, z.data());
    farthest(z.data(), d, body.threshold, slots, places);
    for (const uint32_t place : places) {
      widest = std::max(widest, std::fabs(z[place]));
      z[place] = 0;
    }
    std::sort(places.begin(), places.end());
    // Every so many-th value; those kept aside are none of them.
    for (uint32_t j = 0; j < std::min(perVector, d); j++) {
      const uint32_t at = static_cast<uint32_t>(uint64_t{d} * j / std::min(perVector, d));
      if (!std::binary_search(places.begin(), places.end(), at)) values.push_back(z[at]);
    }
  }
  if (values.empty()) values.push_back(0);
  const uint32_t levels = sample.options.centroids4;
  kmeansOfNumbers(values, levels, 200, body.levels);
  for (uint32_t l = levels; l < 16; l++) body.levels[l] = body.levels[levels - 1];
  const Magnitude sizes(body.threshold, std::min(1.5f * widest, 1024.0f), slotBytes(d) == 2 ? 6 : 8);
  body.base = sizes.base();
  body.step = sizes.step();
  Trained out{Kind::kLevels, factored, levels, 0, {}};
  append(out.body, &body, sizeof body);
  return out;
}

std::unique_ptr<ResidualCodec> openLevels(const Origin& origin, const Part& part) {
  const Factored factored = part.factoring.factored;
  const uint32_t d = origin.dimensions, levels = part.head.count;
  Body body;
  Magnitude sizes;
  if (part.size < sizeof body || levels < 2 || levels > 16 || d > 65536 ||
      (factored != Factored::kShort && factored != Factored::kLong) ||
      part.recordBytes < (d + 1) / 2 + factorBytes(factored))
    return nullptr;
  std::memcpy(&body, part.body, sizeof body);
  if (!allFinite(body.levels, 16) || !allFinite(&body.threshold, 1) ||
      !Magnitude::read(body.base, body.step, slotBytes(d) == 2 ? 6 : 8, &sizes))
    return nullptr;
  return std::make_unique<LevelsCodec>(origin, part, body, sizes);
}

}  // namespace hebb
