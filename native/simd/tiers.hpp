// The inner loops that only the tiers' codecs (native/quantize/) have, beside those of kernel.hpp; what is said there
// of bits holds for these too.
#pragma once

#include "kernel.hpp"

namespace hebb {

struct TierLoops {
  // In place: the Walsh-Hadamard transform of n values (a power of two from 16 on), each times its factor.
  void (*hadamardTimes)(float* x, size_t n, const float* factors);

  // The same, and what restore() makes of it into `out`; x is of no account afterwards.
  void (*hadamardRestore)(float* x, size_t n, const float* factors, float times, const float* add, float scale,
                          float* out);

  // The same as hadamardTimes of n values (at most kMostSigns) that are 1 where `code` has a bit, the lowest of the
  // first byte first, and -1 elsewhere, into `out`. `sums` has room for n.
  void (*hadamardSigns)(const uint8_t* code, size_t n, const float* factors, int16_t* sums, float* out);

  // out[i] = levels[nibble i], n of them, the low one of a byte first; 16 levels.
  void (*levels)(const uint8_t* code, size_t n, const float* levels, float* out);

  // Pair i of `out`, values 2 i and 2 i + 1, is centroids[code[i]], and then as addSteps() has it; n values, and where
  // n is odd the other one of the last pair is not written.
  void (*pairs)(const uint8_t* code, const float (*centroids)[2], const uint8_t* symbols, int32_t middle, float step,
                float scale, size_t n, float* out);

  // out = ((((code >> shift) & mask) - middle) fine + coarse symbol) scale.
  void (*parts)(const uint8_t* code, uint32_t shift, uint32_t mask, float middle, float fine, const uint8_t* symbols,
                float coarse, float scale, size_t n, float* out);
};

// Sums of so many signs fit 16 bits.
constexpr size_t kMostSigns = 1 << 14;

}  // namespace hebb
