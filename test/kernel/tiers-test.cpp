// Vectors that move between tiers: every one is in exactly one place, what it gives back is as near as its tier
// promises, and searches beside the moves see one place or the other.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <thread>

#include "world.hpp"

namespace hebb::test {
namespace {

constexpr uint32_t kDimensions = 40, kMost = 1200;

CodebookOptions codebook(const World& w) {
  CodebookOptions o{};
  o.dimensions = w.options.dimensions;
  o.metric = w.options.metric;
  o.seed = seed;
  o.centroids8 = 256;
  o.centroids4 = 16;
  o.outlierThreshold = 2.5f;
  o.coder = EntropyCoder::kAns;
  o.residualBits = 4;
  o.iterations = 4;
  return o;
}

bool train(World& w) {
  bool trained = false;
  const uint32_t version = w.graph->tiers().spare(w.graph->searching());
  return w.graph->train(codebook(w), kMost, version, 2, &trained) && trained;
}

Tier tierOf(World& w, uint32_t node) {
  return static_cast<Tier>(w.graph->tiers().where(node).tier);
}

// How far what is read is from what was put, relative to its length.
double lost(World& w, uint32_t node) {
  const float* v = w.graph->vector(node);
  if (!v) return 1e9;
  double off = 0, length = 0;
  for (uint32_t i = 0; i < w.options.dimensions; i++) {
    const double x = w.vectors[node][i];
    off += (v[i] - x) * (v[i] - x);
    length += x * x;
  }
  return std::sqrt(off / length);
}

// Gaussian data keeps at least this much of itself in a tier.
constexpr double kMostLost[kTiers] = {0, 1e-3, 0.05, 0.25, 0.85};

void checkPlaces(World& w, const std::string& when) {
  Tiers& tiers = w.graph->tiers();
  check(tiers.check(w.graph->nodes()), when + ": no slot has two nodes");
  uint32_t counts[kTiers] = {};
  bool exact = true, near = true;
  for (const uint32_t node : w.having(kLive)) {
    const uint32_t tier = static_cast<uint32_t>(tierOf(w, node));
    counts[tier]++;
    const double off = lost(w, node);
    exact &= off == 0 || !(w.options.keepOriginals || tier == 0);
    near &= off <= kMostLost[w.options.keepOriginals ? 0 : tier];
  }
  check(exact, when + ": originals are as they were put");
  check(near, when + ": vectors are as near as their tier promises");
  bool counted = true;
  for (uint32_t t = 1; t < kTiers; t++) counted &= tiers.count(static_cast<Tier>(t)) == counts[t];
  check(counted, when + ": counts");
}

void testMoves(Metric metric, bool keepOriginals, Profile profile) {
  const std::string name = std::string("tiers, metric ") + std::to_string(static_cast<int>(metric)) +
                           (keepOriginals ? "" : ", without originals") + ", profile " +
                           std::to_string(static_cast<int>(profile));
  World w(kDimensions, metric, 6, kMost, profile, keepOriginals);
  Random random(seed + 1);
  w.add(random, 500, 2);
  check(!w.graph->tiers().compressed(), name + ": all hot at first");
  Moves moves;
  {
    const std::vector<uint32_t> some(1, w.having(kLive)[0]);
    check(w.graph->retier(some.data(), 1, Tier::kCold, 1, &moves) && moves.untrained == 1 &&
              tierOf(w, some[0]) == Tier::kWarm,
          name + ": warm, for want of a codebook");
  }
  check(train(w), name + ": trained");
  for (uint32_t round = 0; round < 40 / share + 8; round++) {
    const std::string when = name + ", round " + std::to_string(round);
    const uint32_t what = random() % 8;
    if (what == 0) {
      w.add(random, 30, 2);
    } else if (what == 1) {
      w.removeSome(random, 12);
    } else if (what == 2) {
      check(w.graph->consolidate(2), when + ": consolidated");
      checkEdges(w, when);
    } else if (what == 3) {
      check(w.graph->tiers().rest(w.graph->nodes()) && w.graph->tiers().squeeze(w.graph->nodes(), true) &&
                w.graph->tiers().rest(w.graph->nodes()),
            when + ": squeezed");
      const TiersHead* head = w.graph->tiers().head();
      uint32_t elsewhere = 0;
      for (uint32_t t = 1; t < kTiers; t++) elsewhere += head->used[t];
      check(elsewhere <= w.graph->live() + w.graph->dead(), when + ": no more slots than vectors");
    } else if (what == 4) {
      check(w.attach(), when + ": opened again");
    } else if (what == 5 && round % 2) {
      uint32_t precise = 0;  // what is lossy is not learned from
      for (const uint32_t node : w.having(kLive)) precise += keepOriginals || tierOf(w, node) <= Tier::kWarm;
      const bool can = precise >= kLeastSample && w.graph->tiers().spare(false) < kVersions;
      check(train(w) == can, when + ": trained again where that can be");
    } else {
      std::vector<uint32_t> some;
      for (const uint32_t node : w.having(kLive)) {
        if (random() % 3 == 0) some.push_back(node);
      }
      const Tier to = static_cast<Tier>(random() % kTiers);
      std::vector<Tier> before;
      for (const uint32_t node : some) before.push_back(tierOf(w, node));
      check(w.graph->retier(some.data(), static_cast<uint32_t>(some.size()), to, 2, &moves), when + ": moved");
      bool there = true;
      for (size_t i = 0; i < some.size(); i++) {
        const bool lossy = !keepOriginals && before[i] != Tier::kHot && before[i] > to;
        there &= tierOf(w, some[i]) == (lossy ? before[i] : to);
      }
      check(there, when + ": where they were sent");
    }
    checkPlaces(w, when);
  }
  // What is hot again, or never lost anything, is found by its own vector.
  std::vector<uint32_t> all = w.having(kLive);
  if (keepOriginals) {
    uint32_t found = 0;
    for (const uint32_t node : all) {
      uint32_t nodes[10];
      float distances[10];
      const int32_t count = w.graph->search(w.vectors[node].data(), 10, 100, {}, 4, nodes, distances);
      found += std::find(nodes, nodes + std::max(count, 0), node) != nodes + std::max(count, 0) ? 1u : 0u;
    }
    check(metric == Metric::kDot || found >= all.size() * 95 / 100,
          name + ": found by its own vector: " + std::to_string(found) + " of " + std::to_string(all.size()));
    check(w.graph->retier(all.data(), static_cast<uint32_t>(all.size()), Tier::kHot, 2, &moves) &&
              w.graph->consolidate(2) && w.graph->tiers().rest(w.graph->nodes()) && !w.graph->tiers().compressed(),
          name + ": all hot again");
    checkPlaces(w, name + ", in the end");
  }
}

// Two threads search while all vectors go from tier to tier.
void testBeside(bool keepOriginals) {
  const std::string name = std::string("moves beside searches") + (keepOriginals ? "" : ", without originals");
  World w(kDimensions, Metric::kL2, 6, kMost, Profile::kTurbo, keepOriginals);
  Random random(seed + 2);
  const std::vector<uint32_t> nodes = w.add(random, 600, 2);
  check(train(w), name + ": trained");
  std::atomic<bool> done{false};
  std::atomic<uint32_t> searches{0}, wrong{0}, missed{0};
  std::vector<std::thread> readers;
  for (uint32_t t = 0; t < 2; t++) {
    readers.emplace_back([&, t] {
      Random own(seed + 3 + t);
      while (!done) {
        const uint32_t aim = nodes[own() % nodes.size()];
        uint32_t found[5];
        float distances[5];
        const int32_t count = w.graph->search(w.vectors[aim].data(), 5, 80, {}, 4, found, distances);
        searches++;
        if (count != 5) {
          wrong++;
          continue;
        }
        bool there = false;
        for (int32_t i = 0; i < count; i++) {
          wrong += !std::isfinite(distances[i]) || found[i] >= w.graph->nodes();
          // With originals, distances are exact whatever the tier.
          if (keepOriginals) wrong += std::fabs(w.distance(w.vectors[aim], found[i]) - distances[i]) > 1e-3;
          there = there || found[i] == aim;
        }
        missed += !there;
      }
    });
  }
  const uint32_t rounds = std::max(4u, 24 / share);
  bool sound = true;
  for (uint32_t round = 0; round < rounds; round++) {
    const Tier to = static_cast<Tier>(keepOriginals ? random() % kTiers : std::min(4u, round / (rounds / 4)));
    Moves moves;
    sound &= w.graph->retier(nodes.data(), static_cast<uint32_t>(nodes.size()), to, 1, &moves);
    sound &= w.graph->tiers().squeeze(w.graph->nodes(), true);
  }
  done = true;
  for (std::thread& t : readers) t.join();
  sound &= w.graph->tiers().rest(w.graph->nodes());
  check(sound && wrong == 0, name + ": " + std::to_string(wrong) + " wrong of " + std::to_string(searches));
  check(missed <= searches / 20, name + ": " + std::to_string(missed) + " missed of " + std::to_string(searches));
  checkPlaces(w, name);
}

}  // namespace

void testTiers() {
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    testMoves(metric, true, Profile::kTurbo);
    testMoves(metric, false, Profile::kTurbo);
  }
  testMoves(Metric::kL2, true, Profile::kSmall);
  testMoves(Metric::kCosine, false, Profile::kSmall);
  testBeside(true);
  testBeside(false);
}

}  // namespace hebb::test
