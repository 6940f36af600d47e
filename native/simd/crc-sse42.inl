// CRC-32C by the processor's own instruction, eight bytes at a time.
#include <nmmintrin.h>

namespace {

uint32_t crcBytes(const uint8_t* p, size_t n, uint32_t seed) {
  uint64_t c = seed;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    __builtin_memcpy(&word, p, 8);
    c = _mm_crc32_u64(c, word);
  }
  for (; n; n--, p++) c = _mm_crc32_u8(static_cast<uint32_t>(c), *p);
  return static_cast<uint32_t>(c);
}

}  // namespace
