// Looking for what no healthy graph has, under checksums that hold: rows, lists, counts and vectors against each
// other. Reads and changes nothing; whatever the bytes are, nothing outside the sections is touched. Blocks
// without their checksum are passed over, for whoever reads the file names them; what follows from them is not judged.
#include "check.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <initializer_list>

#include "distance.hpp"

namespace hebb {
namespace {

// Faults of one kind that are told one by one; the rest is counted.
constexpr uint32_t kListed = 20;
// Rows whose codes are made anew to compare: those of large graphs are sampled, evenly.
constexpr uint32_t kCodedRows = 4096;

// f16: no number, and beyond 4.
constexpr uint16_t kHalfMagnitude = 0x7fff, kHalfFour = 0x4400;

std::string words(std::initializer_list<const char*> texts, std::initializer_list<uint64_t> numbers) {
  std::string out;
  auto number = numbers.begin();
  for (const char* text : texts) {
    out += text;
    if (number != numbers.end()) out += std::to_string(*number++);
  }
  return out;
}

bool twice(const uint32_t* ids, uint32_t count, std::vector<uint32_t>& room) {
  room.assign(ids, ids + count);
  std::sort(room.begin(), room.end());
  return std::adjacent_find(room.begin(), room.end()) != room.end();
}

}  // namespace

GraphCheck::GraphCheck(Graph& graph) : g_(graph), n_(graph.nodes()), in_(n_, 0), linked_(n_, false) {}

void GraphCheck::fault(Kind kind, uint32_t section, uint64_t offset, uint32_t node, std::string text) {
  Rest& rest = rests_[kind];
  rest.section = section;
  if (kind == kRecords) unreadable_.push_back(node);
  if (rest.listed == kListed) {
    rest.more++;
    return;
  }
  rest.listed++;
  faults_.push_back({section, offset, node, std::move(text)});
}

void GraphCheck::rowFault(Kind kind, uint32_t node, uint64_t at, std::string text) {
  fault(kind, kRows, node * g_.layout_.stride + at, node, words({"node "}, {node}) + text);
}

void GraphCheck::run() {
  if (!g_.region_->ensure(kState, 0, n_) || !g_.region_->ensure(kHead, 0, sizeof(Head))) return;
  states();
  for (uint32_t node = 0; node < n_; node++) row(node);
  if (whole_ && rests_[kLinks].listed == 0) {
    inDegrees();
    reach();
  }
  uppers();
  for (uint32_t node = 0; node < n_; node++) {
    if (g_.state(node) & kLive) vector(node);
  }
  tiers();
  codes();
  for (const Rest& rest : rests_) {
    if (rest.more > 0) faults_.push_back({rest.section, 0, kNone, words({"and ", " more of this kind"}, {rest.more})});
  }
}

void GraphCheck::states() {
  const Head* h = g_.head();
  uint32_t live = 0, dead = 0, linkedCount = 0;
  for (uint32_t node = 0; node < n_; node++) {
    const uint8_t s = g_.state(node);
    live += (s & kLive) != 0;
    dead += (s & kDead) != 0;
    linked_[node] = (s & kLinked) != 0;
    linkedCount += linked_[node];
    const bool one = ((s & kLive) != 0) != ((s & kDead) != 0);
    if (s != 0 && (s > 15 || !(s & kAllocated) || !one))
      fault(kStates, kState, node, node,
            words({"node ", ": its state is ", ", which is none; expected one in use and either live or deleted"},
                  {node, s}));
  }
  const auto counted = [&](const char* what, uint64_t said, uint64_t found, uint64_t at) {
    if (said != found)
      fault(kCounts, kHead, at, kNone,
            std::string("the head counts ") + std::to_string(said) + what + ", the states " + std::to_string(found));
  };
  counted(" live nodes", h->live, live, offsetof(Head, live));
  counted(" deleted nodes", h->dead, dead, offsetof(Head, dead));
  const uint32_t entry = static_cast<uint32_t>(h->entry);
  if ((entry == kNone) != (linkedCount == 0) || (entry != kNone && (entry >= n_ || !linked_[entry])))
    fault(kEntry, kHead, offsetof(Head, entry), kNone,
          words({"walks begin at node ", ", which is not one of the ", " linked nodes"}, {entry, linkedCount}));
}

void GraphCheck::row(uint32_t node) {
  const uint8_t s = g_.state(node);
  if (!g_.ensureRow(node)) {
    whole_ = false;
    return;
  }
  const Row* r = g_.row(node);
  const uint32_t most = 2 * g_.options_.m;
  if (r->sequence & 1)
    rowFault(kSequences, node, offsetof(Row, sequence),
             words({": its row says that it is being written (", ")"}, {r->sequence}));
  if (r->level > kMaxLevel) {
    rowFault(kLevels, node, offsetof(Row, level),
             words({" is on layer ", "; there are at most "}, {r->level, kMaxLevel}));
  }
  if (!(s & kLinked)) {
    if (r->degree != 0 || r->inDegree != 0)
      rowFault(kUnlinkedRows, node, 0,
               words({" is not in the graph, yet its row has ", " edges and ", " that lead to it"},
                     {r->degree, r->inDegree}));
    return;
  }
  if (r->degree > most) {
    rowFault(kLinks, node, offsetof(Row, degree),
             words({" has ", " neighbours; there is room for "}, {r->degree, most}));
    return;
  }
  const uint32_t* ids = g_.bottomIds(node);
  const uint16_t* biases = g_.biasesOf(node);
  for (uint32_t lane = 0; lane < r->degree; lane++) {
    const uint64_t at = sizeof(Row) + lane * sizeof(uint32_t);
    if (ids[lane] >= n_) {
      rowFault(kLinks, node, at, words({" names node ", "; there are "}, {ids[lane], n_}));
    } else if (ids[lane] == node) {
      rowFault(kLinks, node, at, " names itself as a neighbour");
    } else if (!linked_[ids[lane]]) {
      rowFault(kLinks, node, at, words({" names node ", ", which is not in the graph"}, {ids[lane]}));
    } else {
      in_[ids[lane]]++;
    }
    if ((biases[lane] & kHalfMagnitude) > kHalfFour)
      rowFault(kBiases, node, g_.layout_.biases + lane * sizeof(uint16_t),
               words({": the bias of its edge to node ", " is not a number from -4 to 4"}, {ids[lane]}));
  }
  if (twice(ids, r->degree, room_)) rowFault(kLinks, node, sizeof(Row), " names one neighbour twice");
}

void GraphCheck::inDegrees() {
  for (uint32_t node = 0; node < n_; node++) {
    if (!linked_[node]) continue;
    const uint32_t said = g_.row(node)->inDegree;
    if (said != in_[node])
      rowFault(kInDegrees, node, offsetof(Row, inDegree),
               words({": its row counts ", " edges that lead to it; there are "}, {said, in_[node]}));
  }
}

// By the bottom layer alone, as `reconnect` does.
void GraphCheck::reach() {
  const uint32_t entry = static_cast<uint32_t>(g_.head()->entry);
  if (entry >= n_) return;
  std::vector<bool> seen(n_, false);
  std::vector<uint32_t> queue{entry};
  seen[entry] = true;
  for (size_t i = 0; i < queue.size(); i++) {
    const Row* r = g_.row(queue[i]);
    const uint32_t* ids = g_.bottomIds(queue[i]);
    for (uint32_t lane = 0; lane < r->degree; lane++) {
      if (seen[ids[lane]]) continue;
      seen[ids[lane]] = true;
      queue.push_back(ids[lane]);
    }
  }
  for (uint32_t node = 0; node < n_; node++) {
    if (linked_[node] && (g_.state(node) & kLive) && !seen[node]) unreached_++;
  }
}

void GraphCheck::uppers() {
  const Head* h = g_.head();
  const uint64_t entries = h->upperEntries;
  const uint32_t m = g_.options_.m;
  std::vector<bool> owned(entries + 1, false);
  uint32_t top = 0;
  const auto levelOf = [&](uint32_t node) { return g_.ensureRow(node) ? g_.row(node)->level : uint8_t(0); };
  for (uint32_t node = 0; node < n_; node++) {
    if (!g_.ensureRow(node)) continue;
    const Row* r = g_.row(node);
    if (r->upper == 0 || r->level > kMaxLevel) {
      if (r->upper == 0 && g_.state(node) != 0)
        rowFault(kUppers, node, offsetof(Row, upper), " is in use, yet its row was never prepared");
      continue;
    }
    if (r->level == 0) continue;
    if (linked_[node]) top = std::max<uint32_t>(top, r->level);
    if (r->upper == kNone || r->upper + uint64_t(r->level) - 1 > entries) {
      rowFault(
          kUppers, node, offsetof(Row, upper),
          words({" has its upper lists at ", ", of layers up to ", "; there are "}, {r->upper, r->level, entries}));
      continue;
    }
    for (uint32_t level = 1; level <= r->level; level++) {
      const uint64_t entry = r->upper + uint64_t(level) - 1;
      if (owned[entry])
        rowFault(kUppers, node, offsetof(Row, upper), words({" shares list ", " with another node"}, {entry}));
      owned[entry] = true;
      const uint64_t at = entry * g_.upperStride_;
      if (at + g_.upperStride_ > g_.region_->reserved(kUpper)) continue;
      if (!linked_[node] || !g_.region_->ensure(kUpper, at, g_.upperStride_)) continue;
      const uint32_t* list = g_.upperList(node, level);
      const std::string where = words({"node ", ", layer ", ""}, {node, level});
      if (*list > m) {
        fault(kLists, kUpper, at, node,
              where + words({": its list has ", " neighbours; there is room for "}, {*list, m}));
        continue;
      }
      for (uint32_t i = 1; i <= *list; i++) {
        const uint32_t id = list[i];
        const uint64_t place = at + i * sizeof(uint32_t);
        if (id >= n_) {
          fault(kLists, kUpper, place, node, where + words({": its list names node ", "; there are "}, {id, n_}));
        } else if (id == node || !linked_[id] || levelOf(id) < level) {
          if (id != node && linked_[id] && !g_.ensureRow(id)) continue;  // nobody knows
          fault(kLists, kUpper, place, node,
                where + words({": its list names node ", ", which is itself, or not on that layer"}, {id}));
        }
      }
      if (twice(list + 1, *list, room_))
        fault(kLists, kUpper, at, node, where + ": its list names one neighbour twice");
    }
  }
  const uint32_t entry = static_cast<uint32_t>(h->entry);
  if (entry >= n_ || !linked_[entry] || !whole_) return;
  const uint64_t said = h->entry >> 32;
  if (said != g_.row(entry)->level || said != top)
    fault(kEntry, kHead, offsetof(Head, entry) + sizeof(uint32_t), entry,
          words({"walks begin on layer ", " at node ", ", which is on ", "; the topmost is "},
                {said, entry, g_.row(entry)->level, top}));
}

void GraphCheck::vector(uint32_t node) {
  const uint32_t d = g_.options_.dimensions;
  if (!g_.tiers_.ensurePlace(node)) return;
  const Where w = g_.tiers_.where(node);
  const bool cosine = g_.options_.metric == Metric::kCosine;
  const bool hot = w.tier == static_cast<uint8_t>(Tier::kHot);
  const float norm = g_.tiers_.place(node)->norm;
  if (g_.options_.keepOriginals || hot) {
    if (!g_.options_.keepOriginals && !g_.tiers_.sound(node, w)) return;  // told by whoever reads places
    if (!g_.ensureVector(node)) return;
    const uint64_t record = g_.options_.keepOriginals ? node : w.slot - 1;
    const float* v = reinterpret_cast<const float*>(g_.region_->base(kVectors) + record * g_.vectorStride_);
    const size_t bad = kernel->firstNonFinite(v, d);
    if (bad < d) {
      fault(kVectors_, kVectors, record * g_.vectorStride_ + bad * sizeof(float), node,
            words({"node ", ": value ", " of its vector is not a finite number"}, {node, bad}));
      lost_.push_back(node);
    } else if (cosine) {
      const float length = std::sqrt(kernel->dot(v, v, d));
      if (v[d] != 1.0f / length || norm != length)
        fault(kNorms, v[d] != 1.0f / length ? uint32_t(kVectors) : uint32_t(kPlaces),
              v[d] != 1.0f / length ? record * g_.vectorStride_ + d * sizeof(float) : node * sizeof(Place), node,
              words({"node ", ": the length that is kept is not its vector's"}, {node}));
    }
  }
  if (hot || !g_.tiers_.sound(node, w)) return;
  const uint8_t* bytes = g_.tiers_.record(w);
  const Codec* codec = g_.tiers_.codec(w);
  if (!bytes || !codec) return;  // told by whoever reads places
  decoded_.resize(d);
  if (codec->decode(bytes, codecRoom_, decoded_.data())) return;
  const uint32_t section = kWarm + w.tier - static_cast<uint32_t>(Tier::kWarm);
  fault(kRecords, section, uint64_t(w.slot - 1) * g_.tiers_.recordBytesOf(static_cast<Tier>(w.tier)), node,
        words({"node ", ": its record is none of its codec"}, {node}));
}

void GraphCheck::tiers() {
  const TiersHead* h = g_.tiers_.head();
  uint32_t counts[kTiers] = {}, users[kVersions] = {};
  for (uint32_t node = 0; node < n_; node++) {
    if (!(g_.state(node) & kLive)) continue;
    if (!g_.tiers_.ensurePlace(node)) return;
    const Where w = g_.tiers_.where(node);
    if (w.tier >= kTiers || w.version >= kVersions) return;  // told by whoever reads places
    if (w.tier == static_cast<uint8_t>(Tier::kHot)) continue;
    counts[w.tier]++;
    if (w.tier >= static_cast<uint8_t>(Tier::kCool)) users[w.version]++;
  }
  for (uint32_t t = 1; t < kTiers; t++) {
    if (h->counts[t] != counts[t])
      fault(kTierCounts, kCodebooks, offsetof(TiersHead, counts) + 4 * t, kNone,
            words({"the head counts ", " live nodes in tier ", ", the places "}, {h->counts[t], t}) +
                std::to_string(counts[t]));
  }
  for (uint32_t v = 0; v < kVersions; v++) {
    if (h->users[v] != users[v])
      fault(kTierCounts, kCodebooks, offsetof(TiersHead, users) + 4 * v, kNone,
            words({"the head counts ", " live nodes by codebook ", ", the places "}, {h->users[v], v}) +
                std::to_string(users[v]));
  }
}

// Encoding is the same on every machine, and vectors never change: what is not what encoding gives was never written.
void GraphCheck::codes() {
  if (!g_.coded_ || !g_.options_.keepOriginals || !whole_ || rests_[kLinks].listed > 0) return;
  const RowLayout& layout = g_.layout_;
  const uint32_t step = std::max(1u, n_ / kCodedRows);
  ScratchLease lease(g_);
  Scratch& s = *lease;
  std::vector<uint8_t> stored(layout.quads), fresh(layout.quads);
  for (uint32_t node = 0; node < n_; node += step) {
    if (!linked_[node] || !g_.ensureVector(node)) continue;
    const float* centre = g_.rotated(node, s.centre);
    if (g_.options_.profile == Profile::kSmall) {
      const uint32_t size = g_.space_->size();
      std::vector<uint8_t> code(size / 4, 0);
      const float product = g_.options_.metric == Metric::kDot ? kernel->dot(centre, g_.space_->mean(), size) : 0;
      const OwnFactors own = encodeOwn(g_.options_.metric, centre, size, product, code.data());
      if (std::memcmp(&own, g_.ownOf(node), 3 * sizeof(float)) != 0 ||
          std::memcmp(code.data(), g_.ownOf(node) + 1, code.size()) != 0)
        rowFault(kCodes_, node, layout.codes, ": its code is not that of its vector");
      continue;
    }
    for (uint32_t lane = 0; lane < g_.row(node)->degree; lane++) {
      const uint32_t id = g_.bottomIds(node)[lane];
      Factors is, made;
      g_.readLane(node, lane, stored.data(), &is);
      if (!g_.encodeLane(node, id, centre, s, fresh.data(), &made)) continue;  // its vector is damaged
      if (layout.narrow) made = {widened(narrowed(made.add)), widened(narrowed(made.rescale))};
      if (stored == fresh && std::memcmp(&is, &made, sizeof is) == 0) continue;
      rowFault(kCodes_, node, layout.codes,
               words({": its code of neighbour ", " is not that of the neighbour's vector"}, {id}));
    }
  }
}

}  // namespace hebb
