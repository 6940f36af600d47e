// Nodes that are live and not linked: found all the same, listed, and gone once they are linked or deleted.
#include <algorithm>
#include <cmath>
#include <set>

#include "world.hpp"

namespace hebb::test {
namespace {

const char* nameOf(Metric metric) {
  return metric == Metric::kL2 ? "l2" : metric == Metric::kDot ? "dot" : "cosine";
}

bool listsExactly(World& w, std::vector<uint32_t> expected) {
  std::vector<uint32_t> listed = w.graph->unlinked(kNone);
  std::sort(listed.begin(), listed.end());
  std::sort(expected.begin(), expected.end());
  return listed == expected && w.graph->backlog() == expected.size();
}

// A search for a node's own vector finds it, at its own distance, once; `gone` ones are not found.
void checkFound(World& w, const std::vector<uint32_t>& nodes, bool live, const std::string& what) {
  uint32_t right = 0;
  for (const uint32_t node : nodes) {
    uint32_t found[20];
    float distances[20];
    const int32_t count = w.graph->search(w.vectors[node].data(), 20, 60, {}, 4, found, distances);
    right += count == 20 && std::count(found, found + 20, node) == (live ? 1 : 0);
  }
  check(right == nodes.size(), what + " (" + std::to_string(right) + " of " + std::to_string(nodes.size()) + ")");
}

void testBacklogOf(Metric metric, uint32_t d) {
  const std::string name = std::string(nameOf(metric)) + " backlog";
  Random random(seed);
  World w(d, metric, 8, 5000);
  const uint32_t count = 800 / share;

  // Nothing is linked yet.
  w.publish(random, 70);
  check(recall(w, random, {}, 10) == 1, name + ": all found while nothing is linked");
  check(w.graph->link(w.graph->unlinked(kNone).data(), 70, 2) && w.graph->backlog() == 0, name + ": linked");

  w.add(random, count, 2);
  const std::vector<uint32_t> waiting = w.publish(random, count);
  check(listsExactly(w, waiting), name + ": lists what waits");
  std::vector<uint32_t> first = waiting;
  first.resize(10);
  check(w.graph->unlinked(10) == first, name + ": lists the lowest numbers first, as many as are asked for");
  const double found = recall(w, random, {}, 120);
  check(found >= 0.98, name + ": recall " + std::to_string(found));
  if (metric != Metric::kDot) checkFound(w, waiting, true, name + ": every node that waits is found");
  for (const uint32_t part : {2u, 30u}) {
    const Some some(w, random, part);
    const double within = recall(w, random, some.filter, 120);
    check(within >= 0.95, name + ": recall within 1/" + std::to_string(part) + " is " + std::to_string(within));
  }

  // What waits is nearest to a query between them; the truth holds nothing else.
  std::vector<std::vector<float>> apart(100 / share);
  for (std::vector<float>& v : apart) {
    v = random.gauss(d);
    for (float& x : v) x = 6 + 0.2f * x;
  }
  const std::vector<uint32_t> island = w.publish(apart);
  uint32_t hits = 0, wanted = 0;
  for (int round = 0; round < 20; round++) {
    std::vector<float> q = random.gauss(d);
    for (float& x : q) x = 6 + 0.2f * x;
    std::vector<double> truth;
    for (const uint32_t node : island) truth.push_back(w.distance(q, node));
    std::sort(truth.begin(), truth.end());
    uint32_t nodes[10];
    float distances[10];
    check(w.graph->search(q.data(), 10, 50, {}, 4, nodes, distances) == 10, name + ": ten hits");
    for (int i = 0; i < 10; i++) hits += distances[i] <= truth[9] + 1e-5 * (1 + std::fabs(truth[9]));
    wanted += 10;
  }
  check(hits >= 0.99 * wanted, name + ": recall of what waits is " + std::to_string(double(hits) / wanted));

  // Deleted before they were linked.
  std::vector<uint32_t> gone, stay;
  for (const uint32_t node : waiting) (random() % 3 == 0 ? gone : stay).push_back(node);
  w.remove(gone);
  stay.insert(stay.end(), island.begin(), island.end());
  check(listsExactly(w, stay), name + ": what is deleted waits no more");
  checkFound(w, gone, false, name + ": what is deleted is not found");
  recall(w, random, {}, 120);

  // Opened again: the backlog is what it was.
  check(w.attach() && listsExactly(w, stay), name + ": opened again");
  recall(w, random, {}, 120);

  // Numbers that are used again.
  check(w.graph->consolidate(2), name + ": consolidate");
  const std::vector<std::vector<float>> old = w.vectors;
  const std::vector<uint32_t> again = w.publish(random, static_cast<uint32_t>(gone.size()));
  check(std::set<uint32_t>(again.begin(), again.end()) == std::set<uint32_t>(gone.begin(), gone.end()),
        name + ": freed numbers are used again");
  stay.insert(stay.end(), again.begin(), again.end());
  check(listsExactly(w, stay), name + ": numbers used again wait again, once");
  const std::vector<uint32_t> listed = w.graph->unlinked(kNone);
  check(std::is_sorted(listed.begin(), listed.end()), name + ": numbers used again are listed in order");
  if (metric != Metric::kDot) checkFound(w, again, true, name + ": a node whose number was used before is found");
  recall(w, random, {}, 120);

  // Linked in part, then in whole; what is not live or not there is passed over.
  std::vector<uint32_t> some = w.graph->unlinked(count / 2);
  for (const uint32_t node : some) std::erase(stay, node);
  some.push_back(w.graph->nodes() + 5);
  some.push_back(0);
  check(w.graph->link(some.data(), static_cast<uint32_t>(some.size()), 2), name + ": link some");
  check(listsExactly(w, stay), name + ": what is linked waits no more");
  checkEdges(w, name + " in part");
  check(w.graph->link(stay.data(), static_cast<uint32_t>(stay.size()), 2), name + ": link the others");
  check(listsExactly(w, {}) && w.having(kLive).size() == w.having(kLive | kLinked).size(), name + ": all are linked");
  checkEdges(w, name + " linked");
  checkLanes(w, name + " linked");
  check(w.graph->reconnect() == 0, name + ": all reachable");
  const double linked = recall(w, random, {}, 120);
  check(linked >= 0.75, name + ": recall once linked is " + std::to_string(linked));
}

}  // namespace

void testBacklog() {
  testBacklogOf(Metric::kL2, 16);
  testBacklogOf(Metric::kDot, 13);
  testBacklogOf(Metric::kCosine, 70);
}

}  // namespace hebb::test
