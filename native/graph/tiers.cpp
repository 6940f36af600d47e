#include "tiers.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <thread>

namespace hebb {
namespace {

constexpr uint32_t kMagic = 0x52495448;  // "HTIR"
constexpr uint32_t kFormat = 1;
constexpr uint32_t kHot = static_cast<uint32_t>(Tier::kHot);
constexpr uint32_t kCool = static_cast<uint32_t>(Tier::kCool);

// A section is squeezed once this share of its slots is free.
constexpr uint32_t kFreeShare = 4;
// Records that are moved before others may have the mutex.
constexpr size_t kTogether = 1024;

uint32_t load(const uint32_t* p) {
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}
void add(uint32_t* p, int32_t by) {
  __atomic_fetch_add(p, static_cast<uint32_t>(by), __ATOMIC_RELAXED);
}

}  // namespace

Tiers::Tiers(Region& region, const Shape& shape) : region_(region), shape_(shape) {
  bytes_[kHot] = shape.vectorStride;
  for (uint32_t t = kHot + 1; t < kTiers; t++) bytes_[t] = recordBytes(static_cast<Tier>(t), shape.dimensions);
  half_ = halfCodec(shape.dimensions, shape.metric);
}

uint64_t Tiers::codebooksBytes(uint32_t dimensions) {
  return kBlockBytes + kVersions * roundUp(Codebook::bytes(dimensions), kPageBytes);
}

uint8_t* Tiers::blockOf(uint32_t version) const {
  return region_.base(shape_.codebooks) + kBlockBytes +
         version * roundUp(Codebook::bytes(shape_.dimensions), kPageBytes);
}

bool Tiers::touchHead() {
  return region_.touch(shape_.codebooks, 0, sizeof(TiersHead));
}

bool Tiers::attach(uint32_t nodes, const char** error, bool* reset) {
  nodes_ = nodes;
  *reset = false;
  if (!region_.ensure(shape_.codebooks, 0, sizeof(TiersHead))) {
    *error = "checksum";
    if (!shape_.keepOriginals) return false;
    *reset = true;
    return resetAll(nodes, nullptr);
  }
  TiersHead* h = head();
  if (h->magic == 0) return begin(nullptr);
  uint64_t users = 0, elsewhere = 0;
  for (uint32_t v = 0; v < kVersions; v++) users += h->users[v];
  for (uint32_t t = kHot + 1; t < kTiers; t++) elsewhere += h->counts[t];
  bool lost = false, sound = h->magic == kMagic && h->version == kFormat && h->current <= kVersions &&
                             h->keepsOriginals == (shape_.keepOriginals ? 1u : 0u) && elsewhere <= nodes &&
                             users <= nodes;
  for (uint32_t t = 0; t < kTiers; t++) {
    sound = sound && uint64_t(h->used[t]) * bytes_[t] <= region_.reserved(shape_.sections[t]);
  }
  if (!sound) {
    *error = "the head of section codebooks contradicts the graph";
    return false;
  }
  for (uint32_t v = 0; v < kVersions; v++) {
    if (h->order[v] == 0) continue;
    const char* reason = nullptr;
    const uint64_t at = static_cast<uint64_t>(blockOf(v) - region_.base(shape_.codebooks));
    if (region_.ensure(shape_.codebooks, at, Codebook::bytes(shape_.dimensions)))
      owned_[v] = Codebook::open(blockOf(v), shape_.dimensions, shape_.metric, &reason);
    books_[v] = owned_[v].get();
    lost = lost || !owned_[v];  // used or not: the next one could not be written over what is damaged
  }
  noteCompressed();
  if (lost && shape_.keepOriginals) {
    *reset = true;
    double notes[std::size(h->notes)];
    std::memcpy(notes, h->notes, sizeof notes);
    return resetAll(nodes, notes);
  }
  return true;
}

// A head that knows of nothing but the engine's notes, where there are some.
bool Tiers::begin(const double* notes) {
  if (!touchHead()) return false;
  TiersHead* h = head();
  if (notes) std::memcpy(h->notes, notes, sizeof h->notes);
  h->magic = kMagic;
  h->version = kFormat;
  h->keepsOriginals = shape_.keepOriginals;
  return true;
}

// Every vector is hot again: what the other tiers hold cannot be read, and the originals are there.
bool Tiers::resetAll(uint32_t nodes, const double* notes) {
  for (uint32_t node = 0; node < nodes; node++) {
    if (!ensurePlace(node)) return false;
    if (where(node).tier != kHot && !setWhere(node, {})) return false;
  }
  for (uint32_t t = kHot + 1; t < kTiers; t++) {
    if (!region_.discard(shape_.sections[t], 0)) return false;
  }
  for (uint32_t v = 0; v < kVersions; v++) {
    books_[v] = nullptr;
    owned_[v] = nullptr;
  }
  if (!region_.discard(shape_.codebooks, 0) || !begin(notes)) return false;
  noteCompressed();
  return true;
}

void Tiers::noteCompressed() {
  const TiersHead* h = head();
  bool any = false;
  for (uint32_t t = kHot + 1; t < kTiers; t++) any = any || load(&h->used[t]) > 0;
  compressed_.store(any, std::memory_order_relaxed);
}

bool Tiers::sound(uint32_t node, const Where& w) {
  const char* reason = nullptr;
  if (w.tier >= kTiers || w.version >= kVersions) reason = "a place names a tier or a codebook that does not exist";
  else if (w.tier == kHot && shape_.keepOriginals) reason = w.slot == 0 ? nullptr : "a place in tier hot names a slot";
  else if (w.slot == 0 || w.slot > load(&head()->used[w.tier])) reason = "a place names a slot that does not exist";
  if (!reason) return true;
  region_.refuse(shape_.places, node * sizeof(Place), reason);
  return false;
}

bool Tiers::countBy(const Where& w, int32_t by) {
  if (!touchHead()) return false;
  add(&head()->counts[w.tier], by);
  if (w.tier >= kCool) add(&head()->users[w.version], by);
  return true;
}

uint32_t Tiers::count(Tier tier) const {
  return load(&head()->counts[static_cast<uint32_t>(tier)]);
}

bool Tiers::setWhere(uint32_t node, const Where& w) {
  if (!region_.touch(shape_.places, node * sizeof(Place), sizeof(Place))) return false;
  __atomic_store_n(reinterpret_cast<uint64_t*>(&place(node)->where), std::bit_cast<uint64_t>(w), __ATOMIC_RELEASE);
  return true;
}

bool Tiers::settle(uint32_t node, float norm, float heat) {
  Where w{0, kHot, 0, 0};
  if (!shape_.keepOriginals) {
    w.slot = take(Tier::kHot);
    if (w.slot == 0) return false;
  }
  const std::lock_guard<std::mutex> guard(mutex_);
  nodes_ = std::max(nodes_, node + 1);
  if (!region_.touch(shape_.places, node * sizeof(Place), sizeof(Place))) return false;
  place(node)->norm = norm;
  place(node)->heat = heat;
  return setWhere(node, w);
}

bool Tiers::leave(uint32_t node) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!ensurePlace(node)) return false;
  const Where w = where(node);
  if (w.slot == 0) return true;
  if (!sound(node, w) || !region_.touch(shape_.places, node * sizeof(Place), sizeof(Place))) return false;
  giveBackLocked(static_cast<Tier>(w.tier), w.slot);
  *place(node) = Place{};
  return true;
}

bool Tiers::uncount(uint32_t node) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!ensurePlace(node)) return false;
  const Where w = where(node);
  if (!sound(node, w)) return false;
  return w.tier == kHot || countBy(w, -1);
}

bool Tiers::setHeat(uint32_t node, float heat) {
  if (!region_.touch(shape_.places, node * sizeof(Place), sizeof(Place))) return false;
  place(node)->heat = heat;
  return true;
}

// Which slots a place names, by tier. False on a fault, and where two places name one slot.
bool Tiers::takenSlots(uint32_t nodes, std::vector<uint8_t>* taken) {
  for (uint32_t t = 0; t < kTiers; t++) taken[t].assign(uint64_t(head()->used[t]) + 1, 0);
  if (nodes > 0 && !region_.ensure(shape_.places, 0, nodes * sizeof(Place))) return false;
  for (uint32_t node = 0; node < nodes; node++) {
    const Where w = where(node);
    if (w.slot == 0) continue;
    if (!sound(node, w)) return false;
    if (taken[w.tier][w.slot]) {
      region_.refuse(shape_.places, node * sizeof(Place), "two places name one slot");
      return false;
    }
    taken[w.tier][w.slot] = 1;
  }
  return true;
}

bool Tiers::scanSlots(uint32_t nodes) {
  std::vector<uint8_t> taken[kTiers];
  if (!takenSlots(nodes, taken)) return false;
  for (uint32_t t = 0; t < kTiers; t++) {
    for (const uint32_t slot : left_[t]) {  // a search may be reading it still
      if (slot < taken[t].size()) taken[t][slot] = 1;
    }
    for (uint32_t slot = head()->used[t]; slot > 0; slot--) {
      if (!taken[t][slot]) free_[t].push_back(slot);
    }
  }
  known_ = true;
  return true;
}

bool Tiers::check(uint32_t nodes) {
  const std::lock_guard<std::mutex> guard(mutex_);
  std::vector<uint8_t> taken[kTiers];
  return takenSlots(nodes, taken);
}

bool Tiers::readable(uint32_t node) {
  if (!ensurePlace(node)) return false;
  const Where w = where(node);
  if (!sound(node, w)) return false;
  if (w.tier == kHot) return shape_.keepOriginals || record(w);
  if (!record(w)) return false;
  if (codec(w)) return true;
  region_.refuse(shape_.places, node * sizeof(Place), "the codebook that a vector was encoded with is damaged");
  return false;
}

uint32_t Tiers::take(Tier tier) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!known_ && !scanSlots(nodes_)) return 0;
  const uint32_t t = static_cast<uint32_t>(tier);
  uint32_t slot;
  if (!free_[t].empty()) {
    slot = free_[t].back();
    free_[t].pop_back();
  } else {
    if (!touchHead()) return 0;
    const uint64_t end = (uint64_t(head()->used[t]) + 1) * bytes_[t];
    if (end > region_.reserved(shape_.sections[t])) {
      region_.refuse(shape_.sections[t], end, "no slot is free in a tier: no pause between searches gave any back");
      return 0;
    }
    add(&head()->used[t], 1);
    slot = head()->used[t];
  }
  if (region_.touch(shape_.sections[t], (slot - 1) * bytes_[t], bytes_[t])) return slot;
  giveBackLocked(tier, slot);
  return 0;
}

void Tiers::giveBack(Tier tier, uint32_t slot) {
  const std::lock_guard<std::mutex> guard(mutex_);
  giveBackLocked(tier, slot);
}

void Tiers::giveBackLocked(Tier tier, uint32_t slot) {
  left_[static_cast<uint32_t>(tier)].push_back(slot);
}

bool Tiers::moveLocked(uint32_t node, const Where& from, const Where& to) {
  if (!countBy(from, from.tier == kHot ? 0 : -1) || !countBy(to, to.tier == kHot ? 0 : 1)) return false;
  if (to.tier != kHot) compressed_.store(true, std::memory_order_relaxed);
  if (!setWhere(node, to)) return false;
  if (from.slot) giveBackLocked(static_cast<Tier>(from.tier), from.slot);
  return true;
}

bool Tiers::rest(uint32_t nodes) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!known_) {
    if (!compressed() && shape_.keepOriginals) return true;
    if (!scanSlots(nodes)) return false;
  }
  for (uint32_t t = 0; t < kTiers; t++) {
    std::vector<uint32_t>& free = free_[t];
    free.insert(free.end(), left_[t].begin(), left_[t].end());
    left_[t].clear();
    std::sort(free.begin(), free.end(), std::greater<uint32_t>());
    const uint32_t before = head()->used[t];
    uint32_t used = before;
    size_t ended = 0;
    for (; ended < free.size() && free[ended] == used; ended++) used--;
    if (ended == 0) continue;
    free.erase(free.begin(), free.begin() + static_cast<std::ptrdiff_t>(ended));
    if (!touchHead()) return false;
    __atomic_store_n(&head()->used[t], used, __ATOMIC_RELAXED);
    if (!region_.discard(shape_.sections[t], roundUp(used * bytes_[t], kBlockBytes))) return false;
  }
  noteCompressed();
  return true;
}

bool Tiers::squeeze(uint32_t nodes, bool all) {
  std::unique_lock<std::mutex> guard(mutex_);
  if (!known_ && !scanSlots(nodes)) return false;
  for (uint32_t t = shape_.keepOriginals ? kHot + 1 : kHot; t < kTiers; t++) {
    std::vector<uint32_t>& free = free_[t];
    uint32_t last = head()->used[t];
    if (free.size() * (all ? uint64_t(last) + 1 : kFreeShare) <= last) continue;
    std::vector<uint32_t> owner(uint64_t(last) + 1, 0xffffffffu);
    if (!region_.ensure(shape_.places, 0, nodes * sizeof(Place))) return false;
    for (uint32_t node = 0; node < nodes; node++) {
      const Where w = where(node);
      if (w.tier == t && w.slot > 0 && w.slot <= last) owner[w.slot] = node;
    }
    for (;; last--) {
      while (last > 0 && owner[last] == 0xffffffffu) last--;
      if (last == 0 || free.empty() || free.back() >= last) break;
      const uint32_t node = owner[last], slot = free.back();
      Where w = where(node);
      if (w.tier != t || w.slot != last) {  // it left while the mutex was free
        owner[last] = 0xffffffffu;
        continue;
      }
      const uint8_t* from = record(w);
      const uint64_t at = (slot - 1) * bytes_[t];
      if (!from || !region_.touch(shape_.sections[t], at, bytes_[t])) return false;
      std::memcpy(region_.base(shape_.sections[t]) + at, from, bytes_[t]);
      free.pop_back();
      w.slot = slot;
      if (!setWhere(node, w)) return false;
      left_[t].push_back(last);
      if (left_[t].size() % kTogether == 0) {  // writers wait for the mutex on the caller's thread
        guard.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        guard.lock();
      }
    }
  }
  return true;
}

uint32_t Tiers::current() const {
  const uint32_t current = head()->current;
  return current > 0 && books_[current - 1].load(std::memory_order_acquire) ? current - 1 : kVersions;
}

uint32_t Tiers::spare(bool searching) const {
  uint32_t best = kVersions;
  for (uint32_t v = 0; v < kVersions; v++) {
    if (load(&head()->users[v]) > 0 || head()->current == v + 1 || (searching && books_[v].load())) continue;
    if (head()->order[v] > 0 && !books_[v].load()) continue;  // damaged: cannot be written over
    if (best == kVersions || head()->order[v] < head()->order[best]) best = v;
  }
  return best;
}

bool Tiers::install(uint32_t version, const uint8_t* block) {
  const uint64_t at = static_cast<uint64_t>(blockOf(version) - region_.base(shape_.codebooks));
  const uint64_t bytes = Codebook::bytes(shape_.dimensions);
  if (!touchHead() || !region_.touch(shape_.codebooks, at, bytes)) return false;
  std::memcpy(blockOf(version), block, bytes);
  const char* reason = nullptr;
  std::unique_ptr<Codebook> book = Codebook::open(blockOf(version), shape_.dimensions, shape_.metric, &reason);
  if (!book) {
    region_.refuse(shape_.codebooks, at, reason ? reason : "a codebook cannot be read");
    return false;
  }
  TiersHead* h = head();
  books_[version].store(book.get(), std::memory_order_release);
  owned_[version] = std::move(book);
  h->order[version] = *std::max_element(h->order, h->order + kVersions) + 1;
  h->current = version + 1;
  return true;
}

}  // namespace hebb
