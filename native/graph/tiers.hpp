// Where each vector is: its place, the slots of the tiers' sections, and the codebooks.
//
// A node's place names its tier and a slot there. The original stays in section `vectors`, at the node's own
// number, whatever its tier; or, where originals are not kept, `vectors` is a tier like the others, whose slot
// the vector leaves with it. A place changes in one atomic step, after the new record is whole, and a slot
// that was left is not used again while any search runs that may have read the old place.
//
// Threads: places are read by all; they are changed under one mutex. `rest` runs where no search of this
// thread does: the engine's.
#pragma once

#include <atomic>
#include <bit>
#include <memory>
#include <mutex>
#include <vector>

#include "../map/region.hpp"
#include "../quantize/codebook.hpp"

namespace hebb {

// Codebooks that may be in use at once: records of an older one stay readable until they are encoded again.
constexpr uint32_t kVersions = 4;

struct alignas(8) Where {  // read and replaced as one
  uint32_t slot;           // counted from 1; 0 in tier hot where originals are kept
  uint8_t tier;            // a Tier
  uint8_t version;         // of the codebook, where the tier's codec has one
  int16_t exponent;        // what the record decodes to is multiplied with 2^exponent
};
static_assert(sizeof(Where) == 8);

struct Place {  // a node's record in section `places`
  Where where;
  float norm;  // under cosine; what the record decodes to has unit length
  float heat;  // the engine's (model/heat.ts)
};
static_assert(sizeof(Place) == 16);

struct TiersHead {  // the start of section `codebooks`; the codebooks follow from block 1 on
  uint32_t magic, version;
  uint32_t keepsOriginals;
  uint32_t current;           // codebook to encode with, counted from 1; 0: none yet
  uint32_t counts[kTiers];    // live nodes; of tier hot none: it has those that are not elsewhere
  uint32_t used[kTiers];      // slots below this were used
  uint32_t users[kVersions];  // live nodes by codebook
  uint32_t order[kVersions];  // when each codebook was trained, counted from 1; 0: never
  double notes[8];            // the engine's
};
static_assert(sizeof(TiersHead) == 16 + 2 * 4 * kTiers + 2 * 4 * kVersions + 64);

class Tiers {
 public:
  struct Shape {
    uint32_t dimensions;
    Metric metric;
    bool keepOriginals;
    uint64_t vectorStride;  // of a record in tier hot
    // The region's sections: kHot is that of `vectors`.
    uint32_t places, sections[kTiers], codebooks;
  };

  Tiers(Region& region, const Shape& shape);
  static uint64_t codebooksBytes(uint32_t dimensions);

  // Reads what the region holds. False with the reason, or "checksum". Where a codebook or the head is damaged
  // and originals are kept, every vector is hot again, and `reset` is set.
  bool attach(uint32_t nodes, const char** error, bool* reset);

  bool keepsOriginals() const { return shape_.keepOriginals; }
  // Whether any vector is elsewhere than in tier hot.
  bool compressed() const { return compressed_.load(std::memory_order_relaxed); }

  Place* place(uint32_t node) const { return reinterpret_cast<Place*>(region_.base(shape_.places)) + node; }
  bool ensurePlace(uint32_t node) { return region_.ensure(shape_.places, node * sizeof(Place), sizeof(Place)); }
  Where where(uint32_t node) const {
    const uint64_t bits = __atomic_load_n(reinterpret_cast<const uint64_t*>(&place(node)->where), __ATOMIC_ACQUIRE);
    return std::bit_cast<Where>(bits);
  }
  uint64_t recordBytesOf(Tier tier) const { return bytes_[static_cast<uint32_t>(tier)]; }
  // A record, verified; null on a fault.
  uint8_t* record(const Where& w) {
    const uint32_t t = w.tier;
    const uint64_t at = offsetOf(w);
    return region_.ensure(shape_.sections[t], at, bytes_[t]) ? region_.base(shape_.sections[t]) + at : nullptr;
  }
  // Where a record is, for prefetching: not verified.
  const uint8_t* address(const Where& w) const { return region_.base(shape_.sections[w.tier]) + offsetOf(w); }
  // Starts to read a record.
  void ask(const Where& w) { region_.ask(shape_.sections[w.tier], offsetOf(w), bytes_[w.tier]); }
  // Null where its codebook is damaged.
  const Codec* codec(const Where& w) const {
    if (w.tier == static_cast<uint8_t>(Tier::kWarm)) return half_.get();
    const Codebook* book = w.version < kVersions ? books_[w.version].load(std::memory_order_acquire) : nullptr;
    return book ? &book->codec(static_cast<Tier>(w.tier)) : nullptr;
  }
  // A place that damage wrote names a tier, a version or a slot that does not exist: false, with a fault.
  bool sound(uint32_t node, const Where& w);

  // Whether a place, its record and its codebook can be read; else a fault.
  bool readable(uint32_t node);
  // Whether all places can be read and no two name one slot; else a fault.
  bool check(uint32_t nodes);

  // A new node in tier hot; where originals are not kept, it gets a slot there.
  bool settle(uint32_t node, float norm, float heat);
  // A number that is free again gives back what it had.
  bool leave(uint32_t node);
  // A node is no longer live: it does not count any more.
  bool uncount(uint32_t node);
  bool setHeat(uint32_t node, float heat);

  // A slot in a tier, its record ready to be written (1-based), or 0 on a fault.
  uint32_t take(Tier tier);
  void giveBack(Tier tier, uint32_t slot);
  // Moves a node that is still at `from` to `to`. False on a fault; `moved` says whether it was still there.
  template <typename Live>
  bool move(uint32_t node, const Where& from, const Where& to, Live live, bool* moved) {
    const std::lock_guard<std::mutex> guard(mutex_);
    *moved = std::bit_cast<uint64_t>(where(node)) == std::bit_cast<uint64_t>(from) && live();
    if (*moved) return moveLocked(node, from, to);
    if (to.slot) giveBackLocked(static_cast<Tier>(to.tier), to.slot);
    return true;
  }

  // Slots that were left are free, and sections end behind the last one in use. Only while no search runs.
  bool rest(uint32_t nodes);
  // Moves records from the end of a section into free slots, so that it can shrink. `all`: also where few are free.
  bool squeeze(uint32_t nodes, bool all);

  uint32_t count(Tier tier) const;
  TiersHead* head() const { return reinterpret_cast<TiersHead*>(region_.base(shape_.codebooks)); }
  bool touchHead();
  // The codebook to encode with, or kVersions.
  uint32_t current() const;
  // A codebook that nobody uses and may be trained anew: the oldest; or kVersions.
  uint32_t spare(bool searching) const;
  // Takes a trained codebook into use.
  bool install(uint32_t version, const uint8_t* block);

 private:
  // In its section. A place that turned into zeros where it was sound before names the first slot: it is not believed.
  uint64_t offsetOf(const Where& w) const { return (w.slot ? w.slot - 1 : 0) * bytes_[w.tier]; }
  bool begin(const double* notes);
  bool resetAll(uint32_t nodes, const double* notes);
  bool moveLocked(uint32_t node, const Where& from, const Where& to);
  void giveBackLocked(Tier tier, uint32_t slot);
  bool countBy(const Where& w, int32_t by);
  bool setWhere(uint32_t node, const Where& w);
  bool takenSlots(uint32_t nodes, std::vector<uint8_t>* taken);
  bool scanSlots(uint32_t nodes);
  uint8_t* blockOf(uint32_t version) const;
  void noteCompressed();

  Region& region_;
  Shape shape_;
  uint64_t bytes_[kTiers];
  std::unique_ptr<Codec> half_;
  std::atomic<Codebook*> books_[kVersions] = {};
  std::unique_ptr<Codebook> owned_[kVersions];
  std::atomic<bool> compressed_{false};

  std::mutex mutex_;
  bool known_ = false;                  // free slots were looked for
  uint32_t nodes_ = 0;                  // as of the last look
  std::vector<uint32_t> free_[kTiers];  // descending: the lowest is taken first
  std::vector<uint32_t> left_[kTiers];  // not free yet: see rest
};

}  // namespace hebb
