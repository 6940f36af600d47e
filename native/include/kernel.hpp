// The kernel's table of functions: each inner loop once, compiled per instruction set.
//
// Every entry gives the same bits on every instruction set: sums run in 16 lanes whatever the
// register width, lanes are folded in one fixed tree, and products are never fused into sums.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hebb {

// Sums over the values of a residual r = o - c: of r_i^2, of |r_i|, and of sign(r_i) c_i.
struct Signs {
  float squares, magnitudes, centre;
};

// What turns a sum of table entries into <w, q>, w being a code's signs halved.
struct Lut {
  float step, offset;
};

// Factors of 32 lanes of codes, and what an estimate of each is off by for each unit between query and centre.
struct Lanes32 {
  const float *add, *rescale, *error;
};

// Where a query is, seen from the centre that codes are relative to: the distance, and |q - c|; and what a product with
// a code may be off by, because the query's own values were rounded.
struct Around {
  float base, apart, slack;
};

struct TierLoops;  // what only the tiers' codecs have: simd/tiers.hpp

struct Kernel {
  const char* name;

  // Whether every entry gives the bits that all others give which are so; frozen bundles are read by no others.
  bool deterministic;
  // Values of a vector, at most, for which all integer sums are exact.
  uint32_t maxDimension;

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

  // In place: the sign bits of n values (a multiple of 16) flipped where `signs` has its top bit set.
  void (*flip)(float* x, const uint32_t* signs, size_t n);

  // In place: the Walsh-Hadamard transform of n values (a power of two from 16 on), times `scale`.
  void (*hadamard)(float* x, size_t n, float scale);

  // In place, over halves a and b of n values (a multiple of 32): a + b and a - b, times `scale`.
  void (*halves)(float* x, size_t n, float scale);

  // Of r = o - c, n values (a multiple of 64): its sign bits (1: positive), four to a byte of `nibbles`:
  // bit t of byte 16 g + i is that of value 64 g + 16 t + i.
  Signs (*encode)(const float* o, const float* c, size_t n, uint8_t* nibbles);

  // The look-up table of a rotated query of n values (a multiple of 64): 16 entries of 6 bits for
  // each 4 values.
  Lut (*lut)(const float* q, size_t n, uint8_t* entries);

  // Estimates for 32 lanes of codes of `quads` x 4 bits (docs/format.md has their order), all of
  // them into `estimates`; returns a bit for each one that is below `bound`.
  //   estimate = add + base + rescale (lut.step sum + lut.offset)
  uint32_t (*scan)(const uint8_t* codes, const uint8_t* entries, size_t quads, const Lut& lut, const float* add,
                   const float* rescale, float base, float bound, float* estimates);

  // The same estimates, and with each what it is at least: by `slack` in units of <w, q>, for what the table is off
  // by, and by `error` in units of `apart`. Returns a bit for each lane whose least is not above `bound`.
  //   least = (estimate + rescale slack) - error apart      (rescale <= 0)
  uint32_t (*scanLeast)(const uint8_t* codes, const uint8_t* entries, size_t quads, const Lut& lut,
                        const Lanes32& lanes, const Around& around, float bound, float* estimates, float* least);

  // Sum of level x value over n values (a multiple of 64, at most 8,192; each within +-1,023), the levels in planes of
  // bits: 64 values are `bits` words of 64 bits, the lowest bits of all levels first. Exact.
  int32_t (*dotPlanes)(const uint8_t* planes, uint32_t bits, const int16_t* values, size_t n);

  // Sum of level x value over n values (a multiple of 64) of a code of two bits a value (docs/format.md
  // has their order); exact.
  int32_t (*sumLevels)(const uint8_t* code, const int8_t* values, size_t n);

  // Dot products of each of `count` rows of n integers (a multiple of 32) with x; exact where |row| |x| is
  // below 2^31.
  void (*project)(const int16_t* rows, size_t count, const int16_t* x, size_t n, int32_t* out);

  // Dot product of two vectors of n bytes with sign (a multiple of 64, at most 65,536), exact.
  int32_t (*dotBytes)(const int8_t* a, const int8_t* b, size_t n);

  // n floats of IEEE half precision to single, exactly (a signalling NaN becomes a quiet one); whether all are finite.
  bool (*widen)(const uint16_t* in, size_t n, float* out);

  // n floats, none a NaN, to half precision: the nearest, the even one of two; beyond +-65504 that.
  void (*narrow)(const float* in, size_t n, uint16_t* out);

  // Which of `count` columns (a multiple of 16) has the greatest column[0] + sum_j x[j] column[1 + j], x of n
  // values: the first of equals. Columns lie in blocks of 16: value j of column c at 16 ((1 + n)(c / 16) + j) + c % 16.
  uint32_t (*greatest)(const float* x, size_t n, const float* columns, size_t count);

  // In place: x = (x + step (symbol - middle)) scale.
  void (*addSteps)(float* x, const uint8_t* symbols, int32_t middle, float step, float scale, size_t n);

  // out = (times x in + add) scale, what is beyond a float's range cut off; NaN becomes the least.
  void (*restore)(const float* in, float times, const float* add, float scale, size_t n, float* out);

  const TierLoops* tiers;
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
