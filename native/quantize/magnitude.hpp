// Positive numbers in a few bits, by nearly equal ratios: a float's own bits, counted from the least in steps.
// Whole numbers only, so that every system gives the same.
#pragma once

#include <bit>
#include <cstdint>

namespace hebb {

class Magnitude {
 public:
  Magnitude() = default;
  // Codes of `bits` bits, 2-16: 0 is zero, the others span `least` to `most`, 0 < least <= most, both finite.
  Magnitude(float least, float most, uint32_t bits) : base_(std::bit_cast<uint32_t>(least)), codes_((1u << bits) - 1) {
    step_ = (std::bit_cast<uint32_t>(most) - base_) / codes_ + 1;
  }

  uint32_t base() const { return base_; }
  uint32_t step() const { return step_; }
  // As base() and step() of another had it. False where these are of none.
  static bool read(uint32_t base, uint32_t step, uint32_t bits, Magnitude* out) {
    constexpr uint32_t kInfinite = 0x7f800000u;
    const uint32_t codes = (1u << bits) - 1;
    if (base == 0 || base >= kInfinite || step == 0 || uint64_t{base} + uint64_t{step} * codes >= kInfinite)
      return false;
    out->base_ = base;
    out->step_ = step;
    out->codes_ = codes;
    return true;
  }

  // The code nearest to x; what is out of range gets the nearest that is in it, zero and below 0.
  uint32_t code(float x) const {
    if (!(x > 0)) return 0;
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    if (bits < base_) return 1;
    const uint32_t at = (bits - base_) / step_;
    return 1 + (at < codes_ ? at : codes_ - 1);
  }
  // The middle of what gets that code.
  float value(uint32_t code) const {
    return code ? std::bit_cast<float>(base_ + (code - 1) * step_ + step_ / 2) : 0.0f;
  }

 private:
  uint32_t base_ = 1, step_ = 1, codes_ = 1;
};

}  // namespace hebb
