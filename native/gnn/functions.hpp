// Elementary functions with the same bits on every machine in single precision: the C library's differ between versions
// and processors. Double precision, which serves checks, takes the library's.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace hebb::gnn {

// e^x within 1e-14 of its value: x = n ln 2 + r with |r| <= ln 2 / 2, and a Taylor series.
inline double exponential(double x) {
  if (!(x > -700)) return x != x ? x : 0;
  if (x > 700) return HUGE_VAL;
  constexpr double kToWhole = 6755399441055744.0;  // 1.5 x 2^52: adding it rounds to an integer
  const double n = (x * 1.4426950408889634 + kToWhole) - kToWhole;
  const double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double sum = 1.0 / 39916800;
  constexpr double kFactorials[] = {3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2, 1, 1};
  for (const double factorial : kFactorials) sum = sum * r + 1 / factorial;
  const uint64_t bits = static_cast<uint64_t>(1023 + static_cast<int64_t>(n)) << 52;
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return sum * power;
}

inline float expOf(float x) {
  return static_cast<float>(exponential(x));
}
inline double expOf(double x) {
  return std::exp(x);
}

inline float sigmoid(float x) {
  return static_cast<float>(1 / (1 + exponential(-static_cast<double>(x))));
}
inline double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

inline float tanhOf(float x) {
  return static_cast<float>(1 - 2 / (1 + exponential(2 * static_cast<double>(x))));
}
inline double tanhOf(double x) {
  return std::tanh(x);
}

// ln(1 + e^x), stable on both sides.
template <typename T>
T softplus(T x) {
  return x > 0 ? x + static_cast<T>(std::log1p(std::exp(-static_cast<double>(x))))
               : static_cast<T>(std::log1p(std::exp(static_cast<double>(x))));
}

template <typename T>
bool finite(T x) {
  return x - x == 0;
}

// Finaliser of MurmurHash3 (Appleby): a hash of 32 bits. Dropout's chance comes from it, and from nothing that
// remembers.
inline uint32_t mix32(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}
inline uint32_t chain(uint32_t hash, uint32_t value) {
  return mix32((hash + 0x9e3779b9u) ^ value);
}

}  // namespace hebb::gnn
