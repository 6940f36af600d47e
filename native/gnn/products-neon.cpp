// The loops for 64-bit ARM, where NEON is always there.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "products.hpp"

#define HEBB_LOOPS_NAME "neon"
#define HEBB_LOOPS_SYMBOL kNeonLoops
#define HEBB_REGISTER_BYTES 16
#define HEBB_TILE_ROWS 2
#define HEBB_HOLD(value) __asm__("" : "+w"(value))
#include "lanes.inl"

namespace {

typedef float32x4_t Quad;

inline Quad quarter(const Lanes& x) {
  return (x.of[0] + x.of[2]) + (x.of[1] + x.of[3]);
}

// s_i = (x_i0 + x_i2) + (x_i1 + x_i3) for four x.
inline Quad sums(Quad a, Quad b, Quad c, Quad d) {
  const float32x4x2_t ab = vtrnq_f32(a, b), cd = vtrnq_f32(c, d);
  const Quad even = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
  const Quad odd = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
  const Quad even2 = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
  const Quad odd2 = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
  return vaddq_f32(vaddq_f32(even, even2), vaddq_f32(odd, odd2));
}

inline Register squareRoot(Register x) {
  return vsqrtq_f32(x);
}

inline Register widened(const uint16_t* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

}  // namespace

#include "products.inl"
#endif
