// The portable kernel: the compiler's baseline for the architecture, nothing asked of the processor.
#include "kernel.hpp"

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

}  // namespace

#define HEBB_KERNEL_NAME "scalar"
#define HEBB_REGISTER_BYTES 16
#define HEBB_KERNEL_SYMBOL kScalar
#include "operations.inl"
