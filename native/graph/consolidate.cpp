// Removing what was deleted, and keeping every live node findable.
#include <algorithm>

#include "distance.hpp"
#include "workers.hpp"

namespace hebb {

// One list without dead nodes: the neighbours that stay and the living neighbours of those that
// go compete for its places (FreshDiskANN, arXiv 2105.09613, Alg. 4).
template <Metric M>
bool Graph::replaceDead(uint32_t node, uint32_t level, Scratch& s) {
  const List l = list(node, level);
  bool any = false;
  for (uint32_t i = 0; i < l.count; i++) any = any || (state(l.ids[i]) & kDead);
  if (!any) return true;
  const std::vector<uint32_t> before(l.ids, l.ids + l.count);
  const uint32_t room = level == 0 ? 2 * options_.m : options_.m;
  const std::vector<float> q = ownQuery(node, s);
  s.prepare(nodes());
  s.visit(node);
  std::vector<Neighbor>& all = s.candidates;
  all.clear();
  const auto consider = [&](uint32_t c) {
    if (c >= nodes() || (state(c) & (kLinked | kDead)) != kLinked || !s.visit(c)) return true;
    if (!ensureVector(c)) return false;
    all.push_back({distanceTo<M>(q.data(), c), c});
    return true;
  };
  for (const uint32_t c : before) {
    if (!consider(c)) return false;
  }
  for (const uint32_t gone : before) {
    if (!(state(gone) & kDead)) continue;
    if (!ensureRow(gone)) return false;
    const List far = list(gone, level);
    for (uint32_t i = 0; i < far.count; i++) {
      if (!consider(relaxed(far.ids + i))) return false;
    }
  }
  std::sort(all.begin(), all.end(), nearer);
  std::vector<Neighbor>& kept = s.kept;
  diversify<M>(all, room, kept);
  if (level > 0) {
    if (!touchUpper(node, level)) return false;
    uint32_t* entry = upperList(node, level);
    for (size_t i = 0; i < kept.size(); i++) relaxed(entry + 1 + i, kept[i].node);
    __atomic_store_n(entry, static_cast<uint32_t>(kept.size()), __ATOMIC_RELEASE);
    return true;
  }
  const auto had = [&](uint32_t c) { return std::find(before.begin(), before.end(), c) != before.end(); };
  const auto keeps = [&](uint32_t c) {
    return std::any_of(kept.begin(), kept.end(), [&](const Neighbor& k) { return k.node == c; });
  };
  for (const Neighbor& c : all) {  // the last edge to a node stays, in a place that a dead one left
    if (had(c.node) && !keeps(c.node) && !dropInEdge(c.node)) {
      for (size_t i = kept.size(); kept.size() >= room && i-- > 0;) {
        if (!had(kept[i].node)) kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(i));
      }
      kept.push_back(c);
    }
  }
  for (const Neighbor& k : kept) {
    if (!had(k.node) && !addInEdge(k.node)) return false;
  }
  return writeBottom(node, kept);
}

template <Metric M>
bool Graph::consolidateAs(const std::vector<uint32_t>& gone, unsigned threads) {
  Head* h = head();
  // Edges from dead nodes lead nowhere; counting them out first protects the last living one.
  for (const uint32_t node : gone) {
    if (!ensureRow(node)) return false;
    const List l = list(node, 0);
    for (uint32_t i = 0; i < l.count; i++) {
      if (l.ids[i] >= nodes() || !touchRow(l.ids[i])) return false;
      __atomic_fetch_sub(&row(l.ids[i])->inDegree, 1, __ATOMIC_RELAXED);
    }
  }
  const auto living = [&](uint32_t node) { return (state(node) & (kLinked | kDead)) == kLinked; };
  const bool replaced = forEach(*this, nodes(), threads, [&](uint32_t node, Scratch& s) {
    if (!living(node)) return true;
    if (!ensureRow(node)) return false;
    for (uint32_t level = 0; level <= row(node)->level; level++) {
      if (!replaceDead<M>(node, level, s)) return false;
    }
    return true;
  });
  if (!replaced) return false;
  if (state(static_cast<uint32_t>(h->entry)) & kDead) {
    uint64_t entry = kNone;
    for (uint32_t node = 0; node < nodes(); node++) {
      if (!living(node)) continue;
      if (entry == kNone || row(node)->level > (entry >> 32)) entry = uint64_t(row(node)->level) << 32 | node;
    }
    __atomic_store_n(&h->entry, entry, __ATOMIC_RELEASE);
  }
  ScratchLease scratch(*this);
  const uint32_t entry = static_cast<uint32_t>(h->entry);
  for (uint32_t node = 0; node < nodes(); node++) {
    if (living(node) && node != entry && row(node)->inDegree == 0 && !giveInEdge<M>(node, nullptr, false, *scratch))
      return false;
  }
  return true;
}

bool Graph::consolidate(unsigned threads) {
  if (dead() == 0) return true;
  if (!region_->touch(kHead, 0, sizeof(Head)) || !region_->ensure(kState, 0, nodes())) return false;
  std::vector<uint32_t> gone;
  for (uint32_t node = 0; node < nodes(); node++) {
    if (state(node) & kDead) gone.push_back(node);
  }
  if (!byMetric(options_.metric, [&](auto m) { return consolidateAs<m()>(gone, threads); })) return false;
  scanFree();
  for (const uint32_t node : gone) {
    if (!touchRow(node) || !setState(node, 0)) return false;
    __atomic_store_n(&row(node)->degree, 0, __ATOMIC_RELEASE);
    row(node)->inDegree = 0;
    free_.push_back(node);
  }
  std::sort(free_.begin(), free_.end(), std::greater<uint32_t>());
  relaxed(&head()->dead, 0);
  return true;
}

int64_t Graph::reconnect() {
  constexpr int kRounds = 4;  // an edge that makes room for another may cut something off in turn
  const uint32_t n = nodes();
  if (!region_->ensure(kState, 0, n)) return -1;
  std::vector<uint8_t> reached;
  std::vector<uint32_t> queue;
  const auto walk = [&](uint32_t from) {
    reached[from] = 1;
    queue.assign(1, from);
    for (size_t i = 0; i < queue.size(); i++) {
      if (!ensureRow(queue[i])) return false;
      const List l = list(queue[i], 0);
      for (uint32_t j = 0; j < l.count; j++) {
        const uint32_t id = relaxed(l.ids + j);
        if (id >= n || reached[id]) continue;
        reached[id] = 1;
        queue.push_back(id);
      }
    }
    return true;
  };
  int64_t lost = 0;
  for (int round = 0; round <= kRounds; round++) {
    const uint32_t entry = static_cast<uint32_t>(head()->entry);
    if (entry == kNone) return 0;
    reached.assign(n, 0);
    if (!walk(entry)) return -1;
    lost = 0;
    for (uint32_t node = 0; node < n; node++) {
      if (reached[node] || (state(node) & (kLinked | kLive)) != (kLinked | kLive)) continue;
      lost++;
      if (round == kRounds) continue;
      ScratchLease s(*this);
      if (!byMetric(options_.metric,
                    [&](auto m) { return giveInEdge<m()>(node, &reached, round + 1 == kRounds, *s); }) ||
          !walk(node))
        return -1;
    }
    if (lost == 0) return 0;
  }
  return lost;
}

}  // namespace hebb
