#include "world.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>

namespace hebb::test {

World::World(uint32_t dimensions, Metric metric, uint32_t m, uint32_t maxNodes, Profile profile, bool keepOriginals) {
  options.dimensions = dimensions;
  options.metric = metric;
  options.m = m;
  options.efConstruction = 64;
  options.ml = 1 / std::log(double(m));
  options.seed = 3;
  options.maxNodes = maxNodes;
  options.stopMargin = -1;
  options.profile = profile;
  options.keepOriginals = keepOriginals;
  options.cacheBytes = 1 << 16;
  const uint64_t slots = 4 * uint64_t{maxNodes};
  region = std::make_shared<Region>(
      std::vector<uint64_t>{4096, maxNodes, slots * Graph::vectorStride(options), maxNodes * Graph::rowStride(options),
                            maxNodes * Graph::upperStride(options) * 2, maxNodes * kIdBytes,
                            std::max<uint64_t>(Graph::projectionBytes(options), kPageBytes), maxNodes * sizeof(Place),
                            slots * recordBytes(Tier::kWarm, dimensions), slots * recordBytes(Tier::kCool, dimensions),
                            slots * recordBytes(Tier::kCold, dimensions),
                            slots * recordBytes(Tier::kArchive, dimensions), Tiers::codebooksBytes(dimensions)});
  if (!region->valid() || !attach()) std::abort();
}

bool World::attach() {
  const char* error = nullptr;
  bool reset = false;
  graph = Graph::attach(region, options, &error, &reset);
  return graph != nullptr;
}

std::vector<uint32_t> World::having(uint8_t bits) const {
  std::vector<uint32_t> found;
  for (uint32_t node = 0; node < graph->nodes(); node++) {
    if (is(node, bits)) found.push_back(node);
  }
  return found;
}

double World::distance(const std::vector<float>& q, uint32_t node) const {
  double dot = 0, square = 0, qq = 0, vv = 0;
  for (size_t i = 0; i < q.size(); i++) {
    const double v = vectors[node][i];
    dot += q[i] * v;
    square += (q[i] - v) * (q[i] - v);
    qq += double(q[i]) * q[i];
    vv += v * v;
  }
  if (options.metric == Metric::kL2) return square;
  return options.metric == Metric::kDot ? -dot : 1 - dot / std::sqrt(qq * vv);
}

std::vector<float> World::draw(Random& random) const {
  std::vector<float> v = random.gauss(options.dimensions);
  for (size_t i = 0; i < v.size() && options.profile == Profile::kCompact; i++)
    v[i] *= 16 / static_cast<float>(16 + i * i / 16);
  return v;
}

std::vector<uint32_t> World::publish(const std::vector<std::vector<float>>& fresh) {
  std::vector<uint32_t> nodes(fresh.size());
  const uint32_t count = static_cast<uint32_t>(fresh.size());
  check(graph->allocate(count, nodes.data()), "allocate");
  bool written = true;
  for (uint32_t i = 0; i < count; i++) {
    if (vectors.size() <= nodes[i]) vectors.resize(nodes[i] + 1);
    vectors[nodes[i]] = fresh[i];
    written &= graph->setVector(nodes[i], fresh[i].data(), 1);
  }
  check(written && graph->publish(nodes.data(), count, nullptr, 0), "publish");
  return nodes;
}

std::vector<uint32_t> World::publish(Random& random, uint32_t count) {
  std::vector<std::vector<float>> fresh(count);
  for (std::vector<float>& v : fresh) v = draw(random);
  return publish(fresh);
}

std::vector<uint32_t> World::add(Random& random, uint32_t count, unsigned threads) {
  std::vector<uint32_t> nodes = publish(random, count);
  check(graph->link(nodes.data(), count, threads), "link");
  return nodes;
}

void World::remove(const std::vector<uint32_t>& nodes) {
  check(graph->publish(nullptr, 0, nodes.data(), static_cast<uint32_t>(nodes.size())), "delete");
}

std::vector<uint32_t> World::removeSome(Random& random, uint32_t part) {
  std::vector<uint32_t> gone = having(kLive);
  std::erase_if(gone, [&](uint32_t) { return random() % part != 0; });
  remove(gone);
  return gone;
}

Some::Some(const World& w, Random& random, uint32_t part) : bits((w.graph->nodes() + 31) / 32) {
  filter = {bits.data(), static_cast<uint32_t>(bits.size() * 32), 0};
  for (uint32_t node = 0; node < w.graph->nodes(); node++) {
    if (random() % part == 0) bits[node / 32] |= 1u << (node % 32), filter.count++;
  }
}

void checkEdges(World& w, const std::string& when) {
  const RowLayout layout(w.options);
  const uint32_t n = w.graph->nodes();
  std::vector<uint32_t> inDegree(n), ids(2 * w.options.m);
  bool bounded = true, distinct = true, lasting = true, counted = true, reached = true, marked = true, written = true;
  const std::vector<uint32_t> linked = w.having(kLinked);
  for (const uint32_t node : linked) {
    const int32_t count = w.graph->neighbors(node, ids.data());
    bounded &= count >= 0 && count == w.row(node)->degree;
    std::set<uint32_t> seen;
    for (int32_t i = 0; i < count; i++) {
      bounded &= ids[i] < n && ids[i] != node;
      distinct &= seen.insert(ids[i]).second;
      if (ids[i] >= n) continue;
      lasting &= w.is(ids[i], kLinked);
      inDegree[ids[i]]++;
    }
    written &= w.row(node)->sequence % 2 == 0;
    const uint32_t* diverse = reinterpret_cast<const uint32_t*>(w.rowBytes(node) + layout.diverse);
    for (uint32_t lane = w.row(node)->degree; lane < layout.lanes; lane++) {
      marked &= !(diverse[lane / 32] >> (lane % 32) & 1);
    }
  }
  for (const uint32_t node : linked) {
    counted &= w.row(node)->inDegree == inDegree[node];
    reached &= w.row(node)->inDegree >= 1 || static_cast<uint32_t>(w.head()->entry) == node || linked.size() <= 1;
  }
  check(bounded, when + ": every edge leads to another node");
  check(distinct, when + ": no edge is there twice");
  check(lasting, when + ": no edge leads to a node that is not in the graph");
  check(counted, when + ": in-degrees are what the rows say");
  check(reached, when + ": every node has an edge leading to it");
  check(marked, when + ": no lane past a row's end is marked as diverse");
  check(written, when + ": no row is left as being written");
}

// Codes are looked at once there is a space for them.
static bool hasCodes(const World& w) {
  return reinterpret_cast<const ProjectionHead*>(w.region->base(kProjection))->fitted > 0;
}

void checkLanes(World& w, const std::string& when) {
  if (!hasCodes(w)) return;
  const RowLayout layout(w.options);
  const Profile profile = w.options.profile;
  const Metric metric = w.options.metric;
  const uint32_t n = w.graph->nodes(), d = w.options.dimensions;
  CodeSpace space(d, layout.values, w.options.seed);
  const float* mean = reinterpret_cast<const float*>(w.region->base(kProjection) + sizeof(ProjectionHead));
  space.fit(mean, layout.projects ? reinterpret_cast<const int16_t*>(mean + roundUp(d, 16)) : nullptr);
  std::vector<std::vector<float>> images(n);
  const auto imageOf = [&](uint32_t node) -> const float* {
    if (images[node].empty()) {
      images[node].resize(space.size());
      space.apply(w.record(node), metric == Metric::kCosine ? w.record(node)[d] : 1, images[node].data());
    }
    return images[node].data();
  };
  bool codes = true, factors = true;
  uint64_t looked = 0;
  const auto lane = [&](uint32_t node, uint32_t at) {
    const float *o = w.record(w.ids(node)[at]), *c = w.record(node);
    Exact exact;
    if (metric == Metric::kDot) {
      exact.product = kernel->dot(o, c, d) - kernel->dot(c, c, d);
    } else if (profile == Profile::kCompact) {
      exact.squares = metric == Metric::kL2 ? kernel->l2(o, c, d)
                                            : std::fmax(0.0f, 2 * (1.0f - kernel->dot(o, c, d) * o[d] * c[d]));
    }
    std::vector<uint8_t> expected(layout.quads), got(layout.quads);
    const Factors f = encode(metric, imageOf(w.ids(node)[at]), imageOf(node), layout.quads, exact, expected.data());
    const uint8_t* row = w.rowBytes(node);
    unpackLane(row + layout.codes + at / kLanes * layout.blockBytes(), layout.quads, at % kLanes, got.data());
    codes &= got == expected;
    const auto same = [&](uint64_t section, float value) {
      if (layout.narrow) return reinterpret_cast<const uint16_t*>(row + section)[at] == narrowed(value);
      return sameBits(reinterpret_cast<const float*>(row + section)[at], value);
    };
    factors &= same(layout.add, f.add) && same(layout.rescale, f.rescale);
  };
  const auto own = [&](uint32_t node) {
    const OwnFactors* got = reinterpret_cast<const OwnFactors*>(w.rowBytes(node) + layout.codes);
    std::vector<uint8_t> expected(layout.values / 4);
    const float product = metric == Metric::kDot ? kernel->dot(imageOf(node), space.mean(), space.size()) : 0;
    const OwnFactors f = encodeOwn(metric, imageOf(node), space.size(), product, expected.data());
    codes &= std::memcmp(got + 1, expected.data(), expected.size()) == 0;
    factors &= sameBits(got->add, f.add) && sameBits(got->rescale, f.rescale) && sameBits(got->error, f.error);
  };
  for (const uint32_t node : w.having(kLinked)) {
    if (profile == Profile::kSmall) own(node);
    const uint32_t lanes = profile == Profile::kSmall ? 0 : w.row(node)->degree;
    for (uint32_t at = 0; at < lanes; at++) lane(node, at);
    looked += std::max(lanes, 1u);
  }
  check(looked > 0 || n <= 1, when + ": there are codes");
  check(codes, when + ": codes are those of the vectors");
  check(factors, when + ": factors are those of the vectors");
}

double recall(World& w, Random& random, const Filter& filter, uint32_t ef, uint32_t k) {
  uint32_t found = 0, wanted = 0;
  std::vector<uint32_t> nodes(k);
  std::vector<float> distances(k);
  const std::vector<uint32_t> live = w.having(kLive);
  bool complete = true, own = true, fits = true, ascends = true, once = true;
  for (uint32_t round = 0; round < std::max(40 / share, 10u); round++) {
    std::vector<float> q = w.draw(random);
    if (round % 2 && !live.empty()) {
      const std::vector<float>& v = w.vectors[live[random() % live.size()]];
      for (size_t i = 0; i < q.size(); i++) q[i] = v[i] + 0.1f * q[i];
    }
    std::vector<double> truth;
    for (const uint32_t node : live) {
      if (filter.matches(node)) truth.push_back(w.distance(q, node));
    }
    std::sort(truth.begin(), truth.end());
    truth.resize(std::min<size_t>(truth.size(), k));
    const int32_t count = w.graph->search(q.data(), k, ef, filter, 4, nodes.data(), distances.data());
    complete &= count == static_cast<int32_t>(truth.size());
    std::set<uint32_t> seen;
    for (int32_t i = 0; i < count; i++) {
      fits &= filter.matches(nodes[i]) && w.is(nodes[i], kLive);
      own &= std::fabs(distances[i] - w.distance(q, nodes[i])) < 1e-4 * (1 + std::fabs(distances[i]));
      ascends &= i == 0 || distances[i - 1] <= distances[i];
      once &= seen.insert(nodes[i]).second;
      found += !truth.empty() && distances[i] <= truth.back() + 1e-5 * (1 + std::fabs(truth.back()));
    }
    wanted += static_cast<uint32_t>(truth.size());
  }
  check(complete, "k hits where there are k");
  check(own, "a hit's distance is its own");
  check(fits, "a hit is live and matches");
  check(ascends, "hits ascend");
  check(once, "no hit comes twice");
  return wanted ? double(found) / wanted : 1;
}

std::vector<uint8_t> bytesOf(const World& w) {
  const uint32_t n = w.graph->nodes();
  std::vector<uint8_t> all;
  const auto append = [&](const uint8_t* from, uint64_t count) { all.insert(all.end(), from, from + count); };
  Head head = *w.head();
  head.path = 0;
  append(reinterpret_cast<const uint8_t*>(&head), sizeof head);
  append(w.region->base(kProjection), Graph::projectionBytes(w.options));
  append(w.region->base(kState), n);
  append(w.region->base(kUpper), (1 + uint64_t(w.head()->upperEntries)) * Graph::upperStride(w.options));
  for (uint32_t node = 0; node < n; node++) {
    const size_t at = all.size();
    append(w.rowBytes(node), Graph::rowStride(w.options));
    std::memset(all.data() + at + offsetof(Row, sequence), 0, sizeof(uint32_t));
  }
  return all;
}

}  // namespace hebb::test
