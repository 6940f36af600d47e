// A frozen bundle's sections that hold anything: attached to, and scanned.
#include <cstdlib>
#include <memory>

#include "../kernel/bundle.hpp"
#include "image.hpp"
#include "kernel.hpp"

namespace hebb::fuzz {
namespace {

using test::Bundle;
using test::check;
using test::Data;
using test::Random;
using test::World;

constexpr uint32_t kCount = 220;
constexpr FrozenShape kShapes[] = {
    {16, Metric::kL2, 1, false, 3}, {16, Metric::kCosine, 4, true, 3}, {70, Metric::kDot, 2, false, 3},
    {20, Metric::kL2, 8, true, 3},  {16, Metric::kDot, 1, true, 3},    {64, Metric::kCosine, 1, false, 3},
};

struct Store {
  explicit Store(const FrozenShape& shape) {
    Random random(7);
    World w(shape.dimensions, shape.metric, 4, kCount);
    w.publish(test::dataOf(Data::kClustered, shape.dimensions, kCount, random));
    std::vector<uint8_t> left(kCount, 0);
    for (uint32_t i = 0; i < kCount; i += 50) left[i] = 1;
    b = std::make_unique<Bundle>(w, shape, 5, test::shuffled(kCount, random), left, 1);
    const uint64_t vector = Graph::vectorStride(b->graph->options());
    const auto part = [&](uint32_t section, uint64_t stride) -> Image::Part {
      const uint64_t bytes = b->built(section).size();
      return {section, bytes, stride, bytes};
    };
    std::vector<Image::Part> parts = {part(kClusters, b->layout.clusterStride),
                                      part(kCodes, b->layout.blockStride),
                                      part(kRanges, sizeof(Range)),
                                      {kVectors, kCount * vector, vector, 0}};
    if (shape.bits > 1) parts.push_back(part(kPlanes, b->layout.planesStride));
    if (shape.haar) parts.push_back(part(kRotation, b->layout.padded * sizeof(float)));
    image = std::make_unique<Image>(*b->region, parts);
  }
  std::unique_ptr<Bundle> b;
  std::unique_ptr<Image> image;
};

void run(Input& in) {
  static const std::vector<const Kernel*> kernels = test::kernelsHere();
  static std::unique_ptr<Store> stores[std::size(kShapes)];
  kernel = kernels[0];
  std::unique_ptr<Store>& s = stores[in.below(std::size(kShapes))];
  if (!s) s = std::make_unique<Store>(kShapes[&s - stores]);
  Bundle& b = *s->b;
  kernel = kernels[in.below(static_cast<uint32_t>(kernels.size()))];
  const uint8_t how = in.u8();
  for (uint32_t edits = how & 15; edits > 0; edits--) s->image->edit(in, kCount);
  const Frozen::Counts counts = b.counts;
  // A manifest's numbers are held against the files before (engine/frozen-reader.ts): fewer, and never more.
  if (how & 16) b.counts.clusters -= in.below(b.counts.clusters);
  if (how & 32) b.counts.blocks -= in.below(static_cast<uint32_t>(b.counts.blocks));
  if (how & 64) b.counts.coded = in.odd(b.counts.coded);
  const char* error = nullptr;
  const std::vector<float>& q = b.vectors[in.u8() % kCount];
  if (b.attach(&error)) {
    std::vector<uint32_t> nodes(2 * 260);
    std::vector<float> distances(2 * 260);
    for (uint32_t searches = 0; searches < 3; searches++) {
      const uint32_t k = 1 + in.u8(), rerank = in.u8() % 4 ? in.u8() % 40 : 0;
      const int32_t found = b.frozen->scan(q.data(), k, rerank, nodes.data(), distances.data());
      check(found <= static_cast<int32_t>(k), "no more hits than were asked for");
      for (int32_t i = 0; i < found; i++) check(nodes[i] < kCount, "hits exist");
    }
    std::vector<float> queries = q;
    queries.insert(queries.end(), q.begin(), q.end());
    int32_t many[2];
    b.frozen->scanMany(queries.data(), 2, 7, 3, 1, nodes.data(), distances.data(), many);
  } else {
    check(error, "a refusal has a reason");
  }
  b.counts = counts;
  s->image->heal();
}

}  // namespace
}  // namespace hebb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  hebb::fuzz::Input in(bytes, size);
  hebb::fuzz::run(in);
  return 0;
}
