#include "frame.hpp"

#include <cmath>

#include "../simd/tiers.hpp"
#include "kernel.hpp"
#include "mix.hpp"

namespace hebb {

Frame::Frame(uint32_t dimensions, uint64_t seed) : dimensions_(dimensions), room_((dimensions + 15) / 16 * 16) {
  if (dimensions < 16) return;
  power_ = 16;
  while (power_ * 2 <= dimensions) power_ *= 2;
  if (power_ < dimensions) halved_ = dimensions / 32 * 32;
  signs_.resize(kRounds * room_);
  for (size_t i = 0; i < signs_.size(); i++) signs_[i] = mix(seed ^ mix(i / 64)) >> (i % 64) & 1 ? 0x80000000u : 0;
  const float unit = 1.0f / std::sqrt(static_cast<float>(power_));
  factors_.resize(signs_.size());
  for (uint32_t i = 0; i < factors_.size(); i++) {
    const uint32_t round = i / room_, from = round % 2 ? dimensions - power_ : 0, at = i % room_;
    factors_[i] = (signs_[i] ? -1.0f : 1.0f) * (at >= from && at < from + power_ ? unit : 1.0f);
  }
}

void Frame::apply(float* x) const {
  if (!power_) return;
  const float unit = 1.0f / std::sqrt(static_cast<float>(power_));
  for (uint32_t round = 0; round < kRounds; round++) {
    kernel->flip(x, signs_.data() + round * room_, room_);
    kernel->hadamard(x + (round % 2 ? dimensions_ - power_ : 0), power_, unit);
    if (halved_) kernel->halves(x, halved_, std::sqrt(0.5f));
  }
}

void Frame::restore(float* x, uint32_t rounds, float times, const float* add, float scale, float* out) const {
  const uint32_t d = dimensions_;
  if (!power_) rounds = 0;
  for (uint32_t round = rounds; round--;) {
    const float* const factors = factors_.data() + round * room_;
    const uint32_t from = round % 2 ? d - power_ : 0, to = from + power_;
    if (halved_) kernel->halves(x, halved_, std::sqrt(0.5f));
    for (uint32_t i = 0; i < from; i++) x[i] *= factors[i];
    for (uint32_t i = to; i < d; i++) x[i] *= factors[i];
    if (round > 0) {
      kernel->tiers->hadamardTimes(x + from, power_, factors + from);
    } else {
      kernel->tiers->hadamardRestore(x, power_, factors, times, add, scale, out);
    }
  }
  const uint32_t done = rounds > 0 ? power_ : 0;
  kernel->restore(x + done, times, add + done, scale, d - done, out + done);
}

bool Frame::restoreSigns(const uint8_t* code, int16_t* sums, float* out) const {
  if (power_ != dimensions_ || power_ > kMostSigns) return false;
  kernel->tiers->hadamardSigns(code, power_, factors_.data() + (kRounds - 1) * room_, sums, out);
  return true;
}

}  // namespace hebb
