// The kernel's table of functions: each inner loop once, compiled per instruction set.
//
// Every entry gives the same bits on every instruction set: sums run in 16 lanes whatever the
// register width, lanes are folded in one fixed tree, and products are never fused into sums.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hebb {

struct Kernel {
  const char* name;

  // Squared L2 distance of two vectors of n floats; no alignment asked for.
  float (*l2)(const float* a, const float* b, size_t n);

  // Dot product of two vectors of n floats.
  float (*dot)(const float* a, const float* b, size_t n);

  // Squared L2 distance, given up as soon as the running sum is past `bound`; then any value
  // greater than `bound` comes back. Where the result is <= bound it equals l2(a, b, n) bit for bit.
  float (*l2Within)(const float* a, const float* b, size_t n, float bound);

  // Index of the first value that is NaN or infinite, or n.
  size_t (*firstNonFinite)(const float* a, size_t n);

  // CRC-32C of n bytes, continuing from `seed`.
  uint32_t (*crc32c)(const uint8_t* bytes, size_t n, uint32_t seed);
};

extern const Kernel kScalar;
#if defined(__x86_64__)
extern const Kernel kAvx2;
extern const Kernel kAvx512;
#elif defined(__aarch64__)
extern const Kernel kNeon;
#endif

// The kernel to run: the one named by `forced` (null or empty: the best this processor has).
// Where that cannot be had, null, and `error` says why and lists what can.
const Kernel* selectKernel(const char* forced, const char** error);

// The one chosen when the library was loaded.
extern const Kernel* kernel;

}  // namespace hebb
