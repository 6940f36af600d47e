// The kernel for processors with AVX2.
#if defined(__x86_64__)
#include "kernel.hpp"
#include "crc-sse42.inl"

#include <immintrin.h>

namespace {

inline uint16_t positiveBits(const float* p) {
  const __m256 zero = _mm256_setzero_ps();
  const int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(p), zero, _CMP_GT_OQ));
  const int high = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(p + 8), zero, _CMP_GT_OQ));
  return static_cast<uint16_t>(low | high << 8);
}

inline __m256i looked(__m256i table, __m256i nibbles) {
  return _mm256_shuffle_epi8(table, _mm256_and_si256(nibbles, _mm256_set1_epi8(15)));
}

// Two quads a register. Sums of four entries fit a byte; bytes are widened by adding the register as
// words, from which the odd bytes, added up aside, are taken off in the end.
void sumEntries(const uint8_t* codes, const uint8_t* entries, size_t quads, uint32_t* sums) {
  constexpr size_t kStride = 1024;  // words stay below 2^16
  for (size_t i = 0; i < 32; i++) sums[i] = 0;
  for (size_t from = 0; from < quads; from += kStride) {
    const size_t to = from + kStride < quads ? from + kStride : quads;
    __m256i all[2] = {}, odd[2] = {};
    for (size_t q = from; q < to; q += 8) {
      __m256i bytes[2] = {};
      for (size_t j = 0; j < 4; j++) {
        const __m256i code = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + (q + 2 * j) * 16));
        const __m256i table = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(entries + (q + 2 * j) * 16));
        bytes[0] = _mm256_add_epi8(bytes[0], looked(table, code));
        bytes[1] = _mm256_add_epi8(bytes[1], looked(table, _mm256_srli_epi16(code, 4)));
      }
      for (size_t h = 0; h < 2; h++) {
        all[h] = _mm256_add_epi16(all[h], bytes[h]);
        odd[h] = _mm256_add_epi16(odd[h], _mm256_srli_epi16(bytes[h], 8));
      }
    }
    for (size_t h = 0; h < 2; h++) {
      const __m256i even = _mm256_sub_epi16(all[h], _mm256_slli_epi16(odd[h], 8));
      uint16_t evens[16], odds[16];
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(evens), even);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(odds), odd[h]);
      for (size_t i = 0; i < 8; i++) {
        sums[16 * h + 2 * i] += uint32_t{evens[i]} + evens[i + 8];
        sums[16 * h + 2 * i + 1] += uint32_t{odds[i]} + odds[i + 8];
      }
    }
  }
}

// Two sixteens of a group of 64 a register, by shifts of its halves.
int32_t sumLevels(const uint8_t* code, const int8_t* values, size_t n) {
  constexpr size_t kStride = 20 * 64;  // words stay below 2^15
  const __m256i two = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
  const __m256i low = _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2), high = _mm256_setr_epi32(4, 4, 4, 4, 6, 6, 6, 6);
  __m256i total = _mm256_setzero_si256();
  for (size_t from = 0; from < n; from += kStride) {
    const size_t to = from + kStride < n ? from + kStride : n;
    __m256i words = _mm256_setzero_si256();
    for (size_t i = from; i < to; i += 64) {
      const __m256i group =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code + i / 4)));
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i + 32));
      words = _mm256_add_epi16(words, _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srlv_epi32(group, low), two), a));
      words = _mm256_add_epi16(words, _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srlv_epi32(group, high), two), b));
    }
    total = _mm256_add_epi32(total, _mm256_madd_epi16(words, ones));
  }
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

int32_t dotBytes(const int8_t* a, const int8_t* b, size_t n) {
  __m256i sums[2] = {};
  for (size_t i = 0; i < n; i += 32) {
    for (size_t h = 0; h < 2; h++) {
      const __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i + 16 * h)));
      const __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i + 16 * h)));
      sums[h] = _mm256_add_epi32(sums[h], _mm256_madd_epi16(x, y));
    }
  }
  int32_t lanes[8], sum = 0;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), _mm256_add_epi32(sums[0], sums[1]));
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

bool widen(const uint16_t* in, size_t n, float* out) {
  const __m128i exponent = _mm_set1_epi16(0x7c00);
  __m128i infinite = _mm_setzero_si128();
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
    infinite = _mm_or_si128(infinite, _mm_cmpeq_epi16(_mm_and_si128(x, exponent), exponent));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(x));
  }
  for (; i < n; i++) {
    const __m128i x = _mm_cvtsi32_si128(in[i]);
    infinite = _mm_or_si128(infinite, _mm_cmpeq_epi16(_mm_and_si128(x, exponent), exponent));
    out[i] = _mm_cvtss_f32(_mm_cvtph_ps(x));
  }
  return _mm_testz_si128(infinite, infinite);
}

void narrow(const float* in, size_t n, uint16_t* out) {
  const __m256 most = _mm256_set1_ps(65504.0f), least = _mm256_set1_ps(-65504.0f);
  for (size_t i = 0; i < n; i += 8) {
    float rest[8] = {};
    const size_t left = n - i < 8 ? n - i : 8;
    if (left < 8) {
      for (size_t j = 0; j < left; j++) rest[j] = in[i + j];
    }
    const __m256 x = _mm256_min_ps(_mm256_max_ps(_mm256_loadu_ps(left < 8 ? rest : in + i), least), most);
    const __m128i halves = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
    if (left == 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), halves);
    } else {
      __builtin_memcpy(out + i, &halves, 2 * left);
    }
  }
}

}  // namespace

#define HEBB_KERNEL_NAME "avx2"
#define HEBB_REGISTER_BYTES 32
#define HEBB_KERNEL_SYMBOL kAvx2
#include "operations.inl"
#endif
