// Codecs of the tiers: how a vector is kept in fewer bytes than its floats.
//
// A codec turns a vector, as the metric compares it (unit length under cosine), into a record of a fixed
// number of bytes and back, and estimates its distance from a query by the record alone. All but `half` work
// on the residual from the data's mean, in one of two frames: rotated and divided by its own length, which
// makes all values alike whatever the data (as RaBitQ does), or plain, by dimension, which keeps what the
// dimensions have in common (as product quantization does). Which one a tier uses is measured when its
// codebook is trained (codebook.hpp).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "rabitq.hpp"

namespace hebb {

enum class Tier : uint8_t { kHot = 0, kWarm = 1, kCool = 2, kCold = 3, kArchive = 4 };
constexpr uint32_t kTiers = 5;

// A query, prepared for one codec.
struct TierQuery {
  std::vector<float> values;  // in the codec's frame: q - mean, under dot q
  float square = 0;           // |values|^2
  float base = 0;             // <q, mean>, under dot
  bool prepared = false;
};

// Memory that encoding and decoding need; one a thread, for any codec.
struct CodecRoom {
  std::vector<float> values, other;
  std::vector<uint8_t> symbols;
};

// Immutable once made, and safe to share between threads.
class Codec {
 public:
  virtual ~Codec() = default;
  // Writes a record (recordBytes() of them, no alignment asked for) of `x`, `dimensions` finite values.
  virtual void encode(const float* x, CodecRoom& room, uint8_t* record) const = 0;
  // The vector nearest to what was encoded that the record can tell, all of it finite. False where the bytes are no
  // record of this codec; never reads or writes past anything, whatever they are.
  virtual bool decode(const uint8_t* record, CodecRoom& room, float* x) const = 0;
  // `q`: a query as the metric compares it.
  virtual void prepare(const float* q, TierQuery* out) const = 0;
  // Distance by the metric that the codec was made for (squared L2, minus the dot product, 1 - cosine). It is an
  // estimate, and where it corrects for what was lost, it can be below what a distance can be. A record that is none
  // is infinitely far.
  virtual float distance(const TierQuery& query, CodecRoom& room, const uint8_t* record) const = 0;
  // Whether reading a record takes so long that its values, once unpacked, are worth keeping. If so, `distance` is
  // `unpack` and then `distanceOf`, which needs only what was unpacked: `dimensions` values.
  virtual bool slow() const { return false; }
  virtual bool unpack(const uint8_t*, CodecRoom&, float*) const { return false; }
  virtual float distanceOf(const TierQuery&, const float*) const { return 0; }
  // For stats and tests: "half", "ecsq", "product" (pairs too), "scalar", "levels", "signs".
  virtual const char* name() const = 0;
};

// Bytes of a record in a tier: fixed by the dimensions, whatever codec the training chooses.
// warm 2 d; cool d (4x); cold 4 d / 7.6, but at least what 4 bits a value and the shortest factors take;
// archive 4 d / 26, but at least a bit a value and its factors. A colder tier never takes more than a warmer one.
uint32_t recordBytes(Tier tier, uint32_t dimensions);

}  // namespace hebb
