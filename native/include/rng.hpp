// Seeded chance that is the same on every machine: xoshiro256** (Blackman & Vigna 2018), its state filled by
// splitmix64. docs/frozen-format.md has test vectors. Nothing here calls the system's mathematics library, whose last
// bits differ from one system to the next; additions, products, quotients and square roots do not.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "mix.hpp"

namespace hebb {

class Rng {
 public:
  explicit Rng(uint64_t seed) {
    // mix(x) is what splitmix64 gives from state x; its state goes on by the constant that mix adds.
    for (uint64_t i = 0; i < 4; i++) s_[i] = mix(seed + i * 0x9e3779b97f4a7c15ull);
  }

  uint64_t next() {
    const uint64_t result = std::rotl(s_[1] * 5, 7) * 9, t = s_[1] << 17;
    s_[2] ^= s_[0];
    s_[3] ^= s_[1];
    s_[1] ^= s_[2];
    s_[0] ^= s_[3];
    s_[2] ^= t;
    s_[3] = std::rotl(s_[3], 45);
    return result;
  }

  // Uniform in [0, 1), by the upper 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  // Standard normal, by the polar method (Marsaglia & Bray 1964); its second value is the next one.
  double gaussian() {
    if (spared_) {
      spared_ = false;
      return spare_;
    }
    double x, y, square;
    do {
      x = 2 * uniform() - 1;
      y = 2 * uniform() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square == 0);
    const double factor = std::sqrt(-2 * logarithm(square) / square);
    spare_ = y * factor;
    spared_ = true;
    return x * factor;
  }

  // The natural logarithm of x > 0 (a normal number), to about 15 digits: with x = 2^e m, m from sqrt(1/2) to sqrt(2),
  // and z = (m - 1) / (m + 1), log m = 2 (z + z^3 / 3 + z^5 / 5 + ...).
  static double logarithm(double x) {
    uint64_t bits = std::bit_cast<uint64_t>(x);
    int64_t e = static_cast<int64_t>(bits >> 52) - 1023;
    double m = std::bit_cast<double>((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
    if (m > 1.4142135623730951) {
      m *= 0.5;
      e++;
    }
    const double z = (m - 1) / (m + 1), square = z * z;
    double sum = 0;
    for (int k = 21; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
    return static_cast<double>(e) * 0.6931471805599453 + 2 * z * sum;
  }

 private:
  uint64_t s_[4];
  double spare_ = 0;
  bool spared_ = false;
};

}  // namespace hebb
