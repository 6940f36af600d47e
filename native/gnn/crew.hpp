// Threads that share the many small pieces of one training step: starting them for each piece would cost more than
// the piece.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace hebb::gnn {

class Crew {
 public:
  // `threads` counts the caller's own; with 1 (or 0) all runs on it.
  explicit Crew(unsigned threads) {
    for (unsigned t = 1; t < threads; t++) others_.emplace_back([this] { serve(); });
  }
  ~Crew() {
    ended_ = true;
    state_.fetch_add(kRound, std::memory_order_release);
    state_.notify_all();
    for (std::thread& t : others_) t.join();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  unsigned threads() const { return static_cast<unsigned>(others_.size()) + 1; }

  // Runs fn(i) for each i below count, on any thread and in any order; returns when all are done. `work` says about how
  // many multiplications all of it takes: too few are not worth sharing.
  template <typename Fn>
  void run(size_t count, size_t work, const Fn& fn) {
    if (others_.empty() || count < 2 || work < kWorth) {
      for (size_t i = 0; i < count; i++) fn(i);
      return;
    }
    work_ = [](const void* of, size_t i) { (*static_cast<const Fn*>(of))(i); };
    of_ = &fn;
    for (first_ = 0; first_ < count; first_ += kLeft)
      round(static_cast<uint32_t>(std::min<size_t>(count - first_, kLeft)));
  }

 private:
  static constexpr uint32_t kRound = 1u << 16, kLeft = kRound - 1;
  static constexpr size_t kWorth = 100000;
  // Looks before a thread sleeps: some tens of microseconds, about what waking it takes. Longer would be
  // faster alone, and much slower where threads outnumber the processors that are free.
  static constexpr int kPatience = 2000;

  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }

  // A round's number in the upper half of the state, what is left to take in the lower: who takes a piece
  // with the number of this round knows that the round goes on until the piece is done.
  void round(uint32_t count) {
    count_ = count;
    done_.store(0, std::memory_order_relaxed);
    round_ += kRound;
    state_.store(round_ | count, std::memory_order_release);
    state_.notify_all();
    while (take()) {
    }
    for (int look = 0;;) {
      const uint32_t done = done_.load(std::memory_order_acquire);
      if (done == count) return;
      if (look++ < kPatience) relax();
      else done_.wait(done, std::memory_order_acquire);
    }
  }

  bool take() {
    uint32_t state = state_.load(std::memory_order_acquire);
    while (state & kLeft) {
      if (!state_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      work_(of_, first_ + (state & kLeft) - 1);
      const uint32_t count = count_;  // of this round, which goes on until the next line
      if (done_.fetch_add(1, std::memory_order_release) + 1 == count) done_.notify_one();
      return true;
    }
    return false;
  }

  void serve() {
    for (int look = 0; !ended_.load(std::memory_order_acquire);) {
      if (take()) {
        look = 0;
      } else if (look++ < kPatience) {
        relax();
      } else {
        const uint32_t state = state_.load(std::memory_order_acquire);
        if ((state & kLeft) == 0 && !ended_.load(std::memory_order_acquire)) state_.wait(state);
      }
    }
  }

  std::vector<std::thread> others_;
  void (*work_)(const void*, size_t) = nullptr;
  const void* of_ = nullptr;
  size_t first_ = 0;
  uint32_t round_ = 0, count_ = 0;
  std::atomic<uint32_t> state_{0};
  std::atomic<uint32_t> done_{0};
  std::atomic<bool> ended_{false};
};

}  // namespace hebb::gnn
