// Codecs of the residual r from the mean: what they share, which is all but how a direction is kept.
//
// A record holds the direction of r as some vector L, which is near r / u, where u is |r| / sqrt(d) in the rotated
// frame, in which values then have variance 1, and 1 in the plain one; |r|; and a ratio p = |z|^2 / <z, L>, z = r / u,
// which makes the estimate u p <q', L> of <q', r> exact for q' along r and unbiased over rotations (RaBitQ, arXiv
// 2405.12497; multi-bit: arXiv 2409.09913). With q' = q - mean (under dot: q) in the same frame:
//
//   squared L2  |q'|^2 + |r|^2 - 2 u p <q', L>
//   dot         -(<q, mean> + u p <q', L>)
//   cosine      half the squared L2 of unit vectors
//
// What comes nearest to r is (u |z|^2 / (p |L|^2)) L. Codecs that lose next to nothing keep no ratio: L is r itself.
#pragma once

#include "codec.hpp"
#include "frame.hpp"
#include "magnitude.hpp"

namespace hebb {

// What lies farther from the mean, in units of what the sample spreads, is cut off: squares stay finite.
constexpr float kFarthest = 1e15f;
inline float cut(float x, float most) {
  x = x > -most ? x : -most;
  return x < most ? x : most;
}

// Where residuals are from, for all codecs of a codebook. In here all is in units of 1 / `scale`, a power of two that
// makes values of the sample about 1, so that squares stay in a float's range.
struct Origin {
  Origin(uint32_t dimensions, Metric metric, uint64_t seed, float scale, const float* mean);

  // x scaled, less the mean; out has frame.room() values.
  void residual(const float* x, float* out) const;
  // Back from `times` r, of which `rounds` of the frame are to be taken back, to a vector, all of it finite; r is of no
  // account afterwards.
  void restore(float* r, uint32_t rounds, float times, float* x) const;

  uint32_t dimensions;
  Metric metric;
  float scale, unscale;
  const float* mean;  // scaled
  Frame frame;
};

// Which factors lie in front of a record's code, little endian.
enum class Factored : uint32_t {
  kNone = 0,    // L is r
  kLength = 2,  // u: 16 bits; L is r
  kShort = 3,   // u: 10 bits, p: 6 bits, in two bytes
  kLong = 4,    // u, p: 16 bits each
};
constexpr uint32_t factorBytes(Factored factored) {
  return factored == Factored::kShort ? 2 : static_cast<uint32_t>(factored);
}
constexpr uint32_t lengthBits(Factored factored) {
  return factored == Factored::kShort ? 10 : 16;
}
constexpr uint32_t ratioBits(Factored factored) {
  return factored == Factored::kShort ? 6 : 16;
}

struct Factoring {
  Factored factored;
  Magnitude length, ratio;
};

class ResidualCodec : public Codec {
 public:
  ResidualCodec(const Origin& origin, bool rotated, const Factoring& factoring, uint32_t bytes);

  void encode(const float* x, CodecRoom& room, uint8_t* record) const final;
  bool decode(const uint8_t* record, CodecRoom& room, float* x) const final;
  void prepare(const float* q, TierQuery* out) const final;
  float distance(const TierQuery& query, CodecRoom& room, const uint8_t* record) const final;
  bool unpack(const uint8_t* record, CodecRoom& room, float* r) const final;
  float distanceOf(const TierQuery& query, const float* r) const final;

  uint32_t bytes() const { return bytes_; }

  // What training has to know of x to choose how factors are kept: its |r|, and its ratio, were |r| not rounded.
  void measure(const float* x, CodecRoom& room, float* length, float* ratio) const;

 protected:
  uint32_t dimensions() const { return origin_.dimensions; }
  // |r - L|^2 in the mean, where nothing else corrects for it: without it what is coarse would seem near.
  virtual float lost() const { return 0; }
  // Whether there is a ratio to correct by.
  bool corrected() const { return factoring_.factored == Factored::kShort || factoring_.factored == Factored::kLong; }
  const Frame& frame() const { return origin_.frame; }
  // Bytes of the code, which lies behind the factors.
  uint32_t codeBytes() const { return bytes_ - factorBytes(factoring_.factored); }
  // What decoding begins with: as expand(), but of what comes some of the frame's rounds may be taken back already;
  // `rounds` are left. `square` is |L|^2, where corrected().
  virtual bool begin(const uint8_t* code, float unit, CodecRoom& room, float* out, uint32_t* rounds,
                     float* square) const;

 private:
  // Writes the code of z, all of codeBytes().
  virtual void code(const float* z, CodecRoom& room, uint8_t* code) const = 0;
  // L, times `unit`, from a code: dimensions() values, and behind them at most what rounds up to kExpandRoom more of
  // any content. False where the code is none.
  virtual bool expand(const uint8_t* code, float unit, CodecRoom& room, float* out) const = 0;

  // Reads the factors: u, p and |r|. All 0 where |r| is.
  struct Read {
    float unit, ratio, length;
  };
  Read read(const uint8_t* record) const;
  float finished(float estimate) const;
  float unitOf(float length) const { return rotated_ ? length * perValue_ : 1.0f; }
  float ratioOf(const float* z, const uint8_t* code, CodecRoom& room) const;

  const Origin& origin_;
  bool rotated_;
  Factoring factoring_;
  uint32_t bytes_;
  float perValue_;  // 1 / sqrt(d)
};

// Values that expand() may write past the dimensions.
constexpr uint32_t kExpandRoom = 16;

// Room for n values at a cache line's start, which rotations like (a half faster). Grows only: it serves codecs of any
// size.
float* roomFor(std::vector<float>& values, size_t n);

}  // namespace hebb
