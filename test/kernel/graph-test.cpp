// Graphs that are built, churned and emptied: edges, codes, recall. The same input gives the same graph,
// whatever the number of threads and the kernel.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>

#include "world.hpp"

namespace hebb::test {
namespace {

std::string percent(const std::string& what, double value) {
  return what + " is " + std::to_string(value);
}

// Biases of edges have to stay with their edges.
uint16_t* biasesOf(const World& w, uint32_t node) {
  return reinterpret_cast<uint16_t*>(w.rowBytes(node) + RowLayout(w.options).biases);
}

void markBiases(World& w) {
  for (const uint32_t node : w.having(kLinked)) {
    for (uint32_t lane = 0; lane < w.row(node)->degree; lane++) {
      biasesOf(w, node)[lane] = static_cast<uint16_t>(1 + (node * 31 + w.ids(node)[lane]) % 65521);
    }
  }
}

// Right after rows were rewritten; an edge that went and came back has lost its bias, which is rare.
void checkBiases(World& w, const std::string& when) {
  bool own = true;
  uint64_t kept = 0, edges = 0;
  for (const uint32_t node : w.having(kLinked)) {
    for (uint32_t lane = 0; lane < w.row(node)->degree; lane++, edges++) {
      const uint16_t bias = biasesOf(w, node)[lane];
      own &= bias == 0 || bias == 1 + (node * 31 + w.ids(node)[lane]) % 65521;
      kept += bias != 0;
    }
  }
  check(own, when + ": an edge has its own bias or none");
  check(kept > edges / 20, when + ": edges that stay keep their biases");
}

void testGraph(Metric metric, uint32_t d, uint32_t m, Profile profile, const std::string& name) {
  Random random(seed);
  World w(d, metric, m, 20000, profile);
  constexpr uint32_t count = 2200;  // the space of the codes is fitted from 2,048 nodes on
  check(recall(w, random, {}, 10) == 1, name + ": searching nothing finds nothing");
  w.add(random, 1, 2);
  check(recall(w, random, {}, 10) == 1, name + ": one node");
  w.add(random, 1, 2);
  checkEdges(w, name + " of two");
  checkLanes(w, name + " of two");
  w.add(random, count - 2, 2);
  checkEdges(w, name + " built");
  checkLanes(w, name + " built");
  check(w.graph->backlog() == 0 && w.graph->unlinked(10).empty(), name + ": nothing is left to link");
  check(w.graph->reconnect() == 0, name + ": all reachable");
  const double built = recall(w, random, {}, 100);
  check(built >= 0.95, percent(name + ": recall", built));
  const double few = recall(w, random, {}, 10);  // as many as are asked for
  check(few >= 0.5, percent(name + ": recall with ef = k", few));
  for (const uint32_t part : {2u, 4u, 10u, 300u}) {
    const Some some(w, random, part);
    const double within = recall(w, random, some.filter, 100);
    check(within >= 0.9, percent(name + ": recall within 1/" + std::to_string(part), within));
  }
  w.options.stopMargin = 0.3f;
  check(w.attach(), name + ": opened again");
  const double margin = recall(w, random, {}, 150);
  check(margin >= 0.8, percent(name + ": recall by a margin", margin));
  w.options.stopMargin = -1;
  check(w.attach(), name + ": opened again");

  for (int round = 0; round < 2; round++) {
    const uint32_t before = w.graph->live();
    const std::vector<uint32_t> gone = w.removeSome(random, 2);
    check(w.graph->live() == before - gone.size() && w.graph->dead() == gone.size(), name + ": counts after deleting");
    const double past = recall(w, random, {}, 100);
    check(past >= 0.9, percent(name + ": recall past deleted nodes", past));
    markBiases(w);
    check(w.graph->consolidate(2), name + ": consolidate");
    check(w.graph->dead() == 0, name + ": nothing dead is left");
    checkEdges(w, name + " consolidated");
    checkLanes(w, name + " consolidated");
    checkBiases(w, name + " consolidated");
    const uint32_t highest = w.graph->nodes();
    markBiases(w);
    w.add(random, static_cast<uint32_t>(gone.size()), 2);
    check(w.graph->nodes() == highest, name + ": freed numbers are used again");
    checkEdges(w, name + " refilled");
    checkLanes(w, name + " refilled");
    checkBiases(w, name + " refilled");
    for (int i = 0; i < 10; i++) w.add(random, 1, 1);
    check(w.graph->reconnect() == 0, name + ": all reachable after churn");
    const double churned = recall(w, random, {}, 100);
    check(churned >= built - 0.03, percent(name + ": recall after churn", churned));
  }
  checkLanes(w, name + " linked one by one");
  check(w.region->base(kProjection)[0] != 0 || w.region->base(kProjection)[1] != 0, name + ": the space was fitted");
  w.remove(w.having(kLive));
  check(w.graph->consolidate(2) && w.graph->live() == 0, name + ": everything deleted");
  check(recall(w, random, {}, 10) == 1, name + ": nothing is found in an emptied graph");
  w.add(random, 500 / share, 2);
  checkEdges(w, name + " filled again");
  checkLanes(w, name + " filled again");
}

// Many equal vectors form a knot that nothing leads out of by distance alone.
void testDuplicates(Metric metric, const std::string& name) {
  Random random(seed);
  World w(8, metric, 8, 5000);
  w.add(random, 500 / share, 2);
  const std::vector<uint32_t> equal =
      w.publish(std::vector<std::vector<float>>(1200 / share, std::vector<float>(8, 0.25f)));
  check(w.graph->link(equal.data(), static_cast<uint32_t>(equal.size()), 2), name + ": link equal vectors");
  checkEdges(w, name + " duplicates");
  checkLanes(w, name + " duplicates");
  check(w.graph->reconnect() == 0, name + ": all reachable among duplicates");
  checkEdges(w, name + " duplicates connected");
  checkLanes(w, name + " duplicates connected");
  recall(w, random, {}, 50);
  w.removeSome(random, 3);
  check(w.graph->consolidate(2) && w.graph->reconnect() == 0, name + ": duplicates deleted");
  checkEdges(w, name + " duplicates deleted");
  checkLanes(w, name + " duplicates deleted");
}

// A graph with a history: batches, single nodes, deletions, numbers that are used again.
World historyOf(Metric metric, uint32_t d, uint32_t m, uint32_t count, unsigned threads) {
  Random random(seed);
  World w(d, metric, m, 5000);
  w.add(random, count, threads);
  w.add(random, 1, threads);
  w.publish(random, count / 10);
  w.removeSome(random, 4);
  check(w.graph->consolidate(threads), "consolidate");
  const std::vector<uint32_t> waiting = w.graph->unlinked(kNone);
  check(w.graph->link(waiting.data(), static_cast<uint32_t>(waiting.size()), threads), "link what waited");
  w.add(random, count / 4, threads);
  check(w.graph->reconnect() >= 0, "reconnect");
  return w;
}

}  // namespace

void testGraphs() {
  testGraph(Metric::kL2, 16, 8, Profile::kTurbo, "l2");
  testGraph(Metric::kCosine, 24, 20, Profile::kTurbo,
            "cosine");  // 40 neighbours: two blocks, the second filled up in part
  testGraph(Metric::kDot, 13, 16, Profile::kTurbo, "dot");
  testGraph(Metric::kL2, 130, 8, Profile::kCompact, "compact l2");
  testGraph(Metric::kCosine, 160, 20, Profile::kCompact, "compact cosine");
  testGraph(Metric::kDot, 13, 16, Profile::kSmall, "small dot");
  testDuplicates(Metric::kL2, "l2");
  testDuplicates(Metric::kDot, "dot");
  testDuplicates(Metric::kCosine, "cosine");
}

void testSameGraph() {
  const Kernel* const chosen = kernel;
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    const std::string name = std::to_string(static_cast<uint32_t>(metric));
    const uint32_t m = metric == Metric::kDot ? 20 : 8, count = 600 / share;
    const std::vector<uint8_t> one = bytesOf(historyOf(metric, 40, m, count, 1));
    for (const unsigned threads : {2u, 3u}) {
      check(bytesOf(historyOf(metric, 40, m, count, threads)) == one,
            "metric " + name + ": " + std::to_string(threads) + " threads build the graph that one builds");
    }
    const std::vector<uint8_t> small = bytesOf(historyOf(metric, 100, m, 2100, 1));
    for (const Kernel* k : kernelsHere()) {
      // Where time is short, one metric does for the others: test/kernel/kernels.test.ts compares all of them.
      if (share > 1 && k != chosen && metric != Metric::kL2) continue;
      kernel = k;
      check(bytesOf(historyOf(metric, 100, m, 2100, 2)) == small,
            "metric " + name + ": " + k->name + " builds the graph that " + chosen->name + " builds");
    }
    kernel = chosen;
    // To be compared between processors.
    std::printf("graph of metric %s: %08x\n", name.c_str(), kernel->crc32c(small.data(), small.size(), 0));
  }
}

}  // namespace hebb::test
