// The kernel for 64-bit ARM, where NEON is always there (compiled with the CRC instructions of ARMv8.1).
#if defined(__aarch64__)
#include <arm_acle.h>

#include "kernel.hpp"

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

}  // namespace

#define HEBB_KERNEL_NAME "neon"
#define HEBB_REGISTER_BYTES 16
#define HEBB_KERNEL_SYMBOL kNeon
#include "operations.inl"
#endif
