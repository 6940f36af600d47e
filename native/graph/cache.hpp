// Vectors of codecs that are slow to read, unpacked: the least recently used of a set makes room.
//
// An entry is known by its node and its place, so that a vector that moved is not found. A set has a lock, which
// is held while its entry is read.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "../map/large-array.hpp"
#include "mix.hpp"

namespace hebb {

class UnpackedCache {
 public:
  // Memory is taken as entries come, up to about `bytes`.
  UnpackedCache(uint32_t dimensions, uint64_t bytes)
      : stride_((dimensions + 15) / 16 * 16), count_(bytes / (kWays * stride_ * sizeof(float))) {
    if (count_ == 0) return;
    sets_ = LargeArray<Set>(count_, false);
    values_ = LargeArray<float>(count_ * kWays * stride_, false);
    if (!values_.get() || !sets_.get()) count_ = 0;
  }

  bool enabled() const { return count_ > 0; }
  uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  uint64_t misses() const { return misses_.load(std::memory_order_relaxed); }

  // Calls fn(values) where there is an entry; false where there is none.
  template <typename Fn>
  bool use(uint32_t node, uint64_t place, Fn fn) {
    const uint64_t at = setOf(node);
    Set& set = sets_.get()[at];
    const Held held(set);
    const uint32_t way = set.find(node, place);
    if (way == kWays) {
      misses_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    hits_.fetch_add(1, std::memory_order_relaxed);
    set.used[way] = ++set.clock;
    fn(static_cast<const float*>(valuesOf(at, way)));
    return true;
  }

  bool has(uint32_t node, uint64_t place) {
    Set& set = sets_.get()[setOf(node)];
    const Held held(set);
    return set.find(node, place) < kWays;
  }

  void put(uint32_t node, uint64_t place, const float* values, uint32_t count) {
    const uint64_t at = setOf(node);
    Set& set = sets_.get()[at];
    const Held held(set);
    uint32_t way = set.find(node, place);
    for (uint32_t i = 0; way == kWays && i < kWays; i++) {
      if (set.places[i] == 0 || set.nodes[i] == node) way = i;
    }
    if (way == kWays) {
      way = 0;
      for (uint32_t i = 1; i < kWays; i++) {
        if (set.clock - set.used[i] > set.clock - set.used[way]) way = i;
      }
    }
    set.nodes[way] = node;
    set.places[way] = place;
    set.used[way] = ++set.clock;
    std::memcpy(valuesOf(at, way), values, count * sizeof(float));
  }

  // A number that becomes another vector's.
  void drop(uint32_t node) {
    if (!enabled()) return;
    Set& set = sets_.get()[setOf(node)];
    const Held held(set);
    for (uint32_t i = 0; i < kWays; i++) {
      if (set.nodes[i] == node) set.places[i] = 0;
    }
  }

  // Places mean something else from now on.
  void clear() {
    for (uint64_t i = 0; i < count_; i++) {
      Set& set = sets_.get()[i];
      const Held held(set);
      for (uint64_t& place : set.places) place = 0;
    }
  }

 private:
  static constexpr uint32_t kWays = 8;

  struct Set {  // zeros are an empty one
    std::atomic<bool> taken;
    uint32_t clock, nodes[kWays], used[kWays];
    uint64_t places[kWays];  // 0: empty; what is unpacked is never in tier hot, whose place may be 0

    uint32_t find(uint32_t node, uint64_t place) const {
      for (uint32_t i = 0; i < kWays; i++) {
        if (places[i] == place && nodes[i] == node) return i;
      }
      return kWays;
    }
  };
  class Held {
   public:
    explicit Held(Set& set) : set_(set) {
      while (set_.taken.exchange(true, std::memory_order_acquire)) {
      }
    }
    ~Held() { set_.taken.store(false, std::memory_order_release); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    Set& set_;
  };

  uint64_t setOf(uint32_t node) const { return mix(node) % count_; }
  float* valuesOf(uint64_t set, uint32_t way) { return values_.get() + (set * kWays + way) * stride_; }

  uint64_t stride_, count_;
  LargeArray<Set> sets_;
  LargeArray<float> values_;
  std::atomic<uint64_t> hits_{0}, misses_{0};
};

}  // namespace hebb
