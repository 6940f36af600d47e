// Searching: which way answers a query, the ways that compare one by one, and what puts results together. The walks are
// in walks.inl. Chosen by what they cost:
//
// - `scan` where so few match, or `ef` is so large, that comparing them all costs less.
// - Else the backlog, whose nodes no row names yet, is scanned by its codes; then the graph is walked from where
//   `descend` ends: by codes where enough of what is met matches (`searchCodes`, `searchOwn` in profile small), by
//   vectors where those are short (`searchLayer`), through what matches where that is rare (`searchFiltered`).
// - What both found is merged, and the best of it measured again by the originals where that was asked for. A walk that
//   brings fewer than k, though more match, is followed by a scan: k is filled whenever it can be.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "distance.hpp"
#include "workers.hpp"

namespace hebb {
namespace {

// What a walk costs for each candidate it keeps, in comparisons of a scan: measured, see
// docs/decisions/0007-small-stores-are-scanned.md.
constexpr uint64_t kComparedPerCandidate = 8;

// A filtered walk reads more rows for each vector it compares, and below one match in twenty it
// needs a larger ef for the same recall; so scanning pays for longer there.
constexpr uint64_t kFilteredComparedPerCandidate = 24;
constexpr uint64_t kScannedAtMost = 4000;
constexpr uint64_t kRare = 20;

// Filters that pass at least 1 of so many are walked by codes; rarer ones through what matches.
constexpr uint64_t kCodesShare = 4;
constexpr uint64_t kWidest = 4096;

// Results beyond k, for those that are deleted while the search runs.
constexpr uint32_t kSpare = 8;

// Vectors of nodes that are asked for by number lie anywhere: so many are on their way.
constexpr uint32_t kAheadWanted = 6;

// While it lives, distances are those that the tiers can tell; but not where originals are kept, and were asked for or
// were all there was when the search began: what moves while it runs is not its business.
class ByTier {
 public:
  ByTier(Scratch& s, const Options& o, bool compressed, uint32_t times) : s_(s) {
    s_.originals = o.keepOriginals && (times == kOriginals || !compressed);
  }
  ~ByTier() { s_.originals = true; }
  ByTier(const ByTier&) = delete;
  ByTier& operator=(const ByTier&) = delete;

 private:
  Scratch& s_;
};

// Coarse tiers estimate: what is near may seem nearer than anything can be. The order is theirs, the distance is not.
template <Metric M>
float possible(float distance) {
  return M == Metric::kDot ? distance : std::fmax(distance, 0.0f);
}

}  // namespace

void Graph::askVector(uint32_t node, const Scratch& s) {
  if (options_.keepOriginals && (s.originals || !tiers_.compressed())) {
    region_->ask(kVectors, node * vectorStride_, vectorStride_);
    return;
  }
  // Where it is only its place tells.
  if (!region_->isTouched(kPlaces, node * sizeof(Place), sizeof(Place))) {
    region_->ask(kPlaces, node * sizeof(Place), sizeof(Place));
    return;
  }
  const Where w = tiers_.where(node);
  if (w.slot == 0) region_->ask(kVectors, node * vectorStride_, vectorStride_);
  else if (tiers_.sound(node, w)) tiers_.ask(w);
}

void Graph::askAround(uint32_t node, uint32_t hops, const Scratch& s) {
  askRow(node);
  askVector(node, s);
  if (hops <= 1 || node >= aroundNodes_) return;
  if (!region_->isTouched(kRows, node * layout_.stride, layout_.stride)) return;
  const uint64_t bit = 1ull << (node % 64);
  if (around_[node / 64].load(std::memory_order_relaxed) & bit) return;
  if (around_[node / 64].fetch_or(bit, std::memory_order_relaxed) & bit) return;
  const List l = list(node, 0);
  const uint32_t limit = nodes();
  for (uint32_t i = 0; i < l.count; i++) {
    const uint32_t id = relaxed(l.ids + i);
    if (id < limit) askAround(id, hops - 1, s);
  }
}

const float* Graph::prepared(const float* query, Scratch& s) const {
  s.tiersOf = nullptr;
  if (options_.metric != Metric::kCosine) return query;
  s.query.resize(options_.dimensions);
  const float inverse = 1.0f / std::sqrt(kernel->dot(query, query, options_.dimensions));
  for (uint32_t i = 0; i < options_.dimensions; i++) s.query[i] = query[i] * inverse;
  return s.query.data();
}

void Graph::prepareCodes(const float* q, Scratch& s) const {
  const uint32_t n = space_->size();
  if (options_.profile != Profile::kSmall) {
    s.projected.values.resize(n);
    s.projected.entries.resize(4 * n);
    space_->apply(q, 1.0f, s.projected.values.data());
    s.projected.lut = kernel->lut(s.projected.values.data(), n, s.projected.entries.data());
  } else {
    s.projected.values.resize(n);
    float* residual = s.projected.values.data();
    space_->rotation().apply(q, 1.0f, residual);
    const float product = kernel->dot(residual, space_->mean(), n);
    space_->centre(residual);
    prepareOwn(options_.metric, residual, n, product, &s.own);
  }
}

void Graph::prepareAll(const float* q, Scratch& s) const {
  const uint32_t n = space_->rotation().padded();
  s.all.values.resize(n);
  s.all.entries.resize(4 * n);
  space_->rotation().apply(q, 1.0f, s.all.values.data());
  for (uint32_t i = 0; i < n; i++) s.all.values[i] -= backlog_.reference[i];
  s.all.lut = kernel->lut(s.all.values.data(), n, s.all.entries.data());
}

std::vector<float> Graph::ownQuery(uint32_t node, Scratch& s) const {
  const float* q = prepared(raw(node), s);
  return {q, q + options_.dimensions};
}

#include "walks.inl"

// Leaves the k nearest of the backlog that match in s.waiting.
template <Metric M>
bool Graph::scanBacklog(const float* q, uint32_t k, const Filter& filter, Scratch& s) {
  const uint32_t d = options_.dimensions;
  s.waiting.reset(k);
  const std::shared_lock<std::shared_mutex> shared(backlog_.mutex);
  if (backlog_.blocks.empty()) return true;
  prepareAll(q, s);
  const float own = M == Metric::kDot ? kernel->dot(q, q, d) : 0;
  alignas(64) float estimates[kLanes];
  for (const std::unique_ptr<Backlog::Block>& block : backlog_.blocks) {
    const float* c = block->vector.data();
    float base, apart;  // the distance to the centre, and |q - c|
    if constexpr (M == Metric::kL2) {
      base = kernel->l2(q, c, d);
      apart = std::sqrt(base);
    } else if constexpr (M == Metric::kDot) {
      base = -kernel->dot(q, c, d);
      apart = std::sqrt(std::fmax(0.0f, own + kernel->dot(c, c, d) + 2 * base));
    } else {
      base = 1.0f - kernel->dot(q, c, d) * c[d];
      apart = std::sqrt(std::fmax(0.0f, 2 * base));
    }
    kernel->scan(block->codes.data(), s.all.entries.data(), s.all.values.size() / 4, s.all.lut, block->add,
                 block->rescale, base, __builtin_huge_valf(), estimates);
    for (uint32_t lane = 0; lane < block->count; lane++) {
      const float bound = s.waiting.bound();
      if (estimates[lane] - block->error[lane] * apart > bound) continue;
      const uint32_t node = block->ids[lane];
      if (node == kNone || !(state(node) & kLive) || !filter.matches(node)) continue;
      float d;
      if (!measure<M>(q, node, bound, s, &d)) return false;
      s.waiting.insert(d, node);
    }
  }
  return true;
}

template <Metric M>
int32_t Graph::scanAs(const float* q, uint32_t k, const Filter& filter, uint32_t times, Scratch& s, uint32_t* outNodes,
                      float* outDistances) {
  const uint32_t limit = nodes();
  const bool again = times > 0 && options_.keepOriginals && !s.originals;
  const uint64_t room = again ? std::max<uint64_t>(k, std::min<uint64_t>(uint64_t(k) * times, live())) : k;
  const uint8_t* state = states();
  if (!region_->ensure(kState, 0, limit)) return -1;
  std::vector<Neighbor>& heap = s.heap;  // the k nearest, the farthest of them on top
  heap.clear();
  const auto consider = [&](uint32_t node) {
    if (!(__atomic_load_n(state + node, __ATOMIC_ACQUIRE) & kLive)) return true;
    const bool full = heap.size() >= room;
    float d;
    if (!measure<M>(q, node, full ? heap.front().distance : __builtin_huge_valf(), s, &d)) return false;
    if (full) {
      if (!nearer({d, node}, heap.front())) return true;
      std::pop_heap(heap.begin(), heap.end(), nearer);
      heap.pop_back();
    }
    heap.push_back({d, node});
    std::push_heap(heap.begin(), heap.end(), nearer);
    return true;
  };
  if (!filter.words) {
    for (uint32_t node = 0; node < limit; node++) {
      if (!consider(node)) return -1;
    }
  } else {
    const uint32_t end = std::min(limit, filter.nodes);
    for (uint32_t w = 0; w * 32 < end; w++) {
      for (uint32_t word = filter.words[w]; word; word &= word - 1) {
        const uint32_t node = w * 32 + static_cast<uint32_t>(__builtin_ctz(word));
        if (node < end && !consider(node)) return -1;
      }
    }
  }
  std::sort_heap(heap.begin(), heap.end(), nearer);
  if (again && !measureAgain<M>(q, heap)) return -1;
  for (size_t i = 0; i < heap.size() && i < k; i++) {
    outNodes[i] = heap[i].node;
    outDistances[i] = possible<M>(heap[i].distance);
  }
  return static_cast<int32_t>(std::min<size_t>(heap.size(), k));
}

template <Metric M>
int32_t Graph::searchAs(const float* q, uint32_t k, uint32_t ef, const Filter& filter, uint32_t times, Scratch& s,
                        uint32_t* outNodes, float* outDistances) {
  ef = std::max(ef, k);
  const bool again = times > 0 && options_.keepOriginals && !s.originals;
  const uint64_t matching = filter.words ? std::min(filter.count, live()) : live();
  const bool rare = filter.words && matching * kRare < live();
  const bool few = filter.words ? matching <= kFilteredComparedPerCandidate * ef || (rare && matching <= kScannedAtMost)
                                : matching <= kComparedPerCandidate * ef;
  if (few) return scanAs<M>(q, k, filter, times, s, outNodes, outDistances);
  const bool codes = walksByCodes();
  const bool all = !filter.words && dead() == 0;
  const bool waiting = backlog() > 0;
  const uint64_t linkedMatching = matching > backlog() ? matching - backlog() : 0;
  // The backlog before the walk: what is linked in between is found by one of them.
  if (waiting && !scanBacklog<M>(q, k, filter, s)) return -1;
  const uint32_t entry = static_cast<uint32_t>(__atomic_load_n(&head()->entry, __ATOMIC_ACQUIRE));
  Neighbor at;
  if (entry != kNone && !descend<M>(q, codes ? kWalkEntryLevel : 0, &at, s)) return -1;
  if (entry != kNone && codes) prepareCodes(q, s);
  if (entry == kNone) {
    s.results.reset(k);
  } else if (codes && matching * kCodesShare >= live()) {
    // Nodes that may not be returned take places of the pool.
    const uint64_t share = uint64_t(ef) * linked_.load() / std::max<uint64_t>(linkedMatching, 1) + ef / 8;
    const uint64_t wider = all ? ef : std::max<uint64_t>(ef, std::min<uint64_t>(share, kWidest));
    // Nodes that several rows name take several places: a small pool may end with fewer than k of them.
    for (uint64_t room = wider;; room *= 4) {
      if (!walk<M>(q, at, static_cast<uint32_t>(room), all && !again ? std::min(ef, k + kSpare) : ef, k,
                   all ? nullptr : &filter, s))
        return -1;
      if (room >= kWidest || s.results.size() >= std::min<uint64_t>(k, linkedMatching)) break;
    }
  } else if (all) {
    if (!searchLayer<M>(q, at, ef, 0, s)) return -1;
    s.results.reset(std::max(k, s.pool.size()));
    for (uint32_t i = 0; i < s.pool.size(); i++) s.results.insert(s.pool[i].distance, s.pool.nodeAt(i));
  } else if (!searchFiltered<M>(q, at, ef, filter, s)) {
    return -1;
  }
  for (uint32_t i = 0; waiting && i < s.waiting.size(); i++) {
    const Neighbor& w = s.waiting[i];
    if (w.distance < s.results.bound() && !s.results.has(w.node)) s.results.insert(w.distance, w.node);
  }
  if (again && !rerank<M>(q, uint64_t(k) * times, s)) return -1;
  const Pool& found = s.results;
  // Fewer than k where matching nodes are hard to reach: then they are compared one by one.
  if (found.size() < std::min<uint64_t>(k, matching)) return scanAs<M>(q, k, filter, times, s, outNodes, outDistances);
  uint32_t count = 0;
  for (uint32_t i = 0; i < found.size() && count < k; i++) {
    const uint32_t node = found.nodeAt(i);
    if (!(state(node) & kLive)) continue;  // deleted while this search ran
    outNodes[count] = node;
    outDistances[count++] = possible<M>(found[i].distance);
  }
  if (count < k && count < found.size()) return scanAs<M>(q, k, filter, times, s, outNodes, outDistances);
  return static_cast<int32_t>(count);
}

int32_t Graph::search(const float* query, uint32_t k, uint32_t ef, const Filter& filter, uint32_t times,
                      uint32_t* outNodes, float* outDistances) {
  const Reading reading(*this);
  ScratchLease s(*this);
  const ByTier byTier(*s, options_, tiers_.compressed(), times);
  const float* q = prepared(query, *s);
  return byMetric(options_.metric,
                  [&](auto m) { return searchAs<m()>(q, k, ef, filter, times, *s, outNodes, outDistances); });
}

int32_t Graph::scan(const float* query, uint32_t k, const Filter& filter, uint32_t times, uint32_t* outNodes,
                    float* outDistances) {
  const Reading reading(*this);
  ScratchLease s(*this);
  const ByTier byTier(*s, options_, tiers_.compressed(), times);
  const float* q = prepared(query, *s);
  return byMetric(options_.metric,
                  [&](auto m) { return scanAs<m()>(q, k, filter, times, *s, outNodes, outDistances); });
}

bool Graph::searchMany(const float* queries, uint32_t count, uint32_t k, uint32_t ef, const Filter& filter, bool exact,
                       uint32_t times, unsigned threads, uint32_t* outNodes, float* outDistances, int32_t* outCounts) {
  return Crew(*this, threads).run(count, [&](uint32_t i, Scratch& s) {
    const ByTier byTier(s, options_, tiers_.compressed(), times);
    const float* q = prepared(queries + uint64_t(i) * options_.dimensions, s);
    uint32_t* nodes = outNodes + uint64_t(i) * k;
    float* far = outDistances + uint64_t(i) * k;
    outCounts[i] = byMetric(options_.metric, [&](auto m) {
      return exact ? scanAs<m()>(q, k, filter, times, s, nodes, far)
                   : searchAs<m()>(q, k, ef, filter, times, s, nodes, far);
    });
    return outCounts[i] >= 0;
  });
}

void Graph::prefetchWanted(const uint32_t* wanted, uint32_t count, uint32_t at) const {
  const uint32_t lines = std::min(kAheadVectorLines, (options_.dimensions * 4 + 63) / 64);
  const uint32_t limit = nodes();
  const uint32_t from = at == 0 ? 0 : at + kAheadWanted, to = std::min(count, at + kAheadWanted + 1);
  for (uint32_t i = from; i < to; i++) {
    if (wanted[i] < limit) prefetchVector(wanted[i], lines);
  }
}

bool Graph::vectors(const uint32_t* wanted, uint32_t count, float* out) {
  const uint32_t d = options_.dimensions;
  for (uint32_t i = 0; i < count; i++) {
    prefetchWanted(wanted, count, i);
    const float* v = vector(wanted[i]);
    if (!v) return false;
    std::memcpy(out + uint64_t(i) * d, v, d * sizeof(float));
  }
  return true;
}

bool Graph::distances(const float* query, const uint32_t* wanted, uint32_t count, float* out) {
  ScratchLease s(*this);
  const float* q = prepared(query, *s);
  const uint32_t limit = nodes();
  return byMetric(options_.metric, [&](auto m) {
    for (uint32_t i = 0; i < count; i++) {
      prefetchWanted(wanted, count, i);
      if (wanted[i] >= limit) {
        out[i] = __builtin_huge_valf();
        continue;
      }
      if (!ensureVector(wanted[i])) return false;
      out[i] = distanceTo<m()>(q, wanted[i]);
    }
    return true;
  });
}

}  // namespace hebb
