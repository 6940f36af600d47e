#include "space.hpp"

#include <algorithm>
#include <cmath>

#include "kernel.hpp"
#include "mix.hpp"

namespace hebb {
namespace {

// Vectors whose products are summed in one go: their columns fit the nearer caches.
constexpr uint32_t kChunk = 512;
// Rounds of subspace iteration: what a few more would add to the variance kept is below a thousandth.
constexpr uint32_t kRounds = 8;
// Lengths below count as zero: their inverse is none.
constexpr float kLeast = 1e-30f;

void fillWithNoise(float* row, uint32_t d, uint64_t seed) {
  for (uint32_t i = 0; i < d; i++) row[i] = static_cast<float>(mix(seed ^ mix(i)) >> 40) * 0x1p-24f - 0.5f;
}

void roundTo(const float* in, uint32_t n, float scale, int16_t* out) {
  for (uint32_t i = 0; i < n; i++) {
    const float x = in[i] * scale;
    out[i] = static_cast<int16_t>(static_cast<int32_t>(x + std::copysign(0.5f, x)));
  }
}

// Gram-Schmidt, each row twice; a row that has nothing of its own starts again from noise.
void orthonormalize(float* rows, uint32_t count, uint32_t d, uint64_t seed) {
  for (uint32_t j = 0; j < count; j++) {
    float* row = rows + uint64_t(j) * d;
    for (uint32_t attempt = 0;; attempt++) {
      const float before = std::sqrt(kernel->dot(row, row, d));
      for (uint32_t twice = 0; twice < 2; twice++) {
        for (uint32_t i = 0; i < j; i++) {
          const float* other = rows + uint64_t(i) * d;
          const float share = kernel->dot(row, other, d);
          for (uint32_t l = 0; l < d; l++) row[l] -= share * other[l];
        }
      }
      const float left = std::sqrt(kernel->dot(row, row, d));
      if (left > 1e-5f * before) {
        const float unit = 1.0f / left;
        for (uint32_t l = 0; l < d; l++) row[l] *= unit;
        break;
      }
      fillWithNoise(row, d, mix(seed + j) + attempt + 1);
    }
  }
}

}  // namespace

CodeSpace::CodeSpace(uint32_t dimensions, uint32_t size, uint64_t seed)
    : dimensions_(dimensions), size_(size), rotation_(dimensions, seed), inner_(size, seed) {}

bool CodeSpace::isFit(const float* mean, const int16_t* basis) const {
  constexpr int64_t kMost = static_cast<int64_t>(1.2f * kUnit * kUnit);  // rounding makes a row a little longer
  if (kernel->firstNonFinite(mean, dimensions_) < dimensions_) return false;
  const uint32_t stride = basisStride(dimensions_);
  for (uint32_t i = 0; basis && i < size_; i++, basis += stride) {
    int64_t square = 0;
    for (uint32_t j = 0; j < stride; j++) square += int64_t{basis[j]} * basis[j];
    if (square > kMost) return false;
  }
  return true;
}

void CodeSpace::fit(const float* mean, const int16_t* basis) {
  basis_ = basis;
  mean_.clear();
  std::vector<float> image(size_);
  apply(mean, 1.0f, image.data());
  mean_ = std::move(image);
}

void CodeSpace::centre(float* rotated) const {
  for (uint32_t i = 0; i < size_; i++) rotated[i] -= mean_[i];
}

void CodeSpace::apply(const float* in, float scale, float* out) const {
  if (basis_) {
    const uint32_t stride = basisStride(dimensions_);
    const float length = std::sqrt(kernel->dot(in, in, dimensions_));
    thread_local std::vector<int16_t> x;
    thread_local std::vector<int32_t> sums;
    x.assign(stride, 0);
    sums.resize(size_);
    roundTo(in, dimensions_, length > kLeast ? kUnit / length : 0.0f, x.data());
    kernel->project(basis_, size_, x.data(), stride, sums.data());
    const float unit = length / (kUnit * kUnit);
    for (uint32_t i = 0; i < size_; i++) out[i] = static_cast<float>(sums[i]) * unit;
    inner_.apply(out, scale, out);
  } else {
    rotation_.apply(in, scale, out);
  }
  if (!mean_.empty()) centre(out);
}

void meanOf(const std::vector<const float*>& sample, const std::vector<float>& scales, uint32_t dimensions,
            float* mean) {
  std::vector<double> sums(dimensions, 0);
  for (size_t i = 0; i < sample.size(); i++) {
    for (uint32_t j = 0; j < dimensions; j++) sums[j] += static_cast<double>(sample[i][j]) * scales[i];
  }
  for (uint32_t j = 0; j < dimensions; j++) mean[j] = static_cast<float>(sums[j] / static_cast<double>(sample.size()));
}

void principalDirections(const std::vector<const float*>& sample, const std::vector<float>& scales, const float* mean,
                         uint32_t dimensions, uint32_t count, uint64_t seed, const Each& each, int16_t* basis) {
  const uint32_t d = dimensions;
  // Products of all pairs of dimensions, summed over the sample.
  std::vector<float> products(uint64_t(d) * d, 0.0f), columns(uint64_t(d) * kChunk);
  for (size_t from = 0; from < sample.size(); from += kChunk) {
    const uint32_t n = static_cast<uint32_t>(std::min<size_t>(kChunk, sample.size() - from));
    for (uint32_t i = 0; i < n; i++) {
      for (uint32_t j = 0; j < d; j++)
        columns[uint64_t(j) * kChunk + i] = sample[from + i][j] * scales[from + i] - mean[j];
    }
    each(d, [&](uint32_t j) {
      for (uint32_t l = 0; l <= j; l++) {
        products[uint64_t(j) * d + l] +=
            kernel->dot(columns.data() + uint64_t(j) * kChunk, columns.data() + uint64_t(l) * kChunk, n);
      }
    });
  }
  for (uint32_t j = 0; j < d; j++) {
    for (uint32_t l = 0; l < j; l++) products[uint64_t(l) * d + j] = products[uint64_t(j) * d + l];
  }
  std::vector<float> rows(uint64_t(count) * d), next(uint64_t(count) * d);
  for (uint32_t i = 0; i < count; i++) fillWithNoise(next.data() + uint64_t(i) * d, d, mix(seed + i));
  orthonormalize(next.data(), count, d, seed);
  for (uint32_t round = 0; round < kRounds; round++) {
    rows = next;
    each(count, [&](uint32_t i) {
      for (uint32_t j = 0; j < d; j++)
        next[uint64_t(i) * d + j] = kernel->dot(products.data() + uint64_t(j) * d, rows.data() + uint64_t(i) * d, d);
    });
    orthonormalize(next.data(), count, d, seed);
  }
  const uint32_t stride = CodeSpace::basisStride(d);
  for (uint32_t i = 0; i < count; i++) roundTo(next.data() + uint64_t(i) * d, d, kUnit, basis + uint64_t(i) * stride);
}

}  // namespace hebb
