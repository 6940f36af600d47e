// Entropy coding: what is coded comes back, in as many bits as it is worth, and damage is noticed or harmless.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "quantize/codebook.hpp"
#include "quantize/entropy.hpp"
#include "testing.hpp"

namespace hebb::test {

void testEntropy();

namespace {

constexpr EntropyCoder kCoders[] = {EntropyCoder::kNone, EntropyCoder::kHuffman, EntropyCoder::kAns};
using Bytes = std::vector<uint8_t>;

Bytes tableOf(EntropyCoder coder, const std::vector<uint32_t>& counts) {
  const uint32_t alphabet = static_cast<uint32_t>(counts.size());
  Bytes table(EntropyTable::bytes(coder, alphabet), 0xee);
  EntropyTable::fit(coder, counts.data(), alphabet, table.data());
  return table;
}

// Counts like a Gaussian's, or of symbols of which all, few or one are seen.
std::vector<uint32_t> countsOf(uint32_t alphabet, uint32_t shape, Random& random) {
  std::vector<uint32_t> counts(alphabet, 0);
  const uint32_t favourite = static_cast<uint32_t>(random() % alphabet);
  for (uint32_t s = 0; s < alphabet; s++) {
    const double z = (s - alphabet / 2.0) / (1 + alphabet / 8.0);
    if (shape == 0) counts[s] = 1000;
    if (shape == 1) counts[s] = static_cast<uint32_t>(1e6 * std::exp(-z * z / 2));
    if (shape == 2) counts[s] = random() % 4 ? 0 : static_cast<uint32_t>(random() >> (32 + random() % 32));
    if (shape == 3) counts[s] = s == favourite ? UINT32_MAX : static_cast<uint32_t>(random() % 2);
  }
  return counts;
}
constexpr uint32_t kShapes = 5;  // the last one: none was seen

// Symbols as the counts have them; each by chance where there are none.
Bytes draw(const std::vector<uint32_t>& counts, size_t n, Random& random) {
  std::vector<uint64_t> sums;
  uint64_t total = 0;
  for (uint32_t count : counts) sums.push_back(total += count);
  Bytes symbols(n);
  for (uint8_t& s : symbols) {
    s = static_cast<uint8_t>(total == 0 ? random() % counts.size()
                                        : std::upper_bound(sums.begin(), sums.end(), random() % total) - sums.begin());
  }
  return symbols;
}

// The encoding in just its bytes, so that a read past them is caught.
Bytes encoded(const EntropyTable& table, const Bytes& symbols) {
  Bytes out(2 * symbols.size() + 16, 0xee);
  const size_t size = table.encode(symbols.data(), symbols.size(), out.data(), out.size());
  if (size == kDoesNotFit) return {};
  check(std::all_of(out.begin() + static_cast<ptrdiff_t>(size), out.end(), [](uint8_t b) { return b == 0; }),
        "what an encoding leaves is zeros");
  return Bytes(out.begin(), out.begin() + static_cast<ptrdiff_t>(size));
}

bool decodes(const EntropyTable& table, const Bytes& bytes, size_t n, Bytes* symbols) {
  const Bytes exact(bytes);  // no spare capacity behind it
  symbols->assign(n, 0xee);
  symbols->shrink_to_fit();
  return table.decode(exact.data(), exact.size(), n, symbols->data());
}

// Whatever decodes is what encoding gives: no other bytes do.
void checkDamaged(const EntropyTable& table, const Bytes& damaged, size_t n, const std::string& what) {
  Bytes symbols;
  if (!decodes(table, damaged, n, &symbols)) return check(true, what);
  Bytes again = encoded(table, symbols);
  again.resize(std::max(again.size(), damaged.size()), 0);
  Bytes padded = damaged;
  padded.resize(again.size(), 0);
  check(again == padded, what + ": decodes to what would be encoded otherwise");
}

void testRoundTrip(const EntropyTable& table, const std::vector<uint32_t>& counts, size_t n, const std::string& what,
                   Random& random) {
  Bytes symbols = draw(counts, n, random), back;
  // Some that are rare, or were never seen.
  for (size_t i = 0; i < n; i += 50) symbols[random() % n] = static_cast<uint8_t>(random() % counts.size());
  const Bytes bytes = encoded(table, symbols);
  check(decodes(table, bytes, n, &back) && back == symbols, what + ": comes back");
  Bytes record = bytes;
  record.resize(bytes.size() + random() % 40, 0);
  check(decodes(table, record, n, &back) && back == symbols, what + ": comes back from a record");

  Bytes tight(bytes.size());
  check(table.encode(symbols.data(), n, tight.data(), tight.size()) == bytes.size() && tight == bytes,
        what + ": fits into what it needs");
  for (const size_t less : {size_t{1}, size_t{2}, size_t{9}, bytes.size()}) {
    if (less == 0 || less > bytes.size()) continue;
    Bytes small(bytes.size() - less);
    check(table.encode(symbols.data(), n, small.data(), small.size()) == kDoesNotFit,
          what + ": does not fit into less");
  }
  const double need = 8.0 * bytes.size(), said = static_cast<double>(table.bits(symbols.data(), n));
  if (table.coder() == EntropyCoder::kAns) {
    check(std::abs(need - said) <= 8 + 12 * 4 + 0.01 * said, what + ": about as many bits as were said");
  } else {
    check(std::ceil(said / 8) == static_cast<double>(bytes.size()), what + ": as many bits as were said");
  }

  for (int flips = 0; flips < 12; flips++) {
    Bytes damaged = flips % 2 ? record : bytes;
    for (int i = 0; i <= flips / 4 && !damaged.empty(); i++) damaged[random() % damaged.size()] ^= 1 << random() % 8;
    checkDamaged(table, damaged, n, what + ": flipped");
    if (flips < 4) checkDamaged(table, damaged, n + 1 + random() % 300, what + ": of another length");
  }
  Bytes noise(random() % (bytes.size() + 20));
  for (uint8_t& b : noise) b = static_cast<uint8_t>(random());
  checkDamaged(table, noise, n, what + ": noise");
  for (size_t size = 0; size < bytes.size(); size += bytes.size() < 150 ? 1 : 1 + random() % (bytes.size() / 50)) {
    Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    checkDamaged(table, cut, n, what + ": cut");
  }
}

void testRoundTrips() {
  Random random(seed);
  const size_t lengths[] = {0, 1, 2, 3, 5, 31, 100, 255, 256, 257, 511, 512, 513, 1024};
  for (const EntropyCoder coder : kCoders) {
    for (uint32_t round = 0; round < std::max(4u, 40 / share); round++) {
      const uint32_t edges[] = {1, 2, 3, 16, 255, 256};
      const uint32_t alphabet = round < 6 ? edges[round] : 1 + static_cast<uint32_t>(random() % 256);
      for (uint32_t shape = 0; shape < kShapes; shape++) {
        const std::vector<uint32_t> counts = countsOf(alphabet, shape, random);
        const Bytes serialized = tableOf(coder, counts);
        const std::optional<EntropyTable> table = EntropyTable::read(serialized.data(), serialized.size());
        const std::string name = "coder " + std::to_string(static_cast<int>(coder)) + ", alphabet " +
                                 std::to_string(alphabet) + ", shape " + std::to_string(shape);
        check(table.has_value(), name + ": a table that was fitted is read");
        if (!table) continue;
        const size_t n = round < std::size(lengths) ? lengths[round] : random() % (round % 8 ? 1500 : 8193);
        for (const size_t length : {n, lengths[random() % std::size(lengths)]}) {
          testRoundTrip(*table, counts, length, name + ", n " + std::to_string(length), random);
        }
      }
    }
  }
}

// Bytes for symbols that come as the table has them, against their entropy.
void testSize() {
  Random random(seed + 1);
  for (const uint32_t alphabet : {2u, 24u, 64u, 256u}) {
    for (const uint32_t shape : {0u, 1u}) {
      const std::vector<uint32_t> counts = countsOf(alphabet, shape, random);
      double total = 0;
      for (const uint32_t count : counts) total += count;
      for (const EntropyCoder coder : {EntropyCoder::kAns, EntropyCoder::kHuffman}) {
        const Bytes serialized = tableOf(coder, counts);
        const std::optional<EntropyTable> table = EntropyTable::read(serialized.data(), serialized.size());
        for (const size_t n : {100, 400, 1024, 8192}) {
          double ideal = 0, used = 0;
          for (int i = 0; i < 20; i++) {
            const Bytes symbols = draw(counts, n, random);
            for (const uint8_t s : symbols) ideal += std::log2(total / counts[s]) / 8 / 20;
            used += encoded(*table, symbols).size() / 20.0;
          }
          const bool ans = coder == EntropyCoder::kAns;
          // A state takes 12 bits, and its first symbol none; the rest is the marker and half a byte.
          const double overhead = 1 + (ans ? 1.5 * (n < 256 ? 1 : n < 512 ? 2 : 4) : 0);
          check(used <= ideal * (ans ? 1.01 : 1.03) + overhead,
                "alphabet " + std::to_string(alphabet) + ", shape " + std::to_string(shape) + ", n " +
                    std::to_string(n) + ": " + std::to_string(used) + " bytes for " + std::to_string(ideal));
        }
      }
    }
  }
}

// Tables that were damaged are refused, or can be used without harm.
void testTables() {
  Random random(seed + 2);
  for (const EntropyCoder coder : kCoders) {
    for (uint32_t round = 0; round < std::max(20u, 400 / share); round++) {
      const std::vector<uint32_t> counts =
          countsOf(1 + static_cast<uint32_t>(random() % 256), static_cast<uint32_t>(random() % kShapes), random);
      Bytes bytes = tableOf(coder, counts);
      check(EntropyTable::bytes(coder, static_cast<uint32_t>(counts.size())) <= EntropyTable::kMaxBytes, "most bytes");
      const size_t cut = random() % bytes.size();
      check(!EntropyTable::read(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(cut)).data(), cut),
            "a table that is cut");
      for (uint32_t i = 0; i <= round % 4; i++) {
        uint8_t& b = bytes[random() % bytes.size()];
        if (random() % 2) b ^= 1 << random() % 8;
        else b = static_cast<uint8_t>(random() % 16);
      }
      if (round % 3 == 0 && bytes.size() > 7) {  // the sum stays
        bytes[4]++;
        bytes[6]--;
      }
      const std::optional<EntropyTable> table = EntropyTable::read(bytes.data(), bytes.size());
      if (!table) continue;
      const size_t n = random() % 600;
      Bytes symbols(n), back;
      for (uint8_t& s : symbols) s = static_cast<uint8_t>(random() % table->alphabet());
      check(decodes(*table, encoded(*table, symbols), n, &back) && back == symbols, "a damaged table that is one");
    }
  }
  const Bytes wrong[] = {{},
                         {2, 1, 0, 0},
                         {3, 1, 0, 0},
                         {0, 1, 1, 0},
                         {2, 1, 0, 0, 0, 16, 0, 0},      // 4096 and 0
                         {2, 1, 0, 0, 1, 16, 255, 255},  // adds up to 4096 in 16 bits
                         {2, 1, 0, 0, 0, 8, 1, 8},       // 4097
                         {2, 0, 0, 0, 0, 16, 0, 0},      // one symbol needs no frequency
                         {1, 1, 0, 0, 1, 2, 0, 0},       // incomplete
                         {1, 2, 0, 0, 1, 1, 1, 0},       // too many
                         {1, 1, 0, 0, 1, 1, 1, 0},       // not zero behind
                         {1, 1, 0, 0, 0, 13, 0, 0}};
  for (const Bytes& bytes : wrong) check(!EntropyTable::read(bytes.data(), bytes.size()), "no table");
}

// The bytes that stores hold: as test/golden/entropy.test.ts has them from the reference.
void testGolden() {
  const uint32_t expected[] = {3811318023u, 249035473u, 3257790539u};
  for (const EntropyCoder coder : kCoders) {
    uint32_t state = 1, hash = 2166136261u;
    const auto next = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
    const auto add = [&](uint8_t b) { hash = (hash ^ b) * 16777619u; };
    for (uint32_t round = 0; round < 40; round++) {
      const uint32_t alphabet = 1 + next() % 256;
      std::vector<uint32_t> counts(alphabet);
      for (uint32_t& count : counts) count = next() >> next() % 16;
      const Bytes serialized = tableOf(coder, counts);
      const std::optional<EntropyTable> table = EntropyTable::read(serialized.data(), serialized.size());
      Bytes symbols(next() % 1200);
      for (uint8_t& s : symbols) {
        s = static_cast<uint8_t>(std::min(std::min(next() % alphabet, next() % alphabet), next() % alphabet));
      }
      for (const uint8_t b : serialized) add(b);
      for (const uint8_t b : encoded(*table, symbols)) add(b);
      const uint64_t bits = table->bits(symbols.data(), symbols.size());
      add(static_cast<uint8_t>(bits));
      add(static_cast<uint8_t>(bits >> 8));
    }
    check(hash == expected[static_cast<size_t>(coder)],
          "golden bytes of coder " + std::to_string(static_cast<int>(coder)) + ": " + std::to_string(hash));
  }
}

}  // namespace

void testEntropy() {
  testRoundTrips();
  testSize();
  testTables();
  testGolden();
}

}  // namespace hebb::test
