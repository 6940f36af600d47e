// The loops for any processor: four floats at a time where its baseline has them.
#include "products.hpp"

#define HEBB_LOOPS_NAME "scalar"
#define HEBB_LOOPS_SYMBOL kScalarLoops
#define HEBB_REGISTER_BYTES 16
#define HEBB_TILE_ROWS 2
#if defined(__x86_64__)
#define HEBB_HOLD(value) __asm__("" : "+x"(value))
#else
#define HEBB_HOLD(value)
#endif
#include "lanes.inl"

#if defined(__x86_64__)
#include "quad-sse.inl"

namespace {
inline Register squareRoot(Register x) {
  return _mm_sqrt_ps(x);
}
}  // namespace
#else
namespace {
typedef Register Quad;
inline Quad sums(Quad a, Quad b, Quad c, Quad d) {
  return Quad{(a[0] + a[2]) + (a[1] + a[3]), (b[0] + b[2]) + (b[1] + b[3]), (c[0] + c[2]) + (c[1] + c[3]),
              (d[0] + d[2]) + (d[1] + d[3])};
}
inline Register squareRoot(Register x) {
  return Register{__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
}
}  // namespace
#endif

namespace {
inline Quad quarter(const Lanes& x) {
  return (x.of[0] + x.of[2]) + (x.of[1] + x.of[3]);
}

// By shifts: the exponent's bias is made up for by a product with 2^112, which is exact for subnormal halves too.
inline Register widened(const uint16_t* p) {
  float out[4];
  for (size_t i = 0; i < 4; i++) {
    const uint32_t bits = (p[i] & 0x7fffu) << 13;
    __builtin_memcpy(out + i, &bits, sizeof bits);
    out[i] *= 0x1p112f;
    if (p[i] & 0x8000) out[i] = -out[i];
  }
  return *reinterpret_cast<const Register*>(out);
}
}  // namespace

#include "products.inl"
