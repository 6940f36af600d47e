// What a fuzzer's bytes are read as: numbers of a few bytes, one after the other, and zeros behind the last.
#pragma once

#include <cstdint>
#include <cstring>

namespace hebb::fuzz {

class Input {
 public:
  Input(const uint8_t* bytes, size_t size) : at_(bytes), end_(bytes + size) {}

  bool done() const { return at_ == end_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  const uint8_t* bytes() const { return at_; }
  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  // Below `bound`, which is at least 1.
  uint32_t below(uint32_t bound) { return (bound <= 256 ? u8() : bound <= 65536 ? u16() : u32()) % bound; }

  // A value as damage likes them, of 4 bytes: what counts are compared with, what floats can be, or anything.
  uint32_t odd(uint32_t bound) {
    const uint32_t known[] = {0,          1,          2,          bound - 1,  bound,      bound + 1,
                              0x7fff,     0xffff,     0x10000,    0x7fffffff, 0x80000000, 0xfffffffe,
                              0xffffffff, 0x7fc00000, 0x7f800000, 0xff800000, 0x7f7fffff, 0xff7fffff,
                              0x00000001, 0x3f800000, 0xbf800000, 0x5f800000, 0x1f800000, bound / 2};
    const uint8_t which = u8();
    return which < sizeof known / sizeof *known ? known[which] : u32();
  }

 private:
  template <typename T>
  T number() {
    T value = 0;
    const size_t n = left() < sizeof value ? left() : sizeof value;
    if (n > 0) std::memcpy(&value, at_, n);
    at_ += n;
    return value;
  }

  const uint8_t *at_, *end_;
};

}  // namespace hebb::fuzz
