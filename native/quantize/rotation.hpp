// A seeded random rotation: rounds of sign flips, fast Hadamard transforms and, where the padded
// dimension is no power of two, Givens rotations between its halves (a step of Kac's walk).
// O(D log D), nothing but the signs to keep. Padded dimensions are kept: cutting them off would
// lose length. (RaBitQ, arXiv 2405.12497, asks for a random rotation; this is the fast kind.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rng.hpp"

namespace hebb {

class Rotation {
 public:
  Rotation(uint32_t dimensions, uint64_t seed);
  // By signs from a specified generator: the bits of its numbers, the lowest first, in the order of rounds and values.
  Rotation(uint32_t dimensions, Rng rng);

  // Dimensions of what comes out: those of what goes in, filled up to a multiple of 64.
  uint32_t padded() const { return padded_; }

  // out = P (scale x in): `dimensions` values in, padded() out.
  void apply(const float* in, float scale, float* out) const;

 private:
  explicit Rotation(uint32_t dimensions);

  static constexpr uint32_t kRounds = 4;
  uint32_t dimensions_, padded_;
  uint32_t power_;               // the largest power of two that fits
  std::vector<uint32_t> signs_;  // a sign bit per round and value
};

}  // namespace hebb
