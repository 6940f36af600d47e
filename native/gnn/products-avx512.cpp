// The loops for processors with AVX-512.
#if defined(__x86_64__)
#include "products.hpp"

#define HEBB_LOOPS_NAME "avx512"
#define HEBB_LOOPS_SYMBOL kAvx512Loops
#define HEBB_REGISTER_BYTES 64
#define HEBB_TILE_ROWS 4
#define HEBB_HOLD(value) __asm__("" : "+v"(value))
#include "lanes.inl"
#include "quad-sse.inl"

namespace {

// (The forms without a mask make g++ 12 warn of its own headers.)
inline Quad quarter(const Lanes& x) {
  const auto four = [&]<int I>() { return _mm512_maskz_extractf32x4_ps(15, x.of[0], I); };
  return _mm_add_ps(_mm_add_ps(four.operator()<0>(), four.operator()<2>()),
                    _mm_add_ps(four.operator()<1>(), four.operator()<3>()));
}

inline Register squareRoot(Register x) {
  return _mm512_maskz_sqrt_ps(0xffff, x);
}

inline Register widened(const uint16_t* p) {
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

}  // namespace

#include "products.inl"
#endif
