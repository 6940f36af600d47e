// Moving vectors between tiers, and reading them where they are.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "distance.hpp"
#include "mix.hpp"
#include "workers.hpp"

namespace hebb {
namespace {

// Vectors that a thread may hold at once though they are nowhere in memory: no caller needs more than a few.
constexpr uint32_t kAtOnce = 8;

struct Decoded {
  std::vector<float> of[kAtOnce];
  uint32_t next = 0;
  CodecRoom room;
};
thread_local Decoded decoded;

// Half precision has values from 2^-24 to 65,504, and its full precision from 2^-14 on.
constexpr float kLeastHalf = 0x1p-8f, kMostHalf = 0x1p14f;

// The exponent by which values of this size are brought to where half precision is precise.
int16_t halfExponent(float most) {
  if (most == 0 || (most >= kLeastHalf && most <= kMostHalf)) return 0;
  return static_cast<int16_t>(std::max(std::ilogb(most), -126));
}

}  // namespace

bool Graph::ensureKept(uint32_t node) {
  if (!tiers_.readable(node)) return false;
  const Where w = tiers_.where(node);
  return w.tier != static_cast<uint8_t>(Tier::kHot) || tiers_.record(w);
}

const float* Graph::kept(uint32_t node) const {
  const Where w = tiers_.where(node);
  if (w.tier == static_cast<uint8_t>(Tier::kHot)) return reinterpret_cast<const float*>(tiers_.address(w));
  const uint32_t d = options_.dimensions;
  std::vector<float>& out = decoded.of[decoded.next++ % kAtOnce];
  out.resize(d + 1);
  const Codec* codec = tiers_.codec(w);
  if (!codec || !codec->decode(tiers_.address(w), decoded.room, out.data())) std::fill(out.begin(), out.end(), 0.0f);
  const float scale = std::ldexp(options_.metric == Metric::kCosine ? tiers_.place(node)->norm : 1.0f, w.exponent);
  if (scale != 1.0f) {
    for (uint32_t i = 0; i < d; i++) out[i] *= scale;
  }
  if (options_.metric == Metric::kCosine) out[d] = 1.0f / std::sqrt(kernel->dot(out.data(), out.data(), d));
  return out.data();
}

template <Metric M>
bool Graph::measureByTier(const float* q, uint32_t node, Scratch& s, float* out) {
  if (!tiers_.ensurePlace(node)) return false;
  const Where w = tiers_.where(node);
  if (w.tier == static_cast<uint8_t>(Tier::kHot)) {
    if (!ensureVector(node)) return false;
    *out = distanceTo<M>(q, node);
    return true;
  }
  if (!tiers_.readable(node)) return false;
  const uint8_t* record = tiers_.address(w);
  const Codec* codec = tiers_.codec(w);
  if (w.exponent != 0) {  // values that half precision could not hold as they were
    const uint32_t d = options_.dimensions;
    s.decoded.resize(d);
    if (!codec->decode(record, s.room, s.decoded.data())) return false;
    for (uint32_t i = 0; i < d; i++) s.decoded[i] = std::ldexp(s.decoded[i], w.exponent);
    *out = M == Metric::kL2 ? kernel->l2(q, s.decoded.data(), d) : -kernel->dot(q, s.decoded.data(), d);
    return true;
  }
  if (s.tiersOf != q) {
    s.tiersOf = q;
    for (auto& versions : s.byTier) {
      for (TierQuery& query : versions) query.prepared = false;
    }
  }
  TierQuery& query = s.byTier[w.tier][w.version];
  if (!query.prepared) {
    codec->prepare(q, &query);
    query.prepared = true;
  }
  if (!codec->slow() || !cache_.enabled()) {
    *out = codec->distance(query, s.room, record);
    return true;
  }
  const uint64_t place = std::bit_cast<uint64_t>(w);
  if (cache_.use(node, place, [&](const float* values) { *out = codec->distanceOf(query, values); })) return true;
  s.decoded.resize(options_.dimensions);
  if (!codec->unpack(record, s.room, s.decoded.data())) {
    *out = __builtin_huge_valf();
    return true;
  }
  *out = codec->distanceOf(query, s.decoded.data());
  cache_.put(node, place, s.decoded.data(), options_.dimensions);
  return true;
}

bool Graph::prefetch(const uint32_t* nodes, uint32_t count) {
  if (!cache_.enabled() || !tiers_.compressed()) return true;
  const Reading reading(*this);
  ScratchLease s(*this);
  s->decoded.resize(options_.dimensions);
  for (uint32_t i = 0; i < count; i++) {
    List l;
    if (nodes[i] >= this->nodes()) continue;
    if (!listOf(nodes[i], 0, &l)) return false;
    for (uint32_t j = 0; j < l.count; j++) {
      const uint32_t node = relaxed(l.ids + j);
      if (node >= this->nodes() || !tiers_.ensurePlace(node)) continue;
      const Where w = tiers_.where(node);
      const uint64_t place = std::bit_cast<uint64_t>(w);
      if (w.tier == static_cast<uint8_t>(Tier::kHot) || w.tier >= kTiers) continue;
      const Codec* codec = tiers_.codec(w);
      if (!codec || !codec->slow() || cache_.has(node, place)) continue;
      if (!tiers_.readable(node)) return false;
      if (std::bit_cast<uint64_t>(tiers_.where(node)) != place) continue;  // moved meanwhile
      if (codec->unpack(tiers_.address(w), s->room, s->decoded.data()))
        cache_.put(node, place, s->decoded.data(), options_.dimensions);
    }
  }
  return true;
}

template <Metric M>
bool Graph::measureAgain(const float* q, std::vector<Neighbor>& list) {
  for (Neighbor& n : list) {
    // Hot or not: what is hot now may not have been when it was measured.
    if (!ensureVector(n.node)) return false;
    n.distance = distanceTo<M>(q, n.node);
  }
  std::sort(list.begin(), list.end(), nearer);
  return true;
}

template <Metric M>
bool Graph::rerank(const float* q, uint64_t count, Scratch& s) {
  std::vector<Neighbor>& best = s.heap;
  best.clear();
  for (uint32_t i = 0; i < s.results.size() && best.size() < count; i++) {
    const uint32_t node = s.results.nodeAt(i);
    if (state(node) & kLive) best.push_back({s.results[i].distance, node});
  }
  if (!measureAgain<M>(q, best)) return false;
  s.results.reset(static_cast<uint32_t>(std::max<size_t>(best.size(), 1)));
  for (const Neighbor& n : best) s.results.insert(n.distance, n.node);
  return true;
}

bool Graph::sampleOf(const std::vector<uint32_t>& nodes, Sample* out) {
  const uint32_t d = options_.dimensions;
  for (const uint32_t node : nodes) {
    if (!ensureVector(node)) return false;
    const float* v = raw(node);
    if (kernel->firstNonFinite(v, d) < d) {
      region_->refuse(kVectors, (options_.keepOriginals ? node : tiers_.where(node).slot - 1) * vectorStride_,
                      "a vector has a value that is no number");
      return false;
    }
    out->scales.push_back(options_.metric == Metric::kCosine ? v[d] : 1.0f);
    if (!options_.keepOriginals) {
      out->copies.push_back(std::make_unique<float[]>(d));
      std::memcpy(out->copies.back().get(), v, d * sizeof(float));
      v = out->copies.back().get();
    }
    out->vectors.push_back(v);
  }
  return true;
}

bool Graph::retier(const uint32_t* nodes, uint32_t count, Tier to, unsigned threads, Moves* moves) {
  const uint32_t d = options_.dimensions, limit = this->nodes(), version = tiers_.current();
  const bool untrained = to >= Tier::kCool && version == kVersions;
  const Tier target = untrained ? Tier::kWarm : to;
  const Where fresh{0, static_cast<uint8_t>(target), static_cast<uint8_t>(target >= Tier::kCool ? version : 0), 0};
  std::atomic<uint32_t> moved{0}, lossy{0};
  const auto one = [&](uint32_t i, Scratch& s) {
    const uint32_t node = nodes[i];
    if (node >= limit || !(state(node) & kLive)) return true;
    if (!tiers_.ensurePlace(node)) return false;
    const Where from = tiers_.where(node);
    if (!tiers_.sound(node, from)) return false;
    if (from.tier == fresh.tier && from.version == fresh.version) return true;
    if (!options_.keepOriginals && from.tier >= fresh.tier && from.tier > 0) {
      if (from.tier > fresh.tier) lossy++;
      return true;
    }
    Where next = fresh;
    if (target != Tier::kHot) {
      if (!ensureVector(node)) return false;
      const float* x = raw(node);
      float scale = 1;
      if (options_.metric == Metric::kCosine) {
        scale = x[d];
      } else if (target == Tier::kWarm) {
        float most = 0;
        for (uint32_t j = 0; j < d; j++) most = std::fmax(most, std::fabs(x[j]));
        next.exponent = halfExponent(most);
        scale = std::ldexp(1.0f, -next.exponent);
      }
      if (scale != 1.0f) {
        s.decoded.resize(d);
        for (uint32_t j = 0; j < d; j++) s.decoded[j] = x[j] * scale;
        x = s.decoded.data();
      }
      next.slot = tiers_.take(target);
      if (next.slot == 0) return false;
      // Nobody reads a slot that no place names.
      tiers_.codec(next)->encode(x, s.room, const_cast<uint8_t*>(tiers_.address(next)));
    }
    bool still = false;
    if (!tiers_.move(
            node, from, next, [&] { return (state(node) & kLive) != 0; }, &still))
      return false;
    if (still) moved++;
    return true;
  };
  const bool sound = Crew(*this, threads).run(count, one);
  moves->moved = moved;
  moves->lossy = lossy;
  moves->untrained = untrained ? count : 0;
  return sound;
}

bool Graph::train(const CodebookOptions& options, uint32_t most, uint32_t version, unsigned threads, bool* trained) {
  *trained = false;
  if (version >= kVersions) return true;
  // The same nodes whatever their order: those with the smallest hashes.
  std::vector<std::pair<uint64_t, uint32_t>> hashed;
  for (uint32_t node = 0; node < nodes(); node++) {
    const uint8_t is = state(node);
    if (is & kDead) {  // walks read its record until its number is free
      if (!tiers_.ensurePlace(node)) return false;
      const Where w = tiers_.where(node);
      if (w.tier >= static_cast<uint8_t>(Tier::kCool) && w.version == version) return true;
    }
    if (!(is & kLive)) continue;
    if (!options_.keepOriginals) {
      if (!tiers_.ensurePlace(node)) return false;
      if (tiers_.where(node).tier > static_cast<uint8_t>(Tier::kWarm)) continue;  // what is lossy teaches its losses
    }
    hashed.emplace_back(mix(options.seed ^ mix(node)), node);
  }
  if (hashed.size() > most) {
    std::nth_element(hashed.begin(), hashed.begin() + most, hashed.end());
    hashed.resize(most);
  }
  std::sort(hashed.begin(), hashed.end());
  std::vector<uint32_t> chosen;
  for (const auto& [hash, node] : hashed) chosen.push_back(node);
  Sample sample;
  if (!sampleOf(chosen, &sample)) return false;
  Crew crew(*this, threads);
  const CodebookEach each = [&](uint32_t count, const std::function<void(uint32_t)>& fn) {
    crew.run(count, [&](uint32_t i, Scratch&) {
      fn(i);
      return true;
    });
  };
  std::vector<uint8_t> block(Codebook::bytes(options_.dimensions), 0);
  if (!Codebook::train(options, sample.vectors, sample.scales, each, block.data())) return true;
  *trained = tiers_.install(version, block.data());
  cache_.clear();
  return *trained;
}

template bool Graph::measureByTier<Metric::kL2>(const float*, uint32_t, Scratch&, float*);
template bool Graph::measureByTier<Metric::kDot>(const float*, uint32_t, Scratch&, float*);
template bool Graph::measureByTier<Metric::kCosine>(const float*, uint32_t, Scratch&, float*);
template bool Graph::measureAgain<Metric::kL2>(const float*, std::vector<Neighbor>&);
template bool Graph::measureAgain<Metric::kDot>(const float*, std::vector<Neighbor>&);
template bool Graph::measureAgain<Metric::kCosine>(const float*, std::vector<Neighbor>&);
template bool Graph::rerank<Metric::kL2>(const float*, uint64_t, Scratch&);
template bool Graph::rerank<Metric::kDot>(const float*, uint64_t, Scratch&);
template bool Graph::rerank<Metric::kCosine>(const float*, uint64_t, Scratch&);

}  // namespace hebb
