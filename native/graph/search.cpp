// Searching: greedy descent through the upper layers, then a pool of `ef` candidates on the bottom
// one (Malkov & Yashunin 2018, Alg. 2 and 5). Three ways to answer, chosen by what they cost:
//
// - `searchLayer` where every node may be returned: one sorted pool is both frontier and result.
// - `searchFiltered` where some may not: the walk goes on through nodes that do not match, and
//   where few match it looks at the neighbours of those that do not (ACORN-1, arXiv 2403.04871),
//   so that the frontier holds matching nodes and `ef` of them are found.
// - `scan` where so few match, or `ef` is so large, that comparing them all costs less.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "distance.hpp"
#include "workers.hpp"

namespace hebb {
namespace {

// What a walk costs for each candidate it keeps, in comparisons of a scan: measured, see
// docs/decisions/0007-small-stores-are-scanned.md.
constexpr uint64_t kComparedPerCandidate = 12;

// A filtered walk reads more rows for each vector it compares, and below one match in twenty it
// needs a larger ef for the same recall; so scanning pays for longer there.
constexpr uint64_t kFilteredComparedPerCandidate = 24;
constexpr uint64_t kScannedAtMost = 4000;
constexpr uint64_t kRare = 20;

// Cache lines of a vector asked for ahead; the hardware streams the rest once it sees the pattern.
constexpr uint32_t kAheadLines = 6;

inline void prefetchLines(const void* p, uint32_t lines) {
  const char* at = static_cast<const char*>(p);
  for (uint32_t i = 0; i < lines; i++) __builtin_prefetch(at + 64 * i);
}

}  // namespace

void Pool::insert(float distance, uint32_t node) {
  if (full() && !(distance < entries_[size_ - 1].distance)) return;
  uint32_t low = 0, high = size_;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (entries_[middle].distance <= distance) low = middle + 1;
    else high = middle;
  }
  if (!full()) size_++;
  std::memmove(&entries_[low + 1], &entries_[low], (size_ - 1 - low) * sizeof(Neighbor));
  entries_[low] = {distance, node};
  if (low < cursor_) cursor_ = low;
}

uint32_t Pool::next(float* distance) {
  while (cursor_ < size_ && (entries_[cursor_].node & kExpanded)) cursor_++;
  if (cursor_ == size_) return kNone;
  const uint32_t node = entries_[cursor_].node;
  if (distance) *distance = entries_[cursor_].distance;
  entries_[cursor_].node |= kExpanded;
  return node;
}

const float* Graph::prepared(const float* query, Scratch& s) const {
  if (options_.metric != Metric::kCosine) return query;
  s.query.resize(options_.dimensions);
  const float inverse = 1.0f / std::sqrt(kernel->dot(query, query, options_.dimensions));
  for (uint32_t i = 0; i < options_.dimensions; i++) s.query[i] = query[i] * inverse;
  return s.query.data();
}

std::vector<float> Graph::ownQuery(uint32_t node, Scratch& s) const {
  const float* q = prepared(raw(node), s);
  return {q, q + options_.dimensions};
}

// From the entry down to `toLevel`, on each layer to the node that has no nearer neighbour.
template <Metric M>
bool Graph::descend(const float* q, uint32_t toLevel, Neighbor* at) {
  const uint64_t entry = __atomic_load_n(&head()->entry, __ATOMIC_ACQUIRE);
  uint32_t node = static_cast<uint32_t>(entry);
  if (!ensureRow(node) || !ensureVector(node)) return false;
  float distance = distanceTo<M>(q, node);
  const uint32_t limit = nodes();
  for (uint32_t level = static_cast<uint32_t>(entry >> 32); level > toLevel; level--) {
    for (bool moved = true; moved;) {
      moved = false;
      const List l = list(node, level);
      if (l.count && !region_->ensure(
                         kUpper, static_cast<uint64_t>(reinterpret_cast<const uint8_t*>(l.ids) - region_->base(kUpper)),
                         options_.m * sizeof(uint32_t))) {
        return false;
      }
      for (uint32_t i = 0; i < l.count; i++) {
        const uint32_t id = relaxed(l.ids + i);
        if (id < limit) __builtin_prefetch(raw(id));
      }
      for (uint32_t i = 0; i < l.count; i++) {
        const uint32_t id = relaxed(l.ids + i);
        if (id >= limit) continue;
        if (!ensureVector(id) || !ensureRow(id)) return false;
        const float d = distanceWithin<M>(q, id, distance);
        if (d < distance) {
          distance = d;
          node = id;
          moved = true;
        }
      }
    }
  }
  *at = {distance, node};
  return true;
}

// Leaves the `ef` nearest nodes that the walk met in s.pool.
template <Metric M>
bool Graph::searchLayer(const float* q, Neighbor entry, uint32_t ef, uint32_t level, Scratch& s) {
  const uint32_t limit = nodes();
  s.prepare(limit);
  s.pool.reset(ef);
  s.visit(entry.node);
  s.pool.insert(entry.distance, entry.node);
  if (s.batch.size() < 2 * options_.m) s.batch.resize(2 * options_.m);
  for (uint32_t node; (node = s.pool.next()) != kNone;) {
    if (!ensureRow(node)) return false;
    const List l = list(node, level);
    uint32_t count = 0;
    for (uint32_t i = 0; i < l.count; i++) {
      const uint32_t id = relaxed(l.ids + i);
      if (id >= limit || !s.visit(id)) continue;
      prefetchLines(raw(id), count < 2 ? kAheadLines : 1);
      s.batch[count++] = id;
    }
    for (uint32_t i = 0; i < count; i++) {
      if (i + 2 < count) prefetchLines(raw(s.batch[i + 2]), kAheadLines);
      const uint32_t id = s.batch[i];
      if (!ensureVector(id)) return false;
      const float bound = s.pool.bound();
      const float d = distanceWithin<M>(q, id, bound);
      if (d < bound) {
        s.pool.insert(d, id);
        prefetchLines(row(id), 3);
      }
    }
  }
  return true;
}

// Leaves the nearest `ef` nodes that are live and match in s.results. The frontier is s.pool.
template <Metric M>
bool Graph::searchFiltered(const float* q, Neighbor entry, uint32_t ef, const Filter& filter, Scratch& s) {
  const uint32_t limit = nodes();
  const uint8_t* state = states();
  if (!region_->ensure(kState, 0, limit)) return false;
  const auto accepted = [&](uint32_t node) {
    return (__atomic_load_n(state + node, __ATOMIC_RELAXED) & kLive) && filter.matches(node);
  };
  // Where most match, the walk meets enough of them by itself.
  const bool hop = filter.words && uint64_t(filter.count) * 3 < live();
  const uint32_t most = 2 * options_.m;
  s.prepare(limit);
  s.results.reset(ef);
  s.pool.reset(hop ? ef : ef + ef / 2);
  s.visit(entry.node);
  s.pool.insert(entry.distance, entry.node);
  if (accepted(entry.node)) s.results.insert(entry.distance, entry.node);
  if (s.batch.size() < 4 * options_.m) s.batch.resize(4 * options_.m);
  float distance = 0;
  for (uint32_t node; (node = s.pool.next(&distance)) != kNone;) {
    if (distance > s.results.bound()) break;
    if (!ensureRow(node)) return false;
    const List l = list(node, 0);
    uint32_t count = 0;
    const auto take = [&](uint32_t id) {
      prefetchLines(raw(id), count < 2 ? kAheadLines : 1);
      s.batch[count++] = id;
    };
    if (!hop) {
      for (uint32_t i = 0; i < l.count; i++) {
        const uint32_t id = relaxed(l.ids + i);
        if (id < limit && s.visit(id)) take(id);
      }
    } else {
      for (uint32_t i = 0; i < l.count; i++) {
        const uint32_t id = relaxed(l.ids + i);
        if (id >= limit) continue;
        prefetchLines(row(id), 3);
        if (accepted(id) && s.visit(id)) take(id);
      }
      for (uint32_t i = 0; i < l.count && count < most; i++) {
        const uint32_t via = relaxed(l.ids + i);
        if (via >= limit || accepted(via) || !s.visit(via)) continue;
        if (!ensureRow(via)) return false;
        const List far = list(via, 0);
        for (uint32_t j = 0; j < far.count && count < most; j++) {
          const uint32_t id = relaxed(far.ids + j);
          if (id < limit && accepted(id) && s.visit(id)) take(id);
        }
      }
    }
    for (uint32_t i = 0; i < count; i++) {
      if (i + 2 < count) prefetchLines(raw(s.batch[i + 2]), kAheadLines);
      const uint32_t id = s.batch[i];
      if (!ensureVector(id)) return false;
      const float bound = std::max(s.pool.bound(), s.results.bound());
      const float d = distanceWithin<M>(q, id, bound);
      if (!(d < bound)) continue;
      s.pool.insert(d, id);
      if (hop || accepted(id)) s.results.insert(d, id);
    }
  }
  return true;
}

template <Metric M>
int32_t Graph::scanAs(const float* q, uint32_t k, const Filter& filter, Scratch& s, uint32_t* outNodes,
                      float* outDistances) {
  const uint32_t limit = nodes();
  const uint8_t* state = states();
  if (!region_->ensure(kState, 0, limit)) return -1;
  std::vector<Neighbor>& heap = s.heap;  // the k nearest, the farthest of them on top
  heap.clear();
  const auto consider = [&](uint32_t node) {
    if (!(__atomic_load_n(state + node, __ATOMIC_RELAXED) & kLive)) return true;
    if (!ensureVector(node)) return false;
    const bool full = heap.size() == k;
    const float d = full ? distanceWithin<M>(q, node, heap.front().distance) : distanceTo<M>(q, node);
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
  for (size_t i = 0; i < heap.size(); i++) {
    outNodes[i] = heap[i].node;
    outDistances[i] = heap[i].distance;
  }
  return static_cast<int32_t>(heap.size());
}

template <Metric M>
int32_t Graph::searchAs(const float* q, uint32_t k, uint32_t ef, const Filter& filter, Scratch& s, uint32_t* outNodes,
                        float* outDistances) {
  ef = std::max(ef, k);
  const uint32_t entry = static_cast<uint32_t>(__atomic_load_n(&head()->entry, __ATOMIC_ACQUIRE));
  const uint64_t matching = filter.words ? std::min(filter.count, live()) : live();
  const bool rare = filter.words && matching * kRare < live();
  const bool few = filter.words ? matching <= kFilteredComparedPerCandidate * ef || (rare && matching <= kScannedAtMost)
                                : matching <= kComparedPerCandidate * ef;
  if (entry == kNone || few) return scanAs<M>(q, k, filter, s, outNodes, outDistances);
  Neighbor at;
  if (!descend<M>(q, 0, &at)) return -1;
  const bool all = !filter.words && dead() == 0 && unpublished_.load() == 0;
  if (!(all ? searchLayer<M>(q, at, ef, 0, s) : searchFiltered<M>(q, at, ef, filter, s))) return -1;
  const Pool& found = all ? s.pool : s.results;
  // Fewer than k where matching nodes are hard to reach: then they are compared one by one.
  if (found.size() < std::min<uint64_t>(k, matching)) return scanAs<M>(q, k, filter, s, outNodes, outDistances);
  uint32_t count = 0;
  for (uint32_t i = 0; i < found.size() && count < k; i++) {
    const uint32_t node = found.nodeAt(i);
    if (!(state(node) & kLive)) continue;  // deleted, or linked and not published yet, while this search ran
    outNodes[count] = node;
    outDistances[count++] = found[i].distance;
  }
  return static_cast<int32_t>(count);
}

int32_t Graph::search(const float* query, uint32_t k, uint32_t ef, const Filter& filter, uint32_t* outNodes,
                      float* outDistances) {
  ScratchLease s(*this);
  const float* q = prepared(query, *s);
  return byMetric(options_.metric, [&](auto m) { return searchAs<m()>(q, k, ef, filter, *s, outNodes, outDistances); });
}

int32_t Graph::scan(const float* query, uint32_t k, const Filter& filter, uint32_t* outNodes, float* outDistances) {
  ScratchLease s(*this);
  const float* q = prepared(query, *s);
  return byMetric(options_.metric, [&](auto m) { return scanAs<m()>(q, k, filter, *s, outNodes, outDistances); });
}

bool Graph::searchMany(const float* queries, uint32_t count, uint32_t k, uint32_t ef, const Filter& filter, bool exact,
                       unsigned threads, uint32_t* outNodes, float* outDistances, int32_t* outCounts) {
  return forEach(*this, count, threads, [&](uint32_t i, Scratch& s) {
    const float* q = prepared(queries + uint64_t(i) * options_.dimensions, s);
    uint32_t* nodes = outNodes + uint64_t(i) * k;
    float* far = outDistances + uint64_t(i) * k;
    outCounts[i] = byMetric(options_.metric, [&](auto m) {
      return exact ? scanAs<m()>(q, k, filter, s, nodes, far) : searchAs<m()>(q, k, ef, filter, s, nodes, far);
    });
    return outCounts[i] >= 0;
  });
}

bool Graph::distances(const float* query, const uint32_t* wanted, uint32_t count, float* out) {
  ScratchLease s(*this);
  const float* q = prepared(query, *s);
  const uint32_t limit = nodes();
  return byMetric(options_.metric, [&](auto m) {
    for (uint32_t i = 0; i < count; i++) {
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

template bool Graph::descend<Metric::kL2>(const float*, uint32_t, Neighbor*);
template bool Graph::descend<Metric::kDot>(const float*, uint32_t, Neighbor*);
template bool Graph::descend<Metric::kCosine>(const float*, uint32_t, Neighbor*);
template bool Graph::searchLayer<Metric::kL2>(const float*, Neighbor, uint32_t, uint32_t, Scratch&);
template bool Graph::searchLayer<Metric::kDot>(const float*, Neighbor, uint32_t, uint32_t, Scratch&);
template bool Graph::searchLayer<Metric::kCosine>(const float*, Neighbor, uint32_t, uint32_t, Scratch&);

}  // namespace hebb
