#include "codebook.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codecs.hpp"
#include "kernel.hpp"
#include "mix.hpp"
#include "space.hpp"

namespace hebb {
namespace {

constexpr char kMagic[8] = {'H', 'E', 'B', 'B', 'T', 'I', 'E', 'R'};
constexpr uint32_t kVersion = 1;

// In front of a codebook; the scaled mean follows, then the tiers' parts.
struct BlockHead {
  char magic[8];
  uint32_t version, bytes;  // all of it
  uint32_t crc;             // CRC-32C of what is behind this field
  uint32_t dimensions, metric;
  float scale;
  uint64_t seed;
  uint32_t parts[kTiers];  // where they begin; those of hot and warm: 0
  uint32_t reserved;
};
constexpr size_t kCheckedFrom = offsetof(BlockHead, crc) + sizeof(uint32_t);

// A product quantizer's centroids would take too much beyond.
constexpr uint32_t kMostProduct = 8192;
// Records of tier cold are read without a cache: entropy-coded ones of more dimensions take more than a microsecond.
constexpr uint32_t kMostCoded = 512;
// In smaller records subvectors are worth more than factors.
constexpr uint32_t kLeastFactored = 24;
// What parts take but for what grows with the dimensions: heads, tables, centroids of pairs.
constexpr uint64_t kFixedBytes = 8192;

// Held out of the sample to choose codecs by: one in so many, at most that many; asked, and neighbours of each.
constexpr uint32_t kHeldShare = 8, kHeldMost = 2048, kAsked = 128, kNear = 24;
// Vectors by which the ranges of factors are taken.
constexpr uint32_t kLengths = 16384, kRatios = 1024;

uint64_t rounded(uint64_t bytes) {
  return (bytes + 7) / 8 * 8;
}

std::unique_ptr<ResidualCodec> openPart(const Origin& origin, Tier tier, const uint8_t* at) {
  const PartHead& head = *reinterpret_cast<const PartHead*>(at);
  const Factored factored = static_cast<Factored>(head.factored);
  Part part{head, at + sizeof head, head.bytes - sizeof head, recordBytes(tier, origin.dimensions), {factored, {}, {}}};
  Factoring& factoring = part.factoring;
  switch (factored) {
    case Factored::kNone:
      break;
    case Factored::kShort:
    case Factored::kLong:
      if (!Magnitude::read(head.ratioBase, head.ratioStep, ratioBits(factored), &factoring.ratio)) return nullptr;
      [[fallthrough]];
    case Factored::kLength:
      if (!Magnitude::read(head.lengthBase, head.lengthStep, lengthBits(factored), &factoring.length)) return nullptr;
      break;
    default:
      return nullptr;
  }
  switch (static_cast<Kind>(head.kind)) {
    case Kind::kScalar:
      return openScalar(origin, part);
    case Kind::kLevels:
      return openLevels(origin, part);
    case Kind::kSigns:
      return openSigns(origin, part);
    case Kind::kProduct:
      return openProduct(origin, part);
    case Kind::kPairs:
      return openPairs(origin, part);
    case Kind::kEcsq:
      return openEcsq(origin, part);
  }
  return nullptr;
}

// A candidate for a tier: its part, and the codec that reads it.
struct Candidate {
  std::vector<uint64_t> words;  // for their alignment
  std::unique_ptr<ResidualCodec> codec;
  double error = 0;

  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(words.data()); }
  PartHead& head() { return *reinterpret_cast<PartHead*>(words.data()); }
};

// What takes several times as long to read has to be off clearly less.
constexpr double kSlower = 1.25;
bool entropyCoded(Candidate& candidate) {
  const Kind kind = static_cast<Kind>(candidate.head().kind);
  return kind == Kind::kPairs || kind == Kind::kEcsq;
}

// The range of what is positive: [least, most], most below 0 where nothing is.
struct Range {
  float least = 0, most = -1;
  void add(float x) {
    if (!(x > 0)) return;
    least = most < 0 ? x : std::min(least, x);
    most = std::max(most, x);
  }
};

// Lengths beyond the sample's have codes too: fewer where codes are few.
Magnitude lengthsOf(const Range& seen, Factored factored) {
  if (seen.most < 0) return Magnitude(0.25f, 4.0f, lengthBits(factored));
  const float beyond = factored == Factored::kShort ? 1.5f : 16.0f, widest = factored == Factored::kShort ? 16 : 65536;
  return Magnitude(std::max(seen.least, seen.most / widest) / beyond, seen.most * beyond, lengthBits(factored));
}
Magnitude ratiosOf(const Range& seen, Factored factored) {
  if (seen.most < 0) return Magnitude(0.5f, 8.0f, ratioBits(factored));
  const float most = std::min(seen.most, 64 * seen.least), beyond = std::max(1.01f, std::sqrt(most / seen.least));
  return Magnitude(seen.least / beyond, most * beyond, ratioBits(factored));
}

class Trainer {
 public:
  Trainer(const Origin& origin, const Sample& sample, const Sample& held)
      : origin_(origin), sample_(sample), held_(held) {
    askNeighbours();
    std::vector<float> lengths(std::min(sample.size(), kLengths));
    inBlocks(static_cast<uint32_t>(lengths.size()), [&](uint32_t i, std::vector<float>& r) {
      sample_.residual(origin_, i, false, r.data());
      lengths[i] = std::sqrt(kernel->dot(r.data(), r.data(), origin_.dimensions));
    });
    for (const float length : lengths) lengths_.add(length);
  }

  // The best codec of a tier, by its bytes as a part.
  std::vector<uint64_t> choose(Tier tier) {
    const uint32_t d = origin_.dimensions, bytes = recordBytes(tier, d);
    const CodebookOptions& options = sample_.options;
    std::vector<Candidate> candidates;
    const auto consider = [&](std::optional<Trained>&& trained) {
      if (trained) candidates.push_back(finish(tier, std::move(*trained)));
    };
    // Whether indices may be entropy coded.
    const bool coded = options.coder != EntropyCoder::kNone && options.residualBits > 0;
    // As many bytes of factors as a code of so many leaves room for.
    const auto factoredBy = [&](uint32_t code) { return bytes >= code + 4 ? Factored::kLong : Factored::kShort; };
    if (bytes >= d) {
      consider(trainScalar(origin_, sample_, 8, Factored::kNone));
      if (tier == Tier::kCool && pairsFit(d, bytes)) consider(trainPairs(origin_, sample_, bytes));
      if (tier == Tier::kCool && coded) consider(trainEcsq(origin_, sample_, bytes, Factored::kLength));
    } else {
      if (const uint32_t code = (d + 1) / 2; bytes >= code + 2) {
        consider(trainScalar(origin_, sample_, 4, factoredBy(code)));
        if (tier == Tier::kCold) consider(trainLevels(origin_, sample_, bytes, factoredBy(code)));
        if (tier == Tier::kCold && coded && d <= kMostCoded)
          consider(trainEcsq(origin_, sample_, bytes, Factored::kShort));
      }
      if (tier == Tier::kArchive) {
        consider(Trained{Kind::kSigns, factoredBy((d + 7) / 8), 0, 0, {}});
        if (d <= kMostProduct) {
          const Factored factored = bytes < kLeastFactored ? Factored::kNone : Factored::kLong;
          const uint32_t most = std::min(d, bytes - factorBytes(factored)), asked = options.subvectors;
          consider(trainProduct(origin_, sample_, asked ? std::min(asked, most) : most, factored));
        }
      }
    }
    Candidate* best = &candidates[0];
    for (Candidate& candidate : candidates) {
      if (candidates.size() > 1) judge(candidate);
      if (entropyCoded(candidate)) candidate.error *= kSlower;
      if (candidate.error < best->error) best = &candidate;
    }
    return std::move(best->words);
  }

 private:
  // fn(i, room for a residual) for i below the count.
  void inBlocks(uint32_t count, const std::function<void(uint32_t, std::vector<float>&)>& fn) const {
    constexpr uint32_t kBlock = 64;
    sample_.each((count + kBlock - 1) / kBlock, [&](uint32_t block) {
      std::vector<float> room(origin_.frame.room());
      for (uint32_t i = block * kBlock; i < std::min(count, (block + 1) * kBlock); i++) fn(i, room);
    });
  }

  // The nearest among the held-out vectors, and how far they are.
  void askNeighbours() {
    const uint32_t d = origin_.dimensions, size = held_.size();
    asked_ = std::min(size, kAsked);
    near_ = std::min(size - 1, kNear);
    vectors_.resize(size_t{size} * d);
    for (uint32_t i = 0; i < size; i++) held_.vector(i, vectors_.data() + size_t{i} * d);
    neighbours_.resize(size_t{asked_} * near_);
    sample_.each(asked_, [&](uint32_t q) {
      std::vector<Neighbour> all;
      for (uint32_t i = 0; i < size; i++) {
        if (i != q) all.push_back({distance(q, i), i});
      }
      const auto nearer = [](const Neighbour& a, const Neighbour& b) {
        return a.distance < b.distance || (a.distance == b.distance && a.index < b.index);
      };
      std::partial_sort(all.begin(), all.begin() + near_, all.end(), nearer);
      std::copy_n(all.begin(), near_, neighbours_.begin() + size_t{q} * near_);
    });
  }

  // As a codec says it.
  float distance(uint32_t q, uint32_t i) const {
    const uint32_t d = origin_.dimensions;
    const float *a = vectors_.data() + size_t{q} * d, *b = vectors_.data() + size_t{i} * d;
    return origin_.metric == Metric::kDot ? -kernel->dot(a, b, d)
                                          : (origin_.metric == Metric::kCosine ? 0.5f : 1.0f) * kernel->l2(a, b, d);
  }

  Candidate finish(Tier tier, Trained&& trained) {
    Candidate out;
    const uint64_t bytes = rounded(sizeof(PartHead) + trained.body.size());
    out.words.resize(bytes / 8);
    const Factored factored = trained.factored;
    const Magnitude lengths = lengthsOf(lengths_, factored), any = ratiosOf({}, factored);
    out.head() = {static_cast<uint32_t>(trained.kind),
                  static_cast<uint32_t>(bytes),
                  static_cast<uint32_t>(factored),
                  lengths.base(),
                  lengths.step(),
                  any.base(),
                  any.step(),
                  trained.count,
                  trained.parts,
                  0};
    if (!trained.body.empty()) std::memcpy(out.bytes() + sizeof(PartHead), trained.body.data(), trained.body.size());
    out.codec = openPart(origin_, tier, out.bytes());
    if (factored == Factored::kNone || factored == Factored::kLength) return out;
    std::vector<float> seen(std::min(sample_.size(), kRatios));
    inBlocks(static_cast<uint32_t>(seen.size()), [&](uint32_t i, std::vector<float>& x) {
      CodecRoom room;
      float length;
      sample_.vector(i, x.data());
      out.codec->measure(x.data(), room, &length, &seen[i]);
    });
    Range range;
    for (const float ratio : seen) range.add(std::min(ratio, 1e6f));
    const Magnitude ratios = ratiosOf(range, factored);
    out.head().ratioBase = ratios.base();
    out.head().ratioStep = ratios.step();
    out.codec = openPart(origin_, tier, out.bytes());
    return out;
  }

  // How far estimates are off, apart from what is the same for all neighbours of a query, in parts of how far these
  // differ: what decides whether neighbours are confused.
  void judge(Candidate& candidate) {
    std::vector<double> errors(asked_);
    const Codec& codec = *candidate.codec;
    const uint32_t d = origin_.dimensions, bytes = candidate.codec->bytes();
    std::vector<uint8_t> needed(held_.size()), records(size_t{bytes} * held_.size());
    for (const Neighbour& neighbour : neighbours_) needed[neighbour.index] = 1;
    inBlocks(held_.size(), [&](uint32_t i, std::vector<float>&) {
      thread_local CodecRoom room;
      if (needed[i]) codec.encode(vectors_.data() + size_t{i} * d, room, records.data() + size_t{i} * bytes);
    });
    sample_.each(asked_, [&](uint32_t q) {
      TierQuery query;
      CodecRoom room;
      codec.prepare(vectors_.data() + size_t{q} * d, &query);
      double off = 0, offSquares = 0, sum = 0, squares = 0;
      for (uint32_t n = 0; n < near_; n++) {
        const Neighbour& neighbour = neighbours_[size_t{q} * near_ + n];
        const double exact = neighbour.distance;
        const double error = codec.distance(query, room, records.data() + size_t{neighbour.index} * bytes) - exact;
        off += error;
        offSquares += error * error;
        sum += exact;
        squares += exact * exact;
      }
      const double spread = squares - sum * sum / near_;
      errors[q] = spread > 0 ? std::min(100.0, (offSquares - off * off / near_) / spread) : 0;
    });
    candidate.error = 0;
    for (const double error : errors) candidate.error += error;
  }

  struct Neighbour {
    float distance;
    uint32_t index;
  };

  const Origin& origin_;
  const Sample& sample_;
  const Sample& held_;
  Range lengths_;
  uint32_t asked_ = 0, near_ = 0;
  std::vector<float> vectors_;
  std::vector<Neighbour> neighbours_;
};

}  // namespace

void Sample::shuffle() {
  order_.resize(vectors_.size());
  for (uint32_t i = 0; i < order_.size(); i++) order_[i] = i;
  for (uint32_t i = size(); i > 1; i--) std::swap(order_[i - 1], order_[mix(options.seed ^ mix(i)) % i]);
}

Sample Sample::part(uint32_t from, uint32_t to) const {
  Sample out(options, vectors_, scales_, each);
  out.order_.assign(order_.begin() + from, order_.begin() + to);
  return out;
}

void Sample::vector(uint32_t i, float* out) const {
  const uint32_t at = order_[i];
  for (uint32_t j = 0; j < options.dimensions; j++) out[j] = vectors_[at][j] * scales_[at];
}

void Sample::slice(const Origin& origin, uint32_t i, uint32_t from, uint32_t n, float* out) const {
  const float* const vector = vectors_[order_[i]] + from;
  const float scale = scales_[order_[i]];
  for (uint32_t j = 0; j < n; j++) out[j] = cut(vector[j] * scale * origin.scale - origin.mean[from + j], kFarthest);
}

void Sample::residual(const Origin& origin, uint32_t i, bool rotated, float* out) const {
  const uint32_t d = origin.dimensions;
  slice(origin, i, 0, d, out);
  if (!rotated) return;
  origin.frame.apply(out);
  const float squares = kernel->dot(out, out, d);
  const float inverse = squares > 1e-30f ? std::sqrt(static_cast<float>(d) / squares) : 0.0f;
  for (uint32_t j = 0; j < d; j++) out[j] *= inverse;
}

void append(std::vector<uint8_t>& body, const void* bytes, size_t size) {
  const uint8_t* const from = static_cast<const uint8_t*>(bytes);
  body.insert(body.end(), from, from + size);
}

bool allFinite(const float* values, size_t n) {
  return kernel->firstNonFinite(values, n) == n;
}

uint64_t Codebook::bytes(uint32_t dimensions) {
  const uint64_t d = dimensions;
  const uint64_t scalar = 8 * d, product = d <= kMostProduct ? 1024 * d : 0;
  return rounded(kFixedBytes + 4 * d + 2 * scalar + std::max(scalar, product));
}

Codebook::Codebook() = default;
Codebook::~Codebook() = default;

bool Codebook::train(const CodebookOptions& options, const std::vector<const float*>& sample,
                     const std::vector<float>& scales, const CodebookEach& each, uint8_t* out) {
  if (sample.size() < kLeastSample) return false;
  const uint32_t d = options.dimensions;
  Sample all(options, sample, scales, each);
  all.shuffle();
  const uint32_t held = std::min(all.size() / kHeldShare, kHeldMost);
  const Sample trained = all.part(held, all.size()), heldOut = all.part(0, held);

  BlockHead head = {};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  head.version = kVersion;
  head.dimensions = d;
  head.metric = static_cast<uint32_t>(options.metric);
  head.seed = options.seed;

  // The mean, and the power of two that makes what is left of most values about 1.
  std::vector<float> mean(d);
  meanOf(sample, scales, d, mean.data());
  double squares = 0;
  const uint32_t looked = std::min(trained.size(), kRatios);
  std::vector<float> x(d);
  for (uint32_t i = 0; i < looked; i++) {
    trained.vector(i, x.data());
    for (uint32_t j = 0; j < d; j++) squares += (double{x[j]} - mean[j]) * (double{x[j]} - mean[j]);
  }
  const double spread = std::sqrt(squares / (static_cast<double>(looked) * d));
  int exponent = 0;
  if (spread > 0) std::frexp(spread, &exponent);
  head.scale = std::ldexp(1.0f, std::clamp(-exponent, -120, 120));
  for (float& x : mean) x *= head.scale;

  const Origin origin(d, options.metric, options.seed, head.scale, mean.data());
  Trainer trainer(origin, trained, heldOut);
  uint64_t at = rounded(sizeof head + 4 * uint64_t{d});
  for (const Tier tier : {Tier::kCool, Tier::kCold, Tier::kArchive}) {
    const std::vector<uint64_t> part = trainer.choose(tier);
    head.parts[static_cast<uint32_t>(tier)] = static_cast<uint32_t>(at);
    std::memcpy(out + at, part.data(), part.size() * 8);
    at += part.size() * 8;
  }
  head.bytes = static_cast<uint32_t>(at);
  std::memcpy(out, &head, sizeof head);
  std::memcpy(out + sizeof head, mean.data(), 4 * size_t{d});
  head.crc = kernel->crc32c(out + kCheckedFrom, head.bytes - kCheckedFrom, 0);
  std::memcpy(out, &head, sizeof head);
  return true;
}

std::unique_ptr<Codebook> Codebook::open(const uint8_t* block, uint32_t dimensions, Metric metric, const char** error) {
  const auto refused = [&](const char* why) {
    *error = why;
    return nullptr;
  };
  if (dimensions == 0 || dimensions > 65536) return refused("no codebook has so many dimensions: 1 to 65536");
  if (reinterpret_cast<uintptr_t>(block) % alignof(BlockHead) != 0) return refused("the codebook lies at an odd place");
  BlockHead head;
  std::memcpy(&head, block, sizeof head);
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0) return refused("the block is no codebook");
  if (head.version != kVersion) return refused("the codebook is of another version of its format");
  if (head.bytes < sizeof head + 4 * uint64_t{dimensions} || head.bytes > bytes(dimensions))
    return refused("the codebook's size is none that it can have");
  if (kernel->crc32c(block + kCheckedFrom, head.bytes - kCheckedFrom, 0) != head.crc)
    return refused("the codebook's checksum does not match");
  if (head.dimensions != dimensions || head.metric != static_cast<uint32_t>(metric))
    return refused("the codebook is of other dimensions or another metric");
  const float* const mean = reinterpret_cast<const float*>(block + sizeof head);
  int exponent;
  if (!std::isfinite(head.scale) || std::frexp(head.scale, &exponent) != 0.5f || std::abs(exponent) > 121 ||
      !allFinite(mean, dimensions))
    return refused("the codebook's mean or scale is no number that it can be");
  std::unique_ptr<Codebook> out(new Codebook());
  out->origin_ = std::make_unique<Origin>(dimensions, metric, head.seed, head.scale, mean);
  out->codecs_[static_cast<uint32_t>(Tier::kWarm)] = halfCodec(dimensions, metric);
  for (const Tier tier : {Tier::kCool, Tier::kCold, Tier::kArchive}) {
    const uint32_t at = head.parts[static_cast<uint32_t>(tier)];
    if (at % 8 != 0 || at < sizeof head || at > head.bytes || head.bytes - at < sizeof(PartHead))
      return refused("a codec lies outside of the codebook");
    const PartHead& part = *reinterpret_cast<const PartHead*>(block + at);
    if (part.bytes < sizeof part || part.bytes > head.bytes - at)
      return refused("a codec's size is none that it can have");
    out->codecs_[static_cast<uint32_t>(tier)] = openPart(*out->origin_, tier, block + at);
    if (!out->codecs_[static_cast<uint32_t>(tier)]) return refused("what the codebook says of a codec makes no sense");
  }
  return out;
}

}  // namespace hebb
