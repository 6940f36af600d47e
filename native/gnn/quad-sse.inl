// Registers of four floats on x86-64, where all have SSE2.

#include <immintrin.h>

namespace {

typedef __m128 Quad;

// s_i = (x_i0 + x_i2) + (x_i1 + x_i3) for four x.
inline Quad sums(Quad a, Quad b, Quad c, Quad d) {
  _MM_TRANSPOSE4_PS(a, b, c, d);
  return _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d));
}

}  // namespace
