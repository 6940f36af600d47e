// Searches beside linking, publishing, deleting and consolidating.
#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>
#include <set>
#include <thread>

#include "world.hpp"

namespace hebb::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kMost = 4000, kDimensions = 24, kVersions = 64;
constexpr float kCloseEnough = 1e-3f;

// Every vector that a number ever had, written before the number is published: what a search finds is one of them.
struct History {
  struct Node {
    std::vector<float> versions[kVersions];
    std::atomic<uint32_t> count{0};
    std::atomic<uint64_t> published{0}, deleted{0};  // moments; 0: not
  };
  std::vector<Node> nodes{kMost};
  std::atomic<uint64_t> moment{1};
  // The last that were published, which are about to be linked.
  std::atomic<uint32_t> recent[64] = {};
};

struct Findings {
  std::atomic<uint64_t> searches{0}, biased{0}, strange{0}, wrong{0}, foreign{0}, repeated{0}, unordered{0}, deleted{0},
      asked{0}, missed{0};
};

float apart(const std::vector<float>& a, const std::vector<float>& b) {
  return kernel->l2(a.data(), b.data(), a.size());
}

void searchOnce(Graph& graph, History& history, Random& random, Findings& found) {
  constexpr uint32_t k = 10;
  // Of most searches the answer is known: a node that is live, and not linked yet, as the search begins.
  // While it is linked it is found all the same. (A walk may miss linked ones: that is recall.)
  const uint32_t aim = history.recent[random() % 64];
  History::Node& target = history.nodes[aim];
  const uint64_t start = history.moment++;
  const auto alive = [&] { return target.published != 0 && target.published < start && target.deleted == 0; };
  const bool aimed = random() % 4 && alive();
  const uint32_t version = target.count;
  const std::vector<float> q = aimed ? target.versions[version - 1] : random.gauss(kDimensions);
  const bool waited = !(graph.state(aim) & kLinked);
  uint32_t nodes[k];
  float distances[k];
  const int32_t count = graph.search(q.data(), k, 64, {}, 4, nodes, distances);
  found.searches++;
  if (count < 0 || count > static_cast<int32_t>(k)) {
    found.wrong++;
    return;
  }
  std::set<uint32_t> seen;
  for (int32_t i = 0; i < count; i++) {
    if (nodes[i] >= kMost) {
      found.foreign++;
      continue;
    }
    History::Node& node = history.nodes[nodes[i]];
    bool own = false;
    for (uint32_t v = node.count; v-- > 0 && !own;) {
      own = std::fabs(apart(q, node.versions[v]) - distances[i]) < kCloseEnough;
    }
    found.foreign += !own;
    found.repeated += !seen.insert(nodes[i]).second;
    found.unordered += i > 0 && distances[i - 1] > distances[i];
    const uint64_t deleted = node.deleted;
    found.deleted += deleted != 0 && deleted < start;
  }
  if (aimed && alive() && target.count == version) {
    const bool missed = seen.count(aim) == 0;
    found.asked += waited;
    found.missed += waited && missed;
  }
}

// A bias that tells which edge it belongs to, exact in half precision.
float biasOf(uint32_t from, uint32_t to) {
  return static_cast<float>(1 + (from * 31 + to) % 1000) / 1024;
}

void readField(Graph& graph, Random& random, Findings& found) {
  constexpr uint32_t most = 16;
  const uint32_t node = static_cast<uint32_t>(random() % kMost);
  uint32_t around[most], count = 0;
  float far[most], biases[most];
  if (!graph.fields(&node, 1, most, around, far, biases, &count)) found.wrong++;
  for (uint32_t i = 0; i < count; i++) {
    found.biased += biases[i] != 0;
    found.strange += biases[i] != 0 && biases[i] != biasOf(node, around[i]);
  }
}

// Writes the biases of a node's edges as they are now.
void weigh(Graph& graph, uint32_t node, std::atomic<uint64_t>& faults) {
  uint32_t to[16];
  float biases[16];
  const int32_t degree = graph.neighbors(node, to);
  if (degree < 0) faults++;
  for (int32_t i = 0; i < degree; i++) biases[i] = biasOf(node, to[i]);
  if (degree > 0 && !graph.setBiases(&node, 1, static_cast<uint32_t>(degree), to, biases)) faults++;
}

// Takes, writes and publishes nodes, and deletes others, as one caller does.
void change(Graph& graph, History& history, Random& random, std::atomic<uint64_t>& faults) {
  std::vector<uint32_t> nodes(1 + random() % 40);
  const uint32_t count = static_cast<uint32_t>(nodes.size());
  if (graph.live() + graph.dead() + count < kMost * 3 / 4 && graph.allocate(count, nodes.data())) {
    for (const uint32_t node : nodes) {
      History::Node& n = history.nodes[node];
      n.published = n.deleted = 0;
      n.versions[n.count % kVersions] = random.gauss(kDimensions);
      if (!graph.setVector(node, n.versions[n.count % kVersions].data(), 1)) faults++;
      if (n.count < kVersions) n.count++;
    }
    if (!graph.publish(nodes.data(), count, nullptr, 0)) faults++;
    for (const uint32_t node : nodes) {
      history.nodes[node].published = history.moment++;
      history.recent[node % 64] = node;
    }
  }
  std::vector<uint32_t> gone;
  for (uint32_t i = 0; i < count && graph.live() > 1000 / share; i++) {
    const uint32_t node = static_cast<uint32_t>(random() % kMost);
    if (graph.state(node) & kLive) gone.push_back(node);
  }
  for (const uint32_t node : gone) history.nodes[node].published = 0;
  if (!graph.publish(nullptr, 0, gone.data(), static_cast<uint32_t>(gone.size()))) faults++;
  for (const uint32_t node : gone) history.nodes[node].deleted = history.moment++;
}

}  // namespace

void testThreads() {
  World w(kDimensions, Metric::kL2, 8, kMost);
  History history;
  Findings found;
  std::atomic<uint64_t> faults{0};
  std::atomic<bool> done{false};
  std::mutex changing;  // consolidating and taking numbers exclude each other
  {
    Random random(seed);
    while (w.graph->live() < 1500 / share) change(*w.graph, history, random, faults);
  }
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 2; t++) {
    threads.emplace_back([&, t] {
      Random random(seed + 10 + t);
      while (!done) {
        searchOnce(*w.graph, history, random, found);
        readField(*w.graph, random, found);
      }
    });
  }
  threads.emplace_back([&] {
    Random random(seed + 20);
    while (!done) {
      const std::lock_guard<std::mutex> guard(changing);
      change(*w.graph, history, random, faults);
    }
  });
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(2500);
  uint32_t linked = 0;
  // On a busy machine a thread may not have had its turn by then.
  const auto seen = [&] { return found.searches > 100 && linked > 100 && found.asked > 20 && found.biased > 0; };
  const Clock::time_point last = end + std::chrono::minutes(2);
  for (uint32_t round = 1; Clock::now() < end || (Clock::now() < last && !seen()); round++) {
    const std::vector<uint32_t> next = w.graph->unlinked(round % 3 ? 64 : 1);
    if (!w.graph->link(next.data(), static_cast<uint32_t>(next.size()), 1)) faults++;
    linked += static_cast<uint32_t>(next.size());
    for (uint32_t i = 0; i < 8; i++) {
      const uint32_t node = (round * 8 + i) % kMost;
      if (node < w.graph->nodes()) weigh(*w.graph, node, faults);
    }
    if (round % 50 != 0) continue;
    const std::lock_guard<std::mutex> guard(changing);
    if (!w.graph->consolidate(1)) faults++;
  }
  done = true;
  for (std::thread& thread : threads) thread.join();

  const std::string counts = " (of " + std::to_string(found.searches) + " searches, beside " + std::to_string(linked) +
                             " nodes that were linked)";
  check(found.searches > 100 && linked > 100 && found.asked > 20, "searches and linking went on" + counts);
  check(faults == 0, "nothing failed" + counts);
  check(found.wrong == 0, "every search ends with a count" + counts);
  check(found.foreign == 0, std::to_string(found.foreign) + " hits' distances are not their own" + counts);
  check(found.biased > 0 && found.strange == 0,
        std::to_string(found.strange) + " of " + std::to_string(found.biased) + " biases are another edge's");
  check(found.repeated == 0, std::to_string(found.repeated) + " hits come twice" + counts);
  check(found.unordered == 0, "hits ascend" + counts);
  check(found.deleted == 0, std::to_string(found.deleted) + " hits were deleted before" + counts);
  check(found.missed == 0, std::to_string(found.missed) + " of " + std::to_string(found.asked) +
                               " searches for a node that waited to be linked do not find it" + counts);
  checkEdges(w, "after threads");
  const std::vector<uint32_t> listed = w.graph->unlinked(kNone);
  std::set<uint32_t> waiting(listed.begin(), listed.end());
  uint32_t lost = 0;
  for (const uint32_t node : w.having(kLive)) lost += !w.is(node, kLinked) && !waiting.count(node);
  check(lost == 0, std::to_string(lost) + " live nodes are neither linked nor listed");
  check(listed.size() == w.graph->backlog() && waiting.size() == listed.size(), "the backlog is what it lists");
  check(w.graph->link(listed.data(), static_cast<uint32_t>(listed.size()), 2) && w.graph->backlog() == 0,
        "all is linked in the end");
  check(w.graph->consolidate(2) && w.graph->reconnect() == 0, "all is reachable in the end");
  checkEdges(w, "after all");
  checkLanes(w, "after all");
}

}  // namespace hebb::test
