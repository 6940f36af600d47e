// Mapped memory: sections that are contiguous ranges of addresses which never move.
//
// A section is backed by extents of a file, mapped privately and copy-on-write, and past them by
// zeros. Writing therefore never touches the file: a checkpoint takes the changed blocks as they are at
// one moment, writes them, and gives the private copies back. Whoever writes says so first (`touch`),
// which also verifies the block's checksum, so that rot is never sealed under a fresh one, and keeps a
// copy of a block that a checkpoint has not taken yet.
//
// Where the file ends before what is mapped, or the disk fails, pages are lost (lost-pages.hpp): zeros
// stand in their place. From the first one on the region is of no more use: `ensure` and `touch` say
// false whatever they are asked, and whoever reads looks at `lost` before the result is believed. Code
// that reads here therefore has to bear zeros anywhere and at any moment, also where it looked before.
//
// Addresses stay as long as anybody computes with them: a graph shares the region, and every task off the main thread
// shares the graph, so that closing only lets go, and the last of them unmaps. Within, what is given back
// (`dropPages`), cut off (`discard`) or mapped anew keeps its addresses too, and reads as the same bytes: those of the
// file, or zeros behind the last record, which nothing refers to.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace hebb {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kBlockBytes = 65536;

constexpr uint64_t roundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// A block whose bytes do not have the checksum that was stated for it; or, with a reason, bytes at
// `offset` of a section that contradict themselves though the checksum holds.
struct BlockFault {
  uint32_t section;
  uint64_t block;
  uint32_t expected;
  uint32_t computed;
  uint64_t offset;
  const char* reason;
  bool lost = false;  // the bytes could not be read at all
};

class Region {
 public:
  // Null sections where address space was refused: see valid().
  explicit Region(const std::vector<uint64_t>& reserveBytes);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  bool valid() const { return valid_; }
  uint32_t sectionCount() const { return static_cast<uint32_t>(sections_.size()); }
  uint64_t reserved(uint32_t section) const { return sections_[section].reserved; }
  uint8_t* base(uint32_t section) const { return sections_[section].base; }

  // Backs a range with a file. What was there is gone, but for pages that were changed since the last
  // snapshot: they keep their bytes. Nobody may write there meanwhile; reading goes on.
  bool map(uint32_t section, uint64_t at, uint64_t bytes, int fd, uint64_t fileOffset);
  void load(uint32_t section, uint64_t at, const uint8_t* bytes, uint64_t count);
  void expectChecksums(uint32_t section, uint64_t firstBlock, const uint32_t* checksums, uint64_t count);
  uint32_t checksumOf(uint32_t section, uint64_t block) const;

  // Before reading: true when every block of the range has its checksum, each verified once.
  // After false, fault() names the block.
  bool ensure(uint32_t section, uint64_t at, uint64_t bytes) {
    return sections_[section].suspects.load(std::memory_order_relaxed) == 0 || verify(section, at, bytes);
  }

  // Whether blocks are left in a section that nobody has touched since they were stated.
  bool hasUntouched(uint32_t section) const { return sections_[section].suspects.load(std::memory_order_relaxed) != 0; }
  // Whether the blocks of a range were all touched, so that they are in memory, or were.
  bool isTouched(uint32_t section, uint64_t at, uint64_t bytes) const;
  // Starts to read those blocks of a range that nobody has touched yet, each once: no more calls of the system than
  // there are blocks.
  void ask(uint32_t section, uint64_t at, uint64_t bytes) {
    if (hasUntouched(section)) askFor(section, at, bytes);
  }
  // Blocks that were stated, and those of them that were touched since.
  struct Blocks {
    uint64_t all, touched;
  };
  Blocks blocks() const;

  // Before writing: verifies, marks the pages as changed, and saves what a snapshot has still to take.
  bool touch(uint32_t section, uint64_t at, uint64_t bytes);

  // Gives up the section's bytes from `from`, a whole block, to its end: zeros from now on, neither
  // dirty nor suspect nor backed by a file, and their memory is free. Other threads may be reading
  // there; nobody may write there, nor map or drop meanwhile. False with errno set: nothing changed.
  bool discard(uint32_t section, uint64_t from);

  // Bytes from the section's start that no discard reached since the last snapshot.
  uint64_t kept(uint32_t section) const { return sections_[section].kept; }

  // ---- one moment of a section, taken block by block while writers go on ----

  // The changed pages, ascending, which count as unchanged from now on; so do discards. Their blocks can be
  // taken as they are now, until the next snapshot. No thread may be between a touch and its writing.
  std::vector<uint32_t> snapshot(uint32_t section);
  // More blocks of the same moment; right after `snapshot`.
  void include(uint32_t section, uint64_t firstBlock, uint64_t blocks);
  // A block as it was at that moment, once; false where it is not, or not any more, one of the snapshot's.
  bool take(uint32_t section, uint64_t block, uint8_t* out);
  // Where what was taken came to nothing: the pages are changed again, and the discard before holds again.
  void restore(uint32_t section, const uint32_t* pages, uint64_t count, uint64_t kept);
  // Lets go of what nobody took.
  void forgetSnapshot(uint32_t section);

  // Remembers a fault that a reader of the bytes found.
  void refuse(uint32_t section, uint64_t offset, const char* reason);

  // The first page that was lost; else the last fault that was found.
  BlockFault fault() const;

  // Whether a page was lost: then nothing that was read since counts.
  bool lost() const {
    std::atomic_thread_fence(std::memory_order_acquire);  // a look that comes after all that was read
    return loss_.load(std::memory_order_relaxed) != 0;
  }
  // A page is about to be replaced by zeros. Called by a signal handler.
  void lose(uint32_t section, uint64_t offset);

  std::vector<uint32_t> dirtyPages(uint32_t section) const;
  // Pages of all sections that were changed since their last snapshot.
  uint64_t dirtyCount() const { return dirtyCount_.load(std::memory_order_relaxed); }
  // Gives the private copies of pages back that were not changed since the last snapshot and are backed by
  // a file, which has their content by now. Nobody may write there meanwhile; reading goes on.
  void dropPages(uint32_t section, const uint32_t* pages, uint64_t count);
  // Bytes of a section that are in memory now; of all of them.
  uint64_t residentBytes(uint32_t section) const;
  uint64_t residentBytes() const;

 private:
  struct Extent {
    uint64_t at, bytes, fileOffset;
    int fd;
  };
  struct Section {
    uint8_t* base = nullptr;
    uint64_t reserved = 0;
    uint64_t kept = 0;
    bool watched = false;                      // for pages that are lost: once a file is mapped
    uint64_t stated = 0;                       // bytes from the start within which blocks may be suspect
    std::atomic<uint64_t>* dirty = nullptr;    // a bit a page
    std::atomic<uint64_t>* suspect = nullptr;  // a bit a block that has not been verified yet
    std::atomic<uint64_t>* asked = nullptr;    // a bit a block that is being read, or was
    std::atomic<uint64_t>* taking = nullptr;   // a bit a block that the snapshot has not given out yet
    uint32_t* expected = nullptr;              // a checksum a block
    std::atomic<uint64_t> suspects{0};         // bits set in `suspect`; for ever one more once a page was lost
    std::atomic<uint64_t> touched{0};          // bytes from the start within which pages may be dirty
    std::atomic<uint64_t> toTake{0};           // bits set in `taking`
    uint64_t takenEnd = 0;                     // blocks from the start within which such bits may be
    std::vector<Extent> extents;
    std::mutex savedMutex;
    std::unordered_map<uint64_t, std::unique_ptr<uint8_t[]>> saved;  // blocks that changed before they were taken
  };

  bool verify(uint32_t section, uint64_t at, uint64_t bytes);
  void askFor(uint32_t section, uint64_t at, uint64_t bytes);
  void save(Section& s, uint64_t block);
  bool isDirty(const Section& s, uint64_t page) const {
    return s.dirty[page / 64].load(std::memory_order_relaxed) >> (page % 64) & 1;
  }
  static void forgetExtents(Section& s, uint64_t at, uint64_t end);
  const Extent* extentOf(const Section& s, uint64_t at) const;

  static constexpr uint64_t kTurns = 64;
  static constexpr uint32_t kOffsetBits = 48;

  std::vector<Section> sections_;
  bool valid_ = true;
  std::mutex turns_[kTurns];  // by block number: who sums a block up, saves it or takes it
  std::atomic<uint64_t> dirtyCount_{0};
  mutable std::mutex faultMutex_;
  BlockFault fault_{};
  std::atomic<uint64_t> stated_{0};  // blocks that have a checksum
  std::atomic<uint64_t> loss_{0};    // where the first page was lost: its section, counted from 1, above the offset
};

}  // namespace hebb
