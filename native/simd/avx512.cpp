// The kernel for processors with AVX-512.
#if defined(__x86_64__)
#include "kernel.hpp"
#include "crc-sse42.inl"
#include "tiers.hpp"

#include <immintrin.h>

namespace {

inline uint16_t positiveBits(const float* p) {
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(p), _mm512_setzero_ps(), _CMP_GT_OQ);
}

inline __m512i looked(__m512i table, __m512i nibbles) {
  return _mm512_shuffle_epi8(table, _mm512_and_si512(nibbles, _mm512_set1_epi8(15)));
}

// The four quads of a register, added up as words of 16 lanes each.
inline __m256i folded(__m512i words) {
  return _mm256_add_epi16(_mm512_castsi512_si256(words), _mm512_extracti64x4_epi64(words, 1));
}

// Four quads a register. Sums of four entries fit a byte; bytes are widened by adding the register as
// words, from which the odd bytes, added up aside, are taken off in the end.
void sumEntries(const uint8_t* codes, const uint8_t* entries, size_t quads, uint32_t* sums) {
  constexpr size_t kStride = 1024;  // words stay below 2^16
  __m512i total[2] = {};
  for (size_t from = 0; from < quads; from += kStride) {
    const size_t to = from + kStride < quads ? from + kStride : quads;
    __m512i all[2] = {}, odd[2] = {};
    for (size_t q = from; q < to; q += 16) {
      __m512i bytes[2] = {};
      for (size_t j = 0; j < 4; j++) {
        const __m512i code = _mm512_loadu_si512(codes + (q + 4 * j) * 16);
        const __m512i table = _mm512_loadu_si512(entries + (q + 4 * j) * 16);
        bytes[0] = _mm512_add_epi8(bytes[0], looked(table, code));
        bytes[1] = _mm512_add_epi8(bytes[1], looked(table, _mm512_srli_epi16(code, 4)));
      }
      for (size_t h = 0; h < 2; h++) {
        all[h] = _mm512_add_epi16(all[h], bytes[h]);
        odd[h] = _mm512_add_epi16(odd[h], _mm512_srli_epi16(bytes[h], 8));
      }
    }
    for (size_t h = 0; h < 2; h++) {
      const __m256i odds = folded(odd[h]);
      const __m256i evens = folded(_mm512_sub_epi16(all[h], _mm512_slli_epi16(odd[h], 8)));
      const __m128i even = _mm_add_epi16(_mm256_castsi256_si128(evens), _mm256_extracti128_si256(evens, 1));
      const __m128i uneven = _mm_add_epi16(_mm256_castsi256_si128(odds), _mm256_extracti128_si256(odds, 1));
      const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi16(even, uneven)),
                                                   _mm_unpackhi_epi16(even, uneven), 1);
      total[h] = _mm512_add_epi32(total[h], _mm512_cvtepu16_epi32(both));
    }
  }
  _mm512_storeu_si512(sums, total[0]);
  _mm512_storeu_si512(sums + 16, total[1]);
}

// A group of 64 a register, by shifts of its quarters.
int32_t sumLevels(const uint8_t* code, const int8_t* values, size_t n) {
  constexpr size_t kStride = 40 * 64;  // words stay below 2^15
  const __m512i two = _mm512_set1_epi8(3), ones = _mm512_set1_epi16(1);
  const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
  __m512i total = _mm512_setzero_si512();
  for (size_t from = 0; from < n; from += kStride) {
    const size_t to = from + kStride < n ? from + kStride : n;
    __m512i words = _mm512_setzero_si512();
    for (size_t i = from; i < to; i += 64) {
      const __m512i group = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code + i / 4)));
      const __m512i levels = _mm512_and_si512(_mm512_srlv_epi32(group, shifts), two);
      words = _mm512_add_epi16(words, _mm512_maddubs_epi16(levels, _mm512_loadu_si512(values + i)));
    }
    total = _mm512_add_epi32(total, _mm512_madd_epi16(words, ones));
  }
  return _mm512_reduce_add_epi32(total);
}

// 64 levels a register: a plane is a mask.
int32_t dotPlanes(const uint8_t* planes, uint32_t bits, const int16_t* values, size_t n) {
  __m512i sums = _mm512_setzero_si512();
  for (size_t g = 0; g < n; g += 64, planes += 8 * bits) {
    __m512i levels = _mm512_setzero_si512();
    for (uint32_t p = 0; p < bits; p++) {
      __mmask64 plane;
      __builtin_memcpy(&plane, planes + 8 * p, 8);
      levels = _mm512_mask_add_epi8(levels, plane, levels, _mm512_set1_epi8(static_cast<char>(1 << p)));
    }
    const __m512i low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(levels));
    const __m512i high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(levels, 1));
    sums = _mm512_add_epi32(sums, _mm512_madd_epi16(low, _mm512_loadu_si512(values + g)));
    sums = _mm512_add_epi32(sums, _mm512_madd_epi16(high, _mm512_loadu_si512(values + g + 32)));
  }
  return _mm512_reduce_add_epi32(sums);
}

int32_t dotBytes(const int8_t* a, const int8_t* b, size_t n) {
  __m512i sums[2] = {};
  for (size_t i = 0; i < n; i += 64) {
    for (size_t h = 0; h < 2; h++) {
      const __m512i x = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i + 32 * h)));
      const __m512i y = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i + 32 * h)));
      sums[h] = _mm512_add_epi32(sums[h], _mm512_madd_epi16(x, y));
    }
  }
  int32_t lanes[16], sum = 0;
  _mm512_storeu_si512(lanes, _mm512_add_epi32(sums[0], sums[1]));
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

bool widen(const uint16_t* in, size_t n, float* out) {
  const __m256i exponent = _mm256_set1_epi16(0x7c00);
  __mmask16 infinite = 0;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 there = static_cast<__mmask16>(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);
    const __m256i x = _mm256_maskz_loadu_epi16(there, in + i);
    infinite |= _mm256_cmpeq_epi16_mask(_mm256_and_si256(x, exponent), exponent);
    _mm512_mask_storeu_ps(out + i, there, _mm512_cvtph_ps(x));
  }
  return infinite == 0;
}

void narrow(const float* in, size_t n, uint16_t* out) {
  const __m512 most = _mm512_set1_ps(65504.0f), least = _mm512_set1_ps(-65504.0f);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 there = static_cast<__mmask16>(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);
    __m512 x = _mm512_maskz_loadu_ps(there, in + i);
    x = x > least ? x : least;
    x = x < most ? x : most;
    _mm256_mask_storeu_epi16(out + i, there, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
}

inline __m512 addSigned(__m512 x, __m512 y, __m512 sign) {
  return _mm512_fmadd_ps(y, sign, x);
}

inline __m512i widened(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// Sixteen words as floats, times factors.
typedef int16_t SixteenWords __attribute__((vector_size(32)));
inline void storeTimes(SixteenWords words, const float* factors, float* out) {
  const __m256i x = reinterpret_cast<__m256i>(words);
  const __m512 values = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(x));
  _mm512_storeu_ps(out, _mm512_mul_ps(values, _mm512_loadu_ps(factors)));
}

// The transform of the signs of two bytes a and b, from those of each: a + b and a - b.
inline __m256i ofSigns(const int16_t (*table)[16], const uint8_t* code) {
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table[code[0]]));
  return _mm256_add_epi16(_mm256_broadcastsi128_si256(a),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table[code[1]])));
}

// 16 values at a time: of a byte in 64 bits, and itself 28 bits up, the lowest four bits of both halves say which.
void levels(const uint8_t* code, size_t n, const float* levels, float* out) {
  const __m512 table = _mm512_loadu_ps(levels);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m512i bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(code + i / 2)));
    const __m512i which = _mm512_or_si512(bytes, _mm512_slli_epi64(bytes, 28));
    _mm512_storeu_ps(out + i, _mm512_permutexvar_ps(which, table));
  }
  for (; i < n; i++) out[i] = levels[code[i / 2] >> (4 * (i % 2)) & 15];
}

}  // namespace

#define HEBB_KERNEL_NAME "avx512"
#define HEBB_REGISTER_BYTES 64
#define HEBB_KERNEL_SYMBOL kAvx512
#include "operations.inl"
#endif
