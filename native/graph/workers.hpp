// Work shared among threads, each with a scratch of its own.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "graph.hpp"

namespace hebb {

// Runs fn(index, scratch) for 0..count-1 on at most `threads` threads; stops early, and returns
// false, when one returns false.
template <typename Fn>
bool forEach(Graph& graph, uint32_t count, unsigned threads, Fn fn) {
  std::atomic<uint32_t> next{0};
  std::atomic<bool> sound{true};
  const auto work = [&] {
    ScratchLease scratch(graph);
    for (uint32_t i; sound.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < count;) {
      if (!fn(i, *scratch)) sound = false;
    }
  };
  std::vector<std::thread> others;
  for (unsigned t = 1; t < threads && t < count; t++) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
  return sound;
}

}  // namespace hebb
