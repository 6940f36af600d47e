#include "entropy.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "codebook.hpp"

namespace hebb {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kSlots = 1u << kEntropyBits;
constexpr size_t kHeader = 4;
// Symbols whose bits, 12 at most each, fit into a word beside what is left of a byte.
constexpr size_t kPerWord = 4;

// The more states are decoded in turns, the less each waits for the one before, and the more bytes they take.
uint32_t lanesFor(size_t n) {
  return n < 256 ? 1 : n < 512 ? 2 : 4;
}

bool allZero(const uint8_t* bytes, size_t size) {
  return std::all_of(bytes, bytes + size, [](uint8_t b) { return b == 0; });
}

// Bits into bytes, the lowest first.
class Writer {
 public:
  Writer(uint8_t* out, size_t capacity) : begin_(out), at_(out), end_(out + capacity) {}

  // The lowest `count` bits of a value that has no others: at most 56 bits between flushes.
  void put(uint64_t value, uint32_t count) {
    held_ |= value << filled_;
    filled_ += count;
  }
  // False where there is no room.
  bool flush() {
    const size_t bytes = filled_ >> 3;
    if (end_ - at_ >= 8) {
      std::memcpy(at_, &held_, 8);
    } else {
      if (bytes > static_cast<size_t>(end_ - at_)) return false;
      for (size_t i = 0; i < bytes; i++) at_[i] = static_cast<uint8_t>(held_ >> (8 * i));
    }
    at_ += bytes;
    held_ >>= 8 * bytes;
    filled_ &= 7;
    return true;
  }
  // Pads with zeros; the bytes used, or kDoesNotFit.
  size_t finish() {
    filled_ += 7;
    if (!flush()) return kDoesNotFit;
    std::fill(at_, end_, 0);
    return static_cast<size_t>(at_ - begin_);
  }

 private:
  uint8_t *begin_, *at_, *end_;
  uint64_t held_ = 0;
  uint32_t filled_ = 0;
};

// Bits from bytes, the last written first.
class Reader {
 public:
  uint64_t left = 0;  // bits

  Reader(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {
    if (size > 0) std::memcpy(&head_, bytes, std::min<size_t>(size, 8));
  }
  // Begins below the marker, the highest bit that is set; false where there is none.
  bool findMarker() {
    size_t end = size_;
    while (end > 0 && bytes_[end - 1] == 0) end--;
    if (end == 0) return false;
    left = 8 * static_cast<uint64_t>(end) - 1 - static_cast<uint32_t>(std::countl_zero(bytes_[end - 1]));
    return true;
  }
  // The next bits at the top of a word: 57 of them, or all that are left, with zeros below. `left` is within `bytes`.
  uint64_t window() const { return left >= 64 ? windowAt(left) : left == 0 ? 0 : head_ << (64 - left); }
  // The same where `at` bits, at least 64, are left.
  uint64_t windowAt(uint64_t at) const {
    uint64_t word;
    std::memcpy(&word, bytes_ + ((at + 7) >> 3) - 8, 8);
    return word << (-at & 7);
  }
  // The next `count` bits, 1-57; false where there are fewer.
  bool take(uint32_t count, uint64_t* value) {
    if (left < count) return false;
    *value = window() >> (64 - count);
    left -= count;
    return true;
  }

 private:
  const uint8_t* bytes_;
  size_t size_;
  uint64_t head_ = 0;
};

// The highest `count` bits, 0-63, of a word.
uint32_t top(uint64_t word, uint32_t count) {
  return static_cast<uint32_t>((word >> 1) >> (~count & 63));
}

// Frequencies of at least 1 that add up to kSlots, by Webster's method: the next slot goes to, or comes from, the
// symbol to which its share of the counts entitles it most, or least.
void normalize(const uint32_t* counts, uint32_t alphabet, uint32_t* frequencies) {
  uint64_t total = 0;
  for (uint32_t s = 0; s < alphabet; s++) total += counts[s];
  const auto countOf = [&](uint32_t s) -> uint64_t { return total > 0 ? counts[s] : 1; };
  const uint64_t all = total > 0 ? total : alphabet;
  uint32_t sum = 0;
  for (uint32_t s = 0; s < alphabet; s++) {
    frequencies[s] = std::max<uint32_t>(1, static_cast<uint32_t>(countOf(s) * kSlots / all));
    sum += frequencies[s];
  }
  for (; sum < kSlots; sum++) {
    uint32_t best = 0;
    for (uint32_t s = 1; s < alphabet; s++) {
      if (countOf(s) * (2 * frequencies[best] + 1) > countOf(best) * (2 * frequencies[s] + 1)) best = s;
    }
    frequencies[best]++;
  }
  for (; sum > kSlots; sum--) {
    uint32_t best = alphabet;
    for (uint32_t s = 0; s < alphabet; s++) {
      if (frequencies[s] == 1) continue;
      if (best == alphabet || countOf(s) * (2 * frequencies[best] - 1) < countOf(best) * (2 * frequencies[s] - 1)) {
        best = s;
      }
    }
    frequencies[best]--;
  }
}

// Lengths of 1 to kEntropyBits bits that make the shortest complete code; at least two symbols.
void packageMerge(const uint32_t* counts, uint32_t alphabet, uint8_t* lengths) {
  const auto weightOf = [&](uint32_t s) -> uint64_t { return std::max<uint32_t>(1, counts[s]); };
  std::vector<uint32_t> order(alphabet);
  for (uint32_t s = 0; s < alphabet; s++) order[s] = s;
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return weightOf(a) < weightOf(b); });

  // The lists of the method, by level: symbols, and pairs of the list before, by weight.
  std::vector<uint64_t> weights, pairs;
  std::vector<std::vector<bool>> isSymbol(kEntropyBits);
  for (std::vector<bool>& list : isSymbol) {
    pairs.clear();
    for (size_t i = 0; i + 1 < weights.size(); i += 2) pairs.push_back(weights[i] + weights[i + 1]);
    weights.clear();
    size_t symbol = 0, pair = 0;
    while (symbol < alphabet || pair < pairs.size()) {
      const bool takeSymbol = pair == pairs.size() || (symbol < alphabet && weightOf(order[symbol]) <= pairs[pair]);
      weights.push_back(takeSymbol ? weightOf(order[symbol++]) : pairs[pair++]);
      list.push_back(takeSymbol);
    }
  }
  std::fill_n(lengths, alphabet, 0);
  size_t taken = 2 * size_t{alphabet} - 2;
  for (uint32_t level = kEntropyBits; level-- > 0;) {
    size_t ofSymbols = 0;
    for (size_t i = 0; i < taken; i++) ofSymbols += isSymbol[level][i];
    for (size_t i = 0; i < ofSymbols; i++) lengths[order[i]]++;
    taken = 2 * (taken - ofSymbols);
  }
}

}  // namespace

size_t EntropyTable::bytes(EntropyCoder coder, uint32_t alphabet) {
  const size_t body = coder == EntropyCoder::kAns ? 2 * alphabet : coder == EntropyCoder::kHuffman ? alphabet : 0;
  return kHeader + (body + 3) / 4 * 4;
}

void EntropyTable::fit(EntropyCoder coder, const uint32_t* counts, uint32_t alphabet, uint8_t* out) {
  std::memset(out, 0, bytes(coder, alphabet));
  out[0] = static_cast<uint8_t>(coder);
  out[1] = static_cast<uint8_t>(alphabet - 1);
  if (alphabet == 1) return;
  if (coder == EntropyCoder::kAns) {
    uint32_t frequencies[kMaxAlphabet];
    normalize(counts, alphabet, frequencies);
    for (uint32_t s = 0; s < alphabet; s++) {
      const uint16_t f = static_cast<uint16_t>(frequencies[s]);
      std::memcpy(out + kHeader + 2 * s, &f, 2);
    }
  } else if (coder == EntropyCoder::kHuffman) {
    packageMerge(counts, alphabet, out + kHeader);
  }
}

std::optional<EntropyTable> EntropyTable::read(const uint8_t* bytes, size_t size) {
  if (size < kHeader || bytes[0] > static_cast<uint8_t>(EntropyCoder::kAns) || bytes[2] != 0 || bytes[3] != 0) {
    return std::nullopt;
  }
  EntropyTable table;
  table.coder_ = static_cast<EntropyCoder>(bytes[0]);
  table.alphabet_ = bytes[1] + 1u;
  const size_t expected = EntropyTable::bytes(table.coder_, table.alphabet_);
  if (size < expected) return std::nullopt;
  const uint8_t* body = bytes + kHeader;
  const size_t used = table.alphabet_ == 1                     ? 0
                      : table.coder_ == EntropyCoder::kAns     ? 2 * table.alphabet_
                      : table.coder_ == EntropyCoder::kHuffman ? table.alphabet_
                                                               : 0;
  if (!allZero(body + used, expected - kHeader - used)) return std::nullopt;

  table.costs_.assign(table.alphabet_, 0);
  table.steps_.assign(table.alphabet_, Step{});
  if (table.alphabet_ == 1) return table;
  if (table.coder_ == EntropyCoder::kAns) {
    if (!table.readAns(body)) return std::nullopt;
  } else if (table.coder_ == EntropyCoder::kHuffman) {
    if (!table.readHuffman(body)) return std::nullopt;
  } else {
    table.width_ = static_cast<uint32_t>(std::bit_width(table.alphabet_ - 1));
    for (uint32_t s = 0; s < table.alphabet_; s++) {
      table.costs_[s] = table.width_ << 16;
      table.steps_[s] = {table.width_, 0, static_cast<uint16_t>(s)};
    }
  }
  return table;
}

bool EntropyTable::readAns(const uint8_t* frequencies) {
  uint16_t f[kMaxAlphabet];
  std::memcpy(f, frequencies, 2 * alphabet_);
  uint32_t sum = 0;
  for (uint32_t s = 0; s < alphabet_; s++) {
    if (f[s] == 0) return false;
    sum += f[s];
  }
  if (sum != kSlots) return false;

  // Slots of a symbol are spread over the states: a step that is coprime with their number.
  constexpr uint32_t kStride = kSlots / 2 + kSlots / 8 + 3;
  std::vector<uint8_t> symbolAt(kSlots);
  for (uint32_t s = 0, at = 0; s < alphabet_; s++) {
    for (uint32_t i = 0; i < f[s]; i++, at = (at + kStride) % kSlots) symbolAt[at] = static_cast<uint8_t>(s);
  }
  uint32_t below[kMaxAlphabet], next[kMaxAlphabet];
  for (uint32_t s = 0, total = 0; s < alphabet_; total += f[s++]) {
    below[s] = total;
    next[s] = f[s];
  }
  states_.resize(kSlots);
  slots_.resize(kSlots);
  for (uint32_t at = 0; at < kSlots; at++) {
    const uint32_t s = symbolAt[at], x = next[s]++;
    const uint32_t count = kEntropyBits + 1 - static_cast<uint32_t>(std::bit_width(x));
    states_[below[s] + x - f[s]] = static_cast<uint16_t>(kSlots + at);
    slots_[at] = count | s << 8 | ((x << count) - kSlots) << 16;
  }
  for (uint32_t s = 0; s < alphabet_; s++) {
    const uint32_t most = kEntropyBits - static_cast<uint32_t>(std::bit_width(f[s] - 1u)) + (f[s] > 1 ? 1 : 0);
    steps_[s] = {(most << 16) - (uint32_t{f[s]} << most), static_cast<int16_t>(below[s] - f[s]), states_[below[s]]};
    costs_[s] = static_cast<uint32_t>(std::lround(65536 * (kEntropyBits - std::log2(static_cast<double>(f[s])))));
  }
  return true;
}

bool EntropyTable::readHuffman(const uint8_t* lengths) {
  uint32_t filled = 0;
  for (uint32_t s = 0; s < alphabet_; s++) {
    if (lengths[s] == 0 || lengths[s] > kEntropyBits) return false;
    filled += kSlots >> lengths[s];
  }
  if (filled != kSlots) return false;

  // Codes in the order of lengths, then of symbols, and what twelve bits begin with.
  std::vector<uint8_t> symbolAt(kSlots);
  for (uint32_t length = 1, at = 0; length <= kEntropyBits; length++) {
    for (uint32_t s = 0; s < alphabet_; s++) {
      if (lengths[s] != length) continue;
      steps_[s] = {length, 0, static_cast<uint16_t>(at >> (kEntropyBits - length))};
      costs_[s] = length << 16;
      for (const uint32_t end = at + (kSlots >> length); at < end; at++) symbolAt[at] = static_cast<uint8_t>(s);
    }
  }
  // All symbols, at most three, that are whole within twelve bits.
  slots_.resize(kSlots);
  for (uint32_t at = 0; at < kSlots; at++) {
    uint32_t symbols = 0, count = 0, used = 0;
    while (count < 3) {
      const uint32_t s = symbolAt[(at << used) & (kSlots - 1)];
      if (used + lengths[s] > kEntropyBits) break;
      symbols |= s << (8 * count++);
      used += lengths[s];
    }
    slots_[at] = symbols | count << 24 | used << 28;
  }
  return true;
}

uint64_t EntropyTable::bits(const uint8_t* symbols, size_t n) const {
  if (n == 0 || alphabet_ == 1) return 0;
  if (coder_ == EntropyCoder::kNone) return uint64_t{width_} * n;
  const bool ans = coder_ == EntropyCoder::kAns;
  const size_t lanes = ans ? lanesFor(n) : 0;  // the last symbol of a lane comes with its state
  const uint32_t* const costs = costs_.data();
  uint64_t sum = 0;
  for (size_t i = 0; i + lanes < n; i++) sum += costs[symbols[i]];
  return ((sum + 0xffff) >> 16) + kEntropyBits * lanes + 1;
}

size_t EntropyTable::encode(const uint8_t* symbols, size_t n, uint8_t* out, size_t capacity) const {
  if (n == 0 || alphabet_ == 1) {
    std::fill_n(out, capacity, 0);
    return 0;
  }
  if (coder_ != EntropyCoder::kAns) return encodeCodes(symbols, n, out, capacity);
  switch (lanesFor(n)) {
    case 1:
      return encodeAns<1>(symbols, n, out, capacity);
    case 2:
      return encodeAns<2>(symbols, n, out, capacity);
    default:
      return encodeAns<4>(symbols, n, out, capacity);
  }
}

template <uint32_t kLanes>
size_t EntropyTable::encodeAns(const uint8_t* symbols, size_t n, uint8_t* out, size_t capacity) const {
  const Step* const steps = steps_.data();
  const uint16_t* const states = states_.data();
  Writer writer(out, capacity);
  uint32_t x[kLanes];
  size_t i = n;
  for (uint32_t lane = 0; lane < kLanes; lane++) {
    i--;
    x[i % kLanes] = steps[symbols[i]].start;
  }
  const auto put = [&](size_t at, uint32_t lane) {
    const Step step = steps[symbols[at]];
    const uint32_t count = (x[lane] + step.shift) >> 16;
    writer.put(x[lane] & ((1u << count) - 1), count);
    x[lane] = states[static_cast<int32_t>(x[lane] >> count) + step.first];
  };
  for (; i % kPerWord != 0; i--) put(i - 1, (i - 1) % kLanes);
  if (!writer.flush()) return kDoesNotFit;
  for (; i > 0; i -= kPerWord) {
    for (uint32_t back = 1; back <= kPerWord; back++) put(i - back, (kPerWord - back) % kLanes);
    if (!writer.flush()) return kDoesNotFit;
  }
  for (uint32_t lane = kLanes; lane-- > 0;) writer.put(x[lane] - kSlots, kEntropyBits);
  writer.put(1, 1);
  return writer.finish();
}

size_t EntropyTable::encodeCodes(const uint8_t* symbols, size_t n, uint8_t* out, size_t capacity) const {
  const Step* const steps = steps_.data();
  Writer writer(out, capacity);
  const auto put = [&](size_t at) {
    const Step step = steps[symbols[at]];
    writer.put(step.start, step.shift);
  };
  size_t i = n;
  for (; i % kPerWord != 0; i--) put(i - 1);
  if (!writer.flush()) return kDoesNotFit;
  for (; i > 0; i -= kPerWord) {
    for (size_t back = 1; back <= kPerWord; back++) put(i - back);
    if (!writer.flush()) return kDoesNotFit;
  }
  if (coder_ == EntropyCoder::kHuffman) writer.put(1, 1);
  return writer.finish();
}

bool EntropyTable::decode(const uint8_t* bytes, size_t size, size_t n, uint8_t* symbols) const {
  if (n == 0 || alphabet_ == 1) {
    std::fill_n(symbols, n, 0);
    return allZero(bytes, size);
  }
  if (coder_ == EntropyCoder::kNone) return decodeFixed(bytes, size, n, symbols);
  if (coder_ == EntropyCoder::kHuffman) return decodeHuffman(bytes, size, n, symbols);
  switch (lanesFor(n)) {
    case 1:
      return decodeAns<1>(bytes, size, n, symbols);
    case 2:
      return decodeAns<2>(bytes, size, n, symbols);
    default:
      return decodeAns<4>(bytes, size, n, symbols);
  }
}

template <uint32_t kLanes>
bool EntropyTable::decodeAns(const uint8_t* bytes, size_t size, size_t n, uint8_t* symbols) const {
  Reader reader(bytes, size);
  if (!reader.findMarker()) return false;
  uint64_t x[kLanes];
  for (uint32_t lane = 0; lane < kLanes; lane++) {
    if (!reader.take(kEntropyBits, &x[lane])) return false;
  }
  // States stay below kSlots, whatever the bits are: see readAns.
  const uint32_t* const slots = slots_.data();
  uint64_t left = reader.left;
  size_t i = 0;
  const size_t fast = n < kPerWord + kLanes ? 0 : n - kPerWord - kLanes + 1;
  while (i < fast && left >= 64) {
    uint64_t window = reader.windowAt(left);
    uint32_t used = 0;
    for (uint32_t k = 0; k < kPerWord; k++) {
      const uint32_t slot = slots[x[k % kLanes]];
      symbols[i + k] = static_cast<uint8_t>(slot >> 8);
      x[k % kLanes] = (slot >> 16) + ((window >> 1) >> (~slot & 63));
      window <<= slot & 63;
      used += slot;  // its lowest six bits are the count, and four counts have no more
    }
    left -= used & 63;
    i += kPerWord;
  }
  reader.left = left;
  for (; i + kLanes < n; i++) {
    const uint32_t slot = slots[x[i % kLanes]], count = slot & 63;
    if (count > reader.left) return false;
    symbols[i] = static_cast<uint8_t>(slot >> 8);
    x[i % kLanes] = (slot >> 16) + top(reader.window(), count);
    reader.left -= count;
  }
  bool whole = reader.left == 0;
  for (; i < n; i++) {
    symbols[i] = static_cast<uint8_t>(slots[x[i % kLanes]] >> 8);
    whole &= x[i % kLanes] + kSlots == steps_[symbols[i]].start;
  }
  return whole;
}

bool EntropyTable::decodeHuffman(const uint8_t* bytes, size_t size, size_t n, uint8_t* symbols) const {
  Reader reader(bytes, size);
  if (!reader.findMarker()) return false;
  const uint32_t* const slots = slots_.data();
  size_t i = 0;
  // Four bytes are stored whatever a slot holds, which is three symbols at most.
  while (i + 3 * kPerWord + 1 <= n && reader.left >= 64) {
    uint64_t window = reader.windowAt(reader.left);
    uint32_t used = 0;
    for (uint32_t k = 0; k < kPerWord; k++) {
      const uint32_t slot = slots[window >> (64 - kEntropyBits)], count = slot >> 28;
      std::memcpy(symbols + i, &slot, 4);
      i += slot >> 24 & 15;
      window <<= count;
      used += count;
    }
    reader.left -= used;
  }
  for (; i < n; i++) {
    symbols[i] = static_cast<uint8_t>(slots[reader.window() >> (64 - kEntropyBits)]);
    const uint32_t count = steps_[symbols[i]].shift;
    if (count > reader.left) return false;
    reader.left -= count;
  }
  return reader.left == 0;
}

bool EntropyTable::decodeFixed(const uint8_t* bytes, size_t size, size_t n, uint8_t* symbols) const {
  if (n > 8 * size / width_) return false;
  Reader reader(bytes, size);
  reader.left = uint64_t{width_} * n;
  const size_t end = static_cast<size_t>((reader.left + 7) / 8);
  if (!allZero(bytes + end, size - end) || (reader.left % 8 != 0 && bytes[end - 1] >> reader.left % 8 != 0)) {
    return false;
  }
  uint32_t most = 0;
  for (size_t i = 0; i < n; i++) {
    const uint32_t symbol = static_cast<uint32_t>(reader.window() >> (64 - width_));
    symbols[i] = static_cast<uint8_t>(symbol);
    most = std::max(most, symbol);
    reader.left -= width_;
  }
  return most < alphabet_;
}

}  // namespace hebb
