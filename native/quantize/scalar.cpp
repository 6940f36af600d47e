// Plain numbers: each dimension by equal steps between two values of its own, in 8 or 4 bits.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cstring>

#include "codecs.hpp"

namespace hebb {
namespace {

// Vectors that ranges are taken from, and those among them by which a narrower range is judged.
constexpr uint32_t kRangePoints = 16384, kJudged = 2048;
// Parts of the range from the least value to the greatest that are tried.
constexpr float kParts[] = {1.0f, 0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f, 0.3f};

// By how much the range of 8 bits is wider than that of so few vectors: what lies outside is cut, and of a normal
// distribution 5,000 reach 1.3 times as far as 300. From 2,048 on it stays, so that whole numbers keep their grid. Of
// 4 bits the steps are worth more than what is cut.
float beyond(uint32_t bits, uint32_t count) {
  const int32_t octaves = static_cast<int32_t>(std::bit_width(count));
  return bits == 8 ? 1 + 0.1f * static_cast<float>(std::max(0, 12 - octaves)) : 1;
}

class ScalarCodec final : public ResidualCodec {
 public:
  ScalarCodec(const Origin& origin, const Part& part, const float* lowest, const float* steps)
      : ResidualCodec(origin, false, part.factoring, part.recordBytes),
        bits_(part.head.count),
        lowest_(lowest),
        steps_(steps),
        inverses_(origin.dimensions) {
    for (uint32_t i = 0; i < origin.dimensions; i++) inverses_[i] = steps[i] > 1e-30f ? 1.0f / steps[i] : 0.0f;
  }

  const char* name() const override { return "scalar"; }

 private:
  void code(const float* z, CodecRoom& room, uint8_t* code) const override {
    const uint32_t d = dimensions();
    room.symbols.resize(size_t{d} + 1);
    uint8_t* const symbols = room.symbols.data();
    const float most = static_cast<float>((1u << bits_) - 1);
    for (uint32_t i = 0; i < d; i++) {
      float x = (z[i] - lowest_[i]) * inverses_[i] + 0.5f;
      x = x > 0 ? x : 0;
      symbols[i] = static_cast<uint8_t>(static_cast<int32_t>(x < most ? x : most));
    }
    std::memset(code, 0, codeBytes());
    if (bits_ == 8) {
      std::memcpy(code, symbols, d);
    } else {
      symbols[d] = 0;
      for (uint32_t i = 0; i < (d + 1) / 2; i++)
        code[i] = static_cast<uint8_t>(symbols[2 * i] | symbols[2 * i + 1] << 4);
    }
  }

  bool expand(const uint8_t* code, float, CodecRoom& room, float* out) const override {
    const uint32_t d = dimensions();
    if (bits_ == 4) {
      room.symbols.resize(size_t{d} + 1);
      uint8_t* const symbols = room.symbols.data();
      for (uint32_t i = 0; i < (d + 1) / 2; i++) {
        symbols[2 * i] = code[i] & 15;
        symbols[2 * i + 1] = code[i] >> 4;
      }
      code = symbols;
    }
    for (uint32_t i = 0; i < d; i++) out[i] = lowest_[i] + steps_[i] * static_cast<float>(code[i]);
    return true;
  }

  uint32_t bits_;
  const float* lowest_;
  const float* steps_;
  std::vector<float> inverses_;
};

double errorOf(const std::vector<float>& values, float lowest, float step, float most) {
  const float inverse = step > 1e-30f ? 1.0f / step : 0.0f;
  double error = 0;
  for (const float value : values) {
    float x = (value - lowest) * inverse + 0.5f;
    x = x > 0 ? x : 0;
    x = static_cast<float>(static_cast<int32_t>(x < most ? x : most));
    const float off = value - (lowest + step * x);
    error += off * off;
  }
  return error;
}

}  // namespace

Trained trainScalar(const Origin& origin, const Sample& sample, uint32_t bits, Factored factored) {
  const uint32_t d = origin.dimensions, count = std::min(sample.size(), kRangePoints);
  constexpr uint32_t kBlock = 16;  // dimensions that are looked at together
  std::vector<float> lowest(d), steps(d);
  const float most = static_cast<float>((1u << bits) - 1), wider = beyond(bits, count);
  sample.each((d + kBlock - 1) / kBlock, [&](uint32_t block) {
    const uint32_t from = block * kBlock, n = std::min(kBlock, d - from);
    std::vector<float> judged[kBlock];
    float least[kBlock], greatest[kBlock], values[kBlock];
    std::fill_n(least, kBlock, FLT_MAX);
    std::fill_n(greatest, kBlock, -FLT_MAX);
    for (uint32_t i = 0; i < count; i++) {
      sample.slice(origin, i, from, n, values);
      for (uint32_t j = 0; j < n; j++) {
        least[j] = std::min(least[j], values[j]);
        greatest[j] = std::max(greatest[j], values[j]);
        if (i < kJudged) judged[j].push_back(values[j]);
      }
    }
    for (uint32_t j = 0; j < n; j++) {
      double best = DBL_MAX;
      for (const float of : kParts) {
        const float part = of * wider, low = part * least[j], step = (part * greatest[j] - low) / most;
        const double error = errorOf(judged[j], low, step, most);
        if (error >= best) continue;
        best = error;
        lowest[from + j] = low;
        steps[from + j] = step;
      }
    }
  });
  // A dimension that hardly varies in the sample may do so elsewhere: its steps are a quarter of the mean one at least,
  // and what was the lowest value stays one of the grid.
  double sum = 0;
  for (const float step : steps) sum += step;
  const float floor = static_cast<float>(0.25 * sum / d);
  for (uint32_t j = 0; j < d; j++) {
    if (steps[j] >= floor || !(floor > 1e-30f)) continue;
    const float unused = most - most * steps[j] / floor;
    lowest[j] -= floor * static_cast<float>(static_cast<int32_t>(0.5f * unused));
    steps[j] = floor;
  }
  Trained out{Kind::kScalar, factored, bits, 0, {}};
  append(out.body, lowest.data(), 4 * size_t{d});
  append(out.body, steps.data(), 4 * size_t{d});
  return out;
}

std::unique_ptr<ResidualCodec> openScalar(const Origin& origin, const Part& part) {
  const uint32_t d = origin.dimensions, bits = part.head.count;
  const size_t needed = bits == 8 ? d : (d + 1) / 2;
  const float* const values = reinterpret_cast<const float*>(part.body);
  if ((bits != 8 && bits != 4) || part.size < 8 * size_t{d} || !allFinite(values, 2 * size_t{d}) ||
      part.factoring.factored == Factored::kLength || part.recordBytes < needed + factorBytes(part.factoring.factored))
    return nullptr;
  return std::make_unique<ScalarCodec>(origin, part, values, values + d);
}

}  // namespace hebb
