// Biases of edges, where nodes stand in the graph, and walks that end on one of its layers.
#include <algorithm>
#include <cmath>
#include <set>

#include "world.hpp"

namespace hebb::test {
namespace {

// A bias that tells which edge it belongs to, exact in half precision.
float biasOf(uint32_t from, uint32_t to) {
  return static_cast<float>(1 + (from * 31 + to) % 1000) / 1024;
}

// Writes the biases of all edges of linked nodes, and asks for as many that are not there.
void writeBiases(World& w) {
  const uint32_t most = 4 * w.options.m;
  std::vector<uint32_t> nodes = w.having(kLinked), to(nodes.size() * most, kNone);
  std::vector<float> biases(to.size());
  for (size_t i = 0; i < nodes.size(); i++) {
    uint32_t count = 0;
    for (; count < w.row(nodes[i])->degree; count++) to[i * most + count] = w.ids(nodes[i])[count];
    for (; count < most; count++) to[i * most + count] = w.graph->nodes() + count;
    for (uint32_t j = 0; j < most; j++) biases[i * most + j] = biasOf(nodes[i], to[i * most + j]);
  }
  check(w.graph->setBiases(nodes.data(), static_cast<uint32_t>(nodes.size()), most, to.data(), biases.data()),
        "biases are written");
}

struct Read {
  uint64_t edges = 0, biased = 0;
};

// Every node's neighbours as `fields` gives them, against its row.
Read readBiases(World& w, const std::string& when) {
  const uint32_t most = 2 * w.options.m;
  const std::vector<uint32_t> nodes = w.having(kLinked);
  std::vector<uint32_t> around(nodes.size() * most), counts(nodes.size());
  std::vector<float> far(around.size()), biases(around.size());
  check(w.graph->fields(nodes.data(), static_cast<uint32_t>(nodes.size()), most, around.data(), far.data(),
                        biases.data(), counts.data()),
        when + ": fields are read");
  Read read;
  bool own = true, all = true, ascend = true;
  for (size_t i = 0; i < nodes.size(); i++) {
    std::set<uint32_t> wanted, found;
    for (uint32_t lane = 0; w.is(nodes[i], kLive) && lane < w.row(nodes[i])->degree; lane++) {
      if (w.is(w.ids(nodes[i])[lane], kLive)) wanted.insert(w.ids(nodes[i])[lane]);
    }
    for (uint32_t j = 0; j < counts[i]; j++) {
      const size_t at = i * most + j;
      found.insert(around[at]);
      own &= biases[at] == 0 || biases[at] == biasOf(nodes[i], around[at]);
      own &= std::fabs(far[at] - w.distance(w.vectors[nodes[i]], around[at])) < 1e-4 * (1 + std::fabs(far[at]));
      ascend &= j == 0 || far[at - 1] <= far[at];
      read.edges++;
      read.biased += biases[at] != 0;
    }
    all &= found == wanted;
  }
  check(own, when + ": an edge has its own distance, and its own bias or none");
  check(all, when + ": all live neighbours are there");
  check(ascend, when + ": the nearest come first");
  return read;
}

void testBiases(Metric metric, Profile profile, const std::string& name) {
  Random random(seed);
  World w(24, metric, 8, 4000, profile);
  w.add(random, 1200 / share, 2);
  check(readBiases(w, name + " built").biased == 0, name + ": new edges have no bias");
  writeBiases(w);
  const Read all = readBiases(w, name + " written");
  check(all.biased == all.edges && all.edges > 0, name + ": every edge has its bias");
  bool even = true;
  for (const uint32_t node : w.having(kLinked)) even &= w.row(node)->sequence % 2 == 0;
  check(even, name + ": no row seems to be under way");
  for (int round = 0; round < 2; round++) {
    const size_t gone = w.removeSome(random, 4).size();
    check(w.graph->consolidate(2), name + ": consolidate");
    const Read kept = readBiases(w, name + " consolidated");
    check(kept.biased > kept.edges / 2, name + ": edges that stay keep their biases");
    w.add(random, static_cast<uint32_t>(gone), 2);
    const Read mixed = readBiases(w, name + " refilled");
    check(mixed.biased > 0 && mixed.biased < mixed.edges, name + ": new edges have none, old ones keep theirs");
    writeBiases(w);
  }
  // A row's biases are replaced as a whole.
  const uint32_t node = w.having(kLive | kLinked)[0], to[2] = {w.ids(node)[0], kNone};
  const float biases[2] = {biasOf(node, to[0]), 0.5f};
  check(w.graph->setBiases(&node, 1, 2, to, biases), name + ": one edge's bias");
  const uint32_t most = 2 * w.options.m;
  std::vector<uint32_t> around(most);
  std::vector<float> far(most), found(most);
  uint32_t count;
  check(w.graph->fields(&node, 1, most, around.data(), far.data(), found.data(), &count), name + ": its field");
  bool only = true;
  for (uint32_t j = 0; j < count; j++) only &= (found[j] != 0) == (around[j] == to[0]);
  check(only, name + ": what is not named has no bias any more");
  const uint32_t past[2] = {w.graph->nodes(), kNone};
  check(w.graph->setBiases(past, 2, 1, to, biases), name + ": nodes that do not exist are passed over");
}

void testLevels(Metric metric, const std::string& name) {
  Random random(seed);
  World w(16, metric, 4, 6000);  // many on each layer
  uint32_t nodes[40];
  float far[40];
  check(w.graph->searchLevel(w.draw(random).data(), 1, 10, nodes, far) == 0, name + ": an empty graph has no layers");
  w.add(random, 3000 / share, 2);
  w.removeSome(random, 10);
  const uint32_t top = w.graph->topLevel();
  check(top >= 2, name + ": there are layers");
  std::vector<uint32_t> live = w.having(kLive | kLinked);
  std::vector<uint8_t> levels(live.size());
  std::vector<uint32_t> degrees(live.size());
  check(w.graph->standing(live.data(), static_cast<uint32_t>(live.size()), levels.data(), degrees.data()),
        name + ": where nodes stand");
  bool right = true;
  for (size_t i = 0; i < live.size(); i++)
    right &= levels[i] == w.row(live[i])->level && degrees[i] == w.graph->inDegree(live[i]);
  check(right, name + ": levels and degrees are those of the rows");
  for (const uint32_t level : {0u, 1u, top, top + 3}) {
    uint32_t found = 0, wanted = 0;
    bool on = true, own = true, ascend = true, once = true;
    for (int round = 0; round < 20; round++) {
      const std::vector<float> q = w.draw(random);
      std::vector<double> truth;
      for (size_t i = 0; i < live.size(); i++) {
        if (levels[i] >= std::min(level, top)) truth.push_back(w.distance(q, live[i]));
      }
      std::sort(truth.begin(), truth.end());
      truth.resize(std::min<size_t>(truth.size(), 16));
      const int32_t count = w.graph->searchLevel(q.data(), level, 16, nodes, far);
      std::set<uint32_t> seen;
      for (int32_t i = 0; i < count; i++) {
        on &= w.is(nodes[i], kLive) && w.row(nodes[i])->level >= std::min(level, top);
        own &= std::fabs(far[i] - w.distance(q, nodes[i])) < 1e-4 * (1 + std::fabs(far[i]));
        ascend &= i == 0 || far[i - 1] <= far[i];
        once &= seen.insert(nodes[i]).second;
        found += !truth.empty() && far[i] <= truth.back() + 1e-5 * (1 + std::fabs(truth.back()));
      }
      wanted += static_cast<uint32_t>(truth.size());
    }
    const std::string what = name + ", layer " + std::to_string(level);
    check(on && own && ascend && once, what + ": live nodes of the layer, each once, the nearest first");
    check(found >= 0.9 * wanted,
          what + ": finds " + std::to_string(found) + " of the " + std::to_string(wanted) + " nearest");
  }
}

}  // namespace

void testEdges() {
  testBiases(Metric::kL2, Profile::kTurbo, "l2");
  testBiases(Metric::kCosine, Profile::kCompact, "compact cosine");
  testBiases(Metric::kDot, Profile::kSmall, "small dot");
  testLevels(Metric::kL2, "l2");
  testLevels(Metric::kCosine, "cosine");
  testLevels(Metric::kDot, "dot");
}

}  // namespace hebb::test
