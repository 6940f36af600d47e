// The kernel for processors with AVX2.
#if defined(__x86_64__)
#include "kernel.hpp"
#include "crc-sse42.inl"
#include "tiers.hpp"

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

// 32 levels a register: each byte looks at its own bit of each plane.
int32_t dotPlanes(const uint8_t* planes, uint32_t bits, const int16_t* values, size_t n) {
  const __m256i spread =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201ull));
  __m256i sums = _mm256_setzero_si256();
  for (size_t g = 0; g < n; g += 64, planes += 8 * bits) {
    for (size_t half = 0; half < 2; half++) {
      __m256i levels = _mm256_setzero_si256();
      for (uint32_t p = 0; p < bits; p++) {
        int32_t word;
        __builtin_memcpy(&word, planes + 8 * p + 4 * half, 4);
        const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(word), spread);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, own), own);
        levels = _mm256_or_si256(levels, _mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(1 << p))));
      }
      const __m256i* const v = reinterpret_cast<const __m256i*>(values + g + 32 * half);
      const __m256i low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(levels));
      const __m256i high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(levels, 1));
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(low, _mm256_loadu_si256(v)));
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(high, _mm256_loadu_si256(v + 1)));
    }
  }
  int32_t lanes[8], sum = 0;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), sums);
  for (const int32_t lane : lanes) sum += lane;
  return sum;
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

// In one operation, by a unit that additions leave idle.
inline __m256 addSigned(__m256 x, __m256 y, __m256 sign) {
  return _mm256_fmadd_ps(y, sign, x);
}

inline __m256i widened(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

// Sixteen words as floats, times factors.
typedef int16_t SixteenWords __attribute__((vector_size(32)));
inline void storeTimes(SixteenWords words, const float* factors, float* out) {
  const __m256i x = reinterpret_cast<__m256i>(words);
  const __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(x)));
  const __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(x, 1)));
  _mm256_storeu_ps(out, _mm256_mul_ps(low, _mm256_loadu_ps(factors)));
  _mm256_storeu_ps(out + 8, _mm256_mul_ps(high, _mm256_loadu_ps(factors + 8)));
}

// The transform of the signs of two bytes a and b, from those of each: a + b and a - b.
inline __m256i ofSigns(const int16_t (*table)[16], const uint8_t* code) {
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table[code[0]]));
  return _mm256_add_epi16(_mm256_broadcastsi128_si256(a),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table[code[1]])));
}

// 32 values at a time, by four tables, one for each byte of a float. Lanes of 16 bytes stay apart until the end: the
// first gets values 0-3, 8-11, 16-19 and 24-27, and the second all others.
void levels(const uint8_t* code, size_t n, const float* levels, float* out) {
  const __m256i twice = _mm256_setr_epi8(0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13, 2, 2, 3, 3, 6, 6, 7, 7, 10,
                                         10, 11, 11, 14, 14, 15, 15);
  const __m256i even = _mm256_set1_epi16(0x000f), odd = _mm256_set1_epi16(0x0f00);
  uint8_t bytes[4][16];
  for (size_t l = 0; l < 16; l++) {
    uint8_t of[4];
    __builtin_memcpy(of, levels + l, 4);
    for (size_t b = 0; b < 4; b++) bytes[b][l] = of[b];
  }
  __m256i tables[4];
  for (size_t b = 0; b < 4; b++)
    tables[b] = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes[b])));
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m256i all = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code + i / 2)));
    const __m256i spread = _mm256_shuffle_epi8(all, twice);
    const __m256i nibbles =
        _mm256_or_si256(_mm256_and_si256(spread, even), _mm256_and_si256(_mm256_srli_epi16(spread, 4), odd));
    __m256i of[4];
    for (size_t b = 0; b < 4; b++) of[b] = _mm256_shuffle_epi8(tables[b], nibbles);
    for (size_t half = 0; half < 2; half++) {
      const __m256i low = half ? _mm256_unpackhi_epi8(of[0], of[1]) : _mm256_unpacklo_epi8(of[0], of[1]);
      const __m256i high = half ? _mm256_unpackhi_epi8(of[2], of[3]) : _mm256_unpacklo_epi8(of[2], of[3]);
      __m256i* const to = reinterpret_cast<__m256i*>(out + i + 16 * half);
      _mm256_storeu_si256(to, _mm256_unpacklo_epi16(low, high));
      _mm256_storeu_si256(to + 1, _mm256_unpackhi_epi16(low, high));
    }
  }
  for (; i < n; i++) out[i] = levels[code[i / 2] >> (4 * (i % 2)) & 15];
}

}  // namespace

#define HEBB_KERNEL_NAME "avx2"
#define HEBB_REGISTER_BYTES 32
#define HEBB_KERNEL_SYMBOL kAvx2
#include "operations.inl"
#endif
