// An array for random reads, zeros until written: in large pages where the system has them, or, where it may stay
// mostly empty, in small ones, which take memory only once they are written.
#pragma once

#include <cstdint>
#include <utility>

#include "platform.hpp"
#include "region.hpp"

namespace hebb {

template <typename T>
class LargeArray {
 public:
  LargeArray() = default;
  // Empty where memory was refused.
  explicit LargeArray(uint64_t count, bool large = true) : bytes_(roundUp(count * sizeof(T), kPageBytes)) {
    base_ = platform::reserve(bytes_);
    if (base_ && large) platform::preferLargePages(base_, bytes_);
  }
  ~LargeArray() {
    if (base_) platform::release(base_, bytes_);
  }
  LargeArray(LargeArray&& other) noexcept { *this = std::move(other); }
  LargeArray& operator=(LargeArray&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  T* get() const { return reinterpret_cast<T*>(base_); }

 private:
  uint8_t* base_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace hebb
