// Steps of entropy-coded records: each record takes the finest one with which it fits into its bytes.
#pragma once

#include <cstdint>

namespace hebb {

class Ladder {
 public:
  // Steps, the finest first; kUsual is the one with which most records of the sample fit. kRough is none.
  static constexpr uint32_t kSteps = 255, kUsual = 64, kRough = 255;

  explicit Ladder(float usual) {
    double step = usual;
    for (uint32_t i = 0; i < kUsual; i++) step /= kRatio;
    for (float& s : steps_) {
      s = static_cast<float>(step);
      step *= kRatio;
    }
  }

  float step(uint32_t at) const { return steps_[at]; }

  // The finest step that fits, kSteps where none does: fits(at) is true from it on. It is near the usual one as a rule.
  template <typename Fits>
  static uint32_t finest(const Fits& fits) {
    uint32_t from = 0, to = kSteps;
    if (fits(kUsual + kNear)) {
      to = kUsual + kNear;
      if (!fits(kUsual - kNear)) from = kUsual - kNear + 1;
    }
    while (from < to) {
      const uint32_t middle = (from + to) / 2;
      if (fits(middle)) {
        to = middle;
      } else {
        from = middle + 1;
      }
    }
    return from;
  }

 private:
  static constexpr double kRatio = 1.02;
  static constexpr uint32_t kNear = 4;  // of kUsual

  float steps_[kSteps];
};

}  // namespace hebb
