// Tier archive by RaBitQ: the signs of the rotated residual.
#include <cstring>

#include "codecs.hpp"

namespace hebb {
namespace {

class SignsCodec final : public ResidualCodec {
 public:
  SignsCodec(const Origin& origin, const Part& part) : ResidualCodec(origin, true, part.factoring, part.recordBytes) {
    for (uint32_t byte = 0; byte < 256; byte++) {
      for (uint32_t bit = 0; bit < 8; bit++) values_[byte][bit] = byte >> bit & 1 ? 1.0f : -1.0f;
    }
  }

  const char* name() const override { return "signs"; }

 private:
  void code(const float* z, CodecRoom&, uint8_t* code) const override {
    std::memset(code, 0, codeBytes());
    for (uint32_t i = 0; i < dimensions(); i++) code[i / 8] |= static_cast<uint8_t>((z[i] > 0) << (i % 8));
  }

  bool expand(const uint8_t* code, float, CodecRoom&, float* out) const override {
    for (uint32_t i = 0; i < dimensions(); i += 8) std::memcpy(out + i, values_[code[i / 8]], sizeof values_[0]);
    return true;
  }

  bool begin(const uint8_t* code, float unit, CodecRoom& room, float* out, uint32_t* rounds,
             float* square) const override {
    int16_t* const sums = reinterpret_cast<int16_t*>(roomFor(room.other, dimensions()));
    if (!frame().restoreSigns(code, sums, out)) return ResidualCodec::begin(code, unit, room, out, rounds, square);
    *rounds = Frame::kRounds - 1;
    *square = static_cast<float>(dimensions());
    return true;
  }

  float values_[256][8];
};

}  // namespace

std::unique_ptr<ResidualCodec> openSigns(const Origin& origin, const Part& part) {
  const Factored factored = part.factoring.factored;
  if ((factored != Factored::kShort && factored != Factored::kLong) ||
      part.recordBytes < (origin.dimensions + 7) / 8 + factorBytes(factored))
    return nullptr;
  return std::make_unique<SignsCodec>(origin, part);
}

}  // namespace hebb
