// splitmix64 (Steele, Lea & Flood 2014): a hash of 64 bits, and where all seeded choices come from.
#pragma once

#include <cstdint>

namespace hebb {

inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace hebb
