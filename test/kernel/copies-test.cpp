// Graphs copied under new numbers, as bundles hold them: the same graph, and equal bytes whatever went before.
#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "bundle.hpp"
#include "graph/copy.hpp"

namespace hebb::test {
namespace {

constexpr Section kCopied[] = {kHead, kState, kVectors, kRows, kUpper, kIds, kProjection};

// A graph with a history, and codes in its rows.
World churned(Metric metric, uint32_t d, uint32_t m, Profile profile, unsigned threads) {
  Random random(seed);
  World w(d, metric, m, 3000, profile);
  w.add(random, 2100, threads);  // codes are fitted from 2,048 nodes on
  for (int round = 0; round < 2; round++) {
    w.removeSome(random, 5);
    check(w.graph->consolidate(threads), "consolidate");
    w.add(random, 250, threads);
    for (int i = 0; i < 3; i++) w.add(random, 1, 1);
  }
  w.removeSome(random, 20);  // gaps among the numbers
  check(w.graph->consolidate(threads) && w.graph->reconnect() == 0, "consolidate and reconnect");
  bool named = true;
  for (uint32_t node = 0; node < w.graph->nodes(); node++) {
    const uint8_t slot[kIdBytes] = {1, static_cast<uint8_t>(node), static_cast<uint8_t>(node >> 8)};
    named &= w.graph->setId(node, slot);
  }
  check(named, "set ids");
  return w;
}

// All sections of a copy, by pieces of any size; empty on a fault.
std::vector<std::vector<uint8_t>> copied(World& w, const std::vector<uint32_t>& order, Random& random) {
  GraphCopy copy(*w.graph, order);
  if (!copy.prepare()) return {};
  std::vector<std::vector<uint8_t>> all(kCodebooks + 1);
  for (const Section section : kCopied) {
    const uint64_t stride = copy.stride(section), count = copy.count(section);
    std::vector<uint8_t>& out = all[section];
    out.assign(stride * count, 0xee);
    for (uint64_t from = 0; from < count;) {
      const uint64_t piece = std::min<uint64_t>(count - from, 1 + random() % 700);
      if (!copy.read(section, from, piece, out.data() + from * stride)) return {};
      from += piece;
    }
  }
  return all;
}

World worldOf(const World& w, const std::vector<uint32_t>& order, const std::vector<std::vector<uint8_t>>& sections) {
  World c(w.options.dimensions, w.options.metric, w.options.m, static_cast<uint32_t>(order.size()), w.options.profile);
  for (const Section section : kCopied) c.region->load(section, 0, sections[section].data(), sections[section].size());
  check(c.attach(), "a graph attaches to a copy");
  for (const uint32_t node : order) c.vectors.push_back(w.vectors[node]);
  return c;
}

// Node by node, under the names that both have.
void checkSame(World& w, World& c, const std::vector<uint32_t>& order, const std::string& name) {
  const uint32_t n = static_cast<uint32_t>(order.size()), most = 2 * w.options.m;
  bool neighbours = true, records = true, standing = true;
  std::vector<uint32_t> ours(most), theirs(most), all(n), inOurs(n), inTheirs(n);
  std::vector<uint8_t> levels(n), copiedLevels(n);
  for (uint32_t i = 0; i < n; i++) {
    all[i] = i;
    const int32_t count = w.graph->neighbors(order[i], ours.data());
    neighbours &= count == c.graph->neighbors(i, theirs.data());
    for (int32_t j = 0; j < count && neighbours; j++) neighbours &= order[theirs[j]] == ours[j];
    records &= std::memcmp(w.graph->id(order[i]), c.graph->id(i), kIdBytes) == 0;
    records &= std::memcmp(w.record(order[i]), c.record(i), Graph::vectorStride(w.options)) == 0;
    records &= c.graph->state(i) == (kAllocated | kLinked | kLive);
  }
  standing = w.graph->standing(order.data(), n, levels.data(), inOurs.data()) &&
             c.graph->standing(all.data(), n, copiedLevels.data(), inTheirs.data()) && levels == copiedLevels &&
             inOurs == inTheirs;
  check(neighbours, name + ": neighbours are the same, in their order");
  check(records, name + ": vectors and ids are the same");
  check(standing, name + ": layers and in-degrees are the same");
  check(c.graph->nodes() == n && c.graph->live() == n && c.graph->dead() == 0, name + ": nothing else is there");
  check(c.graph->topLevel() == w.graph->topLevel(), name + ": as many layers");
}

void checkSearches(World& w, World& c, const std::vector<uint32_t>& order, Random& random, const std::string& name) {
  constexpr uint32_t k = 10;
  bool same = true, above = true;
  uint32_t ours[k], theirs[k];
  float distances[k], copiedDistances[k];
  const auto equal = [&](int32_t count, int32_t copiedCount) {
    bool is = count == copiedCount && count >= 0;
    for (int32_t i = 0; i < count && is; i++) {
      is &= theirs[i] < order.size() && order[theirs[i]] == ours[i] && sameBits(distances[i], copiedDistances[i]);
    }
    return is;
  };
  for (int round = 0; round < 20; round++) {
    const std::vector<float> q = w.draw(random);
    for (const uint32_t ef : {10u, 60u}) {
      same &= equal(w.graph->search(q.data(), k, ef, {}, 4, ours, distances),
                    c.graph->search(q.data(), k, ef, {}, 4, theirs, copiedDistances));
    }
    above &= equal(w.graph->searchLevel(q.data(), 1, k, ours, distances),
                   c.graph->searchLevel(q.data(), 1, k, theirs, copiedDistances));
  }
  check(same, name + ": searches find the same, bit for bit");
  check(above, name + ": and so on the layers above");
}

// What equal graphs differ in by what went before: counters of writes, what a lane without a neighbour still holds.
void leaveTraces(World& w, Random& random) {
  const RowLayout layout(w.options);
  for (const uint32_t node : w.having(kLinked)) {
    uint8_t* const row = w.rowBytes(node);
    w.row(node)->sequence += 2 * static_cast<uint32_t>(random() % 1000);
    w.row(node)->inDegree += static_cast<uint32_t>(random() % 3);  // counted anew
    for (uint32_t lane = w.row(node)->degree; lane < layout.lanes; lane++) {
      w.ids(node)[lane] = static_cast<uint32_t>(random());
      if (w.options.profile == Profile::kSmall) continue;
      for (const uint64_t section : {layout.add, layout.rescale}) {
        for (uint64_t i = 0; i < layout.factorBytes(); i++)
          row[section + lane * layout.factorBytes() + i] = static_cast<uint8_t>(random());
      }
      std::vector<uint8_t> nibbles(layout.quads);
      for (uint8_t& x : nibbles) x = random() % 16;
      packLane(row + layout.codes + lane / kLanes * layout.blockBytes(), layout.quads, lane % kLanes, nibbles.data());
    }
    uint16_t* const biases = reinterpret_cast<uint16_t*>(row + layout.biases);
    for (uint32_t lane = 0; lane < layout.lanes; lane++) biases[lane] = static_cast<uint16_t>(random());
  }
}

void testCopiesOf(Metric metric, uint32_t d, uint32_t m, Profile profile, const std::string& name) {
  World w = churned(metric, d, m, profile, 2);
  Random random(seed);
  std::vector<uint32_t> order = w.having(kLinked | kLive);
  check(order.size() < w.graph->nodes(), name + ": there are gaps");
  for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[random() % i]);
  w.head()->path = static_cast<uint32_t>(Path::kCodes);
  const std::vector<std::vector<uint8_t>> bytes = copied(w, order, random);
  check(!bytes.empty(), name + ": a copy is made");
  if (bytes.empty()) return;
  World c = worldOf(w, order, bytes);
  checkSame(w, c, order, name);
  checkEdges(c, name + " copied");
  checkLanes(c, name + " copied");
  for (const Path path : {Path::kCodes, Path::kVectors}) {
    w.head()->path = c.head()->path = static_cast<uint32_t>(path);
    checkSearches(w, c, order, random, name + (path == Path::kCodes ? " by codes" : " by vectors"));
  }
  w.head()->path = static_cast<uint32_t>(Path::kCodes);
  recall(c, random, {}, 60);

  check(copied(w, order, random) == bytes, name + ": a second copy after searches has the same bytes");
  const std::vector<uint8_t> rows(w.rowBytes(0), w.rowBytes(w.graph->nodes()));
  leaveTraces(w, random);
  check(copied(w, order, random) == bytes, name + ": nothing that tells of the time before is copied");
  std::copy(rows.begin(), rows.end(), w.rowBytes(0));
  const std::vector<uint32_t> waiting = w.publish(random, 4);
  w.remove({waiting[0], waiting[2]});
  check(w.graph->dead() == 2 && copied(w, order, random) == bytes, name + ": nodes that are not linked are not copied");
  w.remove({waiting[1], waiting[3]});

  // Where the entry is not among those copied, another of the topmost layer takes its place.
  const uint64_t entry = std::exchange(w.head()->entry, waiting[0]);
  const std::vector<std::vector<uint8_t>> entered = copied(w, order, random);
  w.head()->entry = entry;
  check(!entered.empty(), name + ": a copy without the entry is made");
  if (!entered.empty()) {
    World other = worldOf(w, order, entered);
    check(other.graph->topLevel() == w.graph->topLevel() &&
              other.row(static_cast<uint32_t>(other.head()->entry))->level == w.graph->topLevel(),
          name + ": it is entered at the topmost layer");
    recall(other, random, {}, 60);
  }

  // A copy of the copy, under its own numbers, is what it is itself.
  c.head()->path = static_cast<uint32_t>(Path::kCodes);
  std::vector<uint32_t> own(order.size());
  for (uint32_t i = 0; i < own.size(); i++) own[i] = i;
  check(copied(c, own, random) == bytes, name + ": a copy of the copy has its bytes");
  if (share == 1 || profile == Profile::kTurbo) {
    World again = churned(metric, d, m, profile, 1);
    again.head()->path = static_cast<uint32_t>(Path::kCodes);
    check(copied(again, order, random) == bytes, name + ": a graph that one thread built has the same bytes");
  }

  // Rows that name who is not copied; lists above, too.
  const auto refused = [&](const std::function<void()>& damage, const std::string& what) {
    const std::vector<uint8_t> upper(w.region->base(kUpper),
                                     w.region->base(kUpper) + w.region->reserved(kUpper) / 8 / 64 * 64);
    damage();
    check(copied(w, order, random).empty() && w.region->fault().reason, name + ": " + what);
    std::copy(rows.begin(), rows.end(), w.rowBytes(0));
    std::copy(upper.begin(), upper.end(), w.region->base(kUpper));
  };
  const std::vector<uint32_t> some = {order[3], order[order.size() / 2], order.back()};
  uint32_t gap = 0;
  while (w.is(gap, kLinked)) gap++;
  for (const uint32_t node : some) {
    const uint32_t lane = static_cast<uint32_t>(random() % w.row(node)->degree);
    refused([&] { w.ids(node)[lane] = gap; }, "a row that names a free number is refused");
    refused([&] { w.ids(node)[lane] = 0x7fffffff; }, "a row that names a number past the last is refused");
    refused([&] { w.row(node)->degree = 60000; }, "a row of more neighbours than fit is refused");
    refused([&] { w.row(node)->level = 77; }, "a row on a layer that does not exist is refused");
    check(w.region->fault().section == kRows, name + ": the fault is a row's");
  }
  for (const uint32_t node : order) {
    if (w.row(node)->level == 0) continue;
    uint32_t* const list =
        reinterpret_cast<uint32_t*>(w.region->base(kUpper) + w.row(node)->upper * Graph::upperStride(w.options));
    if (list[0] == 0) continue;
    refused([&] { list[1] = gap; }, "a list above that names a free number is refused");
    break;
  }
  const std::vector<uint32_t> dead = {order[7]};
  w.remove(dead);
  const std::vector<uint32_t> before = std::exchange(order, w.having(kLinked | kLive));
  check(order.size() + 1 == before.size(), name + ": one is dead");
  check(copied(w, order, random).empty() && w.region->fault().reason && w.region->fault().section == kRows,
        name + ": a row that names a dead node is refused");
  check(w.graph->consolidate(2) && w.graph->reconnect() == 0 && !copied(w, order, random).empty(),
        name + ": once it is removed from all rows, a copy is made");
}

void testSmall() {
  Random random(seed);
  for (const uint32_t count : {1u, 2u, 50u}) {
    World w(16, Metric::kCosine, 8, 100);
    w.add(random, count, 1);
    const std::vector<uint32_t> order = shuffled(count, random);
    const std::vector<std::vector<uint8_t>> bytes = copied(w, order, random);
    const std::string name = std::to_string(count) + " nodes";
    check(!bytes.empty(), name + " are copied");
    World c = worldOf(w, order, bytes);
    checkSame(w, c, order, name);
    checkEdges(c, name + " copied");
    recall(c, random, {}, 60);
  }
}

// A bundle as it is made: the graph's copy and the codes, under the same numbers.
void testTogether() {
  Random random(seed);
  World w(64, Metric::kL2, 8, 1000);
  w.add(random, 600, 2);
  w.removeSome(random, 4);
  check(w.graph->consolidate(2) && w.graph->reconnect() == 0, "consolidate");
  std::vector<uint32_t> order = w.having(kLinked | kLive);
  std::reverse(order.begin(), order.end());
  Bundle b(w, {64, Metric::kL2, 4, false, seed}, 5, order);
  const std::vector<std::vector<uint8_t>> bytes = copied(w, order, random);
  World c = worldOf(w, order, bytes);
  bool same = true;
  for (int round = 0; round < 20; round++) {
    const std::vector<float> q = w.draw(random);
    const std::vector<Neighbor> found = b.scan(q, 5, 100);
    uint32_t nodes[5];
    float distances[5];
    same &= c.graph->search(q.data(), 5, 500, {}, 4, nodes, distances) == 5;
    for (uint32_t i = 0; i < 5; i++) same &= found[i].node == nodes[i] && sameBits(found[i].distance, distances[i]);
  }
  check(same, "the copied graph and the codes find the same numbers");
}

}  // namespace

void testCopies() {
  testCopiesOf(Metric::kL2, 16, 8, Profile::kTurbo, "turbo");
  testCopiesOf(Metric::kCosine, 130, 20, Profile::kCompact, "compact");
  testCopiesOf(Metric::kDot, 20, 8, Profile::kSmall, "small");
  testSmall();
  testTogether();
}

}  // namespace hebb::test
