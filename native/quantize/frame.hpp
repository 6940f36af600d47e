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

  static constexpr uint32_t kRounds = 2;

  // In place.
  void apply(float* x) const;
  // Takes back the first `rounds` rounds, and makes of the values what kernel->restore() does; x is of no account
  // afterwards.
  void restore(float* x, uint32_t rounds, float times, const float* add, float scale, float* out) const;
  // Takes back the last round from values that are 1 where `code` has a bit and -1 elsewhere, into `out`; kRounds - 1
  // are left. `sums` has room for as many values. False, and nothing done, where it has no quicker way than others do.
  bool restoreSigns(const uint8_t* code, int16_t* sums, float* out) const;

 private:
  uint32_t dimensions_, room_;
  uint32_t power_ = 0;   // the largest power of two that fits; 0: nothing is done
  uint32_t halved_ = 0;  // values of the two halves; 0 where one transform holds all
  std::vector<uint32_t> signs_;
  std::vector<float> factors_;  // the same signs, of what the transforms back have to be multiplied by
};

}  // namespace hebb
