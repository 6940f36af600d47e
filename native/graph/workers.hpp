// Work shared among threads, each with a scratch of its own.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "graph.hpp"

namespace hebb {

// Threads' scratches for the time of a longer piece of work.
class Crew {
 public:
  Crew(Graph& graph, unsigned threads) {
    for (unsigned t = 0; t < std::max(threads, 1u); t++) {
      leases_.push_back(std::make_unique<ScratchLease>(graph));
      scratches_.push_back(&**leases_.back());
    }
  }
  const std::vector<Scratch*>& scratches() const { return scratches_; }

  // Runs fn(index, scratch) for 0..count-1; stops early, and returns false, when one returns false.
  template <typename Fn>
  bool run(uint32_t count, Fn fn) {
    std::atomic<uint32_t> next{0};
    std::atomic<bool> sound{true};
    const auto work = [&](Scratch& scratch) {
      for (uint32_t i; sound.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < count;) {
        if (!fn(i, scratch)) sound = false;
      }
    };
    std::vector<std::thread> others;
    for (uint32_t t = 1; t < scratches_.size() && t < count; t++) others.emplace_back(work, std::ref(*scratches_[t]));
    work(*scratches_[0]);
    for (std::thread& t : others) t.join();
    return sound;
  }

 private:
  std::vector<std::unique_ptr<ScratchLease>> leases_;
  std::vector<Scratch*> scratches_;
};

}  // namespace hebb
