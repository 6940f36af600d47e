// The portable kernel: the compiler's baseline for the architecture, nothing asked of the processor.
#include "kernel.hpp"
#include "tiers.hpp"

namespace {

// CRC-32C by table, one byte at a time (reflected polynomial 0x82f63b78).
struct Table {
  uint32_t of[256];
  constexpr Table() : of() {
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; bit++) c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
      of[i] = c;
    }
  }
};
constexpr Table kTable;

uint32_t crcBytes(const uint8_t* p, size_t n, uint32_t c) {
  for (size_t i = 0; i < n; i++) c = kTable.of[(c ^ p[i]) & 255] ^ (c >> 8);
  return c;
}

inline uint16_t positiveBits(const float* p) {
  uint32_t bits = 0;
  for (uint32_t i = 0; i < 16; i++) bits |= static_cast<uint32_t>(p[i] > 0.0f) << i;
  return static_cast<uint16_t>(bits);
}

void sumEntries(const uint8_t* codes, const uint8_t* entries, size_t quads, uint32_t* sums) {
  for (size_t i = 0; i < 32; i++) sums[i] = 0;
  for (size_t q = 0; q < quads; q++) {
    for (size_t i = 0; i < 16; i++) {
      const uint8_t code = codes[16 * q + i];
      sums[i] += entries[16 * q + (code & 15)];
      sums[16 + i] += entries[16 * q + (code >> 4)];
    }
  }
}

int32_t sumLevels(const uint8_t* code, const int8_t* values, size_t n) {
  int32_t sum = 0;
  for (size_t g = 0; g < n; g += 64) {
    for (size_t t = 0; t < 4; t++) {
      for (size_t i = 0; i < 16; i++) {
        const int16_t level = code[g / 4 + i] >> (2 * t) & 3;
        sum += static_cast<int16_t>(level * values[g + 16 * t + i]);
      }
    }
  }
  return sum;
}

int32_t dotPlanes(const uint8_t* planes, uint32_t bits, const int16_t* values, size_t n) {
  int32_t sum = 0;
  for (size_t g = 0; g < n; g += 64, planes += 8 * bits) {
    for (size_t i = 0; i < 64; i++) {
      int32_t level = 0;
      for (uint32_t p = 0; p < bits; p++) level |= (planes[8 * p + i / 8] >> (i % 8) & 1) << p;
      sum += level * values[g + i];
    }
  }
  return sum;
}

int32_t dotBytes(const int8_t* a, const int8_t* b, size_t n) {
  int32_t sum = 0;
  for (size_t i = 0; i < n; i++) sum += int32_t{a[i]} * b[i];
  return sum;
}

bool widen(const uint16_t* in, size_t n, float* out) {
  bool finite = true;
  for (size_t i = 0; i < n; i++) {
    const uint32_t exponent = in[i] >> 10 & 31, mantissa = in[i] & 1023;
    uint32_t bits;
    if (exponent == 0) {
      const float small = static_cast<float>(mantissa) * 0x1p-24f;
      __builtin_memcpy(&bits, &small, 4);
    } else if (exponent == 31) {
      finite = false;
      bits = 0x7f800000u | (mantissa ? 0x400000u : 0) | mantissa << 13;
    } else {
      bits = (exponent + 112) << 23 | mantissa << 13;
    }
    bits |= uint32_t{in[i]} >> 15 << 31;
    __builtin_memcpy(out + i, &bits, 4);
  }
  return finite;
}

void narrow(const float* in, size_t n, uint16_t* out) {
  for (size_t i = 0; i < n; i++) {
    float x = in[i] > -65504.0f ? in[i] : -65504.0f;
    x = x < 65504.0f ? x : 65504.0f;
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits < 0x38800000u) {  // below 2^-14: in steps of 2^-24, which adding 0.5 rounds to
      float small;
      __builtin_memcpy(&small, &bits, 4);
      small += 0.5f;
      __builtin_memcpy(&bits, &small, 4);
      bits -= 0x3f000000u;
    } else {
      bits = (bits + 0xfff + (bits >> 13 & 1) - (112u << 23)) >> 13;
    }
    out[i] = static_cast<uint16_t>(sign | bits);
  }
}

typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourIntegers __attribute__((vector_size(16)));

inline Four addSigned(Four x, Four y, Four sign) {
  return x + y * sign;
}

inline FourIntegers widened(const uint8_t* p) {
  return FourIntegers{p[0], p[1], p[2], p[3]};
}

// Eight words as floats, times factors.
typedef int16_t EightWords __attribute__((vector_size(16)));
inline void storeTimes(EightWords x, const float* factors, float* out) {
  for (size_t i = 0; i < 8; i++) out[i] = static_cast<float>(x[i]) * factors[i];
}

// The transform of the signs of a byte.
inline EightWords ofSigns(const int16_t (*table)[16], const uint8_t* code) {
  return *reinterpret_cast<const EightWords*>(table[*code]);
}

void levels(const uint8_t* code, size_t n, const float* levels, float* out) {
  for (size_t i = 0; i < n; i++) out[i] = levels[code[i / 2] >> (4 * (i % 2)) & 15];
}

}  // namespace

#define HEBB_KERNEL_NAME "scalar"
#define HEBB_REGISTER_BYTES 16
#define HEBB_KERNEL_SYMBOL kScalar
#include "operations.inl"
