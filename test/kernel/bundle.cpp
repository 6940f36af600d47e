#include "bundle.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace hebb::test {

namespace {

constexpr FrozenSection kBuilt[] = {kRotation, kClusters, kCodes, kPlanes, kRanges};

}  // namespace

const std::vector<uint8_t>& Bundle::built(uint32_t section) const {
  return section == kRotation   ? build.rotation
         : section == kClusters ? build.clusters
         : section == kCodes    ? build.codes
         : section == kPlanes   ? build.planes
                                : build.ranges;
}

Bundle::Bundle(World& w, const FrozenShape& s, uint32_t clusters, std::vector<uint32_t> nodes,
               std::vector<uint8_t> without, unsigned threads)
    : shape(s), layout(s), order(std::move(nodes)), left(std::move(without)) {
  check(build.run(*w.graph, shape, order, left, clusters, threads), "codes are built");
  for (const uint32_t node : order) vectors.push_back(w.vectors[node]);

  Options options = w.options;
  options.maxNodes = size();
  std::vector<uint64_t> bytes(kRanges + 1, kPageBytes);
  bytes[kState] = size();
  bytes[kVectors] = size() * Graph::vectorStride(options);
  bytes[kRows] = size() * Graph::rowStride(options);
  bytes[kIds] = size() * kIdBytes;
  bytes[kProjection] = Graph::projectionBytes(options);
  bytes[kPlaces] = size() * sizeof(Place);
  bytes[kCodebooks] = Tiers::codebooksBytes(options.dimensions);
  for (const uint32_t section : kBuilt) bytes[section] = std::max<uint64_t>(built(section).size(), 1);
  region = std::make_shared<Region>(bytes);
  const char* error = nullptr;
  bool reset = false;
  if (region->valid()) graph = Graph::attach(region, options, &error, &reset);
  if (!graph) std::abort();
  std::vector<uint32_t> own(size());
  bool written = graph->allocate(size(), own.data());
  for (uint32_t i = 0; i < size(); i++) written &= own[i] == i && graph->setVector(i, vectors[i].data(), 1);
  check(written && graph->publish(own.data(), size(), nullptr, 0), "vectors of a bundle are written");

  heal();
  counts = {static_cast<uint32_t>(build.clusters.size() / layout.clusterStride),
            build.codes.size() / layout.blockStride, 0};
  for (uint32_t i = 0; i < size(); i++) counts.coded += hasCode(i);
  check(attach(&error), "a bundle that was just built is attached to");
  if (!frozen) std::abort();
}

void Bundle::heal() {
  for (const uint32_t section : kBuilt) {
    if (!built(section).empty()) region->load(section, 0, built(section).data(), built(section).size());
  }
}

bool Bundle::attach(const char** error) {
  frozen = Frozen::attach(graph, shape, counts, error);
  return frozen != nullptr;
}

std::vector<Neighbor> Bundle::exhaustive(const std::vector<float>& query) const {
  std::vector<uint32_t> bits((size() + 31) / 32), nodes(size());
  Filter filter{bits.data(), size(), 0};
  for (uint32_t i = 0; i < size(); i++) {
    if (hasCode(i)) bits[i / 32] |= 1u << (i % 32), filter.count++;
  }
  std::vector<float> distances(size());
  const int32_t count = graph->scan(query.data(), size(), filter, 0, nodes.data(), distances.data());
  check(count == static_cast<int32_t>(counts.coded), "all are compared");
  std::vector<Neighbor> all;
  for (int32_t i = 0; i < count; i++) all.push_back({distances[i], nodes[i]});
  std::sort(all.begin(), all.end(), nearer);  // rounding below 0 has put some of distance 0 before others
  return all;
}

std::vector<Neighbor> Bundle::scan(const std::vector<float>& query, uint32_t k, uint32_t rerank) const {
  std::vector<uint32_t> nodes(k, kNone);
  std::vector<float> distances(k, NAN);
  const int32_t count = frozen->scan(query.data(), k, rerank, nodes.data(), distances.data());
  if (count < 0) check(false, "a sound bundle gives no fault");
  std::vector<Neighbor> found;
  for (int32_t i = 0; i < count; i++) found.push_back({distances[i], nodes[i]});
  return found;
}

std::vector<std::vector<float>> dataOf(Data data, uint32_t d, uint32_t count, Random& random) {
  std::vector<std::vector<float>> centres, all;
  for (int i = 0; i < 12; i++) {
    centres.push_back(random.gauss(d));
    if (data != Data::kTight) continue;
    for (float& x : centres.back()) x *= 1000 / std::sqrt(2 * static_cast<float>(d));  // 1,000 apart
  }
  for (uint32_t i = 0; i < count; i++) {
    std::vector<float> v = random.gauss(d);
    const std::vector<float>& centre = centres[random() % centres.size()];
    const float along = random.gauss();
    for (uint32_t j = 0; j < d; j++) {
      if (data == Data::kClustered) v[j] = centre[j] + 0.3f * v[j];
      if (data == Data::kFew) v[j] = j % 16 == 0 && v[j] > 0 ? 1.0f : 0.0f;
      if (data == Data::kRays) v[j] = 3 * centres[i % 3][j] + along * centres[3 + i % 4][j];
      if (data == Data::kCopies) v[j] = centres[i % 6][j];
      if (data == Data::kTight) v[j] = centre[j] + (count % 2 ? 1e-4f : 1e-3f) * v[j];
    }
    v[0] += data == Data::kFew ? 0.5f : 0;  // under cosine none may be zero
    all.push_back(std::move(v));
  }
  return all;
}

std::vector<uint32_t> shuffled(uint32_t n, Random& random) {
  std::vector<uint32_t> order(n);
  for (uint32_t i = 0; i < n; i++) order[i] = i;
  for (uint32_t i = n; i > 1; i--) std::swap(order[i - 1], order[random() % i]);
  return order;
}

}  // namespace hebb::test
