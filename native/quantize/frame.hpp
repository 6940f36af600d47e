// A seeded random rotation of exactly as many values as come in, and back: what tiers keep has no room for padding.
//
// Rounds of sign flips, a fast Hadamard transform of the first or the last power of two, in turn, and Givens
// rotations between two halves of nearly all, so that d just below a power of two mixes too (rotation.hpp has the
// kind with padding). Below 16 values it leaves all as it is.
#pragma once

#include <cstdint>
#include <vector>

namespace hebb {

class Frame {
 public:
  Frame(uint32_t dimensions, uint64_t seed);

  // Values that a buffer to be rotated needs to have room for; what lies behind `dimensions` of them is of no account.
  uint32_t room() const { return room_; }

  // In place.
  void apply(float* x) const;
  void invert(float* x) const;

 private:
  static constexpr uint32_t kRounds = 2;
  uint32_t dimensions_, room_;
  uint32_t power_ = 0;   // the largest power of two that fits; 0: nothing is done
  uint32_t halved_ = 0;  // values of the two halves; 0 where one transform holds all
  std::vector<uint32_t> signs_;
};

}  // namespace hebb
