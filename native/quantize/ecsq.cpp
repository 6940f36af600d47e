// Entropy-coded scalar quantization of the rotated residual: equal steps, whose indices are cut into an upper part that
// is entropy coded and lower bits that are worth a bit each, in all of the bytes of a record; each record takes the
// finest step of a ladder with which it fits.
//
// At high rates this is 1.53 dB from what any code can reach of a Gaussian (Gish & Pierce 1968), nearer than a product
// quantizer with a code of fixed length in front of it comes: docs/decisions/0009-tiers.md has the figures.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../simd/tiers.hpp"
#include "codecs.hpp"
#include "entropy.hpp"
#include "kernel.hpp"
#include "ladder.hpp"

namespace hebb {
namespace {

constexpr uint32_t kMeasured = 256;  // vectors whose values are counted
constexpr uint32_t kMostValues = 1u << 20;
constexpr uint32_t kLowerBits[] = {0, 1, 2, 4};
constexpr uint32_t kMostUpper = 127;  // values of the upper part, where there can be more lower bits
constexpr uint32_t kMostAlphabet = 253;
constexpr double kSpareBits = 24;  // of a record, with the usual step
// The coder's own bytes and those to spare would be much of less.
constexpr uint32_t kLeastUpperBytes = 16;

struct Body {
  float usual;  // the step kUsual of the ladder
};

// Behind the factors: the step, the lower bits, the upper parts.
uint32_t lowerBytes(uint32_t d, uint32_t bits) {
  return (d * bits + 7) / 8;
}
bool roomFor(uint32_t d, uint32_t bits, uint32_t bytes, Factored factored) {
  return bytes >= factorBytes(factored) + 1 + lowerBytes(d, bits) + kLeastUpperBytes;
}
uint32_t upperBytes(uint32_t d, uint32_t bits, uint32_t bytes, Factored factored) {
  return bytes - factorBytes(factored) - 1 - lowerBytes(d, bits);
}

class EcsqCodec final : public ResidualCodec {
 public:
  EcsqCodec(const Origin& origin, const Part& part, float usual, EntropyTable&& table)
      : ResidualCodec(origin, true, part.factoring, part.recordBytes),
        bits_(part.head.count),
        middle_(static_cast<float>((part.head.parts << bits_) - 1) / 2),
        upperBytes_(upperBytes(origin.dimensions, bits_, part.recordBytes, part.factoring.factored)),
        ladder_(usual),
        table_(std::move(table)) {}

  const char* name() const override { return "ecsq"; }
  bool slow() const override { return !corrected(); }

 private:
  void code(const float* z, CodecRoom& room, uint8_t* code) const override {
    const uint32_t d = dimensions();
    std::memset(code, 0, codeBytes());
    room.symbols.resize(2 * size_t{d});
    uint8_t *const upper = room.symbols.data(), *const lower = upper + d;
    uint8_t* const coded = code + 1 + lowerBytes(d, bits_);
    float widest = 0;
    for (uint32_t i = 0; i < d; i++) widest = std::max(widest, std::fabs(z[i]));
    // The finest step with which nothing is cut and the upper parts seem to fit; then with which they do.
    uint32_t step = Ladder::finest([&](uint32_t s) {
      if (widest > (middle_ + 0.5f) * ladder_.step(s)) return false;
      split(z, s, upper, lower);
      return table_.bits(upper, d) + 8 <= 8 * uint64_t{upperBytes_};
    });
    for (; step < Ladder::kSteps; step++) {
      split(z, step, upper, lower);
      if (table_.encode(upper, d, coded, upperBytes_) != kDoesNotFit) break;
    }
    code[0] = static_cast<uint8_t>(step);
    if (step == Ladder::kRough) {
      std::memset(coded, 0, upperBytes_);
    } else if (bits_ > 0) {
      pack(lower, code + 1);
    }
  }

  // The two parts of each value's index.
  void split(const float* z, uint32_t step, uint8_t* upper, uint8_t* lower) const {
    const float inverse = 1.0f / ladder_.step(step), most = 2 * middle_;
    const uint32_t mask = (1u << bits_) - 1;
    for (uint32_t i = 0; i < dimensions(); i++) {
      float x = z[i] * inverse + (middle_ + 0.5f);
      x = x > 0 ? x : 0;
      const uint32_t index = static_cast<uint32_t>(static_cast<int32_t>(x < most ? x : most));
      upper[i] = static_cast<uint8_t>(index >> bits_);
      lower[i] = static_cast<uint8_t>(index & mask);
    }
  }

  // Byte i has the lower bits of values i, i + n, i + 2 n and so on, the first in the lowest bits.
  void pack(const uint8_t* lower, uint8_t* out) const {
    const uint32_t d = dimensions(), n = lowerBytes(d, bits_);
    for (uint32_t i = 0, at = 0, shift = 0; i < d; i++) {
      out[at] = static_cast<uint8_t>(out[at] | lower[i] << shift);
      if (++at == n) {
        at = 0;
        shift += bits_;
      }
    }
  }

  bool expand(const uint8_t* code, float unit, CodecRoom& room, float* out) const override {
    const uint32_t d = dimensions(), step = code[0];
    if (step == Ladder::kRough) {
      std::memset(out, 0, d * sizeof(float));
      return true;
    }
    room.symbols.resize(std::max<size_t>(room.symbols.size(), d));
    uint8_t* const upper = room.symbols.data();
    const uint32_t n = lowerBytes(d, bits_), mask = (1u << bits_) - 1;
    if (!table_.decode(code + 1 + n, upperBytes_, d, upper)) return false;
    const float fine = ladder_.step(step);
    const float coarse = fine * static_cast<float>(1u << bits_);
    if (bits_ == 0) {
      std::fill_n(out, d, -middle_ * fine);
      kernel->addSteps(out, upper, 0, coarse, unit, d);
    }
    for (uint32_t from = 0, shift = 0; from < d && bits_ > 0; from += n, shift += bits_) {
      kernel->tiers->parts(code + 1, shift, mask, middle_, fine, upper + from, coarse, unit, std::min(n, d - from),
                           out + from);
    }
    return true;
  }

  uint32_t bits_;  // the lower ones
  float middle_;   // of the indices
  uint32_t upperBytes_;
  Ladder ladder_;
  EntropyTable table_;
};

// The finest step with which the upper parts of all values fit into so many bits, 0 where none does, and their table.
struct Upper {
  Upper(const std::vector<float>& values, EntropyCoder coder, double most) {
    float widest = 1;
    for (const float x : values) widest = std::max(widest, std::fabs(x));
    float fine = 1.0f / 4096, coarse = 8;
    for (uint32_t round = 0; round < 14; round++) {
      const float middle = std::sqrt(fine * coarse);
      (bitsAt(middle, widest, values, coder) <= most ? coarse : fine) = middle;
    }
    if (bitsAt(coarse, widest, values, coder) <= most) step = coarse;
  }

  float step = 0;
  uint32_t alphabet = 0;
  std::vector<uint8_t> table;

 private:
  // Makes the table of this step; values may be a fifth farther out than the sample's.
  double bitsAt(float at, float widest, const std::vector<float>& values, EntropyCoder coder) {
    const double wanted = std::ceil(2.4 * widest / at);
    if (wanted > kMostAlphabet) return HUGE_VAL;
    alphabet = std::max(3u, static_cast<uint32_t>(wanted) | 1);
    std::vector<uint32_t> counts(alphabet);
    std::vector<uint8_t> symbols(values.size());
    const float half = static_cast<float>(alphabet) / 2, most = static_cast<float>(alphabet - 1);
    for (size_t i = 0; i < values.size(); i++) {
      const float x = values[i] / at + half;
      symbols[i] = static_cast<uint8_t>(x > 0 ? std::min(x, most) : 0.0f);
      counts[symbols[i]]++;
    }
    table.assign(EntropyTable::bytes(coder, alphabet), 0);
    EntropyTable::fit(coder, counts.data(), alphabet, table.data());
    const auto read = EntropyTable::read(table.data(), table.size());
    return read ? static_cast<double>(read->bits(symbols.data(), symbols.size())) : HUGE_VAL;
  }
};

}  // namespace

std::optional<Trained> trainEcsq(const Origin& origin, const Sample& sample, uint32_t bytes, Factored factored) {
  const uint32_t d = origin.dimensions;
  std::vector<float> z(origin.frame.room()), values;
  for (uint32_t i = 0; i < std::min(sample.size(), kMeasured) && (i < 16 || values.size() < kMostValues); i++) {
    sample.residual(origin, i, true, z.data());
    values.insert(values.end(), z.begin(), z.begin() + d);
  }
  // The fewest lower bits with which there are few upper parts.
  for (const uint32_t bits : kLowerBits) {
    if (!roomFor(d, bits, bytes, factored)) break;
    const double each = std::max(1.0, 8.0 * upperBytes(d, bits, bytes, factored) - kSpareBits);
    const Upper upper(values, sample.options.coder, each / d * static_cast<double>(values.size()));
    if (upper.step == 0 || (upper.alphabet > kMostUpper && bits != kLowerBits[std::size(kLowerBits) - 1])) continue;
    Trained out{Kind::kEcsq, factored, bits, upper.alphabet, {}};
    const Body body = {upper.step / static_cast<float>(1u << bits)};
    append(out.body, &body, sizeof body);
    append(out.body, upper.table.data(), upper.table.size());
    return out;
  }
  return std::nullopt;
}

std::unique_ptr<ResidualCodec> openEcsq(const Origin& origin, const Part& part) {
  const uint32_t d = origin.dimensions, bits = part.head.count, alphabet = part.head.parts;
  const Factored factored = part.factoring.factored;
  Body body;
  if (part.size < sizeof body ||
      std::find(std::begin(kLowerBits), std::end(kLowerBits), bits) == std::end(kLowerBits) || alphabet < 3 ||
      alphabet > 255 || (factored != Factored::kLength && factored != Factored::kShort) ||
      !roomFor(d, bits, part.recordBytes, factored))
    return nullptr;
  std::memcpy(&body, part.body, sizeof body);
  if (!(body.usual > 1e-12f && body.usual < 1e12f)) return nullptr;
  std::optional<EntropyTable> table = EntropyTable::read(part.body + sizeof body, part.size - sizeof body);
  if (!table || table->alphabet() != alphabet) return nullptr;
  return std::make_unique<EcsqCodec>(origin, part, body.usual, std::move(*table));
}

}  // namespace hebb
