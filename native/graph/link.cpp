// Linking nodes into the graph, in batches (ParlayANN, Manohar et al. 2024, arXiv 2305.04359).
//
// A batch is as large as the graph at most. Every node of it is looked up in the graph as it was
// before, on all threads; then rows are written, each by one thread: the nodes' own, and those of the
// nodes that they chose, which get an edge back. So the graph does not depend on the number of threads.
// Where more than one is linked, all are looked up a second time, because those of a batch could not see
// each other.
//
// Neighbours are chosen so that edges point in different directions: a candidate stays if it is nearer
// to the node than to every neighbour chosen before it (Malkov & Yashunin 2018, Alg. 4), with some
// slack (alpha in DiskANN). What room is left in a bottom row, which is scanned as a whole
// whatever is in it, goes to the nearest of the others.
#include <algorithm>
#include <cmath>

#include "distance.hpp"
#include "mix.hpp"
#include "workers.hpp"

namespace hebb {
namespace {

// Candidates of the first look-up as a share of `efConstruction`, where a second one follows, and of that; of
// short vectors, which cost little to compare, there are more.
constexpr uint32_t kShort = 256;
struct Shares {
  uint32_t first, second;
};
constexpr Shares kSharesOfShort = {2, 1}, kSharesOfLong = {3, 2};
// Candidates that are looked at for a bottom row, in units of m; farther ones only cost time.
constexpr uint32_t kCandidates = 4;
// Nodes that are linked at once: bounds memory.
constexpr uint32_t kMostAtOnce = 65536;
// Rotated vectors are kept at hand from so many nodes on, up to so much memory.
constexpr uint32_t kFewest = 256;
constexpr uint64_t kMostRotatedBytes = 256ull << 20;

// What is known of a candidate: see diversify.
constexpr uint8_t kUnknownKind = 0, kDiverseKind = 1, kFillKind = 2;

// An edge that leads back from `to`.
struct Edge {
  uint32_t to, from;
  float distance;
  uint32_t level;
};

bool inOrder(const Edge& a, const Edge& b) {
  if (a.level != b.level) return a.level < b.level;
  if (a.to != b.to) return a.to < b.to;
  return nearer({a.distance, a.from}, {b.distance, b.from});
}

}  // namespace

// From candidates in ascending order of distance to one node, at most `most`: the diverse ones first,
// whose number is returned; then, on the bottom layer, the nearest of the others. `known` says of each
// candidate what was found out before: nothing, that it is diverse among the known ones, or that it is not.
template <Metric M>
uint32_t Graph::diversify(const std::vector<Neighbor>& sorted, uint32_t most, bool bottom, std::vector<Neighbor>& kept,
                          const uint8_t* known) {
  constexpr bool kSquare = M != Metric::kDot;  // a distance of zero means: the same place
  kept.clear();
  std::vector<Neighbor> others, same;
  std::vector<uint8_t> keptKnown;
  for (size_t i = 0; i < sorted.size() && kept.size() < most; i++) {
    const Neighbor& c = sorted[i];
    const uint8_t kind = known ? known[i] : kUnknownKind;
    const float bound = kSquare && bottom ? c.distance / kSlack : c.distance;
    bool diverse = kind != kFillKind;
    for (size_t j = 0; j < kept.size() && diverse; j++) {
      if (kind == kDiverseKind && keptKnown[j] == kDiverseKind) continue;
      const float distance = apart<M>(c.node, kept[j].node, bound);
      diverse = !(distance < bound || (kSquare && distance <= 0));
    }
    if (diverse) {
      kept.push_back(c);
      keptKnown.push_back(kind);
    } else if (bottom) {
      (kSquare && c.distance <= 0 ? same : others).push_back(c);
    }
  }
  const uint32_t diverse = static_cast<uint32_t>(kept.size());
  for (const std::vector<Neighbor>* rest : {&others, &same}) {
    for (const Neighbor& c : *rest) {
      if (kept.size() < most) kept.push_back(c);
    }
  }
  return diverse;
}

// Puts back the neighbours of a bottom row that nothing else leads to, in the places of the farthest others.
bool Graph::keepLastEdges(uint32_t node, std::vector<Neighbor>& kept, uint32_t* diverse) {
  List l;
  if (!listOf(node, 0, &l)) return false;
  const auto last = [&](uint32_t id) { return relaxed(&row(id)->inDegree) <= 1; };
  const auto has = [&](uint32_t id) { return std::find(l.ids, l.ids + l.count, id) != l.ids + l.count; };
  for (uint32_t i = 0; i < l.count; i++) {
    if (!ensureRow(l.ids[i])) return false;
  }
  for (uint32_t i = 0; i < l.count; i++) {
    const uint32_t id = l.ids[i];
    if (!last(id) || (state(id) & kDead)) continue;
    if (std::any_of(kept.begin(), kept.end(), [&](const Neighbor& k) { return k.node == id; })) continue;
    if (kept.size() >= 2 * options_.m) {
      size_t out = kept.size();
      while (out > 0 && has(kept[out - 1].node) && last(kept[out - 1].node)) out--;
      if (out == 0) break;
      kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(out - 1));
      if (out <= *diverse) --*diverse;
    }
    kept.push_back({0, id});
  }
  return true;
}

// A row, or an upper list, that gets more edges.
template <Metric M>
bool Graph::addEdges(uint32_t node, uint32_t level, const std::vector<Neighbor>& more, Scratch& s) {
  const bool bottom = level == 0;
  const uint32_t room = bottom ? 2 * options_.m : options_.m;
  if (!ensureRow(node) || !ensureVector(node)) return false;
  List l;
  if (!listOf(node, level, &l)) return false;
  std::vector<Neighbor>& all = s.candidates;
  all.clear();
  for (uint32_t i = 0; i < l.count; i++) {
    if (!ensureVector(l.ids[i])) return false;
    all.push_back({apart<M>(node, l.ids[i], __builtin_huge_valf()), l.ids[i]});
  }
  for (const Neighbor& n : more) {
    if (std::find(l.ids, l.ids + l.count, n.node) == l.ids + l.count) all.push_back(n);
  }
  if (all.size() == l.count) return true;
  std::sort(all.begin(), all.end(), nearer);
  if (!bottom) {
    if (all.size() <= room) return writeUpper(node, level, all);
    diversify<M>(all, room, false, s.kept);
    return writeUpper(node, level, s.kept);
  }
  s.known.clear();
  for (const Neighbor& c : all) {
    const auto lane = static_cast<uint32_t>(std::find(l.ids, l.ids + l.count, c.node) - l.ids);
    s.known.push_back(lane == l.count                                 ? kUnknownKind
                      : diverseOf(node)[lane / 32] >> (lane % 32) & 1 ? kDiverseKind
                                                                      : kFillKind);
  }
  uint32_t diverse = diversify<M>(all, room, true, s.kept, s.known.data());
  return keepLastEdges(node, s.kept, &diverse) && writeRow(node, s.kept, diverse, s);
}

template <Metric M>
bool Graph::linkBatch(const uint32_t* nodes, uint32_t count, uint32_t ef, bool again, Crew& crew) {
  struct Choice {
    std::vector<Neighbor> bottom;
    uint32_t diverse = 0;
    std::vector<std::vector<Neighbor>> upper;
  };
  std::vector<Choice> choices(count);
  for (uint32_t i = 0; i < count; i++) {
    if (!ensureRow(nodes[i])) return false;
    if (row(nodes[i])->level > kMaxLevel)
      return refuse(nodes[i], offsetof(Row, level), "a row is on a layer that does not exist");
  }
  const uint64_t entry = __atomic_load_n(&head()->entry, __ATOMIC_ACQUIRE);
  const uint32_t top = static_cast<uint32_t>(entry >> 32);

  const auto choose = [&](uint32_t i, Scratch& s) {
    const uint32_t node = nodes[i];
    if (!ensureVector(node) || !ensureRow(node)) return false;
    const uint32_t level = again ? 0 : std::min<uint32_t>(row(node)->level, top);
    const std::vector<float> q = ownQuery(node, s);
    Neighbor at;
    if (!descend<M>(q.data(), std::max(level, kWalkEntryLevel), &at, s)) return false;
    std::vector<Neighbor> near;
    const auto nearOf = [&](const Pool& pool) {
      near.clear();
      for (uint32_t j = 0; j < pool.size(); j++) {
        const uint32_t c = pool.nodeAt(j);
        if (c != node && !(state(c) & kDead)) near.push_back({pool[j].distance, c});
      }
    };
    choices[i].upper.resize(level);
    for (uint32_t l = level; l > 0; l--) {
      if (!searchLayer<M>(q.data(), at, options_.efConstruction, l, s)) return false;
      nearOf(s.pool);
      at = {s.pool[0].distance, s.pool.nodeAt(0)};
      diversify<M>(near, options_.m, false, choices[i].upper[l - 1]);
    }
    if (coded_) {
      prepareCodes(q.data(), s);
      if (!walk<M>(q.data(), at, ef, ef, ef, nullptr, s)) return false;
      nearOf(s.results);
    } else {
      if (!searchLayer<M>(q.data(), at, ef, 0, s)) return false;
      nearOf(s.pool);
    }
    if (again) {
      List l;
      if (!listOf(node, 0, &l)) return false;
      for (uint32_t j = 0; j < l.count; j++) {
        const uint32_t id = l.ids[j];
        if (std::any_of(near.begin(), near.end(), [&](const Neighbor& n) { return n.node == id; })) continue;
        if (!ensureVector(id)) return false;
        if (!(state(id) & kDead)) near.push_back({apart<M>(node, id, __builtin_huge_valf()), id});
      }
      std::sort(near.begin(), near.end(), nearer);
    }
    if (near.size() > kCandidates * options_.m) near.resize(kCandidates * options_.m);
    choices[i].diverse = diversify<M>(near, 2 * options_.m, true, choices[i].bottom);
    return !again || keepLastEdges(node, choices[i].bottom, &choices[i].diverse);
  };
  if (static_cast<uint32_t>(entry) != kNone && !crew.run(count, choose)) return false;

  // The nodes' own rows and lists.
  std::vector<Edge> back;
  for (uint32_t i = 0; i < count; i++) {
    for (const Neighbor& n : choices[i].bottom) back.push_back({n.node, nodes[i], n.distance, 0});
    for (uint32_t l = 0; l < choices[i].upper.size(); l++) {
      for (const Neighbor& n : choices[i].upper[l]) back.push_back({n.node, nodes[i], n.distance, l + 1});
      if (!writeUpper(nodes[i], l + 1, choices[i].upper[l])) return false;
    }
  }
  std::vector<uint32_t> bare;
  const auto writeOwn = [&](uint32_t i, Scratch& s) {
    return (again || writeOwnCode(nodes[i], s)) && writeRow(nodes[i], choices[i].bottom, choices[i].diverse, s);
  };
  if (!crew.run(count, writeOwn) || !countEdges(crew.scratches(), &bare)) {
    return false;
  }

  // The edges back, all of a row together.
  std::sort(back.begin(), back.end(), inOrder);
  std::vector<uint32_t> starts;
  for (uint32_t i = 0; i < back.size(); i++) {
    if (i == 0 || back[i].to != back[i - 1].to || back[i].level != back[i - 1].level) starts.push_back(i);
  }
  starts.push_back(static_cast<uint32_t>(back.size()));
  const auto lead = [&](uint32_t i, Scratch& s) {
    std::vector<Neighbor> more;
    for (uint32_t j = starts[i]; j < starts[i + 1]; j++) more.push_back({back[j].distance, back[j].from});
    return addEdges<M>(back[starts[i]].to, back[starts[i]].level, more, s);
  };
  if (!crew.run(static_cast<uint32_t>(starts.size()) - 1, lead) || !countEdges(crew.scratches(), &bare)) return false;

  uint64_t highest = entry;
  uint32_t left = 0;  // nodes that no search need scan for any more, once they can be walked to
  for (uint32_t i = 0; i < count && !again; i++) {
    const uint32_t node = nodes[i];
    const uint64_t level = row(node)->level;
    if (static_cast<uint32_t>(highest) == kNone || level > highest >> 32) highest = level << 32 | node;
    if (relaxed(&row(node)->inDegree) == 0) bare.push_back(node);
    uint8_t before;
    if (!changeState(node, kLinked, 0, &before)) return false;
    linked_.fetch_add(1);
    left += before & kLive ? 1 : 0;
  }
  __atomic_store_n(&head()->entry, highest, __ATOMIC_RELEASE);
  std::sort(bare.begin(), bare.end());
  bare.erase(std::unique(bare.begin(), bare.end()), bare.end());
  for (const uint32_t node : bare) {
    if (node == static_cast<uint32_t>(highest) || relaxed(&row(node)->inDegree) > 0) continue;
    if (!giveInEdge<M>(node, nullptr, *crew.scratches()[0])) return false;
  }
  unlinked_.fetch_sub(left);
  return true;
}

// Makes one edge lead to a node that has none: from the nearest node that has room for it, else from the
// nearest that can drop another edge. With `parents`, which has for each node the one that a walk came to
// it from, kNone where it came not, only from a node that has one; and the walk's own edges are kept.
template <Metric M>
bool Graph::giveInEdge(uint32_t node, std::vector<uint32_t>* parents, Scratch& s) {
  if (!ensureVector(node)) return false;
  const std::vector<float> q = ownQuery(node, s);
  Neighbor at;
  if (!descend<M>(q.data(), 0, &at, s) || !searchLayer<M>(q.data(), at, options_.efConstruction, 0, s)) return false;
  const auto mayLead = [&](uint32_t c) {
    return c != node && (state(c) & (kLinked | kDead)) == kLinked && (!parents || (*parents)[c] != kNone);
  };
  std::vector<uint32_t> near;
  for (uint32_t i = 0; i < s.pool.size(); i++) {
    if (mayLead(s.pool.nodeAt(i))) near.push_back(s.pool.nodeAt(i));
  }
  bool given = false, fault = false;
  const auto from = [&](uint32_t c, bool drop) {
    List l;
    if (!listOf(c, 0, &l)) {
      fault = true;
      return;
    }
    if (std::find(l.ids, l.ids + l.count, node) != l.ids + l.count) {
      fault = true;
      refuse(node, offsetof(Row, inDegree), "a row says that no edge leads to it, and one does");
      return;
    }
    uint32_t lane = l.count;
    if (l.count == 2 * options_.m) {
      const auto kept = [&](uint32_t id) { return id == node || (parents && (*parents)[id] == c); };
      while (drop && lane-- > 0 && (kept(l.ids[lane]) || !dropInEdge(l.ids[lane]))) {
      }
      if (!drop || lane == kNone) return;
    }
    s.gained.clear();
    s.lost.clear();
    given = true;
    if (parents) (*parents)[node] = c;
    fault = !replaceLane(c, lane, node, s) || !addInEdge(node);
    s.gained.clear();
    s.lost.clear();
  };
  const auto anyNear = [&](bool drop) {
    for (size_t i = 0; i < near.size() && !given && !fault; i++) from(near[i], drop);
  };
  const auto any = [&](bool drop) {
    for (uint32_t c = 0; c < nodes() && !given && !fault; c++) {
      if (mayLead(c)) from(c, drop);
    }
  };
  anyNear(false);
  anyNear(true);
  any(false);  // in a knot of equal vectors every near row may be full of edges that are the last to their nodes
  any(true);
  return !fault;
}

template <Metric M>
bool Graph::linkAs(const std::vector<uint32_t>& nodes, unsigned threads) {
  Crew crew(*this, threads);
  if (!fitSpace(nodes, crew)) return false;
  const bool sound = keepAtHand(nodes, crew) && linkAll<M>(nodes, crew);
  atHand_ = {};
  return sound;
}

// Where that is worth it, and of as many as memory is allowed for. Without the bytes under dot, which their
// common origin changes, and where the space of the codes is not all of the vector.
bool Graph::keepAtHand(const std::vector<uint32_t>& nodes, Crew& crew) {
  const uint32_t size = space_->size();
  const uint64_t most = kMostRotatedBytes / (size * sizeof(float));
  const uint32_t count = static_cast<uint32_t>(std::min<uint64_t>(nodes.size(), most));
  if (!hasSpace() || count < kFewest) return true;
  atHand_.rotated = LargeArray<float>(uint64_t(count) * size);
  float* rotated = atHand_.rotated.get();
  if (!rotated) return true;
  const auto rotate = [&](uint32_t i, Scratch&) {
    if (!ensureVector(nodes[i])) return false;
    space_->apply(raw(nodes[i]), scaleOf(nodes[i]), rotated + uint64_t(i) * size);
    return true;
  };
  if (!crew.run(count, rotate)) return false;
  atHand_.at.assign(this->nodes(), kNone);
  for (uint32_t i = 0; i < count; i++) atHand_.at[nodes[i]] = i;
  if (layout_.projects || options_.metric == Metric::kDot) return true;
  atHand_.bytes = LargeArray<int8_t>(uint64_t(count) * size);
  if (!atHand_.bytes.get()) return true;
  atHand_.steps.resize(count);
  atHand_.squares.resize(count);
  return crew.run(count, [&](uint32_t i, Scratch&) {
    const float* from = rotated + uint64_t(i) * size;
    float largest = 0;
    for (uint32_t j = 0; j < size; j++) largest = std::max(largest, std::fabs(from[j]));
    // Beyond these, squares of steps leave what a float holds: then the vector itself is compared.
    const bool fits = largest > 0x1p-50f && largest < 0x1p50f;
    const float step = fits ? largest / 127 : 0;
    int8_t* to = atHand_.bytes.get() + uint64_t(i) * size;
    for (uint32_t j = 0; fits && j < size; j++) to[j] = static_cast<int8_t>(std::lrintf(from[j] / step));
    atHand_.steps[i] = step;
    atHand_.squares[i] = step * step * static_cast<float>(kernel->dotBytes(to, to, size));
    return true;
  });
}

template <Metric M>
bool Graph::linkAll(const std::vector<uint32_t>& nodes, Crew& crew) {
  const uint32_t count = static_cast<uint32_t>(nodes.size());
  const uint32_t ef = options_.efConstruction;
  const Shares shares = options_.dimensions <= kShort ? kSharesOfShort : kSharesOfLong;
  const uint32_t first = count == 1 ? ef : std::max(ef / shares.first, options_.m);
  for (uint32_t done = 0; done < count;) {
    const uint32_t most = std::min(std::max(linked_.load(), 1u), kMostAtOnce);
    const uint32_t batch = std::min(count - done, most);
    if (!linkBatch<M>(nodes.data() + done, batch, first, false, crew)) return false;
    done += batch;
  }
  if (count == 1) return true;
  for (uint32_t done = 0; done < count; done += kMostAtOnce) {
    const uint32_t batch = std::min(count - done, kMostAtOnce);
    if (!linkBatch<M>(nodes.data() + done, batch, std::max(ef / shares.second, options_.m), true, crew)) return false;
  }
  return true;
}

bool Graph::link(const uint32_t* wanted, uint32_t count, unsigned threads) {
  if (!region_->touch(kHead, 0, sizeof(Head)) || !region_->ensure(kState, 0, nodes())) return false;
  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < count; i++) {
    if ((state(wanted[i]) & (kLive | kLinked)) == kLive) order.push_back(wanted[i]);
  }
  const uint32_t before = linked_.load();
  // In an order of its own, so that sorted input is as good as any.
  std::sort(order.begin(), order.end(), [](uint32_t a, uint32_t b) {
    const uint64_t x = mix(a), y = mix(b);
    return x < y || (x == y && a < b);
  });
  if (!byMetric(options_.metric, [&](auto m) { return linkAs<m()>(order, threads); })) return false;
  trimBacklog();
  return calibrate(before);
}

template bool Graph::giveInEdge<Metric::kL2>(uint32_t, std::vector<uint32_t>*, Scratch&);
template bool Graph::giveInEdge<Metric::kDot>(uint32_t, std::vector<uint32_t>*, Scratch&);
template bool Graph::giveInEdge<Metric::kCosine>(uint32_t, std::vector<uint32_t>*, Scratch&);
template uint32_t Graph::diversify<Metric::kL2>(const std::vector<Neighbor>&, uint32_t, bool, std::vector<Neighbor>&,
                                                const uint8_t*);
template uint32_t Graph::diversify<Metric::kDot>(const std::vector<Neighbor>&, uint32_t, bool, std::vector<Neighbor>&,
                                                 const uint8_t*);
template uint32_t Graph::diversify<Metric::kCosine>(const std::vector<Neighbor>&, uint32_t, bool,
                                                    std::vector<Neighbor>&, const uint8_t*);

}  // namespace hebb
