#include "residual.hpp"

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernel.hpp"

namespace hebb {
namespace {

// Lengths below count as zero: their inverse is none.
constexpr float kLeast = 1e-15f;

uint32_t read16(const uint8_t* at) {
  return at[0] | uint32_t{at[1]} << 8;
}
void write16(uint32_t x, uint8_t* at) {
  at[0] = static_cast<uint8_t>(x);
  at[1] = static_cast<uint8_t>(x >> 8);
}

}  // namespace

float* roomFor(std::vector<float>& values, size_t n) {
  constexpr uintptr_t kLine = 64;
  if (values.size() < n + kLine / sizeof(float)) values.resize(n + kLine / sizeof(float));
  const uintptr_t at = reinterpret_cast<uintptr_t>(values.data());
  return values.data() + (kLine - at % kLine) % kLine / sizeof(float);
}

Origin::Origin(uint32_t dimensions, Metric metric, uint64_t seed, float scale, const float* mean)
    : dimensions(dimensions),
      metric(metric),
      scale(scale),
      unscale(1.0f / scale),
      mean(mean),
      frame(dimensions, seed) {}

void Origin::residual(const float* x, float* out) const {
  for (uint32_t i = 0; i < dimensions; i++) out[i] = cut(x[i] * scale - mean[i], kFarthest);
}

void Origin::restore(float* r, uint32_t rounds, float times, float* x) const {
  frame.restore(r, rounds, times, mean, unscale, x);
}

ResidualCodec::ResidualCodec(const Origin& origin, bool rotated, const Factoring& factoring, uint32_t bytes)
    : origin_(origin),
      rotated_(rotated),
      factoring_(factoring),
      bytes_(bytes),
      perValue_(1.0f / std::sqrt(static_cast<float>(origin.dimensions))) {}

float ResidualCodec::ratioOf(const float* z, const uint8_t* code, CodecRoom& room) const {
  float* const l = roomFor(room.other, origin_.frame.room() + kExpandRoom);
  if (!expand(code, 1.0f, room, l)) return 0;
  const float along = kernel->dot(z, l, dimensions());
  return along > 0 ? kernel->dot(z, z, dimensions()) / along : FLT_MAX;
}

void ResidualCodec::encode(const float* x, CodecRoom& room, uint8_t* record) const {
  const uint32_t d = dimensions();
  float* const z = roomFor(room.values, origin_.frame.room() + kExpandRoom);
  origin_.residual(x, z);
  const Factored factored = factoring_.factored;
  if (factored == Factored::kNone) return code(z, room, record);
  const float length = std::sqrt(kernel->dot(z, z, d));
  const uint32_t lengthCode = length > kLeast ? factoring_.length.code(length) : 0;
  if (lengthCode == 0) {
    std::memset(record, 0, bytes_);
    return;
  }
  if (rotated_) {
    origin_.frame.apply(z);
    const float inverse = 1.0f / unitOf(factoring_.length.value(lengthCode));
    for (uint32_t i = 0; i < d; i++) z[i] *= inverse;
  }
  uint8_t* const at = record + factorBytes(factored);
  code(z, room, at);
  const uint32_t ratioCode = corrected() ? factoring_.ratio.code(ratioOf(z, at, room)) : 0;
  if (factored == Factored::kShort) {
    write16(lengthCode << ratioBits(factored) | ratioCode, record);
  } else {
    write16(lengthCode, record);
    if (factored == Factored::kLong) write16(ratioCode, record + 2);
  }
}

void ResidualCodec::measure(const float* x, CodecRoom& room, float* length, float* ratio) const {
  const uint32_t d = dimensions();
  float* const z = roomFor(room.values, origin_.frame.room() + kExpandRoom);
  origin_.residual(x, z);
  *length = std::sqrt(kernel->dot(z, z, d));
  *ratio = 0;
  if (!corrected() || !(*length > kLeast)) return;
  if (rotated_) {
    origin_.frame.apply(z);
    const float inverse = 1.0f / unitOf(*length);
    for (uint32_t i = 0; i < d; i++) z[i] *= inverse;
  }
  std::vector<uint8_t> bytes(codeBytes());
  code(z, room, bytes.data());
  *ratio = ratioOf(z, bytes.data(), room);
}

ResidualCodec::Read ResidualCodec::read(const uint8_t* record) const {
  const Factored factored = factoring_.factored;
  if (factored == Factored::kNone) return {1, 1, 1};
  uint32_t lengthCode = read16(record), ratioCode = 0;
  if (factored == Factored::kShort) {
    ratioCode = lengthCode & ((1u << ratioBits(factored)) - 1);
    lengthCode >>= ratioBits(factored);
  } else if (factored == Factored::kLong) {
    ratioCode = read16(record + 2);
  }
  const float length = factoring_.length.value(lengthCode);
  return {lengthCode ? unitOf(length) : 0.0f, factoring_.ratio.value(ratioCode), length};
}

bool ResidualCodec::decode(const uint8_t* record, CodecRoom& room, float* x) const {
  const uint32_t d = dimensions();
  float* const l = roomFor(room.values, origin_.frame.room() + kExpandRoom);
  const Read factors = read(record);
  if (!(factors.length > 0)) {
    std::memset(l, 0, d * sizeof(float));
    origin_.restore(l, 0, 0, x);
    return true;
  }
  uint32_t rounds;
  float square, times = 1;
  const uint8_t* const code = record + factorBytes(factoring_.factored);
  if (!begin(code, corrected() ? 1.0f : factors.unit, room, l, &rounds, &square)) return false;
  if (corrected()) {
    const float along = factors.unit * factors.ratio * square;
    times = along > 0 ? factors.length * factors.length / along : 0.0f;
    times = times < kFarthest ? times : 0.0f;
  }
  origin_.restore(l, rounds, times, x);
  return true;
}

bool ResidualCodec::begin(const uint8_t* code, float unit, CodecRoom& room, float* out, uint32_t* rounds,
                          float* square) const {
  if (!expand(code, unit, room, out)) return false;
  *rounds = rotated_ ? Frame::kRounds : 0;
  *square = corrected() ? kernel->dot(out, out, dimensions()) : 0;
  return true;
}

void ResidualCodec::prepare(const float* q, TierQuery* out) const {
  const uint32_t d = dimensions();
  out->values.resize(origin_.frame.room());
  float* const values = out->values.data();
  out->base = 0;
  if (origin_.metric == Metric::kDot) {
    for (uint32_t i = 0; i < d; i++) values[i] = cut(q[i] * origin_.scale, kFarthest);
    out->base = kernel->dot(values, origin_.mean, d);
  } else {
    origin_.residual(q, values);
  }
  if (rotated_) origin_.frame.apply(values);
  out->square = kernel->dot(values, values, d);
  out->prepared = true;
}

float ResidualCodec::distance(const TierQuery& query, CodecRoom& room, const uint8_t* record) const {
  const uint32_t d = dimensions();
  float* const l = roomFor(room.values, origin_.frame.room() + kExpandRoom);
  if (!corrected()) {
    if (!unpack(record, room, l)) return std::numeric_limits<float>::infinity();
    return distanceOf(query, l);
  }
  const bool dot = origin_.metric == Metric::kDot;
  const Read factors = read(record);
  float estimate = dot ? query.base : query.square;
  if (factors.length > 0) {
    if (!expand(record + factorBytes(factoring_.factored), 1.0f, room, l))
      return std::numeric_limits<float>::infinity();
    const float product = factors.unit * factors.ratio * kernel->dot(query.values.data(), l, d);
    estimate += dot ? product : factors.length * factors.length - 2 * product;
  }
  return finished(estimate);
}

// r, where it is kept as it is.
bool ResidualCodec::unpack(const uint8_t* record, CodecRoom& room, float* r) const {
  if (corrected()) return false;
  const uint32_t d = dimensions();
  const Read factors = read(record);
  if (!(factors.length > 0)) {
    std::memset(r, 0, d * sizeof(float));
    return true;
  }
  float* const l = roomFor(room.values, origin_.frame.room() + kExpandRoom);
  if (!expand(record + factorBytes(factoring_.factored), factors.unit, room, l)) return false;
  if (r != l) std::memcpy(r, l, d * sizeof(float));
  return true;
}

float ResidualCodec::distanceOf(const TierQuery& query, const float* r) const {
  const uint32_t d = dimensions();
  return finished(origin_.metric == Metric::kDot ? query.base + kernel->dot(query.values.data(), r, d)
                                                 : kernel->l2(query.values.data(), r, d) + lost());
}

// An estimate, in the origin's units, as the metric has it.
float ResidualCodec::finished(float estimate) const {
  if (origin_.metric == Metric::kDot) estimate = -estimate;
  if (origin_.metric == Metric::kCosine) estimate *= 0.5f;
  estimate = estimate * origin_.unscale * origin_.unscale;
  return estimate == estimate ? estimate : std::numeric_limits<float>::infinity();
}

uint32_t recordBytes(Tier tier, uint32_t dimensions) {
  const uint64_t d = dimensions;
  const auto most = [](uint64_t a, uint64_t b) { return a > b ? a : b; };
  const auto least = [](uint64_t a, uint64_t b) { return a < b ? a : b; };
  const uint64_t cool = d;
  const uint64_t cold = least(cool, most(d * 40 / 76, (d + 1) / 2 + 2));
  const uint64_t archive = least(cold, most(d * 4 / 26, (d + 7) / 8 + 4));
  switch (tier) {
    case Tier::kHot:
      return 4 * dimensions;
    case Tier::kWarm:
      return 2 * dimensions;
    case Tier::kCool:
      return static_cast<uint32_t>(cool);
    case Tier::kCold:
      return static_cast<uint32_t>(cold);
    default:
      return static_cast<uint32_t>(archive);
  }
}

}  // namespace hebb
