// Tier cool: the rotated residual by a product quantizer of pairs, whose subvectors share one book of 256 centroids
// because the rotation leaves them all alike, and what that leaves by equal steps, entropy coded, in all of the bytes
// that remain: each record takes the finest step of a ladder with which it fits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../simd/tiers.hpp"
#include "codecs.hpp"
#include "entropy.hpp"
#include "kmeans.hpp"
#include "ladder.hpp"
#include "mix.hpp"

namespace hebb {
namespace {

constexpr uint32_t kTrained = 512;   // vectors that centroids are trained on
constexpr uint32_t kPoints = 32768;  // pairs of them
constexpr uint32_t kMeasured = 256;  // vectors whose residuals are counted
constexpr uint32_t kMostValues = 1u << 20;

struct Body {
  float centroids[256][2];
  float usual;  // step of the ladder
  uint32_t residualBytes;
};

// Behind the factors: the step, the pairs, their residuals.
uint32_t pairsOf(uint32_t d) {
  return (d + 1) / 2;
}

// Symbols by their steps; `half` is none. What is farther out is cut.
void quantize(const float* values, uint32_t n, float inverse, float half, uint8_t* symbols) {
  for (uint32_t i = 0; i < n; i++) {
    float x = values[i] * inverse + (half + 0.5f);
    x = x > 0 ? x : 0;
    symbols[i] = static_cast<uint8_t>(static_cast<int32_t>(x < 2 * half ? x : 2 * half));
  }
}

class PairsCodec final : public ResidualCodec {
 public:
  PairsCodec(const Origin& origin, const Part& part, const Body& body, EntropyTable&& table)
      : ResidualCodec(origin, true, part.factoring, part.recordBytes),
        nearest_(body.centroids[0], part.head.count, 2),
        count_(part.head.count),
        half_((part.head.parts - 1) / 2),
        residualBytes_(body.residualBytes),
        ladder_(body.usual),
        table_(std::move(table)) {
    std::memcpy(centroids_, body.centroids, sizeof centroids_);
  }

  const char* name() const override { return "product"; }
  bool slow() const override { return true; }

 private:
  void code(const float* z, CodecRoom& room, uint8_t* code) const override {
    const uint32_t d = dimensions();
    std::memset(code, 0, codeBytes());
    room.other.resize(std::max<size_t>(room.other.size(), d + 2));
    room.symbols.resize(d);
    float* const left = room.other.data();
    float widest = 0;
    for (uint32_t i = 0; i < pairsOf(d); i++) {
      const float pair[2] = {z[2 * i], 2 * i + 1 < d ? z[2 * i + 1] : 0.0f};
      const uint32_t c = nearest_.of(pair);
      code[1 + i] = static_cast<uint8_t>(c);
      left[2 * i] = pair[0] - centroids_[c][0];
      left[2 * i + 1] = pair[1] - centroids_[c][1];
    }
    for (uint32_t i = 0; i < d; i++) widest = std::max(widest, std::fabs(left[i]));
    // The finest step with which nothing is cut and the residuals seem to fit; then with which they do.
    uint8_t *const symbols = room.symbols.data(), *const coded = code + 1 + pairsOf(d);
    const float half = static_cast<float>(half_);
    uint32_t step = Ladder::finest([&](uint32_t s) {
      const float inverse = 1.0f / ladder_.step(s);
      if (widest * inverse > half + 0.5f) return false;
      quantize(left, d, inverse, half, symbols);
      return table_.bits(symbols, d) + 8 <= 8 * uint64_t{residualBytes_};
    });
    for (; step < Ladder::kSteps; step++) {
      quantize(left, d, 1.0f / ladder_.step(step), half, symbols);
      if (table_.encode(symbols, d, coded, residualBytes_) != kDoesNotFit) break;
    }
    code[0] = static_cast<uint8_t>(step);
    if (step == Ladder::kRough) std::memset(coded, 0, codeBytes() - 1 - pairsOf(d));
  }

  bool expand(const uint8_t* code, float unit, CodecRoom& room, float* out) const override {
    const uint32_t d = dimensions();
    uint8_t most = 0;
    for (uint32_t i = 0; i < pairsOf(d); i++) most = std::max(most, code[1 + i]);
    if (most >= count_) return false;
    if (code[0] == Ladder::kRough) {
      for (uint32_t i = 0; i < d; i++) out[i] = centroids_[code[1 + i / 2]][i % 2] * unit;
      return true;
    }
    room.symbols.resize(std::max<size_t>(room.symbols.size(), d));
    uint8_t* const symbols = room.symbols.data();
    if (!table_.decode(code + 1 + pairsOf(d), residualBytes_, d, symbols)) return false;
    kernel->tiers->pairs(code + 1, centroids_, symbols, static_cast<int32_t>(half_), ladder_.step(code[0]), unit, d,
                         out);
    return true;
  }

  Nearest nearest_;
  uint32_t count_, half_, residualBytes_;
  Ladder ladder_;
  EntropyTable table_;
  float centroids_[256][2];
};

}  // namespace

bool pairsFit(uint32_t dimensions, uint32_t bytes) {
  return bytes >= factorBytes(Factored::kLength) + 1 + pairsOf(dimensions) + 8;
}

Trained trainPairs(const Origin& origin, const Sample& sample, uint32_t bytes) {
  const CodebookOptions& options = sample.options;
  const uint32_t d = origin.dimensions, k = options.centroids8;
  Body body = {};
  const uint32_t left = bytes - factorBytes(Factored::kLength) - 1 - pairsOf(d);
  body.residualBytes = std::min<uint64_t>(left, uint64_t{options.residualBits} * d / 8);
  // Pairs from all over the sample.
  const uint32_t count = std::min(sample.size(), kTrained);
  const uint32_t perVector = std::min(pairsOf(d), std::max(1u, kPoints / count));
  std::vector<float> z(origin.frame.room() + 2), points;
  for (uint32_t i = 0; i < count; i++) {
    sample.residual(origin, i, true, z.data());
    if (d % 2) z[d] = 0;
    for (uint32_t j = 0; j < perVector; j++) {
      const uint32_t at = static_cast<uint32_t>((mix(i) + uint64_t{pairsOf(d)} * j / perVector) % pairsOf(d));
      points.insert(points.end(), {z[2 * at], z[2 * at + 1]});
    }
  }
  kmeans(points.data(), static_cast<uint32_t>(points.size() / 2), 2, k, options.iterations, mix(options.seed),
         body.centroids[0]);
  // What they leave of some vectors, and the finest step with which that fits, by a table made for it.
  const Nearest nearest(body.centroids[0], k, 2);
  std::vector<float> residuals;
  double squares = 0;
  uint32_t measured = 0;
  for (; measured < std::min(sample.size(), kMeasured) && (measured < 16 || residuals.size() < kMostValues);
       measured++) {
    sample.residual(origin, measured, true, z.data());
    if (d % 2) z[d] = 0;
    for (uint32_t i = 0; i < d; i++) {
      const uint32_t c = nearest.of(z.data() + i / 2 * 2);
      const float off = z[i] - body.centroids[c][i % 2];
      residuals.push_back(off);
      squares += off * off;
    }
  }
  const float spread = std::max(1e-6f, static_cast<float>(std::sqrt(squares / static_cast<double>(residuals.size()))));
  uint32_t alphabet = 127;
  if (options.coder == EntropyCoder::kNone) {
    uint32_t width = 1;
    while (width < 7 && (width + 1) * d + 8 <= 8 * body.residualBytes) width++;
    alphabet = std::max(3u, (1u << width) - 1);
  }
  const float half = static_cast<float>((alphabet - 1) / 2);
  const double target = static_cast<double>(measured) * std::max(1.0, 8.0 * body.residualBytes - 24);
  std::vector<uint8_t> symbols(residuals.size());
  std::vector<uint8_t> table(EntropyTable::bytes(options.coder, alphabet));
  const auto bitsAt = [&](float step) {
    quantize(residuals.data(), static_cast<uint32_t>(residuals.size()), 1.0f / step, half, symbols.data());
    std::vector<uint32_t> counts(alphabet);
    for (const uint8_t symbol : symbols) counts[symbol]++;
    EntropyTable::fit(options.coder, counts.data(), alphabet, table.data());
    const auto read = EntropyTable::read(table.data(), table.size());
    return read ? static_cast<double>(read->bits(symbols.data(), symbols.size())) : 1e300;
  };
  float fine = spread / 40, coarse = 8 * spread;
  if (options.coder == EntropyCoder::kNone) {
    coarse = 3.5f * spread / half;  // its width is the same for all steps: what is cut decides
  } else {
    for (uint32_t round = 0; round < 12; round++) {
      const float middle = std::sqrt(fine * coarse);
      (bitsAt(middle) <= target ? coarse : fine) = middle;
    }
  }
  bitsAt(coarse);
  body.usual = coarse;
  Trained out{Kind::kPairs, Factored::kLength, k, alphabet, {}};
  append(out.body, &body, sizeof body);
  append(out.body, table.data(), table.size());
  return out;
}

std::unique_ptr<ResidualCodec> openPairs(const Origin& origin, const Part& part) {
  const uint32_t d = origin.dimensions, alphabet = part.head.parts, k = part.head.count;
  Body body;
  if (part.size < sizeof body || k < 2 || k > 256 || alphabet < 3 || alphabet > 255 || alphabet % 2 == 0 ||
      part.factoring.factored != Factored::kLength || !pairsFit(d, part.recordBytes))
    return nullptr;
  std::memcpy(&body, part.body, sizeof body);
  if (!allFinite(body.centroids[0], 2 * size_t{256}) || !(body.usual > 1e-12f && body.usual < 1e12f) ||
      body.residualBytes > part.recordBytes - factorBytes(Factored::kLength) - 1 - pairsOf(d))
    return nullptr;
  std::optional<EntropyTable> table = EntropyTable::read(part.body + sizeof body, part.size - sizeof body);
  if (!table || table->alphabet() != alphabet) return nullptr;
  return std::make_unique<PairsCodec>(origin, part, body, std::move(*table));
}

}  // namespace hebb
