#include "rabitq.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernel.hpp"

namespace hebb {
namespace {

// What is below counts as zero: its inverse is none.
constexpr float kLeast = 1e-30f;

// The code of r by `bits` bits a value, as w of halves (w[i] + (2^bits - 1) / 2 is its level), and <r, w> and |w|^2: of
// some steps the one that makes the angle between r and w the smallest.
struct Fitted {
  float along = 0, length = 1;
};
Fitted fitLevels(const float* r, uint32_t n, float squares, uint32_t bits, std::vector<float>& best) {
  // Steps that suit normal values of unit variance (Max 1960), by bits; values are about that as a rotation leaves
  // them.
  constexpr float kNormal[] = {0, 1, 1.0f, 0.586f, 0.335f, 0.188f, 0.104f, 0.0569f, 0.0308f};
  constexpr float kAround[] = {0.7f, 0.8f, 0.9f, 1.0f, 1.1f, 1.2f, 1.35f, 1.5f};
  const float unit = kNormal[bits] * std::sqrt(squares / static_cast<float>(n));
  const int32_t most = (1 << (bits - 1)) - 1;
  std::vector<float> w(n);
  best.clear();
  Fitted fitted;
  for (const float around : kAround) {
    const float inverse = 1.0f / (around * unit);
    for (uint32_t i = 0; i < n; i++) {
      const int32_t level = std::min(static_cast<int32_t>(std::fabs(r[i] * inverse)), most);
      w[i] = std::copysign(static_cast<float>(level) + 0.5f, r[i]);
    }
    const float s = kernel->dot(r, w.data(), n), squared = kernel->dot(w.data(), w.data(), n);
    if (!best.empty() && s * s * fitted.length <= fitted.along * fitted.along * squared) continue;
    fitted = {s, squared};
    best = w;
    if (bits == 1) break;  // whatever the step
  }
  return fitted;
}

// Factors of a code that was fitted, and of a vector that is where its centre is.
OwnFactors factorsOf(Metric metric, float squares, float product, uint32_t n, const Fitted& fitted) {
  const float own = metric == Metric::kL2 ? squares : metric == Metric::kDot ? -product : 0.5f * squares;
  const float factor = metric == Metric::kL2 ? 2.0f : 1.0f;
  // No code: what it leaves unknown is the whole product, which is |r| |q - c| at most.
  if (!(squares > kLeast)) return {own, 0, factor * std::sqrt(squares), 0};
  const float scale = squares / fitted.along;
  const float rest = squares * fitted.length / (fitted.along * fitted.along) - 1;
  const float spread = std::fmax(0.0f, rest / static_cast<float>(n - 1));
  return {own, -factor * scale, factor * std::sqrt(squares * spread), 0};
}

// A query's values as integers of at most `most`, in units of `step`, and their sum.
struct Rounded {
  float step;
  int32_t total;
};
template <typename T>
Rounded roundTo(float most, const float* x, uint32_t n, T* values) {
  float widest = 0;
  for (uint32_t i = 0; i < n; i++) {
    const float magnitude = std::fabs(x[i]);
    widest = magnitude > widest ? magnitude : widest;
  }
  const float inverse = widest > kLeast ? most / widest : 0.0f;
  int32_t total = 0;
  for (uint32_t i = 0; i < n; i++) {
    const float scaled = x[i] * inverse;
    const float value = std::fabs(scaled) < most + 1 ? scaled : 0.0f;  // what no float holds once it is rotated
    values[i] = static_cast<T>(static_cast<int32_t>(value + std::copysign(0.5f, value)));
    total += values[i];
  }
  return {widest / most, total};
}

}  // namespace

Factors encode(Metric metric, const float* o, const float* c, uint32_t quads, const Exact& exact, uint8_t* nibbles) {
  const Signs sums = kernel->encode(o, c, uint64_t(quads) * 4, nibbles);
  const float squares = exact.squares < 0 ? sums.squares : exact.squares;
  const float s = 0.5f * sums.magnitudes;
  const float scale = s > 0 ? sums.squares / s : 0.0f;  // 0: o is where c is
  const float centre = 0.5f * sums.centre * scale;
  switch (metric) {
    case Metric::kL2:
      return {squares + 2 * centre, -2 * scale};
    case Metric::kDot:
      return {centre - exact.product, -scale};
    default:
      return {0.5f * squares + centre, -scale};
  }
}

float errorOf(Metric metric, float squares, const Factors& factors, uint32_t quads, float sure) {
  if (!(squares > 0)) return 0;
  const float d = 4.0f * static_cast<float>(quads);
  const float scale = metric == Metric::kL2 ? -0.5f * factors.rescale : -factors.rescale;  // |r|^2 / s
  const float spread = std::fmax(0.0f, (0.25f * d * scale * scale / squares - 1) / (d - 1));
  return (metric == Metric::kL2 ? 2.0f : 1.0f) * sure * std::sqrt(squares * spread);
}

OwnFactors encodeOwn(Metric metric, const float* r, uint32_t n, float product, uint8_t* code) {
  std::memset(code, 0, n / 4);
  const float squares = kernel->dot(r, r, n);
  if (!(squares > kLeast)) return factorsOf(metric, squares, product, n, {});
  std::vector<float> w;
  const Fitted fitted = fitLevels(r, n, squares, 2, w);
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t level = static_cast<uint32_t>(w[i] + 1.5f);
    code[i / 64 * 16 + i % 16] |= static_cast<uint8_t>(level << (i % 64 / 16 * 2));
  }
  return factorsOf(metric, squares, product, n, fitted);
}

OwnFactors encodePlanes(Metric metric, const float* r, const float* c, uint32_t n, uint32_t bits, float product,
                        uint8_t* planes) {
  std::memset(planes, 0, n / 8 * bits);
  const float squares = kernel->dot(r, r, n);
  if (!(squares > kLeast)) return factorsOf(metric, squares, product, n, {});
  std::vector<float> w;
  const Fitted fitted = fitLevels(r, n, squares, bits, w);
  const float middle = 0.5f * static_cast<float>((1 << bits) - 1);
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t level = static_cast<uint32_t>(w[i] + middle);
    uint8_t* const group = planes + i / 64 * 8 * bits + i % 64 / 8;
    for (uint32_t p = 0; p < bits; p++) group[8 * p] |= static_cast<uint8_t>((level >> p & 1) << (i % 8));
  }
  OwnFactors factors = factorsOf(metric, squares, product, n, fitted);
  factors.add -= factors.rescale * kernel->dot(w.data(), c, n);
  return factors;
}

PlanesQuery preparePlanes(const float* rotated, uint32_t n, int16_t* values) {
  const Rounded rounded = roundTo(1023.0f, rotated, n, values);
  return {rounded.step, rounded.total};
}

void prepareOwn(Metric metric, const float* residual, uint32_t n, float product, OwnQuery* out) {
  out->values.resize(n);
  const Rounded rounded = roundTo(127.0f, residual, n, out->values.data());
  const float squares = kernel->dot(residual, residual, n);
  out->step = rounded.step;
  out->offset = -1.5f * (out->step * static_cast<float>(rounded.total));
  out->base = metric == Metric::kL2 ? squares : metric == Metric::kDot ? -product : 0.5f * squares;
  out->apart = std::sqrt(squares);
}

void packLane(uint8_t* block, uint32_t quads, uint32_t lane, const uint8_t* nibbles) {
  const int shift = lane % kLanes < 16 ? 0 : 4;
  const uint8_t others = shift ? 0x0f : 0xf0;
  uint8_t* at = block + lane % 16;
  for (uint32_t q = 0; q < quads; q++) at[16 * q] = static_cast<uint8_t>((at[16 * q] & others) | nibbles[q] << shift);
}

void unpackLane(const uint8_t* block, uint32_t quads, uint32_t lane, uint8_t* nibbles) {
  const int shift = lane % kLanes < 16 ? 0 : 4;
  const uint8_t* at = block + lane % 16;
  for (uint32_t q = 0; q < quads; q++) nibbles[q] = at[16 * q] >> shift & 15;
}

}  // namespace hebb
