// Entropy coding of small symbols: residuals of a product quantizer in as many bits as they are worth.
//
// One static table a codebook, from counts of a training sample, for one of three coders: table ANS (Duda 2013;
// states and spread as in Collet's FSE), canonical Huffman (lengths by package-merge, Larmore & Hirschberg 1990),
// and fixed width. Codes are a string of bits, written from its end: the decoder reads backward from a marker bit,
// so that a record of fixed size needs no length. model/entropy.ts is the reference in TypeScript.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace hebb {

enum class EntropyCoder : uint8_t;  // codebook.hpp

constexpr uint32_t kMaxAlphabet = 256;
// ANS: frequencies add up to 2^12. Huffman: no code is longer than 12 bits.
constexpr uint32_t kEntropyBits = 12;
// What EntropyTable::encode says where the code needs more than the capacity.
constexpr size_t kDoesNotFit = SIZE_MAX;

// Immutable, and safe to share between threads. About 30 KB.
class EntropyTable {
 public:
  // Bytes of a serialized table, a multiple of 4; `alphabet` 1-256. At most kMaxBytes.
  static size_t bytes(EntropyCoder coder, uint32_t alphabet);
  static constexpr size_t kMaxBytes = 4 + 2 * kMaxAlphabet;

  // Writes the table that suits counts[0, alphabet) into bytes(coder, alphabet) at `out`. Every symbol below the
  // alphabet, 1-256, can be encoded afterwards, seen or not. The same bytes on every system.
  static void fit(EntropyCoder coder, const uint32_t* counts, uint32_t alphabet, uint8_t* out);

  // Reads what fit() wrote; what lies behind it is ignored. Nothing where the bytes are no table.
  static std::optional<EntropyTable> read(const uint8_t* bytes, size_t size);

  EntropyCoder coder() const { return coder_; }
  uint32_t alphabet() const { return alphabet_; }

  // Bits that encode() needs for these symbols, each below the alphabet: exact for Huffman and fixed width; for ANS an
  // estimate, so that encode() has the last word. A fifth of encode()'s time.
  uint64_t bits(const uint8_t* symbols, size_t n) const;

  // Encodes n symbols, each below the alphabet, into at most `capacity` bytes: how many, or kDoesNotFit, where what
  // has been written is of no use. The rest up to `capacity` is zeroed. ANS needs about 2 bytes beyond the symbols'
  // cost for n < 256, 3 below 512 and 5 from there on; Huffman 1.
  size_t encode(const uint8_t* symbols, size_t n, uint8_t* out, size_t capacity) const;

  // Decodes n symbols from what encode() gave, with or without the zeros behind it. False where these bytes are not
  // what encode() gives for any n symbols; `symbols` holds anything then. Reads and writes nothing past either end.
  bool decode(const uint8_t* bytes, size_t size, size_t n, uint8_t* symbols) const;

 private:
  // How to encode a symbol. ANS, from a state x in [2^12, 2^13): it sheds (x + shift) >> 16 bits, and the next state
  // is states_[what is left of x + first]; a lane's last symbol needs none and begins at `start`. Otherwise `start` is
  // its code, of `shift` bits.
  struct Step {
    uint32_t shift;
    int16_t first;
    uint16_t start;
  };

  EntropyTable() = default;
  bool readAns(const uint8_t* frequencies);
  bool readHuffman(const uint8_t* lengths);
  template <uint32_t kLanes>
  size_t encodeAns(const uint8_t* symbols, size_t n, uint8_t* out, size_t capacity) const;
  size_t encodeCodes(const uint8_t* symbols, size_t n, uint8_t* out, size_t capacity) const;
  template <uint32_t kLanes>
  bool decodeAns(const uint8_t* bytes, size_t size, size_t n, uint8_t* symbols) const;
  bool decodeHuffman(const uint8_t* bytes, size_t size, size_t n, uint8_t* symbols) const;
  bool decodeFixed(const uint8_t* bytes, size_t size, size_t n, uint8_t* symbols) const;

  EntropyCoder coder_{};
  uint32_t alphabet_ = 0;
  uint32_t width_ = 0;            // of a symbol without entropy coding
  std::vector<uint32_t> costs_;   // bits of a symbol, times 2^16
  std::vector<Step> steps_;       // by symbol
  std::vector<uint16_t> states_;  // ANS: the next state
  std::vector<uint32_t> slots_;   // what 12 bits decode to: count of bits, symbol << 8, next state << 16 (ANS);
                                  // three symbols, how many << 24, count of bits << 28 (Huffman)
};

}  // namespace hebb
