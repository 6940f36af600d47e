#include "region.hpp"

#include <algorithm>
#include <cstring>

#include "kernel.hpp"
#include "lost-pages.hpp"
#include "platform.hpp"

namespace hebb {
namespace {

// Bookkeeping is reserved like the sections themselves: its size follows the reserve, its cost follows the use.
template <typename T>
T* bookkeeping(uint64_t count) {
  return reinterpret_cast<T*>(platform::reserve(roundUp(count * sizeof(T), kPageBytes)));
}
template <typename T>
void releaseBookkeeping(T* p, uint64_t count) {
  if (p) platform::release(reinterpret_cast<uint8_t*>(p), roundUp(count * sizeof(T), kPageBytes));
}

// Blocks of one range that are read at once.
constexpr uint64_t kAhead = 16;

// The start of each section stays in small pages, so that a small store stays small.
constexpr uint64_t kSmallBytes = 2 << 20;

uint64_t pageWords(uint64_t reserved) {
  return reserved / kPageBytes / 64 + 1;
}
uint64_t blockWords(uint64_t reserved) {
  return reserved / kBlockBytes / 64 + 1;
}
uint64_t blockCount(uint64_t reserved) {
  return reserved / kBlockBytes + 1;
}

void preferLarge(uint8_t* base, uint64_t from, uint64_t end) {
  from = std::max(from, kSmallBytes);
  if (from < end) platform::preferLargePages(base + from, end - from);
}

}  // namespace

Region::Region(const std::vector<uint64_t>& reserveBytes) : sections_(reserveBytes.size()) {
  for (size_t i = 0; i < reserveBytes.size(); i++) {
    Section& s = sections_[i];
    s.reserved = s.kept = roundUp(reserveBytes[i], kBlockBytes);
    s.base = platform::reserve(s.reserved);
    s.dirty = bookkeeping<std::atomic<uint64_t>>(pageWords(s.reserved));
    s.suspect = bookkeeping<std::atomic<uint64_t>>(blockWords(s.reserved));
    s.asked = bookkeeping<std::atomic<uint64_t>>(blockWords(s.reserved));
    s.taking = bookkeeping<std::atomic<uint64_t>>(blockWords(s.reserved));
    s.expected = bookkeeping<uint32_t>(blockCount(s.reserved));
    if (!s.base || !s.dirty || !s.suspect || !s.asked || !s.taking || !s.expected) {
      valid_ = false;
    } else {
      preferLarge(s.base, 0, s.reserved);
    }
  }
}

Region::~Region() {
  unwatchPages(this);
  for (Section& s : sections_) {
    if (s.base) platform::release(s.base, s.reserved);
    releaseBookkeeping(s.dirty, pageWords(s.reserved));
    releaseBookkeeping(s.suspect, blockWords(s.reserved));
    releaseBookkeeping(s.asked, blockWords(s.reserved));
    releaseBookkeeping(s.taking, blockWords(s.reserved));
    releaseBookkeeping(s.expected, blockCount(s.reserved));
  }
}

bool Region::map(uint32_t section, uint64_t at, uint64_t bytes, int fd, uint64_t fileOffset) {
  Section& s = sections_[section];
  if (!s.watched && !watchPages(s.base, s.reserved, this, section)) return false;
  s.watched = true;
  std::vector<uint64_t> changed;
  const uint64_t touched = s.touched.load();
  for (uint64_t page = at / kPageBytes; page * kPageBytes < std::min(at + bytes, touched); page++) {
    if (isDirty(s, page)) changed.push_back(page * kPageBytes);
  }
  if (changed.empty()) {
    if (!platform::mapPrivate(s.base + at, bytes, fd, fileOffset)) return false;
  } else {
    // Put together elsewhere and moved here in one step: who reads meanwhile never sees a page's older bytes.
    uint8_t* beside = platform::mapBeside(bytes, fd, fileOffset);
    if (!beside) return false;
    for (const uint64_t offset : changed) std::memcpy(beside + (offset - at), s.base + offset, kPageBytes);
    if (!platform::moveMapping(s.base + at, beside, bytes)) return false;
  }
  forgetExtents(s, at, at + bytes);
  s.extents.push_back({at, bytes, fileOffset, fd});
  return true;
}

// What [at, end) was mapped from counts no more; the parts of extents around it stay.
void Region::forgetExtents(Section& s, uint64_t at, uint64_t end) {
  std::vector<Extent> left;
  for (const Extent& e : s.extents) {
    if (e.at < at) left.push_back({e.at, std::min(e.bytes, at - e.at), e.fileOffset, e.fd});
    if (e.at + e.bytes > end) {
      const uint64_t skip = std::max(end, e.at) - e.at;
      left.push_back({e.at + skip, e.bytes - skip, e.fileOffset + skip, e.fd});
    }
  }
  s.extents = std::move(left);
}

bool Region::discard(uint32_t section, uint64_t from) {
  Section& s = sections_[section];
  if (from >= s.reserved) return true;
  if (s.toTake.load(std::memory_order_acquire) != 0) {
    for (uint64_t block = from / kBlockBytes; block < s.takenEnd; block++) save(s, block);
  }
  // No block is being summed up while its bytes go, or a sound one would look damaged.
  std::unique_lock<std::mutex> turns[kTurns];
  for (uint64_t i = 0; i < kTurns; i++) turns[i] = std::unique_lock<std::mutex>(turns_[i]);
  if (!platform::mapZeros(s.base + from, s.reserved - from)) return false;
  preferLarge(s.base, from, s.reserved);
  for (uint64_t block = from / kBlockBytes; block * kBlockBytes < s.stated; block++) {
    const uint64_t bit = 1ull << (block % 64);
    if (s.suspect[block / 64].fetch_and(~bit, std::memory_order_release) & bit) s.suspects.fetch_sub(1);
  }
  uint64_t touched = s.touched.load();
  for (uint64_t page = from / kPageBytes; page * kPageBytes < touched; page++) {
    const uint64_t bit = 1ull << (page % 64);
    if (s.dirty[page / 64].fetch_and(~bit, std::memory_order_relaxed) & bit) dirtyCount_.fetch_sub(1);
  }
  while (touched > from && !s.touched.compare_exchange_weak(touched, from)) {
  }
  s.stated = std::min(s.stated, from);
  s.kept = std::min(s.kept, from);
  forgetExtents(s, from, s.reserved);
  return true;
}

void Region::load(uint32_t section, uint64_t at, const uint8_t* bytes, uint64_t count) {
  std::memcpy(sections_[section].base + at, bytes, count);
}

void Region::expectChecksums(uint32_t section, uint64_t firstBlock, const uint32_t* checksums, uint64_t count) {
  Section& s = sections_[section];
  s.stated = std::max(s.stated, (firstBlock + count) * kBlockBytes);
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t block = firstBlock + i;
    s.expected[block] = checksums[i];
    const uint64_t bit = 1ull << (block % 64);
    s.asked[block / 64].fetch_and(~bit, std::memory_order_relaxed);
    if (s.suspect[block / 64].fetch_or(bit) & bit) continue;
    s.suspects.fetch_add(1);
    stated_.fetch_add(1);
  }
}

uint32_t Region::checksumOf(uint32_t section, uint64_t block) const {
  return kernel->crc32c(sections_[section].base + block * kBlockBytes, kBlockBytes, 0);
}

void Region::askFor(uint32_t section, uint64_t at, uint64_t bytes) {
  Section& s = sections_[section];
  if (!s.watched) return;  // copies of a file are in memory
  const uint64_t last = (at + (bytes ? bytes - 1 : 0)) / kBlockBytes;
  for (uint64_t block = at / kBlockBytes; block <= last; block++) {
    const uint64_t bit = 1ull << (block % 64);
    if (!(s.suspect[block / 64].load(std::memory_order_relaxed) & bit)) continue;
    if (s.asked[block / 64].load(std::memory_order_relaxed) & bit) continue;
    if (s.asked[block / 64].fetch_or(bit, std::memory_order_relaxed) & bit) continue;
    platform::willNeed(s.base + block * kBlockBytes, kBlockBytes);
  }
}

bool Region::isTouched(uint32_t section, uint64_t at, uint64_t bytes) const {
  const Section& s = sections_[section];
  const uint64_t last = (at + (bytes ? bytes - 1 : 0)) / kBlockBytes;
  for (uint64_t block = at / kBlockBytes; block <= last; block++) {
    if (s.suspect[block / 64].load(std::memory_order_acquire) >> (block % 64) & 1) return false;
  }
  return true;
}

Region::Blocks Region::blocks() const {
  uint64_t left = 0;
  for (const Section& s : sections_) left += s.suspects.load();
  if (lost()) left -= std::min<uint64_t>(left, sections_.size());
  const uint64_t all = stated_.load();
  return {all, all - std::min(left, all)};
}

bool Region::verify(uint32_t section, uint64_t at, uint64_t bytes) {
  if (lost()) return false;
  Section& s = sections_[section];
  const uint64_t last = (at + (bytes ? bytes - 1 : 0)) / kBlockBytes;
  for (uint64_t block = at / kBlockBytes; block <= last; block++) {
    const uint64_t bit = 1ull << (block % 64);
    if (!(s.suspect[block / 64].load(std::memory_order_acquire) & bit)) continue;
    // One thread at a time: whoever verified a block may write to it at once, while another still sums it up.
    const std::lock_guard<std::mutex> turn(turns_[block % kTurns]);
    if (!(s.suspect[block / 64].load(std::memory_order_acquire) & bit)) continue;
    // One read, not one a page; and of a long range some blocks are read while others are summed up.
    askFor(section, block * kBlockBytes, std::min(last - block + 1, kAhead) * kBlockBytes);
    const uint32_t computed = checksumOf(section, block);
    if (computed != s.expected[block]) {
      std::lock_guard<std::mutex> guard(faultMutex_);
      fault_ = {section, block, s.expected[block], computed, block * kBlockBytes, nullptr};
      return false;
    }
    if (s.suspect[block / 64].fetch_and(~bit, std::memory_order_release) & bit) s.suspects.fetch_sub(1);
  }
  return true;
}

bool Region::touch(uint32_t section, uint64_t at, uint64_t bytes) {
  if (bytes == 0) return true;
  if (!ensure(section, at, bytes)) return false;
  Section& s = sections_[section];
  const uint64_t end = at + bytes;
  if (s.toTake.load(std::memory_order_acquire) != 0) {
    for (uint64_t block = at / kBlockBytes; block <= (end - 1) / kBlockBytes; block++) save(s, block);
  }
  for (uint64_t page = at / kPageBytes; page <= (end - 1) / kPageBytes; page++) {
    const uint64_t bit = 1ull << (page % 64);
    std::atomic<uint64_t>& word = s.dirty[page / 64];
    if (word.load(std::memory_order_relaxed) & bit) continue;
    if (!(word.fetch_or(bit, std::memory_order_relaxed) & bit)) dirtyCount_.fetch_add(1, std::memory_order_relaxed);
  }
  uint64_t seen = s.touched.load(std::memory_order_relaxed);
  while (seen < end && !s.touched.compare_exchange_weak(seen, end, std::memory_order_relaxed)) {
  }
  return true;
}

void Region::refuse(uint32_t section, uint64_t offset, const char* reason) {
  std::lock_guard<std::mutex> guard(faultMutex_);
  fault_ = {section, offset / kBlockBytes, 0, 0, offset, reason};
}

void Region::lose(uint32_t section, uint64_t offset) {
  uint64_t none = 0;
  const uint64_t where = (uint64_t(section) + 1) << kOffsetBits | offset;
  if (!loss_.compare_exchange_strong(none, where)) return;
  for (Section& s : sections_) s.suspects.fetch_add(1);  // so that every `ensure` asks `verify`
}

BlockFault Region::fault() const {
  if (const uint64_t loss = loss_.load()) {
    const uint64_t offset = loss & ((1ull << kOffsetBits) - 1);
    const uint32_t section = static_cast<uint32_t>(loss >> kOffsetBits) - 1;
    return {section, offset / kBlockBytes, 0, 0, offset, "the file ends before it, or the disk failed under it", true};
  }
  std::lock_guard<std::mutex> guard(faultMutex_);
  return fault_;
}

std::vector<uint32_t> Region::dirtyPages(uint32_t section) const {
  const Section& s = sections_[section];
  std::vector<uint32_t> pages;
  const uint64_t end = s.touched.load();
  for (uint64_t w = 0; w * 64 * kPageBytes < end; w++) {
    for (uint64_t word = s.dirty[w].load(); word; word &= word - 1) {
      pages.push_back(static_cast<uint32_t>(w * 64 + static_cast<uint64_t>(__builtin_ctzll(word))));
    }
  }
  return pages;
}

const Region::Extent* Region::extentOf(const Section& s, uint64_t at) const {
  for (const Extent& e : s.extents) {
    if (at >= e.at && at < e.at + e.bytes) return &e;
  }
  return nullptr;
}

std::vector<uint32_t> Region::snapshot(uint32_t section) {
  Section& s = sections_[section];
  forgetSnapshot(section);
  std::vector<uint32_t> pages = dirtyPages(section);
  for (const uint32_t page : pages) {
    s.dirty[page / 64].fetch_and(~(1ull << (page % 64)), std::memory_order_relaxed);
    const uint64_t block = page * kPageBytes / kBlockBytes;
    if (!(s.taking[block / 64].load(std::memory_order_relaxed) >> (block % 64) & 1)) include(section, block, 1);
  }
  dirtyCount_.fetch_sub(pages.size());
  s.kept = s.reserved;
  return pages;
}

void Region::include(uint32_t section, uint64_t firstBlock, uint64_t blocks) {
  Section& s = sections_[section];
  for (uint64_t block = firstBlock; block < firstBlock + blocks; block++) {
    const uint64_t bit = 1ull << (block % 64);
    if (!(s.taking[block / 64].fetch_or(bit, std::memory_order_release) & bit)) s.toTake.fetch_add(1);
  }
  s.takenEnd = std::max(s.takenEnd, firstBlock + blocks);
}

// Keeps a block for the snapshot that has not been taken, before it changes.
void Region::save(Section& s, uint64_t block) {
  const uint64_t bit = 1ull << (block % 64);
  if (!(s.taking[block / 64].load(std::memory_order_acquire) & bit)) return;
  const std::lock_guard<std::mutex> turn(turns_[block % kTurns]);
  if (!(s.taking[block / 64].load(std::memory_order_acquire) & bit)) return;
  auto copy = std::make_unique_for_overwrite<uint8_t[]>(kBlockBytes);
  std::memcpy(copy.get(), s.base + block * kBlockBytes, kBlockBytes);
  {
    const std::lock_guard<std::mutex> guard(s.savedMutex);
    s.saved[block] = std::move(copy);
  }
  s.taking[block / 64].fetch_and(~bit, std::memory_order_release);
  s.toTake.fetch_sub(1);
}

bool Region::take(uint32_t section, uint64_t block, uint8_t* out) {
  Section& s = sections_[section];
  const uint64_t bit = 1ull << (block % 64);
  const std::lock_guard<std::mutex> turn(turns_[block % kTurns]);
  if (s.taking[block / 64].load(std::memory_order_acquire) & bit) {
    std::memcpy(out, s.base + block * kBlockBytes, kBlockBytes);
    s.taking[block / 64].fetch_and(~bit, std::memory_order_release);
    s.toTake.fetch_sub(1);
    return true;
  }
  const std::lock_guard<std::mutex> guard(s.savedMutex);
  const auto found = s.saved.find(block);
  if (found == s.saved.end()) return false;
  std::memcpy(out, found->second.get(), kBlockBytes);
  s.saved.erase(found);
  return true;
}

void Region::restore(uint32_t section, const uint32_t* pages, uint64_t count, uint64_t kept) {
  Section& s = sections_[section];
  forgetSnapshot(section);
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t bit = 1ull << (pages[i] % 64);
    if (pages[i] * kPageBytes >= s.kept) continue;  // it was discarded meanwhile
    if (!(s.dirty[pages[i] / 64].fetch_or(bit, std::memory_order_relaxed) & bit)) dirtyCount_.fetch_add(1);
  }
  s.kept = std::min(s.kept, kept);
}

void Region::forgetSnapshot(uint32_t section) {
  Section& s = sections_[section];
  for (uint64_t w = 0; w * 64 < s.takenEnd; w++) {
    const uint64_t before = s.taking[w].exchange(0);
    s.toTake.fetch_sub(static_cast<uint64_t>(__builtin_popcountll(before)));
  }
  s.takenEnd = 0;
  const std::lock_guard<std::mutex> guard(s.savedMutex);
  s.saved.clear();
}

void Region::dropPages(uint32_t section, const uint32_t* pages, uint64_t count) {
  Section& s = sections_[section];
  for (uint64_t i = 0; i < count;) {  // runs of neighbouring pages within one extent, one call each
    const uint64_t at = pages[i] * kPageBytes;
    const Extent* e = isDirty(s, pages[i]) ? nullptr : extentOf(s, at);
    uint64_t run = 1;
    while (i + run < count && e && pages[i + run] == pages[i] + run && !isDirty(s, pages[i + run]) &&
           (pages[i] + run) * kPageBytes < e->at + e->bytes)
      run++;
    if (e) platform::dropPrivate(s.base + at, run * kPageBytes, e->fd, e->fileOffset + (at - e->at));
    i += run;
  }
}

uint64_t Region::residentBytes(uint32_t section) const {
  const Section& s = sections_[section];
  uint64_t end = s.touched.load();
  for (const Extent& e : s.extents) end = std::max(end, e.at + e.bytes);
  return platform::residentPages(s.base, roundUp(end, kPageBytes)) * kPageBytes;
}

uint64_t Region::residentBytes() const {
  uint64_t bytes = 0;
  for (uint32_t section = 0; section < sections_.size(); section++) bytes += residentBytes(section);
  return bytes;
}

}  // namespace hebb
