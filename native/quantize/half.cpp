// Tier warm: IEEE half precision, as it comes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "codebook.hpp"
#include "kernel.hpp"

namespace hebb {
namespace {

class HalfCodec final : public Codec {
 public:
  HalfCodec(uint32_t dimensions, Metric metric) : dimensions_(dimensions), metric_(metric) {}

  void encode(const float* x, CodecRoom& room, uint8_t* record) const override {
    room.symbols.resize(2 * size_t{dimensions_});
    kernel->narrow(x, dimensions_, reinterpret_cast<uint16_t*>(room.symbols.data()));
    std::memcpy(record, room.symbols.data(), room.symbols.size());
  }

  bool decode(const uint8_t* record, CodecRoom& room, float* x) const override {
    return kernel->widen(aligned(record, room), dimensions_, x);
  }

  void prepare(const float* q, TierQuery* out) const override {
    out->values.assign(q, q + dimensions_);
    out->prepared = true;
  }

  float distance(const TierQuery& query, CodecRoom& room, const uint8_t* record) const override {
    room.values.resize(std::max<size_t>(room.values.size(), dimensions_));
    float* const x = room.values.data();
    if (!kernel->widen(aligned(record, room), dimensions_, x)) return std::numeric_limits<float>::infinity();
    const float* const q = query.values.data();
    const float found = metric_ == Metric::kL2    ? kernel->l2(q, x, dimensions_)
                        : metric_ == Metric::kDot ? -kernel->dot(q, x, dimensions_)
                                                  : 0.5f * kernel->l2(q, x, dimensions_);
    return std::isfinite(found) ? found : std::numeric_limits<float>::infinity();
  }

  const char* name() const override { return "half"; }

 private:
  // Where the record lies, or a copy of it where that is no place for 16-bit numbers.
  const uint16_t* aligned(const uint8_t* record, CodecRoom& room) const {
    if (reinterpret_cast<uintptr_t>(record) % alignof(uint16_t) == 0) return reinterpret_cast<const uint16_t*>(record);
    room.symbols.assign(record, record + 2 * size_t{dimensions_});
    return reinterpret_cast<const uint16_t*>(room.symbols.data());
  }

  uint32_t dimensions_;
  Metric metric_;
};

}  // namespace

std::unique_ptr<Codec> halfCodec(uint32_t dimensions, Metric metric) {
  return std::make_unique<HalfCodec>(dimensions, metric);
}

}  // namespace hebb
