#include "frame.hpp"

#include <cmath>

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

void Frame::invert(float* x) const {
  if (!power_) return;
  const float unit = 1.0f / std::sqrt(static_cast<float>(power_));
  for (uint32_t round = kRounds; round--;) {
    if (halved_) kernel->halves(x, halved_, std::sqrt(0.5f));
    kernel->hadamard(x + (round % 2 ? dimensions_ - power_ : 0), power_, unit);
    kernel->flip(x, signs_.data() + round * room_, room_);
  }
}

}  // namespace hebb
