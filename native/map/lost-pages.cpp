#include "lost-pages.hpp"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <new>

#include "platform.hpp"
#include "region.hpp"

namespace hebb {
namespace {

// A free slot begins behind every address. Whoever takes it writes `begin` last, so that a handler that reads `begin`,
// the others and `begin` again has what belongs together: another section at the same addresses can only have come
// where the first was gone, and then it is the one that is meant.
constexpr uintptr_t kNowhere = UINTPTR_MAX;

struct Slot {
  std::atomic<uintptr_t> begin{kNowhere}, end{0};
  std::atomic<Region*> owner{nullptr};
  std::atomic<uint32_t> section{0};
};

struct Slots {
  Slot slots[256];
  std::atomic<Slots*> next{nullptr};
};

static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<Region*>::is_always_lock_free &&
              std::atomic<uint32_t>::is_always_lock_free);

Slots first;
std::mutex changing;  // of who watches, never of the handler
uintptr_t pageBytes;  // written before the handler is installed
struct sigaction before;

// Whether the address was a section's, and has memory again.
bool replace(uintptr_t at) {
  for (Slots* list = &first; list; list = list->next.load(std::memory_order_acquire)) {
    for (Slot& slot : list->slots) {
      const uintptr_t begin = slot.begin.load(std::memory_order_acquire);
      if (at < begin || at >= slot.end.load(std::memory_order_acquire)) continue;
      Region* const owner = slot.owner.load(std::memory_order_acquire);
      const uint32_t section = slot.section.load(std::memory_order_acquire);
      if (slot.begin.load(std::memory_order_acquire) != begin) continue;
      const uintptr_t page = at / pageBytes * pageBytes;
      owner->lose(section, page - begin);  // before anybody can see the zeros
      uint8_t* const base = reinterpret_cast<uint8_t*>(begin);
      // Each hole is a mapping of its own, and the system allows so many: then all of the section goes.
      return platform::mapZeros(base + (page - begin), pageBytes) || platform::mapZeros(base, slot.end.load() - begin);
    }
  }
  return false;
}

void handle(int signal, siginfo_t* info, void* context) {
  const int kept = errno;
  const bool ours = info->si_code > 0 && replace(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = kept;
  if (ours) return;
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler == SIG_DFL || (before.sa_handler == SIG_IGN && info->si_code > 0)) {
    // The instruction raises it again when this returns; what somebody sent is sent again.
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    if (info->si_code <= 0) raise(signal);
  } else if (before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  }
}

bool install() {
  pageBytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction ours = {};
  ours.sa_sigaction = handle;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  // Asked for first: the handler may run before the second call returns.
  return sigaction(SIGBUS, nullptr, &before) == 0 && sigaction(SIGBUS, &ours, nullptr) == 0;
}

}  // namespace

bool watchPages(uint8_t* base, uint64_t bytes, Region* owner, uint32_t section) {
  const std::lock_guard<std::mutex> guard(changing);
  static const bool installed = install();
  if (!installed) return false;
  for (Slots* list = &first;; list = list->next.load()) {
    for (Slot& slot : list->slots) {
      if (slot.begin.load(std::memory_order_relaxed) != kNowhere) continue;
      slot.owner.store(owner, std::memory_order_relaxed);
      slot.section.store(section, std::memory_order_relaxed);
      slot.end.store(reinterpret_cast<uintptr_t>(base) + bytes, std::memory_order_relaxed);
      slot.begin.store(reinterpret_cast<uintptr_t>(base), std::memory_order_release);
      return true;
    }
    if (list->next.load()) continue;
    Slots* const more = new (std::nothrow) Slots;
    if (!more) {
      errno = ENOMEM;
      return false;
    }
    list->next.store(more, std::memory_order_release);
  }
}

void unwatchPages(Region* owner) {
  const std::lock_guard<std::mutex> guard(changing);
  for (Slots* list = &first; list; list = list->next.load()) {
    for (Slot& slot : list->slots) {
      if (slot.owner.load(std::memory_order_relaxed) != owner) continue;
      slot.begin.store(kNowhere, std::memory_order_seq_cst);
      slot.owner.store(nullptr, std::memory_order_release);
    }
  }
}

}  // namespace hebb
