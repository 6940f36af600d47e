// A graph whose sections hold anything: attached to, searched, changed, checked, copied. Whatever comes of it, nothing
// is read or written out of bounds, nothing hangs, and only nodes that exist are found.
#include <cmath>
#include <cstdlib>
#include <memory>

#include "../kernel/world.hpp"
#include "graph/copy.hpp"
#include "image.hpp"
#include "kernel.hpp"

namespace hebb::fuzz {
namespace {

using test::check;
using test::Random;
using test::World;

constexpr uint32_t kRoom = 64;  // nodes that may still come
constexpr uint32_t kMostHits = 80;

struct Kind {
  uint32_t dimensions;
  Metric metric;
  uint32_t m, linked;
  Profile profile;
  bool keepOriginals, tiers;
};
// From 2,048 nodes on rows have codes; from 256 on there are codebooks.
constexpr Kind kKinds[] = {
    {8, Metric::kL2, 3, 60, Profile::kTurbo, true, false},
    {12, Metric::kDot, 4, 300, Profile::kTurbo, true, true},
    {7, Metric::kCosine, 4, 300, Profile::kSmall, false, true},
    {8, Metric::kCosine, 4, 2060, Profile::kTurbo, true, false},
    {72, Metric::kDot, 4, 2060, Profile::kCompact, true, false},
    {8, Metric::kL2, 4, 2060, Profile::kSmall, true, false},
    {16, Metric::kL2, 17, 60, Profile::kTurbo, false, false},
};

// Which of them an input is of: the large ones take ten times as long.
constexpr uint8_t kOften[] = {0, 1, 2, 6, 0, 1, 2, 6, 0, 1, 2, 6, 1, 3, 4, 5};

// A sound graph with linked, waiting, deleted and free nodes, and its image.
class Store {
 public:
  explicit Store(const Kind& kind)
      : w(kind.dimensions, kind.metric, kind.m, kind.linked + kRoom, kind.profile, kind.keepOriginals) {
    Random random(7);
    w.options.efConstruction = 12;  // what is searched for later need not be found
    check(w.attach(), "attached");
    w.add(random, kind.linked - 8, 1);
    if (kind.tiers) compress(random);
    w.remove({3, 5, 11, 12});
    check(w.graph->consolidate(1), "consolidated");
    w.publish(random, 8);  // some of the numbers that are free now, and waiting
    w.remove({7, 20, 21, 30});
    nodes = w.graph->nodes();
    w.head()->path = 1;
    w.graph.reset();
    const Options& o = w.options;
    const uint64_t n = o.maxNodes, book = Tiers::codebooksBytes(o.dimensions);
    const auto record = [&](Tier t) -> uint64_t { return recordBytes(t, o.dimensions); };
    std::vector<Image::Part> parts = {
        {kHead, sizeof(Head), 4, 4096},
        {kState, nodes, 1, n},
        {kVectors, nodes * Graph::vectorStride(o), Graph::vectorStride(o),
         o.keepOriginals ? n * Graph::vectorStride(o) : 0},
        {kRows, nodes * Graph::rowStride(o), Graph::rowStride(o), n * Graph::rowStride(o)},
        {kUpper, (w.head()->upperEntries + 1) * Graph::upperStride(o), Graph::upperStride(o), 0},
        {kIds, nodes * kIdBytes, kIdBytes, n * kIdBytes},
        {kPlaces, nodes * sizeof(Place), sizeof(Place), n * sizeof(Place)},
    };
    if (w.region->base(kProjection)[0] != 0 || w.region->base(kProjection)[1] != 0)
      parts.push_back({kProjection, Graph::projectionBytes(o), 64, Graph::projectionBytes(o)});
    if (kind.tiers) {
      const TiersHead* tiers = reinterpret_cast<const TiersHead*>(w.region->base(kCodebooks));
      const auto used = [&](Tier t) { return tiers->used[static_cast<uint32_t>(t)] * record(t); };
      parts.insert(parts.end(), {{kWarm, used(Tier::kWarm), record(Tier::kWarm), 0},
                                 {kCool, used(Tier::kCool), record(Tier::kCool), 0},
                                 {kCold, used(Tier::kCold), record(Tier::kCold), 0},
                                 {kArchive, used(Tier::kArchive), record(Tier::kArchive), 0}});
      parts.push_back({kCodebooks, sizeof(TiersHead), 4, book});
      books = kBlockBytes + Codebook::bytes(o.dimensions);
      codebook.assign(w.region->base(kCodebooks) + kBlockBytes, w.region->base(kCodebooks) + books);
    }
    image = std::make_unique<Image>(*w.region, parts);
  }

  World w;
  uint32_t nodes = 0;
  uint64_t books = 0;
  std::vector<uint8_t> codebook;
  std::unique_ptr<Image> image;

 private:
  void compress(Random&) {
    const CodebookOptions options{
        w.options.dimensions, w.options.metric, 5, 0, 256, 16, 3.0f, EntropyCoder::kAns, 8, 2};
    bool trained = false;
    check(w.graph->train(options, 400, 0, 1, &trained) && trained, "trained");
    for (uint32_t t = 1; t < kTiers; t++) {
      std::vector<uint32_t> some;
      for (uint32_t node = t; node < w.graph->nodes(); node += kTiers) some.push_back(node);
      Moves moves;
      check(w.graph->retier(some.data(), static_cast<uint32_t>(some.size()), static_cast<Tier>(t), 1, &moves), "moved");
    }
  }
};

Store& storeOf(uint32_t kind) {
  static std::unique_ptr<Store> stores[std::size(kKinds)];
  if (!stores[kind]) stores[kind] = std::make_unique<Store>(kKinds[kind]);
  return *stores[kind];
}

// The codebook's bytes, and its checksum put right.
void editCodebook(Store& s, Input& in) {
  uint8_t* const book = s.image->open(kCodebooks, kBlockBytes, s.codebook.size());
  for (uint32_t i = 1 + in.below(3); i > 0; i--) {
    const uint32_t value = in.odd(s.w.options.dimensions);
    const uint32_t at = in.u16() % (s.codebook.size() - 4), size = in.u8() % 3 == 0 ? 1 : 4;
    std::memcpy(book + at, &value, size);
  }
  uint32_t bytes, crc;
  std::memcpy(&bytes, book + 12, 4);
  if (bytes < 20 || bytes > s.codebook.size()) return;
  crc = kernel->crc32c(book + 20, bytes - 20, 0);
  std::memcpy(book + 16, &crc, 4);
}

class Session {
 public:
  Session(Store& store, Graph& graph, Input& in)
      : s_(store), g_(graph), in_(in), random_(in.u8()), bits_((graph.nodes() + kRoom + 31) / 32) {}

  void act() {
    const uint32_t d = g_.options().dimensions, n = g_.nodes();
    const std::vector<uint32_t> some = nodesOf();
    const uint32_t count = static_cast<uint32_t>(some.size());
    const uint32_t k = 1 + in_.below(kMostHits), ef = 1 + in_.below(120), rerank = rerankOf();
    const Filter filter = filterOf();
    const std::vector<float> q = query();
    std::vector<uint32_t> found(8 * kMostHits);
    std::vector<float> distances(8 * kMostHits);
    switch (in_.u8() % 20) {
      case 0:
      case 1:
      case 2:
        hits(g_.search(q.data(), k, ef, filter, rerank, found.data(), distances.data()), k, found.data(), filter);
        break;
      case 3:
        hits(g_.scan(q.data(), k, filter, rerank, found.data(), distances.data()), k, found.data(), filter);
        break;
      case 4: {
        std::vector<float> queries = q;
        queries.insert(queries.end(), q.begin(), q.end());
        int32_t counts[2];
        if (g_.searchMany(queries.data(), 2, k, ef, filter, in_.u8() & 1, rerank, 1, found.data(), distances.data(),
                          counts))
          hits(counts[1], k, found.data() + k, filter);
        break;
      }
      case 5:
        hits(g_.searchLevel(q.data(), in_.u8(), k, found.data(), distances.data()), k, found.data(), {});
        break;
      case 6: {
        std::vector<float> out(uint64_t{count} * d);
        if (g_.distances(q.data(), some.data(), count, out.data())) g_.vectors(some.data(), count, out.data());
        break;
      }
      case 7:
        for (const uint32_t node : some) {
          g_.id(node);
          g_.inDegree(node);
          check(g_.neighbors(node, found.data()) <= int32_t(2 * g_.options().m), "neighbours fit");
        }
        break;
      case 8: {
        const uint32_t most = 1 + in_.below(2 * g_.options().m);
        std::vector<float> far(uint64_t{count} * most), biases(uint64_t{count} * most);
        std::vector<uint32_t> around(uint64_t{count} * most), counts(count);
        g_.fields(some.data(), count, most, around.data(), far.data(), biases.data(), counts.data());
        std::vector<uint8_t> levels(count);
        g_.standing(some.data(), count, levels.data(), counts.data());
        g_.setBiases(some.data(), count, most, around.data(), biases.data());
        break;
      }
      case 9:
      case 10:
        insert(1 + in_.below(6));
        break;
      case 11:
        g_.publish(nullptr, 0, some.data(), count);
        break;
      case 12:
        g_.consolidate(1);
        break;
      case 13:
        g_.reconnect();
        break;
      case 14: {
        Moves moves;
        g_.retier(some.data(), count, static_cast<Tier>(in_.below(kTiers)), 1, &moves);
        break;
      }
      case 15:
        g_.tiers().check(n);
        g_.prefetch(some.data(), count);
        break;
      case 16:
        if (g_.tiers().rest(n)) g_.tiers().squeeze(n, in_.u8() & 1);
        break;
      case 17:
        copy();
        break;
      case 18: {
        uint32_t wanted[2] = {n + in_.below(8), in_.below(n + 8)};
        if (g_.claim(wanted, 1 + in_.below(2)) && g_.setVector(wanted[0], q.data(), 1))
          g_.publish(wanted, 1, nullptr, 0);
        break;
      }
      default: {
        const std::vector<uint32_t> left = g_.unlinked(20);
        g_.link(left.data(), static_cast<uint32_t>(left.size()), 1);
      }
    }
  }

 private:
  std::vector<float> query() {
    std::vector<float> q = random_.gauss(g_.options().dimensions);
    const uint8_t how = in_.u8();
    if (how < 8) q[how % q.size()] = how & 1 ? 1e30f : 1e-30f;
    return q;
  }
  uint32_t rerankOf() {
    const uint8_t how = in_.u8();
    return how % 4 == 0 ? 0 : how % 4 == 1 ? kOriginals : 1 + how / 4;
  }
  Filter filterOf() {
    const uint8_t how = in_.u8();
    if (how % 3 == 0) return {};
    Filter filter{bits_.data(), static_cast<uint32_t>(bits_.size() * 32), 0};
    for (uint32_t& word : bits_) {
      word = how % 3 == 1 ? 0x55555555u << (how & 1) : how;
      filter.count += static_cast<uint32_t>(__builtin_popcount(word));
    }
    return filter;
  }
  // Callers name nodes that there are.
  std::vector<uint32_t> nodesOf() {
    std::vector<uint32_t> some(g_.nodes() == 0 ? 0 : 1 + in_.below(6));
    for (uint32_t& node : some) node = in_.u16() % g_.nodes();
    return some;
  }
  void hits(int32_t count, uint32_t k, const uint32_t* nodes, const Filter& filter) {
    check(count <= static_cast<int32_t>(k), "no more hits than were asked for");
    for (int32_t i = 0; i < count; i++)
      check(nodes[i] < g_.nodes() && filter.matches(nodes[i]), "hits exist and match");
  }
  void insert(uint32_t count) {
    uint32_t fresh[8];
    if (!g_.allocate(count, fresh)) return;
    for (uint32_t i = 0; i < count; i++) {
      check(fresh[i] < g_.options().maxNodes, "new nodes are in range");
      if (!g_.setVector(fresh[i], random_.gauss(g_.options().dimensions).data(), 1)) return;
    }
    if (g_.publish(fresh, count, nullptr, 0)) g_.link(fresh, count, 1);
  }
  void copy() {
    std::vector<uint32_t> all;
    for (uint32_t node = 0; node < g_.nodes(); node++) {
      if ((g_.state(node) & (kLive | kLinked)) == (kLive | kLinked)) all.push_back(node);
    }
    if (all.empty()) return;  // the engine freezes nothing then
    const Tier tier = static_cast<Tier>(in_.below(kTiers));
    GraphCopy copy(g_, all, tier);
    if (!copy.prepare()) return;
    for (const Section section : {kHead, kState, kVectors, kRows, kUpper, kIds, kProjection, kPlaces, kWarm, kCool,
                                  kCold, kArchive, kCodebooks}) {
      const uint64_t records = std::min<uint64_t>(copy.count(section), 200);
      std::vector<uint8_t> out(records * copy.stride(section));
      if (records > 0) copy.read(section, copy.count(section) - records, records, out.data());
    }
  }

  Store& s_;
  Graph& g_;
  Input& in_;
  Random random_;
  std::vector<uint32_t> bits_;
};

void run(Input& in) {
  static const std::vector<const Kernel*> kernels = test::kernelsHere();
  const uint32_t kind = kOften[in.below(std::size(kOften))];
  Store& s = storeOf(kind);
  kernel = kernels[in.below(static_cast<uint32_t>(kernels.size()))];
  const uint8_t how = in.u8();
  if (how & 1) s.image->open(kHead, 0, sizeof(Head)), s.w.head()->path = 2;
  for (uint32_t edits = how >> 1 & 15; edits > 0; edits--) s.image->edit(in, s.nodes);
  if (how & 32 && s.books > 0) editCodebook(s, in);
  // A row that seems to be written is waited for, for seconds: no use in doing that a thousand times;
  // test/kernel/damage-test.cpp does it once.
  const uint64_t stride = Graph::rowStride(s.w.options);
  for (const uint32_t page : s.image->edited(kRows)) {
    const uint64_t from = page * kPageBytes / stride, end = (page + 1) * kPageBytes / stride;
    for (uint64_t node = from; node <= std::min<uint64_t>(end, s.nodes - 1); node++)
      s.w.row(static_cast<uint32_t>(node))->sequence &= ~1u;
  }
  const char* error = nullptr;
  bool reset = false;
  Options options = s.w.options;
  options.stopMargin = how & 64 ? 0.1f : -1;
  if (const std::unique_ptr<Graph> graph = Graph::attach(s.w.region, options, &error, &reset)) {
    Session session(s, *graph, in);
    for (uint32_t acts = 0; acts < 6 && (acts == 0 || !in.done()); acts++) session.act();
  } else {
    check(error || s.w.region->fault().reason, "a refusal has a reason");
  }
  s.image->heal();
}

}  // namespace
}  // namespace hebb::fuzz

// Building the stores is no part of any input's time.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* error = nullptr;
  hebb::kernel = hebb::selectKernel(nullptr, &error);
  for (uint32_t kind = 0; kind < std::size(hebb::fuzz::kKinds); kind++) hebb::fuzz::storeOf(kind);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  hebb::fuzz::Input in(bytes, size);
  hebb::fuzz::run(in);
  return 0;
}
