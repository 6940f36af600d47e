// 1-bit codes of residuals (RaBitQ, Gao & Long 2024, arXiv 2405.12497), packed for scanning 32 at a
// time (FastScan, Andre et al. 2015), and the factors that make estimates of them.
//
// With r = P(o - c), o a vector, c the centre that its code is relative to and P the rotation, the
// code is the signs of r, w = signs / 2, s = <r, w>. For a query q the estimate of <r, P(q - c)> is
// |r|^2 / s <w, P(q - c)>, which is unbiased over rotations. From it follow the distances:
//
//   squared L2   |q - o|^2 = |q - c|^2 + |r|^2 - 2 <r, P(q - c)>
//   dot          -<q, o>   = -<q, c> - <o - c, c> - <r, P(q - c)>
//   cosine       half the squared L2 of unit vectors
//
// so that distance(q, o) is about distance(q, c) + add + rescale <w, Pq>. Where P leaves dimensions out,
// |r|^2 and <o - c, c> are those of all dimensions, and only the estimated product lacks what was left out.
//
// A node's own code has two bits a value and one centre that all nodes share (extended RaBitQ, Gao et al.
// 2024, arXiv 2409.09913): w_i is -1.5, -0.5, 0.5 or 1.5, and the rest is the same.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace hebb {

enum class Metric : uint32_t { kL2 = 0, kDot = 1, kCosine = 2 };

// Standard deviations within which an estimate is believed where nothing may be missed: one in 741 is too high by more.
constexpr float kSure = 3;

constexpr uint32_t kLanes = 32;  // codes that are scanned together

struct Factors {
  float add, rescale;
};

// What all dimensions say of a vector o and a centre c.
struct Exact {
  float product = 0;   // <o - c, c>, looked at under dot only
  float squares = -1;  // |o - c|^2, looked at elsewhere; below 0: nothing was left out, the code's own will do
};

// The code of rotated `o` relative to rotated `c` into `nibbles` (quads bytes: kernel.hpp), and its
// factors.
Factors encode(Metric metric, const float* o, const float* c, uint32_t quads, const Exact& exact, uint8_t* nibbles);

// What an estimate is off by, at most, in units of the distance |q - c|: `sure` standard deviations
// (eq. 14 with epsilon_0 = sure). `squares` is |r|^2.
float errorOf(Metric metric, float squares, const Factors& factors, uint32_t quads, float sure);

// A node's own code: `error` is what an estimate is off by in one standard deviation, in units of |q - c|.
struct OwnFactors {
  float add, rescale, error, reserved;
};

// A query for own codes: 8 bits a value.
struct OwnQuery {
  std::vector<int8_t> values;
  float step, offset;  // <w, P(q - c)> is about step x (sum of levels x values) + offset
  float base;          // distance(q, c)
  float apart;         // |q - c|
};

// The code of n values (a multiple of 64) of a residual r = P(o - c), and its factors: n / 4 bytes, bits
// 2t and 2t + 1 of byte 16 g + i are the level of value 64 g + 16 t + i. `product`: <o - c, c>.
OwnFactors encodeOwn(Metric metric, const float* r, uint32_t n, float product, uint8_t* code);
// The same by 1 to 8 bits a value, in planes (kernel.hpp): n / 8 x bits bytes; for products <w, Pq>, c being the
// rotated centre.
OwnFactors encodePlanes(Metric metric, const float* r, const float* c, uint32_t n, uint32_t bits, float product,
                        uint8_t* planes);

// A rotated query for planes: <w, Pq> is about step x (sum of levels x values - (2^bits - 1) / 2 x total).
struct PlanesQuery {
  float step;
  int32_t total;
};
PlanesQuery preparePlanes(const float* rotated, uint32_t n, int16_t* values);

// `product`: <q, c>.
void prepareOwn(Metric metric, const float* residual, uint32_t n, float product, OwnQuery* out);

// bfloat16: the upper half of a float, rounded to the nearest, to the even one of two.
inline uint16_t narrowed(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float widened(uint16_t x) {
  return std::bit_cast<float>(uint32_t{x} << 16);
}

// A code's place in a block of 32: quad q of lane l is a nibble of byte 16 q + l % 16, the low one of
// the first 16 lanes, the high one of the others.
void packLane(uint8_t* block, uint32_t quads, uint32_t lane, const uint8_t* nibbles);
void unpackLane(const uint8_t* block, uint32_t quads, uint32_t lane, uint8_t* nibbles);

}  // namespace hebb
