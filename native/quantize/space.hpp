// The space that a row's codes live in: what a vector becomes before its signs, or levels, are taken.
//
// All dimensions, rotated; or fewer: a projection on the principal directions of the data, then rotated
// (MRQ, arXiv 2411.06158). The projection comes with a fit to the data, and the data's mean, which is then
// the origin.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "rotation.hpp"

namespace hebb {

class CodeSpace {
 public:
  // `size`: values that come out, a multiple of 64, at most those of the rotation.
  CodeSpace(uint32_t dimensions, uint32_t size, uint64_t seed);

  uint32_t size() const { return size_; }
  // The rotation of all dimensions.
  const Rotation& rotation() const { return rotation_; }

  // From now on by this fit: `mean` of `dimensions` values and, where fewer come out, `basis` of size()
  // orthonormal rows of basisStride() integers in units of 1 / kUnit, which has to stay where it is.
  void fit(const float* mean, const int16_t* basis);
  // Whether these can be what a fit gave: numbers, and rows of unit length, so that sums of products fit.
  bool isFit(const float* mean, const int16_t* basis) const;
  static uint32_t basisStride(uint32_t dimensions) { return (dimensions + 31) / 32 * 32; }

  // out = the image of scale x in: `dimensions` values in, size() out. Where fewer come out, after a fit only.
  void apply(const float* in, float scale, float* out) const;

  // The image of what was rotated already, in place, where all dimensions are kept and the mean is known.
  void centre(float* rotated) const;
  // Where the mean was before it became the origin; null before a fit.
  const float* mean() const { return mean_.empty() ? nullptr : mean_.data(); }

 private:
  uint32_t dimensions_, size_;
  Rotation rotation_, inner_;  // of all dimensions, and of what a projection leaves
  const int16_t* basis_ = nullptr;
  std::vector<float> mean_;
};

// Sums of products of two vectors of unit length fit 31 bits, and what rounding loses is far below what a
// code of signs loses.
constexpr float kUnit = 32767;

// Calls fn(i) for i below a count, on as many threads as it likes.
using Each = std::function<void(uint32_t, const std::function<void(uint32_t)>&)>;

// The mean of a sample of vectors, each times its scale, in their order.
void meanOf(const std::vector<const float*>& sample, const std::vector<float>& scales, uint32_t dimensions,
            float* mean);

// `count` rows as CodeSpace::fit takes them, which span about the space in which the sample varies most: subspace
// iteration from a seeded start. The result does not depend on `each`.
void principalDirections(const std::vector<const float*>& sample, const std::vector<float>& scales, const float* mean,
                         uint32_t dimensions, uint32_t count, uint64_t seed, const Each& each, int16_t* basis);

}  // namespace hebb
