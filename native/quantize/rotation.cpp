#include "rotation.hpp"

#include <cmath>
#include <cstring>

#include "kernel.hpp"
#include "mix.hpp"

namespace hebb {

Rotation::Rotation(uint32_t dimensions)
    : dimensions_(dimensions), padded_((dimensions + 63) / 64 * 64), power_(64), signs_(kRounds * padded_) {
  while (power_ * 2 <= padded_) power_ *= 2;
}

Rotation::Rotation(uint32_t dimensions, uint64_t seed) : Rotation(dimensions) {
  for (size_t i = 0; i < signs_.size(); i++) {
    const uint64_t word = mix(seed ^ mix(i / 64));
    signs_[i] = word >> (i % 64) & 1 ? 0x80000000u : 0;
  }
}

Rotation::Rotation(uint32_t dimensions, Rng rng) : Rotation(dimensions) {
  for (size_t i = 0; i < signs_.size(); i += 64) {
    const uint64_t word = rng.next();
    for (size_t j = 0; j < 64; j++) signs_[i + j] = word >> j & 1 ? 0x80000000u : 0;
  }
}

void Rotation::apply(const float* in, float scale, float* out) const {
  for (uint32_t i = 0; i < dimensions_; i++) out[i] = in[i] * scale;
  for (uint32_t i = dimensions_; i < padded_; i++) out[i] = 0;
  const float unit = 1.0f / std::sqrt(static_cast<float>(power_));
  const uint32_t rest = padded_ - power_;
  for (uint32_t round = 0; round < kRounds; round++) {
    const uint32_t* signs = signs_.data() + round * padded_;
    // The first `power_` values are transformed, then the last ones, in turn.
    const uint32_t from = round % 2 ? rest : 0;
    kernel->flip(out, signs, padded_);
    kernel->hadamard(out + from, power_, unit);
    if (rest) kernel->halves(out, padded_, std::sqrt(0.5f));
  }
}

}  // namespace hebb
