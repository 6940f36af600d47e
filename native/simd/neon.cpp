// The kernel for 64-bit ARM, where NEON is always there (compiled with the CRC instructions of ARMv8.1).
#if defined(__aarch64__)
#include <arm_acle.h>
#include <arm_neon.h>

#include "kernel.hpp"
#include "tiers.hpp"

namespace {

uint32_t crcBytes(const uint8_t* p, size_t n, uint32_t c) {
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    __builtin_memcpy(&word, p, 8);
    c = __crc32cd(c, word);
  }
  for (; n; n--, p++) c = __crc32cb(c, *p);
  return c;
}

inline uint16_t positiveBits(const float* p) {
  const uint32_t weights[4] = {1, 2, 4, 8};
  const uint32x4_t weight = vld1q_u32(weights);
  uint32_t bits = 0;
  for (uint32_t i = 0; i < 4; i++) bits |= vaddvq_u32(vandq_u32(vcgtzq_f32(vld1q_f32(p + 4 * i)), weight)) << (4 * i);
  return static_cast<uint16_t>(bits);
}

// One quad a register. Sums of four entries fit a byte.
void sumEntries(const uint8_t* codes, const uint8_t* entries, size_t quads, uint32_t* sums) {
  constexpr size_t kStride = 1024;  // words stay below 2^16
  for (size_t i = 0; i < 32; i++) sums[i] = 0;
  for (size_t from = 0; from < quads; from += kStride) {
    const size_t to = from + kStride < quads ? from + kStride : quads;
    uint16x8_t words[4] = {};
    for (size_t q = from; q < to; q += 4) {
      uint8x16_t bytes[2] = {};
      for (size_t j = 0; j < 4; j++) {
        const uint8x16_t code = vld1q_u8(codes + 16 * (q + j)), table = vld1q_u8(entries + 16 * (q + j));
        bytes[0] = vaddq_u8(bytes[0], vqtbl1q_u8(table, vandq_u8(code, vdupq_n_u8(15))));
        bytes[1] = vaddq_u8(bytes[1], vqtbl1q_u8(table, vshrq_n_u8(code, 4)));
      }
      for (size_t h = 0; h < 2; h++) {
        words[2 * h] = vaddw_u8(words[2 * h], vget_low_u8(bytes[h]));
        words[2 * h + 1] = vaddw_high_u8(words[2 * h + 1], bytes[h]);
      }
    }
    uint16_t lanes[32];
    for (size_t i = 0; i < 4; i++) vst1q_u16(lanes + 8 * i, words[i]);
    for (size_t i = 0; i < 32; i++) sums[i] += lanes[i];
  }
}

int32_t sumLevels(const uint8_t* code, const int8_t* values, size_t n) {
  int32x4_t total = vdupq_n_s32(0);
  const uint8x16_t two = vdupq_n_u8(3);
  const auto add = [&](uint8x16_t levels, const int8_t* at) {
    const int8x16_t l = vreinterpretq_s8_u8(levels), v = vld1q_s8(at);
    int16x8_t words = vmull_s8(vget_low_s8(l), vget_low_s8(v));
    words = vmlal_high_s8(words, l, v);
    total = vpadalq_s16(total, words);
  };
  for (size_t i = 0; i < n; i += 64) {
    const uint8x16_t group = vld1q_u8(code + i / 4);
    add(vandq_u8(group, two), values + i);
    add(vandq_u8(vshrq_n_u8(group, 2), two), values + i + 16);
    add(vandq_u8(vshrq_n_u8(group, 4), two), values + i + 32);
    add(vshrq_n_u8(group, 6), values + i + 48);
  }
  return vaddvq_s32(total);
}

// 16 levels a register: each byte looks at its own bit of each plane.
int32_t dotPlanes(const uint8_t* planes, uint32_t bits, const int16_t* values, size_t n) {
  const uint8_t bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t own = vcombine_u8(vld1_u8(bit), vld1_u8(bit));
  int32x4_t sums = vdupq_n_s32(0);
  for (size_t g = 0; g < n; g += 64, planes += 8 * bits) {
    for (size_t i = 0; i < 64; i += 16) {
      uint8x16_t levels = vdupq_n_u8(0);
      for (uint32_t p = 0; p < bits; p++) {
        const uint8_t* const word = planes + 8 * p + i / 8;
        const uint8x16_t bytes = vcombine_u8(vdup_n_u8(word[0]), vdup_n_u8(word[1]));
        levels = vorrq_u8(levels, vandq_u8(vtstq_u8(bytes, own), vdupq_n_u8(static_cast<uint8_t>(1 << p))));
      }
      const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(levels)));
      const int16x8_t high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(levels)));
      const int16x8_t a = vld1q_s16(values + g + i), b = vld1q_s16(values + g + i + 8);
      sums = vmlal_s16(sums, vget_low_s16(low), vget_low_s16(a));
      sums = vmlal_s16(sums, vget_high_s16(low), vget_high_s16(a));
      sums = vmlal_s16(sums, vget_low_s16(high), vget_low_s16(b));
      sums = vmlal_s16(sums, vget_high_s16(high), vget_high_s16(b));
    }
  }
  return vaddvq_s32(sums);
}

int32_t dotBytes(const int8_t* a, const int8_t* b, size_t n) {
  int32x4_t sums[2] = {};
  for (size_t i = 0; i < n; i += 16) {
    const int8x16_t x = vld1q_s8(a + i), y = vld1q_s8(b + i);
    sums[0] = vpadalq_s16(sums[0], vmull_s8(vget_low_s8(x), vget_low_s8(y)));
    sums[1] = vpadalq_s16(sums[1], vmull_high_s8(x, y));
  }
  return vaddvq_s32(vaddq_s32(sums[0], sums[1]));
}

bool widen(const uint16_t* in, size_t n, float* out) {
  const uint16x4_t exponent = vdup_n_u16(0x7c00);
  uint16x4_t infinite = vdup_n_u16(0);
  const auto wide = [&](uint16x4_t x) {
    infinite = vorr_u16(infinite, vceq_u16(vand_u16(x, exponent), exponent));
    return vcvt_f32_f16(vreinterpret_f16_u16(x));
  };
  size_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(out + i, wide(vld1_u16(in + i)));
  for (; i < n; i++) out[i] = vgetq_lane_f32(wide(vdup_n_u16(in[i])), 0);
  return vmaxv_u16(infinite) == 0;
}

void narrow(const float* in, size_t n, uint16_t* out) {
  const float32x4_t most = vdupq_n_f32(65504.0f), least = vdupq_n_f32(-65504.0f);
  const auto halves = [&](float32x4_t x) {
    return vreinterpret_u16_f16(vcvt_f16_f32(vminq_f32(vmaxq_f32(x, least), most)));
  };
  size_t i = 0;
  for (; i + 4 <= n; i += 4) vst1_u16(out + i, halves(vld1q_f32(in + i)));
  for (; i < n; i++) out[i] = vget_lane_u16(halves(vdupq_n_f32(in[i])), 0);
}

inline float32x4_t addSigned(float32x4_t x, float32x4_t y, float32x4_t sign) {
  return vfmaq_f32(x, y, sign);
}

inline int32x4_t widened(const uint8_t* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, 4);
  const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}

// Eight words as floats, times factors.
inline void storeTimes(int16x8_t x, const float* factors, float* out) {
  vst1q_f32(out, vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))), vld1q_f32(factors)));
  vst1q_f32(out + 4, vmulq_f32(vcvtq_f32_s32(vmovl_high_s16(x)), vld1q_f32(factors + 4)));
}

// The transform of the signs of a byte.
inline int16x8_t ofSigns(const int16_t (*table)[16], const uint8_t* code) {
  return vld1q_s16(table[*code]);
}

// 16 values at a time, by four tables, one for each byte of a float.
void levels(const uint8_t* code, size_t n, const float* levels, float* out) {
  const uint8x16x4_t tables = vld4q_u8(reinterpret_cast<const uint8_t*>(levels));
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const uint8x8_t pairs = vld1_u8(code + i / 2);
    const uint8x8_t low = vand_u8(pairs, vdup_n_u8(15)), high = vshr_n_u8(pairs, 4);
    const uint8x16_t which = vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high));
    uint8x16x4_t of;
    for (size_t b = 0; b < 4; b++) of.val[b] = vqtbl1q_u8(tables.val[b], which);
    vst4q_u8(reinterpret_cast<uint8_t*>(out + i), of);
  }
  for (; i < n; i++) out[i] = levels[code[i / 2] >> (4 * (i % 2)) & 15];
}

}  // namespace

#define HEBB_KERNEL_NAME "neon"
#define HEBB_REGISTER_BYTES 16
#define HEBB_KERNEL_SYMBOL kNeon
#include "operations.inl"
#endif
