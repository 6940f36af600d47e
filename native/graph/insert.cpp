// Linking nodes into the graph (Malkov & Yashunin 2018, Alg. 1, 3 and 4), on several threads.
//
// A new node gets at most m diverse neighbours on each layer: a candidate stays only if it is
// nearer to the new node than to every neighbour chosen before it, so that edges point in
// different directions. Each neighbour gets an edge back; one whose row is full chooses again by
// the same rule. An edge that is the last one leading to a node is never dropped.
//
// Writers hold the lock of the one row they change; readers take none (see graph.hpp).
#include <algorithm>

#include "distance.hpp"
#include "workers.hpp"

namespace hebb {

bool Graph::addInEdge(uint32_t node) {
  if (!touchRow(node)) return false;
  __atomic_fetch_add(&row(node)->inDegree, 1, __ATOMIC_RELAXED);
  return true;
}

// False where it is the last edge that leads to the node, which has to stay.
bool Graph::dropInEdge(uint32_t node) {
  if (!touchRow(node)) return false;
  uint32_t* degree = &row(node)->inDegree;
  uint32_t seen = relaxed(degree);
  while (seen > 1) {
    if (__atomic_compare_exchange_n(degree, &seen, seen - 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return true;
  }
  return false;
}

// Alg. 4 without the options: from candidates in ascending order of distance to one vector, those
// that are nearer to it than to any kept before.
template <Metric M>
void Graph::diversify(const std::vector<Neighbor>& sorted, uint32_t most, std::vector<Neighbor>& kept) {
  kept.clear();
  for (const Neighbor& c : sorted) {
    if (kept.size() >= most) break;
    const float* v = raw(c.node);
    bool diverse = true;
    for (const Neighbor& k : kept) {
      float between;
      if constexpr (M == Metric::kL2) {
        between = kernel->l2Within(v, raw(k.node), options_.dimensions, c.distance);
      } else if constexpr (M == Metric::kDot) {
        between = -kernel->dot(v, raw(k.node), options_.dimensions);
      } else {
        const float* w = raw(k.node);
        between = 1.0f - kernel->dot(v, w, options_.dimensions) * v[options_.dimensions] * w[options_.dimensions];
      }
      if (between < c.distance) {
        diverse = false;
        break;
      }
    }
    if (diverse) kept.push_back(c);
  }
}

// Replaces a bottom-layer row. The caller holds its lock and keeps the in-degrees.
bool Graph::writeBottom(uint32_t node, const std::vector<Neighbor>& kept) {
  if (!touchRow(node)) return false;
  uint32_t* ids = bottomIds(node);
  for (size_t i = 0; i < kept.size(); i++) relaxed(ids + i, kept[i].node);
  __atomic_store_n(&row(node)->degree, static_cast<uint16_t>(kept.size()), __ATOMIC_RELEASE);
  return true;
}

// Adds the edge from -> to. `distance` is theirs.
template <Metric M>
bool Graph::addEdge(uint32_t from, uint32_t to, float distance, uint32_t level, Scratch& s) {
  std::lock_guard<std::mutex> guard(lockOf(from));
  const List l = list(from, level);
  const uint32_t room = level == 0 ? 2 * options_.m : options_.m;
  for (uint32_t i = 0; i < l.count; i++) {
    if (l.ids[i] == to) return true;
  }
  if (!(level == 0 ? touchRow(from) : touchUpper(from, level))) return false;
  uint32_t* ids = level == 0 ? bottomIds(from) : upperList(from, level) + 1;
  if (l.count < room) {
    relaxed(ids + l.count, to);
    if (level == 0) {
      __atomic_store_n(&row(from)->degree, static_cast<uint16_t>(l.count + 1), __ATOMIC_RELEASE);
      return addInEdge(to);
    }
    __atomic_store_n(upperList(from, level), l.count + 1, __ATOMIC_RELEASE);
    return true;
  }
  std::vector<Neighbor>& all = s.candidates;
  all.clear();
  all.push_back({distance, to});
  const float* v = prepared(raw(from), s);
  for (uint32_t i = 0; i < l.count; i++) {
    if (!ensureVector(l.ids[i])) return false;
    all.push_back({distanceTo<M>(v, l.ids[i]), l.ids[i]});
  }
  std::sort(all.begin(), all.end(), nearer);
  diversify<M>(all, room, s.kept);
  if (level > 0) {
    for (size_t i = 0; i < s.kept.size(); i++) relaxed(ids + i, s.kept[i].node);
    __atomic_store_n(upperList(from, level), static_cast<uint32_t>(s.kept.size()), __ATOMIC_RELEASE);
    return true;
  }
  // What was dropped keeps its edge here if no other leads to it; the room for that is made by
  // dropping what has others, farthest first.
  size_t next = 0;
  std::vector<Neighbor>& kept = s.kept;
  const size_t chosen = kept.size();
  bool added = false;
  for (const Neighbor& c : all) {
    if (next < chosen && kept[next].node == c.node) {
      next++;
      added = added || c.node == to;
    } else if (c.node != to && !dropInEdge(c.node)) {
      kept.push_back(c);
    }
  }
  if (added && !addInEdge(to)) return false;
  for (size_t i = chosen; kept.size() > room && i-- > 0;) {
    if (kept[i].node == to || !dropInEdge(kept[i].node)) continue;
    kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (kept.size() > room) {  // every edge of this row is the last to its node: the new one stays out
    std::erase_if(kept, [&](const Neighbor& k) { return k.node == to; });
    if (added) __atomic_fetch_sub(&row(to)->inDegree, 1, __ATOMIC_RELAXED);
  }
  return writeBottom(from, kept);
}

// Makes one edge lead to a node that has none (or, with `reached`, none from a node of that set):
// from the nearest node that has room for it, else from the nearest that can drop another edge. What
// was dropped may have led to others: `harmless` takes room at any distance before.
template <Metric M>
bool Graph::giveInEdge(uint32_t node, const std::vector<uint8_t>* reached, bool harmless, Scratch& s) {
  const std::vector<float> q = ownQuery(node, s);
  Neighbor at;
  if (!descend<M>(q.data(), 0, &at) || !searchLayer<M>(q.data(), at, options_.efConstruction, 0, s)) return false;
  std::vector<Neighbor> near;
  for (uint32_t i = 0; i < s.pool.size(); i++) {
    const uint32_t c = s.pool.nodeAt(i);
    if (c != node && (state(c) & (kLinked | kDead)) == kLinked && (!reached || (*reached)[c]))
      near.push_back({s.pool[i].distance, c});
  }
  bool given = false, fault = false;
  const auto from = [&](uint32_t c, bool drop) {
    std::lock_guard<std::mutex> guard(lockOf(c));
    if (!touchRow(c)) {
      fault = true;
      return;
    }
    const List l = list(c, 0);
    uint32_t* ids = bottomIds(c);
    if (l.count < 2 * options_.m) {
      relaxed(ids + l.count, node);
      __atomic_store_n(&row(c)->degree, static_cast<uint16_t>(l.count + 1), __ATOMIC_RELEASE);
      given = true;
    } else {
      for (uint32_t i = drop ? l.count : 0; !given && i-- > 0;) {
        if (ids[i] == node || !dropInEdge(ids[i])) continue;
        relaxed(ids + i, node);
        given = true;
      }
    }
    if (given) fault = !addInEdge(node);
  };
  const auto anyNear = [&](bool drop) {
    for (size_t i = 0; i < near.size() && !given && !fault; i++) from(near[i].node, drop);
  };
  const auto any = [&](bool drop) {
    for (uint32_t c = 0; c < nodes() && !given && !fault; c++) {
      if (c != node && (state(c) & (kLinked | kDead)) == kLinked && (!reached || (*reached)[c])) from(c, drop);
    }
  };
  anyNear(false);
  if (harmless) any(false);
  anyNear(true);
  any(false);  // in a knot of equal vectors every near row may be full of edges that are the last to their nodes
  any(true);
  return !fault;
}

template <Metric M>
bool Graph::linkOne(uint32_t node, Scratch& s) {
  if (!ensureVector(node) || !ensureRow(node)) return false;
  const uint32_t level = row(node)->level;
  std::unique_lock<std::mutex> raising(entryMutex_);
  const uint64_t entry = __atomic_load_n(&head()->entry, __ATOMIC_ACQUIRE);
  const uint64_t own = uint64_t(level) << 32 | node;
  if (static_cast<uint32_t>(entry) == kNone) {
    if (!setState(node, state(node) | kLinked)) return false;
    __atomic_store_n(&head()->entry, own, __ATOMIC_RELEASE);
    return true;
  }
  const uint32_t top = static_cast<uint32_t>(entry >> 32);
  if (level <= top) raising.unlock();  // else the new entry is set before anyone else links
  const std::vector<float> q = ownQuery(node, s);
  Neighbor at;
  if (!descend<M>(q.data(), std::min(level, top), &at)) return false;
  std::vector<Neighbor> near, chosen;
  for (uint32_t l = std::min(level, top) + 1; l-- > 0;) {
    if (!searchLayer<M>(q.data(), at, options_.efConstruction, l, s)) return false;
    near.clear();
    for (uint32_t i = 0; i < s.pool.size(); i++) {
      const uint32_t c = s.pool.nodeAt(i);
      if (c != node && !(state(c) & kDead)) near.push_back({s.pool[i].distance, c});
    }
    at = {s.pool[0].distance, s.pool.nodeAt(0)};
    diversify<M>(near, options_.m, chosen);
    {
      // Whoever links at the same time may have added edges here already: ours come after them.
      std::lock_guard<std::mutex> guard(lockOf(node));
      const List l0 = list(node, l);
      const uint32_t room = l == 0 ? 2 * options_.m : options_.m;
      if (!(l == 0 ? touchRow(node) : touchUpper(node, l))) return false;
      uint32_t* ids = l == 0 ? bottomIds(node) : upperList(node, l) + 1;
      uint32_t count = l0.count;
      for (const Neighbor& c : chosen) {
        if (count == room) break;
        bool there = false;
        for (uint32_t i = 0; i < count; i++) there = there || ids[i] == c.node;
        if (there) continue;
        relaxed(ids + count++, c.node);
        if (l == 0 && !addInEdge(c.node)) return false;
      }
      if (l == 0) __atomic_store_n(&row(node)->degree, static_cast<uint16_t>(count), __ATOMIC_RELEASE);
      else __atomic_store_n(upperList(node, l), count, __ATOMIC_RELEASE);
    }
    if (l == 0 && !setState(node, state(node) | kLinked)) return false;
    for (const Neighbor& c : chosen) {
      if (!addEdge<M>(c.node, node, c.distance, l, s)) return false;
    }
  }
  if (relaxed(&row(node)->inDegree) == 0 && !giveInEdge<M>(node, nullptr, false, s)) return false;
  if (level > top) __atomic_store_n(&head()->entry, own, __ATOMIC_RELEASE);
  return true;
}

bool Graph::link(const uint32_t* nodes, uint32_t count, unsigned threads) {
  if (count == 0) return true;
  if (!region_->touch(kHead, 0, sizeof(Head)) || !region_->ensure(kState, 0, this->nodes())) return false;
  return byMetric(options_.metric, [&](auto m) {
    // The first few alone, so that threads do not start on an empty graph side by side.
    const uint32_t first = std::min<uint32_t>(count, live() == 0 ? 64 : 0);
    ScratchLease s(*this);
    for (uint32_t i = 0; i < first; i++) {
      if (!linkOne<m()>(nodes[i], *s)) return false;
    }
    return forEach(*this, count - first, threads,
                   [&](uint32_t i, Scratch& own) { return linkOne<m()>(nodes[first + i], own); });
  });
}

template bool Graph::giveInEdge<Metric::kL2>(uint32_t, const std::vector<uint8_t>*, bool, Scratch&);
template bool Graph::giveInEdge<Metric::kDot>(uint32_t, const std::vector<uint8_t>*, bool, Scratch&);
template bool Graph::giveInEdge<Metric::kCosine>(uint32_t, const std::vector<uint8_t>*, bool, Scratch&);
template void Graph::diversify<Metric::kL2>(const std::vector<Neighbor>&, uint32_t, std::vector<Neighbor>&);
template void Graph::diversify<Metric::kDot>(const std::vector<Neighbor>&, uint32_t, std::vector<Neighbor>&);
template void Graph::diversify<Metric::kCosine>(const std::vector<Neighbor>&, uint32_t, std::vector<Neighbor>&);

}  // namespace hebb
