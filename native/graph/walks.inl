// The walks: greedy descent through the upper layers, then a pool of `ef` candidates on the bottom one (Malkov &
// Yashunin 2018, Alg. 2 and 5). A pool holds the nearest nodes that were met, in order; the walk expands the nearest
// one that it has not expanded yet, puts that one's neighbours into the pool, and ends when the pool has none left.
// What differs is how a neighbour is judged, and when it is measured:
//
// - `searchCodes`: the pool holds estimates from the codes that a row has of its neighbours, 32 of them by one scan of
//   the row; a node's vector is read when it is expanded, and not before.
// - `searchOwn`, in profile small, the same by the nodes' own codes, with the vectors read in the end.
// - `searchLayer` compares the neighbours' vectors instead, which pays where they are short; it also
//   searches the upper layers. One sorted pool is both frontier and result.
// - `searchFiltered` where some may not: the walk goes on through nodes that do not match, and
//   where few match it looks at the neighbours of those that do not (ACORN-1, arXiv 2403.04871),
//   so that the frontier holds matching nodes and `ef` of them are found.
//
// Departures from the paper: a walk by codes ends by a margin, not where the pool has none left (`stopMargin`); rows
// are read while others write them, and read again where one changed meanwhile (`sequence`); what a row names that does
// not exist ends the walk as damage. Part of search.cpp, so that pool and walks are compiled together.

// Cache lines of a vector asked for ahead; the hardware streams the rest once it sees the pattern.
constexpr uint32_t kAheadLines = 6;
constexpr uint32_t kAheadVectorLines = 8;
constexpr uint32_t kAheadRowLines = 12;
constexpr uint32_t kAheadOwnLines = 3;

void Pool::insert(float distance, uint32_t node) {
  if (full() && !(distance < entries_[size_ - 1].distance)) return;
  uint32_t low = 0;
  for (uint32_t left = size_; left > 0;) {  // without branches: nobody could predict them
    const uint32_t half = (left + 1) / 2;
    low += entries_[low + half - 1].distance <= distance ? half : 0;
    left -= half;
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

uint32_t Pool::peek() {
  while (cursor_ < size_ && (entries_[cursor_].node & kExpanded)) cursor_++;
  return cursor_ == size_ ? kNone : entries_[cursor_].node;
}

bool Pool::has(uint32_t node) const {
  for (uint32_t i = 0; i < size_; i++) {
    if (nodeAt(i) == node) return true;
  }
  return false;
}

// From the entry down to `toLevel`, on each layer to the node that has no nearer neighbour.
template <Metric M>
bool Graph::descend(const float* q, uint32_t toLevel, Neighbor* at, Scratch& s) {
  constexpr float kAny = __builtin_huge_valf();
  const uint64_t entry = __atomic_load_n(&head()->entry, __ATOMIC_ACQUIRE);
  uint32_t node = static_cast<uint32_t>(entry);
  float distance;
  if (!ensureRow(node) || !measure<M>(q, node, kAny, s, &distance)) return false;
  for (uint32_t level = static_cast<uint32_t>(entry >> 32); level > toLevel; level--) {
    for (bool moved = true; moved;) {
      moved = false;
      List l;
      if (!listOf(node, level, &l)) return false;
      for (uint32_t i = 0; i < l.count; i++) prefetchVector(relaxed(l.ids + i), 1);
      for (uint32_t i = 0; readsAhead() && i < l.count; i++) askVector(relaxed(l.ids + i), s);
      for (uint32_t i = 0; i < l.count; i++) {
        const uint32_t id = relaxed(l.ids + i);
        float d;
        if (!measure<M>(q, id, distance, s, &d) || !ensureRow(id)) return false;
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
    List l;
    if (!listOf(node, level, &l)) return false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < l.count; i++) {
      const uint32_t id = relaxed(l.ids + i);
      if (id >= limit || !s.visit(id)) continue;  // past the limit: linked since
      prefetchVector(id, count < 2 ? kAheadLines : 1);
      s.batch[count++] = id;
    }
    const bool cold = readsAhead();
    for (uint32_t i = 0; cold && i < count; i++) askVector(s.batch[i], s);
    for (uint32_t i = 0; i < count; i++) {
      if (i + 2 < count) prefetchVector(s.batch[i + 2], kAheadLines);
      const uint32_t id = s.batch[i];
      const float bound = s.pool.bound();
      float d;
      if (!measure<M>(q, id, bound, s, &d)) return false;
      if (d < bound) {
        s.pool.insert(d, id);
        prefetchLines(row(id), 3);
        if (cold) askAround(id, options_.readAhead, s);
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
    return (__atomic_load_n(state + node, __ATOMIC_ACQUIRE) & kLive) && filter.matches(node);
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
    List l;
    if (!listOf(node, 0, &l)) return false;
    uint32_t count = 0;
    const auto take = [&](uint32_t id) {
      prefetchVector(id, count < 2 ? kAheadLines : 1);
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
        List far;
        if (!listOf(via, 0, &far)) return false;
        for (uint32_t j = 0; j < far.count && count < most; j++) {
          const uint32_t id = relaxed(far.ids + j);
          if (id < limit && accepted(id) && s.visit(id)) take(id);
        }
      }
    }
    const bool cold = readsAhead();
    for (uint32_t i = 0; cold && i < count; i++) askVector(s.batch[i], s);
    for (uint32_t i = 0; i < count; i++) {
      if (i + 2 < count) prefetchVector(s.batch[i + 2], kAheadLines);
      const uint32_t id = s.batch[i];
      const float bound = std::max(s.pool.bound(), s.results.bound());
      float d;
      if (!measure<M>(q, id, bound, s, &d)) return false;
      if (!(d < bound)) continue;
      if (cold) askAround(id, options_.readAhead, s);
      s.pool.insert(d, id);
      if (hop || accepted(id)) s.results.insert(d, id);
    }
  }
  return true;
}

// Walks by estimates and leaves the nearest `keep` expanded nodes, those that are live and match where
// a filter is given, in s.results with their exact distances. s has the query's codes prepared. The walk
// expands the nearest of the pool's `ef` until none is left, or by the margin of the options.
template <Metric M>
bool Graph::searchCodes(const float* q, Neighbor entry, uint32_t ef, uint32_t keep, uint32_t k, const Filter* filter,
                        Scratch& s) {
  const uint32_t limit = nodes();
  const uint8_t* state = states();
  if (filter && !region_->ensure(kState, 0, limit)) return false;
  const float margin = options_.stopMargin;
  s.expanded.reset(ef);
  s.results.reset(keep);
  s.pool.reset(ef);
  s.pool.insert(entry.distance, entry.node);
  const CodeQuery& codes = s.projected;
  alignas(64) float estimates[kLanes], wide[2 * kLanes];
  float estimate;
  for (uint32_t node; (node = s.pool.next(&estimate)) != kNone;) {
    if (s.expanded.has(node)) continue;  // a node may be in the pool once for each row that names it
    if (margin >= 0 && s.results.size() >= k) {
      const float kth = s.results[k - 1].distance;
      if (estimate > kth + margin * std::fabs(kth)) break;
    }
    if (filter && s.results.full() && estimate > s.results.bound()) break;
    s.expanded.add(node);
    const uint32_t next = s.pool.peek();
    if (next != kNone) {
      prefetchVector(next, kAheadVectorLines);
      prefetchLines(row(next), kAheadRowLines);
    }
    float distance;
    if (!measure<M>(q, node, __builtin_huge_valf(), s, &distance) || !ensureRow(node)) return false;
    if (!filter || ((__atomic_load_n(state + node, __ATOMIC_ACQUIRE) & kLive) && filter->matches(node)))
      s.results.insert(distance, node);
    const Row* r = row(node);
    const uint32_t* ids = bottomIds(node);
    const bool cold = readsAhead();
    for (uint32_t turn = 0;; turn++) {
      if (turn == kMostTurns) return refuse(node, offsetof(Row, sequence), "a row is said to be written by nobody");
      const uint32_t sequence = __atomic_load_n(&r->sequence, __ATOMIC_ACQUIRE);
      if (sequence & 1) {
        if (turn % kTurnsAtOnce == kTurnsAtOnce - 1) {
          if (region_->lost()) return false;  // its writer may count on from a zero
          std::this_thread::yield();
        }
        continue;
      }
      const uint32_t degree = __atomic_load_n(&r->degree, __ATOMIC_RELAXED);
      if (degree > 2 * options_.m)
        return refuse(node, offsetof(Row, degree), "a row has more neighbours than it has room for");
      for (uint32_t from = 0; from < degree; from += kLanes) {
        const uint8_t* add = rowBytes(node) + layout_.add + from * layout_.factorBytes();
        const uint8_t* rescale = rowBytes(node) + layout_.rescale + from * layout_.factorBytes();
        const float *adds = reinterpret_cast<const float*>(add), *rescales = reinterpret_cast<const float*>(rescale);
        if (layout_.narrow) {
          for (uint32_t i = 0; i < kLanes; i++) {
            wide[i] = widened(reinterpret_cast<const uint16_t*>(add)[i]);
            wide[kLanes + i] = widened(reinterpret_cast<const uint16_t*>(rescale)[i]);
          }
          adds = wide;
          rescales = wide + kLanes;
        }
        uint32_t near = kernel->scan(codesOf(node) + from / kLanes * layout_.blockBytes(), codes.entries.data(),
                                     layout_.quads, codes.lut, adds, rescales, distance, s.pool.bound(), estimates);
        if (degree - from < kLanes) near &= (1u << (degree - from)) - 1;
        for (; near; near &= near - 1) {
          const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(near));
          const uint32_t id = relaxed(ids + from + lane);
          if (id >= limit) {
            if (id < nodes()) continue;  // linked since this walk began
            return refuse(node, sizeof(Row) + (from + lane) * sizeof(uint32_t),
                          "a row names a node that does not exist");
          }
          if (s.expanded.has(id)) continue;
          s.pool.insert(estimates[lane], id);
          if (cold) askAround(id, options_.readAhead, s);
        }
      }
      std::atomic_thread_fence(std::memory_order_acquire);
      if (relaxed(&r->sequence) == sequence) break;  // else it was written meanwhile: once more
    }
  }
  return true;
}

// The same by nodes' own codes. An estimate does not depend on the row that leads to its node, so each node is
// estimated once; the walk reads no vector, and in the end only those of nodes that may be among the k nearest.
template <Metric M>
bool Graph::searchOwn(const float* q, Neighbor entry, uint32_t ef, uint32_t keep, uint32_t k, const Filter* filter,
                      Scratch& s) {
  const uint32_t limit = nodes();
  const uint8_t* state = states();
  if (filter && !region_->ensure(kState, 0, limit)) return false;
  const float margin = options_.stopMargin;
  const OwnQuery& own = s.own;
  const uint32_t lines = static_cast<uint32_t>((sizeof(OwnFactors) + layout_.values / 4 + 127) / 64);
  s.prepare(limit);
  s.results.reset(ef);
  s.pool.reset(ef);
  s.visit(entry.node);
  s.pool.insert(entry.distance, entry.node);
  if (s.batch.size() < 2 * options_.m) s.batch.resize(2 * options_.m);
  float estimate;
  for (uint32_t node; (node = s.pool.next(&estimate)) != kNone;) {
    if (margin >= 0 && s.results.size() >= k) {
      const float kth = s.results[k - 1].distance;
      if (estimate > kth + margin * std::fabs(kth)) break;
    }
    if (filter && s.results.size() >= keep && estimate > s.results[keep - 1].distance) break;
    if (!filter || ((__atomic_load_n(state + node, __ATOMIC_ACQUIRE) & kLive) && filter->matches(node)))
      s.results.insert(estimate, node);
    List l;
    if (!listOf(node, 0, &l)) return false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < l.count; i++) {
      const uint32_t id = relaxed(l.ids + i);
      if (id >= limit || !s.visit(id)) continue;  // past the limit: linked since
      prefetchLines(ownOf(id), lines);
      s.batch[count++] = id;
    }
    for (uint32_t i = 0; readsAhead() && i < count; i++) askAround(s.batch[i], options_.readAhead, s);
    std::atomic_thread_fence(std::memory_order_acquire);  // their codes were written before any row named them
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t id = s.batch[i];
      if (!ensureRow(id)) return false;
      const OwnFactors* f = ownOf(id);
      const int32_t sum = kernel->sumLevels(reinterpret_cast<const uint8_t*>(f + 1), own.values.data(), layout_.values);
      s.pool.insert((f->add + own.base) + f->rescale * (own.step * static_cast<float>(sum) + own.offset), id);
    }
    const uint32_t next = s.pool.peek();
    if (next != kNone) prefetchLines(row(next), kAheadOwnLines);
  }
  std::vector<Neighbor>& found = s.heap;
  found.clear();
  for (uint32_t i = 0; i < s.results.size(); i++) found.push_back({s.results[i].distance, s.results.nodeAt(i)});
  s.results.reset(keep);
  for (size_t i = 0; i < found.size(); i++) {
    if (i + 2 < found.size()) prefetchVector(found[i + 2].node, kAheadVectorLines);
    const Neighbor& n = found[i];
    const float kth = s.results.size() >= k ? s.results[k - 1].distance : __builtin_huge_valf();
    if (n.distance - kSure * ownOf(n.node)->error * own.apart > kth) continue;
    float d;
    if (!measure<M>(q, n.node, kth, s, &d)) return false;
    s.results.insert(d, n.node);
  }
  return true;
}

template <Metric M>
bool Graph::walk(const float* q, Neighbor entry, uint32_t ef, uint32_t keep, uint32_t k, const Filter* filter,
                 Scratch& s) {
  return options_.profile == Profile::kSmall ? searchOwn<M>(q, entry, ef, keep, k, filter, s)
                                             : searchCodes<M>(q, entry, ef, keep, k, filter, s);
}

template bool Graph::walk<Metric::kL2>(const float*, Neighbor, uint32_t, uint32_t, uint32_t, const Filter*, Scratch&);
template bool Graph::walk<Metric::kDot>(const float*, Neighbor, uint32_t, uint32_t, uint32_t, const Filter*, Scratch&);
template bool Graph::walk<Metric::kCosine>(const float*, Neighbor, uint32_t, uint32_t, uint32_t, const Filter*,
                                           Scratch&);
template bool Graph::descend<Metric::kL2>(const float*, uint32_t, Neighbor*, Scratch&);
template bool Graph::descend<Metric::kDot>(const float*, uint32_t, Neighbor*, Scratch&);
template bool Graph::descend<Metric::kCosine>(const float*, uint32_t, Neighbor*, Scratch&);
template bool Graph::searchLayer<Metric::kL2>(const float*, Neighbor, uint32_t, uint32_t, Scratch&);
template bool Graph::searchLayer<Metric::kDot>(const float*, Neighbor, uint32_t, uint32_t, Scratch&);
template bool Graph::searchLayer<Metric::kCosine>(const float*, Neighbor, uint32_t, uint32_t, Scratch&);
