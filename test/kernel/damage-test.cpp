// Bytes that no healthy store has: work is bounded, nothing outside is touched, the place is named.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "graph/check.hpp"
#include "world.hpp"

namespace hebb::test {
namespace {

constexpr uint32_t kCount = 2200;  // from 2,048 on rows have codes

// A graph that can be damaged and repaired.
struct Patient {
  explicit Patient(Metric metric) : random(seed), w(16, metric, 8, 5000) {
    w.add(random, kCount, 2);
    rows.assign(w.region->base(kRows), w.region->base(kRows) + kCount * Graph::rowStride(w.options));
  }
  void heal() { std::copy(rows.begin(), rows.end(), w.region->base(kRows)); }
  int32_t search(uint32_t aim, const Filter& filter = {}) {
    return w.graph->search(w.vectors[aim].data(), 10, 60, filter, 4, nodes, distances);
  }
  Random random;
  World w;
  std::vector<uint8_t> rows;
  uint32_t nodes[10];
  float distances[10];
};

// Whether the last fault names a place inside a node's row.
bool named(const World& w, uint32_t node, uint64_t offset) {
  const BlockFault fault = w.region->fault();
  return fault.section == kRows && fault.offset == node * Graph::rowStride(w.options) + offset && fault.reason &&
         std::strlen(fault.reason) > 10 && fault.block == fault.offset / kBlockBytes;
}

// A node that the search for its own vector is sure to expand, and the lane of its nearest neighbour.
uint32_t nearestLane(const World& w, uint32_t node) {
  uint32_t best = 0;
  for (uint32_t lane = 1; lane < w.row(node)->degree; lane++) {
    if (w.distance(w.vectors[node], w.ids(node)[lane]) < w.distance(w.vectors[node], w.ids(node)[best])) best = lane;
  }
  return best;
}

void testOneRow(Path path, bool filtered, const std::string& name) {
  Patient p(Metric::kL2);
  p.w.head()->path = static_cast<uint32_t>(path);
  std::vector<uint32_t> bits((p.w.graph->nodes() + 31) / 32, 0xffffffffu);
  Filter filter;
  if (filtered) filter = {bits.data(), kCount, kCount};
  bool ids = true, degrees = true, sequences = true, healed = true;
  for (int round = 0; round < 20; round++) {
    const uint32_t node = static_cast<uint32_t>(p.random() % kCount);
    const uint32_t lane = nearestLane(p.w, node);
    for (const uint32_t id : {kCount, kCount + 1000, 0x7fffffffu, 0x80000000u, kNone}) {
      p.w.ids(node)[lane] = id;
      ids &= p.search(node, filter) == -1 && named(p.w, node, sizeof(Row) + lane * sizeof(uint32_t));
      p.heal();
    }
    for (const uint16_t degree : {17, 32, 33, 4096, 65535}) {
      p.w.row(node)->degree = degree;
      degrees &= p.search(node, filter) == -1 && named(p.w, node, offsetof(Row, degree));
      p.heal();
    }
    healed &= p.search(node, filter) == 10 && p.nodes[0] == node;
  }
  check(ids, name + ": an id out of range is refused, with its place");
  check(degrees, name + ": a degree out of range is refused, with its place");
  check(healed, name + ": a search that met damage leaves nothing behind");
  if (path == Path::kVectors) return;  // ids are read one by one there, and any is checked
  const uint32_t node = static_cast<uint32_t>(p.random() % kCount);
  p.w.row(node)->sequence |= 1;
  sequences &= p.search(node, filter) == -1 && named(p.w, node, offsetof(Row, sequence));
  check(sequences, name + ": a row that says it is being written, and is not, is refused");
}

// Whatever runs over rows with bytes changed at random ends, with a fault or with hits that exist.
void testRandomDamage() {
  Patient p(Metric::kL2);
  World& w = p.w;
  bool bounded = true;
  uint32_t refused = 0;
  for (int round = 0; round < 30; round++) {
    for (int i = 0; i < 40; i++) {
      const uint32_t node = static_cast<uint32_t>(p.random() % kCount);
      w.ids(node)[p.random() % (2 * w.options.m)] = static_cast<uint32_t>(p.random());
      if (i % 7 == 0) w.row(node)->degree = static_cast<uint16_t>(p.random());
      if (i % 11 == 0) w.row(node)->upper = static_cast<uint32_t>(p.random());
      if (i % 13 == 0) w.row(node)->level = static_cast<uint8_t>(p.random());
      if (i % 17 == 0) w.row(node)->inDegree = static_cast<uint32_t>(p.random());
      uint8_t* row = w.rowBytes(node);  // factors, biases, codes
      for (uint64_t at = RowLayout(w.options).add; at < Graph::rowStride(w.options); at++) {
        if (p.random() % 50 == 0) row[at] = static_cast<uint8_t>(p.random());
      }
    }
    const Some some(w, p.random, 3), few(w, p.random, 12);
    for (const Filter& filter : {Filter{}, some.filter, few.filter}) {
      const int32_t count = p.search(static_cast<uint32_t>(p.random() % kCount), filter);
      refused += count < 0;
      bounded &= count <= 10;
      for (int32_t i = 0; i < count; i++) bounded &= p.nodes[i] < kCount && filter.matches(p.nodes[i]);
    }
    uint32_t ids[16];
    for (int i = 0; i < 50; i++) bounded &= w.graph->neighbors(static_cast<uint32_t>(p.random() % kCount), ids) <= 16;
  }
  check(bounded, "hits over damaged rows exist and match");
  check(refused > 10, "damage is met (" + std::to_string(refused) + " searches were refused)");
  check(w.graph->reconnect() == -1 && w.region->fault().reason, "reconnecting damaged rows is refused");
  p.heal();
  check(p.search(7) == 10 && p.nodes[0] == 7, "rows that are sound again are searched again");
}

// What changes rows comes to damaged ones, too: it fails, and follows nothing.
void testChangesOverDamage(const std::string& what, const std::function<void(World&, uint32_t)>& damage,
                           const std::function<bool(Patient&)>& change) {
  Patient p(Metric::kL2);
  for (uint32_t node = 0; node < kCount; node++) damage(p.w, node);
  check(!change(p) && p.w.region->fault().reason && p.w.region->fault().section == kRows, what);
}

// One damaged row, which a node that is linked beside it has to change: the walk met it with a pool so
// full that it looked at none of its farther lanes.
void testOneRowWritten() {
  Patient p(Metric::kL2);
  World& w = p.w;
  bool fits = true;
  uint32_t refused = 0;
  for (int round = 0; round < 60 && refused < 5; round++) {
    const uint32_t node = static_cast<uint32_t>(p.random() % kCount);
    uint32_t far = 0;
    for (uint32_t lane = 1; lane < w.row(node)->degree; lane++) {
      if (w.distance(w.vectors[node], w.ids(node)[lane]) > w.distance(w.vectors[node], w.ids(node)[far])) far = lane;
    }
    w.ids(node)[far] = 0x7ffffff0u - node;
    std::vector<float> v = w.vectors[node];
    for (float& x : v) x += 0.3f * p.random.gauss();
    const uint32_t fresh = w.publish({v})[0];
    if (w.graph->link(&fresh, 1, 1)) {
      fits &= w.is(fresh, kLinked);
    } else {
      refused++;
      fits &= w.region->fault().reason != nullptr;
    }
    p.heal();
  }
  check(fits && refused > 0, "linking beside a damaged row is refused, or does without it");
}

// Vectors that are no numbers, as a file may hold them: no list is sorted beyond its ends, and nothing is fitted to
// them.
void testNoNumbers() {
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    World w(16, metric, 8, 400);
    Random random(seed);
    w.add(random, 300, 1);
    for (uint32_t node = 0; node < 300; node += 3) const_cast<float*>(w.record(node))[node % 16] = NAN;
    bool bounded = true;
    uint32_t nodes[100];
    float distances[100];
    for (uint32_t node = 0; node < 300; node += 7) {
      const int32_t count = w.graph->search(w.vectors[node].data(), 100, 200, {}, 4, nodes, distances);
      bounded &= count <= 100;
      for (int32_t i = 0; i < count; i++) bounded &= nodes[i] < 300;
    }
    w.add(random, 60, 1);
    w.removeSome(random, 5);
    bounded &= w.graph->consolidate(1);
    check(bounded, "hits among vectors that are no numbers exist");
    const CodebookOptions options{16, metric, 1, 0, 16, 16, 3, EntropyCoder::kAns, 8, 2};
    bool trained = true;
    check(!w.graph->train(options, 400, 0, 1, &trained) && !trained && w.region->fault().section == kVectors,
          "nothing is trained on vectors that are no numbers");
  }
  std::vector<Neighbor> all;
  for (uint32_t i = 0; i < 100; i++) all.push_back({i % 4 ? static_cast<float>((i * 37) % 11) : NAN, i});
  std::sort(all.begin(), all.end(), nearer);
  check(std::is_sorted(all.begin(), all.end(), nearer) && std::isnan(all[75].distance) && !std::isnan(all[74].distance),
        "distances that are no numbers come last");
}

// Heads and records that contradict what there is room for, as `attach` and whoever uses numbers again meet them.
void testContradictions() {
  World w(16, Metric::kL2, 8, 400);
  Random random(seed);
  w.add(random, 200, 1);
  const Head head = *w.head();
  const auto refused = [&](const char* what, const std::function<void(Head&)>& damage) {
    damage(*w.head());
    check(!w.attach(), std::string(what) + " is refused");
    *w.head() = head;
  };
  refused("more entries of upper layers than there is room for", [](Head& h) { h.upperEntries = 2999; });
  for (const double ml : {-1.0, -1e300, double(NAN), double(INFINITY)})
    refused("a level multiplier that is none", [&](Head& h) { h.ml = ml; });
  check(w.attach(), "what is sound again is attached to");

  // A free number's row that names upper entries far away gets others.
  uint32_t tall = 0;
  while (w.row(tall)->level == 0) tall++;
  w.remove({tall});
  check(w.graph->consolidate(1), "consolidated");
  w.row(tall)->upper = 0xfffffff0u;
  uint32_t again = kNone;
  check(w.graph->allocate(1, &again) && again == tall && w.row(tall)->upper <= w.head()->upperEntries,
        "a free row's upper entries are looked at before they are cleared");
  check(w.graph->setVector(tall, random.gauss(16).data(), 1) && w.graph->publish(&tall, 1, nullptr, 0) &&
            w.graph->link(&tall, 1, 1),
        "and it can be used");

  // A row that names a neighbour twice has one lane less than neighbours that it could get.
  for (uint32_t node = 0; node < 200; node++) w.ids(node)[w.row(node)->degree - 1] = w.ids(node)[0];
  const uint32_t fresh = w.publish(random, 1)[0];
  check(!w.graph->link(&fresh, 1, 1) && w.region->fault().section == kRows,
        "a neighbour that is named twice is refused");

  w.graph->tiers().place(5)->where = {0x1000000, static_cast<uint8_t>(Tier::kHot), 0, 0};
  Moves moves;
  const uint32_t other = 6;
  check(!w.graph->tiers().check(200) && w.region->fault().section == kPlaces, "a slot in tier hot is refused");
  check(!w.graph->retier(&other, 1, Tier::kWarm, 1, &moves), "and no slot is looked for beside it");
}

size_t faultsOf(World& w) {
  GraphCheck looked(*w.graph);
  looked.run();
  return looked.faults().size();
}

// What was built, changed and consolidated has no faults, whatever the metric, the profile and the tiers.
void testSoundGraphs() {
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    for (const Profile profile : {Profile::kTurbo, Profile::kCompact, Profile::kSmall}) {
      for (const bool keep : {true, false}) {
        Random random(seed);
        World w(profile == Profile::kCompact ? 80 : 16, metric, 8, 5000, profile, keep);
        const std::string name = "a sound graph of metric " + std::to_string(static_cast<uint32_t>(metric)) +
                                 ", profile " + std::to_string(static_cast<uint32_t>(profile)) +
                                 (keep ? "" : ", without originals");
        check(faultsOf(w) == 0, name + ": none when empty");
        w.add(random, kCount / share, 2);
        check(faultsOf(w) == 0, name + ": none when built");
        w.removeSome(random, 4);
        w.publish(random, 30);
        check(faultsOf(w) == 0, name + ": none with deleted nodes and a backlog");
        check(w.graph->consolidate(2) && faultsOf(w) == 0, name + ": none when consolidated");
        const std::vector<uint32_t> live = w.having(kLive);
        Moves moves;
        check(w.graph->retier(live.data(), static_cast<uint32_t>(live.size()) / 2, Tier::kWarm, 2, &moves) &&
                  faultsOf(w) == 0,
              name + ": none with vectors in two tiers");
      }
    }
  }
}

// Rows, lists, states, places and vectors of bytes at random are told, and nothing outside is touched.
void testCheckOverDamage() {
  Patient p(Metric::kCosine);
  World& w = p.w;
  uint32_t told = 0;
  for (int round = 0; round < 60; round++) {
    const uint32_t section =
        std::initializer_list<uint32_t>{kRows, kUpper, kState, kPlaces, kVectors}.begin()[round % 5];
    const uint64_t record = section == kRows     ? Graph::rowStride(w.options)
                            : section == kUpper  ? Graph::upperStride(w.options)
                            : section == kState  ? 1
                            : section == kPlaces ? sizeof(Place)
                                                 : Graph::vectorStride(w.options);
    const uint64_t records = section == kUpper ? w.head()->upperEntries : kCount;
    uint8_t* from = w.region->base(section);
    const std::vector<uint8_t> before(from, from + record * records);
    for (int i = 0; i < 30; i++) from[p.random() % before.size()] = static_cast<uint8_t>(p.random());
    told += faultsOf(w) > 0;
    std::copy(before.begin(), before.end(), from);
  }
  check(told >= 58, "damage at random is told (" + std::to_string(told) + " of 60 times)");
  check(faultsOf(w) == 0, "a graph that is sound again has no faults");
}

}  // namespace

void testDamage() {
  testNoNumbers();
  testContradictions();
  testSoundGraphs();
  testCheckOverDamage();
  testOneRow(Path::kCodes, false, "codes");
  testOneRow(Path::kCodes, true, "codes within a filter");
  testOneRow(Path::kVectors, false, "vectors");
  testOneRow(Path::kVectors, true, "vectors within a filter");
  testRandomDamage();
  testOneRowWritten();
  // The farthest lane, which a walk by codes may well pass over, and a row's end.
  const auto ids = [](World& w, uint32_t node) {
    uint32_t far = 0;
    for (uint32_t lane = 1; lane < w.row(node)->degree; lane++) {
      if (w.distance(w.vectors[node], w.ids(node)[lane]) > w.distance(w.vectors[node], w.ids(node)[far])) far = lane;
    }
    w.ids(node)[far] = 0xfffffff0u;
  };
  const auto degrees = [](World& w, uint32_t node) { w.row(node)->degree = static_cast<uint16_t>(60000 + node); };
  const auto link = [](Patient& p) {
    const std::vector<uint32_t> nodes = p.w.publish(p.random, 20);
    return p.w.graph->link(nodes.data(), 20, 1);
  };
  const auto linkMany = [](Patient& p) {
    const std::vector<uint32_t> nodes = p.w.publish(p.random, 600);
    return p.w.graph->link(nodes.data(), 600, 2);
  };
  const auto consolidate = [](Patient& p) {
    p.w.removeSome(p.random, 3);
    return p.w.graph->consolidate(2);
  };
  const auto reconnect = [](Patient& p) { return p.w.graph->reconnect() >= 0; };
  testChangesOverDamage("consolidating rows of ids out of range is refused", ids, consolidate);
  testChangesOverDamage("consolidating rows of degrees out of range is refused", degrees, consolidate);
  testChangesOverDamage("reconnecting rows of ids out of range is refused", ids, reconnect);
  testChangesOverDamage("reconnecting rows of degrees out of range is refused", degrees, reconnect);
  testChangesOverDamage("linking to rows of degrees out of range is refused", degrees, link);
  testChangesOverDamage("linking to rows of ids out of range is refused", ids, link);
  testChangesOverDamage("linking many to rows of ids out of range is refused", ids, linkMany);
}

}  // namespace hebb::test
