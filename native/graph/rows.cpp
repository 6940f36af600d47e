// Writing rows: lanes of ids, factors and codes, and the in-degrees that follow from them.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "distance.hpp"

namespace hebb {

const float* Graph::rotated(uint32_t node, std::vector<float>& room) const {
  if (atHand_.has(node)) return atHand_.rotated.get() + uint64_t(atHand_.at[node]) * space_->size();
  room.resize(space_->size());
  space_->apply(raw(node), scaleOf(node), room.data());
  return room.data();
}

bool Graph::encodeLane(uint32_t node, uint32_t id, const float* centre, Scratch& s, uint8_t* nibbles,
                       Factors* factors) {
  if (options_.profile == Profile::kSmall || !hasSpace()) return true;
  if (!ensureVector(id)) return false;
  const uint32_t d = options_.dimensions;
  Exact exact;
  if (options_.metric == Metric::kDot) {
    exact.product = kernel->dot(raw(id), raw(node), d) - kernel->dot(raw(node), raw(node), d);
  } else if (options_.profile == Profile::kCompact) {
    exact.squares = options_.metric == Metric::kL2
                        ? kernel->l2(raw(id), raw(node), d)
                        : std::fmax(0.0f, 2 * between<Metric::kCosine>(id, node, __builtin_huge_valf()));
  }
  *factors = encode(options_.metric, rotated(id, s.other), centre, layout_.quads, exact, nibbles);
  return true;
}

void Graph::readLane(uint32_t node, uint32_t lane, uint8_t* nibbles, Factors* factors) const {
  if (options_.profile == Profile::kSmall) return;
  unpackLane(codesOf(node) + lane / kLanes * layout_.blockBytes(), layout_.quads, lane % kLanes, nibbles);
  const uint8_t *add = rowBytes(node) + layout_.add, *rescale = rowBytes(node) + layout_.rescale;
  if (layout_.narrow) {
    *factors = {widened(reinterpret_cast<const uint16_t*>(add)[lane]),
                widened(reinterpret_cast<const uint16_t*>(rescale)[lane])};
  } else {
    *factors = {reinterpret_cast<const float*>(add)[lane], reinterpret_cast<const float*>(rescale)[lane]};
  }
}

void Graph::writeLane(uint32_t node, uint32_t lane, const uint8_t* nibbles, const Factors& factors) {
  if (options_.profile == Profile::kSmall) return;
  packLane(codesOf(node) + lane / kLanes * layout_.blockBytes(), layout_.quads, lane % kLanes, nibbles);
  uint8_t *add = rowBytes(node) + layout_.add, *rescale = rowBytes(node) + layout_.rescale;
  if (layout_.narrow) {
    reinterpret_cast<uint16_t*>(add)[lane] = narrowed(factors.add);
    reinterpret_cast<uint16_t*>(rescale)[lane] = narrowed(factors.rescale);
  } else {
    reinterpret_cast<float*>(add)[lane] = factors.add;
    reinterpret_cast<float*>(rescale)[lane] = factors.rescale;
  }
}

bool Graph::writeOwnCode(uint32_t node, Scratch& s) {
  if (options_.profile != Profile::kSmall || !hasSpace()) return true;
  if (!touchRow(node) || !ensureVector(node)) return false;
  const uint32_t n = space_->size();
  const float* r = rotated(node, s.centre);
  const float product = options_.metric == Metric::kDot ? kernel->dot(r, space_->mean(), n) : 0;
  *ownOf(node) = encodeOwn(options_.metric, r, n, product, reinterpret_cast<uint8_t*>(ownOf(node) + 1));
  return true;
}

bool Graph::recode(uint32_t node, Scratch& s) {
  if (!touchRow(node) || !ensureVector(node) || !writeOwnCode(node, s)) return false;
  List l;
  if (!listOf(node, 0, &l)) return false;
  const float* centre = rotated(node, s.centre);
  s.nibbles.resize(std::max<size_t>(s.nibbles.size(), layout_.quads));
  for (uint32_t lane = 0; lane < l.count; lane++) {
    Factors factors;
    if (!encodeLane(node, l.ids[lane], centre, s, s.nibbles.data(), &factors)) return false;
    writeLane(node, lane, s.nibbles.data(), factors);
  }
  return true;
}

bool Graph::writeRow(uint32_t node, const std::vector<Neighbor>& kept, uint32_t diverse, Scratch& s) {
  if (!touchRow(node) || !ensureVector(node)) return false;
  Row* r = row(node);
  uint32_t* ids = bottomIds(node);
  const uint32_t degree = r->degree, next = static_cast<uint32_t>(kept.size());
  if (degree > 2 * options_.m)
    return refuse(node, offsetof(Row, degree), "a row has more neighbours than it has room for");
  for (uint32_t lane = 1; lane < degree; lane++) {
    if (std::find(ids, ids + lane, ids[lane]) != ids + lane)
      return refuse(node, sizeof(Row) + lane * sizeof(uint32_t), "a row names a neighbour twice");
  }
  const auto isKept = [&](uint32_t id) {
    return std::any_of(kept.begin(), kept.end(), [&](const Neighbor& k) { return k.node == id; });
  };
  // Where each id goes: those that stay keep their lanes, new ones take the lanes of those that go.
  s.before.assign(ids, ids + degree);
  s.after.assign(s.before.begin(), s.before.end());
  s.after.resize(std::max(degree, next), kNone);
  for (uint32_t lane = 0; lane < degree; lane++) {
    if (isKept(s.before[lane])) continue;
    s.lost.push_back(s.before[lane]);
    s.after[lane] = kNone;
  }
  uint32_t hole = 0;
  for (const Neighbor& k : kept) {
    if (std::find(s.before.begin(), s.before.end(), k.node) != s.before.end()) continue;
    while (hole < s.after.size() && s.after[hole] != kNone) hole++;
    if (hole == s.after.size()) return refuse(node, sizeof(Row), "a row names a node twice");
    s.after[hole] = k.node;
    s.gained.push_back(k.node);
  }
  for (uint32_t lane = 0; lane < next; lane++) {  // no gaps: the last lanes move into them
    if (s.after[lane] != kNone) continue;
    while (s.after.back() == kNone) s.after.pop_back();
    s.after[lane] = s.after.back();
    s.after.pop_back();
  }
  s.after.resize(next);

  // Everything is computed before the first byte of the row changes.
  struct Lane {
    uint32_t lane, from;  // from: the lane it moves from, kNone where it is new
    Factors factors;
    uint16_t bias;
  };
  std::vector<Lane> changed;
  const uint32_t quads = layout_.quads;
  const float* centre = nullptr;
  for (uint32_t lane = 0; lane < next; lane++) {
    const uint32_t id = s.after[lane];
    if (lane < degree && s.before[lane] == id) continue;
    const auto at = std::find(s.before.begin(), s.before.end(), id);
    const uint32_t from = at == s.before.end() ? kNone : static_cast<uint32_t>(at - s.before.begin());
    changed.push_back({lane, from, {}, 0});
    if (s.nibbles.size() < changed.size() * quads) s.nibbles.resize(changed.size() * quads);
    uint8_t* nibbles = s.nibbles.data() + (changed.size() - 1) * quads;
    if (from != kNone) {
      readLane(node, from, nibbles, &changed.back().factors);
      changed.back().bias = biasesOf(node)[from];
      continue;
    }
    if (!centre && quads > 0 && hasSpace()) centre = rotated(node, s.centre);
    if (!encodeLane(node, id, centre, s, nibbles, &changed.back().factors)) return false;
  }

  uint32_t* flags = diverseOf(node);
  std::vector<uint32_t> marked((layout_.lanes + 31) / 32, 0);
  for (uint32_t i = 0; i < diverse; i++) {
    const auto at = static_cast<uint32_t>(std::find(s.after.begin(), s.after.end(), kept[i].node) - s.after.begin());
    marked[at / 32] |= 1u << (at % 32);
  }
  std::memcpy(flags, marked.data(), marked.size() * sizeof(uint32_t));  // only linking reads them

  const RowWrite write(r);
  for (size_t i = 0; i < changed.size(); i++) {
    const Lane& c = changed[i];
    relaxed(ids + c.lane, s.after[c.lane]);
    relaxed(biasesOf(node) + c.lane, c.bias);
    writeLane(node, c.lane, s.nibbles.data() + i * quads, c.factors);
  }
  __atomic_store_n(&r->degree, static_cast<uint16_t>(next), __ATOMIC_RELEASE);
  return true;
}

bool Graph::replaceLane(uint32_t node, uint32_t lane, uint32_t id, Scratch& s) {
  const uint32_t degree = row(node)->degree;
  std::vector<Neighbor> all, others;
  for (uint32_t i = 0; i < degree; i++) {
    if (i == lane) continue;
    (diverseOf(node)[i / 32] >> (i % 32) & 1 ? all : others).push_back({0, bottomIds(node)[i]});
  }
  const uint32_t diverse = static_cast<uint32_t>(all.size());
  all.insert(all.end(), others.begin(), others.end());
  all.push_back({0, id});
  return writeRow(node, all, diverse, s);
}

bool Graph::writeUpper(uint32_t node, uint32_t level, const std::vector<Neighbor>& kept) {
  if (!hasUpper(node, level)) return refuse(node, offsetof(Row, upper), "a row is on a layer that it has no list for");
  if (!touchUpper(node, level)) return false;
  uint32_t* entry = upperList(node, level);
  for (size_t i = 0; i < kept.size(); i++) relaxed(entry + 1 + i, kept[i].node);
  __atomic_store_n(entry, static_cast<uint32_t>(kept.size()), __ATOMIC_RELEASE);
  return true;
}

bool Graph::addInEdge(uint32_t node) {
  if (!touchRow(node)) return false;
  __atomic_fetch_add(&row(node)->inDegree, 1, __ATOMIC_RELAXED);
  return true;
}

// False where it is the last edge that leads to the node, which has to stay.
bool Graph::dropInEdge(uint32_t node) {
  if (!touchRow(node) || row(node)->inDegree <= 1) return false;
  row(node)->inDegree--;
  return true;
}

// In-degrees change here and nowhere else while rows are written side by side: sums do not depend on
// the order of threads.
bool Graph::countEdges(const std::vector<Scratch*>& scratches, std::vector<uint32_t>* bare) {
  for (Scratch* s : scratches) {
    for (const uint32_t node : s->gained) {
      if (!addInEdge(node)) return false;
    }
    s->gained.clear();
  }
  for (Scratch* s : scratches) {
    for (const uint32_t node : s->lost) {
      if (!touchRow(node)) return false;
      if (--row(node)->inDegree == 0 && bare) bare->push_back(node);
    }
    s->lost.clear();
  }
  return true;
}

void Graph::addToBacklog(uint32_t node) {
  unlinked_.fetch_add(1);
  const Rotation& rotation = space_->rotation();
  const uint32_t d = options_.dimensions, quads = rotation.padded() / 4;
  const float* v = raw(node);
  std::vector<float> own(rotation.padded());
  rotation.apply(v, scaleOf(node), own.data());
  const std::unique_lock<std::shared_mutex> alone(backlog_.mutex);
  if (backlog_.reference.empty()) backlog_.reference = own;
  for (uint32_t i = 0; i < own.size(); i++) own[i] -= backlog_.reference[i];
  if (backlog_.blocks.empty() || backlog_.blocks.back()->count == kLanes) {
    auto fresh = std::make_unique<Backlog::Block>();
    fresh->vector.assign(v, v + d + (options_.metric == Metric::kCosine ? 1 : 0));
    fresh->rotated = own;
    fresh->codes.assign(uint64_t(quads) * 16, 0);
    backlog_.blocks.push_back(std::move(fresh));
  }
  Backlog::Block& block = *backlog_.blocks.back();
  const uint32_t lane = block.count;
  Exact exact;
  if (options_.metric == Metric::kDot) {
    exact.product = kernel->dot(v, block.vector.data(), d) - kernel->dot(block.vector.data(), block.vector.data(), d);
  }
  std::vector<uint8_t> nibbles(quads);
  const Factors f = encode(options_.metric, own.data(), block.rotated.data(), quads, exact, nibbles.data());
  packLane(block.codes.data(), quads, lane, nibbles.data());
  block.add[lane] = f.add;
  block.rescale[lane] = f.rescale;
  block.error[lane] =
      errorOf(options_.metric, kernel->l2(own.data(), block.rotated.data(), rotation.padded()), f, quads, kSure);
  block.ids[lane] = node;
  block.count++;
}

void Graph::trimBacklog() {
  const std::unique_lock<std::shared_mutex> alone(backlog_.mutex);
  std::erase_if(backlog_.blocks, [&](const std::unique_ptr<Backlog::Block>& block) {
    if (block->count < kLanes && unlinked_.load() > 0) return false;  // the one that still grows
    // A node that is neither linked nor dead waits, or is just being published.
    return std::all_of(block->ids, block->ids + block->count,
                       [&](uint32_t node) { return node == kNone || (state(node) & (kLinked | kDead)); });
  });
}

std::vector<uint32_t> Graph::unlinked(uint32_t most) {
  const std::shared_lock<std::shared_mutex> shared(backlog_.mutex);
  std::vector<uint32_t> found;
  for (const std::unique_ptr<Backlog::Block>& block : backlog_.blocks) {
    for (uint32_t i = 0; i < block->count; i++) {
      if ((state(block->ids[i]) & (kLive | kLinked)) == kLive) found.push_back(block->ids[i]);
    }
  }
  std::sort(found.begin(), found.end());
  found.resize(std::min<size_t>(found.size(), most));
  return found;
}

}  // namespace hebb
