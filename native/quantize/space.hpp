// The space that a row's codes live in: what a vector becomes before its signs, or levels, are taken.
//
// All dimensions, rotated; or fewer: a projection on the principal directions of the data, then rotated
// (MRQ, arXiv 2411.06158). The projection comes with a fit; until there is one, the first values of the
// rotated vector stand in. A fit's mean is where the space has its origin.
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
  // orthonormal rows of `dimensions` values, which has to stay where it is.
  void fit(const float* mean, const float* basis);

  // out = the image of scale x in: `dimensions` values in, size() out.
  void apply(const float* in, float scale, float* out) const;

  // The image of `in`, which was rotated already, where all dimensions are kept.
  void centre(const float* rotated, float* out) const;
  // The mean's image before it became the origin; null before a fit.
  const float* mean() const { return mean_.empty() ? nullptr : mean_.data(); }

 private:
  uint32_t dimensions_, size_;
  Rotation rotation_, inner_;  // of all dimensions, and of what a projection leaves
  const float* basis_ = nullptr;
  std::vector<float> mean_;
};

// Calls fn(i) for i below a count, on as many threads as it likes.
using Each = std::function<void(uint32_t, const std::function<void(uint32_t)>&)>;

// The mean of a sample of vectors, each times its scale, in their order.
void meanOf(const std::vector<const float*>& sample, const std::vector<float>& scales, uint32_t dimensions,
            float* mean);

// `count` orthonormal rows that span about the space in which the sample varies most: subspace iteration
// from a seeded start. The result does not depend on `each`.
void principalDirections(const std::vector<const float*>& sample, const std::vector<float>& scales, const float* mean,
                         uint32_t dimensions, uint32_t count, uint64_t seed, const Each& each, float* basis);

}  // namespace hebb
