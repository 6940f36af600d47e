// Removing what was deleted, and keeping every live node findable.
//
// A deleted node is dead: walks still go through it, and return it no more. Consolidation takes all dead nodes out at
// once. First the edges that leave them are counted out of the in-degrees, so that a living node whose last edge comes
// from a dead one is noticed. Then every living node whose list names a dead one gets a new list, on all threads: those
// that stay and the living neighbours of those that go compete for its places, chosen as when a node is linked
// (FreshDiskANN, arXiv 2105.09613, Alg. 4). Edges are counted again; the entry moves to the highest living node where
// it died; a node that no edge leads to any more is given one. Only then are numbers free to be used again.
//
// In-degrees above 0 do not prove that all can be found: nodes may point at each other alone. `reconnect` walks over
// all edges from the entry, and gives each live node that this does not meet an edge from one that it does.
#include <algorithm>

#include "distance.hpp"
#include "workers.hpp"

namespace hebb {

// One list without dead nodes.
template <Metric M>
bool Graph::replaceDead(uint32_t node, uint32_t level, Scratch& s) {
  List l;
  if (!listOf(node, level, &l)) return false;
  if (std::none_of(l.ids, l.ids + l.count, [&](uint32_t id) { return state(id) & kDead; })) return true;
  const uint32_t room = level == 0 ? 2 * options_.m : options_.m;
  if (!ensureVector(node)) return false;
  s.prepare(nodes());
  s.visit(node);
  std::vector<Neighbor>& all = s.candidates;
  all.clear();
  const auto consider = [&](uint32_t c) {
    if ((state(c) & (kLinked | kDead)) != kLinked || !s.visit(c)) return true;
    if (!ensureVector(c)) return false;
    all.push_back({between<M>(node, c, __builtin_huge_valf()), c});
    return true;
  };
  for (uint32_t i = 0; i < l.count; i++) {
    if (!consider(l.ids[i])) return false;
  }
  for (uint32_t i = 0; i < l.count; i++) {
    if (!(state(l.ids[i]) & kDead)) continue;
    List far;
    if (!listOf(l.ids[i], level, &far)) return false;
    for (uint32_t j = 0; j < far.count; j++) {
      if (!consider(far.ids[j])) return false;
    }
  }
  std::sort(all.begin(), all.end(), nearer);
  uint32_t diverse = diversify<M>(all, room, level == 0, s.kept);
  if (level > 0) return writeUpper(node, level, s.kept);
  return keepLastEdges(node, s.kept, &diverse) && writeRow(node, s.kept, diverse, s);
}

template <Metric M>
bool Graph::consolidateAs(const std::vector<uint32_t>& gone, unsigned threads) {
  Head* h = head();
  // Edges from dead nodes lead nowhere; counting them out first protects the last living one.
  for (const uint32_t node : gone) {
    List l;
    if (!listOf(node, 0, &l)) return false;
    for (uint32_t i = 0; i < l.count; i++) {
      if (!touchRow(l.ids[i])) return false;
      row(l.ids[i])->inDegree--;
    }
  }
  const auto living = [&](uint32_t node) { return (state(node) & (kLinked | kDead)) == kLinked; };
  Crew crew(*this, threads);
  const bool replaced = crew.run(nodes(), [&](uint32_t node, Scratch& s) {
    if (!living(node)) return true;
    if (!ensureRow(node)) return false;
    for (uint32_t level = 0; level <= row(node)->level; level++) {
      if (!replaceDead<M>(node, level, s)) return false;
    }
    return true;
  });
  if (!replaced || !countEdges(crew.scratches(), nullptr)) return false;
  if (static_cast<uint32_t>(h->entry) != kNone && (state(static_cast<uint32_t>(h->entry)) & kDead)) {
    uint64_t entry = kNone;
    for (uint32_t node = 0; node < nodes(); node++) {
      if (!living(node)) continue;
      if (row(node)->level > kMaxLevel)
        return refuse(node, offsetof(Row, level), "a row is on a layer that does not exist");
      if (entry == kNone || row(node)->level > (entry >> 32)) entry = uint64_t(row(node)->level) << 32 | node;
    }
    __atomic_store_n(&h->entry, entry, __ATOMIC_RELEASE);
  }
  const uint32_t entry = static_cast<uint32_t>(h->entry);
  for (uint32_t node = 0; node < nodes(); node++) {
    if (!living(node)) continue;
    if (!ensureRow(node)) return false;
    if (node == entry || row(node)->inDegree > 0) continue;
    if (!giveInEdge<M>(node, nullptr, *crew.scratches()[0])) return false;
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
  {
    const std::unique_lock<std::shared_mutex> alone(backlog_.mutex);
    for (const std::unique_ptr<Backlog::Block>& block : backlog_.blocks) {
      for (uint32_t i = 0; i < block->count; i++) {
        if (block->ids[i] != kNone && (state(block->ids[i]) & kDead)) block->ids[i] = kNone;
      }
    }
  }
  for (const uint32_t node : gone) {
    if (state(node) & kLinked) linked_.fetch_sub(1);
    cache_.drop(node);
    if (!touchRow(node) || !tiers_.leave(node) || !setState(node, 0)) return false;
    __atomic_store_n(&row(node)->degree, 0, __ATOMIC_RELEASE);
    row(node)->inDegree = 0;
    free_.push_back(node);
  }
  std::sort(free_.begin(), free_.end(), std::greater<uint32_t>());
  relaxed(&head()->dead, 0);
  return true;
}

// A walk over all edges leaves a tree of those by which nodes were found first. No edge of the tree is
// dropped to make room for another, so what is found stays found.
int64_t Graph::reconnect() {
  const uint32_t n = nodes(), entry = static_cast<uint32_t>(head()->entry);
  if (!region_->ensure(kState, 0, n)) return -1;
  if (entry >= n) return 0;
  std::vector<uint32_t> parents(n, kNone), queue;
  const auto walk = [&](uint32_t from) {
    queue.assign(1, from);
    for (size_t i = 0; i < queue.size(); i++) {
      List l;
      if (!listOf(queue[i], 0, &l)) return false;
      for (uint32_t j = 0; j < l.count; j++) {
        const uint32_t id = l.ids[j];
        if (id >= n || parents[id] != kNone) continue;
        parents[id] = queue[i];
        queue.push_back(id);
      }
    }
    return true;
  };
  parents[entry] = entry;
  if (!walk(entry)) return -1;
  int64_t lost = 0;
  for (uint32_t node = 0; node < n; node++) {
    if (parents[node] != kNone || (state(node) & (kLinked | kLive)) != (kLinked | kLive)) continue;
    ScratchLease s(*this);
    if (!byMetric(options_.metric, [&](auto m) { return giveInEdge<m()>(node, &parents, *s); })) return -1;
    if (parents[node] == kNone) lost++;
    else if (!walk(node)) return -1;
  }
  return lost;
}

}  // namespace hebb
