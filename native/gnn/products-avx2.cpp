// The loops for processors with AVX2.
#if defined(__x86_64__)
#include "products.hpp"

#define HEBB_LOOPS_NAME "avx2"
#define HEBB_LOOPS_SYMBOL kAvx2Loops
#define HEBB_REGISTER_BYTES 32
#define HEBB_TILE_ROWS 2
#define HEBB_HOLD(value) __asm__("" : "+x"(value))
#include "lanes.inl"
#include "quad-sse.inl"

namespace {

inline Quad quarter(const Lanes& x) {
  const __m256 eight = x.of[0] + x.of[1];
  return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

inline Register squareRoot(Register x) {
  return _mm256_sqrt_ps(x);
}

inline Register widened(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

}  // namespace

#include "products.inl"
#endif
