// Codebooks and records that hold anything: opened, and decoded, compared and encoded by whatever opens. And tables of
// entropy coders alone.
#include <cmath>
#include <cstdlib>
#include <memory>

#include "../kernel/testing.hpp"
#include "input.hpp"
#include "kernel.hpp"
#include "quantize/codecs.hpp"
#include "quantize/entropy.hpp"

namespace hebb::fuzz {
namespace {

using test::check;
using test::Random;

// Of a codebook, as docs/format.md has it.
constexpr uint32_t kBytesAt = 12, kCrcAt = 16, kCheckedFrom = 20, kPartsAt = 40, kMeanAt = 64;

constexpr uint32_t kDimensions[] = {5, 16, 67, 256};
constexpr Tier kLower[] = {Tier::kCool, Tier::kCold, Tier::kArchive};

// A codebook of which each tier below warm has one codec of those that it may have.
struct Book {
  uint32_t dimensions;
  Metric metric;
  std::vector<uint64_t> words;  // for their alignment
  std::vector<float> vectors;
  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(words.data()); }
  size_t size() const { return Codebook::bytes(dimensions); }
};

void put(uint8_t* at, uint32_t value) {
  std::memcpy(at, &value, sizeof value);
}
uint32_t get(const uint8_t* at) {
  uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void seal(Book& b) {
  const uint32_t bytes = get(b.bytes() + kBytesAt);
  if (bytes < kCheckedFrom || bytes > b.size()) return;
  put(b.bytes() + kCrcAt, kernel->crc32c(b.bytes() + kCheckedFrom, bytes - kCheckedFrom, 0));
}

// Every kind of codec of a tier, from what training gives.
std::vector<Trained> kindsOf(const Origin& origin, const Sample& sample, Tier tier) {
  const uint32_t d = origin.dimensions, bytes = recordBytes(tier, d);
  std::vector<Trained> out;
  const auto add = [&](std::optional<Trained>&& one) {
    if (one) out.push_back(std::move(*one));
  };
  if (tier == Tier::kCool) {
    add(trainScalar(origin, sample, 8, Factored::kNone));
    if (pairsFit(d, bytes)) add(trainPairs(origin, sample, bytes));
    add(trainEcsq(origin, sample, bytes, Factored::kLength));
  } else if (tier == Tier::kCold) {
    add(trainScalar(origin, sample, 4, Factored::kShort));
    add(trainLevels(origin, sample, bytes, Factored::kShort));
    add(trainEcsq(origin, sample, bytes, Factored::kShort));
  } else {
    const Factored factored = bytes >= (d + 7) / 8 + 4 ? Factored::kLong : Factored::kShort;
    add(Trained{Kind::kSigns, factored, 0, 0, {}});
    if (bytes > 4) add(trainProduct(origin, sample, std::min(d, bytes - 4), Factored::kLong));
    add(trainProduct(origin, sample, std::min(d, bytes), Factored::kNone));
  }
  return out;
}

// `which` of the kinds of each tier.
Book bookOf(uint32_t d, Metric metric, EntropyCoder coder, uint32_t which) {
  Random random(d);
  Book b{d, metric, {}, random.gauss(uint64_t{d} * 300)};
  const CodebookOptions options{d, metric, 5, 0, 16, 16, 3.0f, coder, 8, 2};
  std::vector<const float*> sample;
  for (uint32_t i = 0; i < 300; i++) sample.push_back(b.vectors.data() + uint64_t{i} * d);
  const std::vector<float> scales(300, 1.0f);
  const CodebookEach alone = [](uint32_t count, const std::function<void(uint32_t)>& fn) {
    for (uint32_t i = 0; i < count; i++) fn(i);
  };
  b.words.assign(b.size() / 8, 0);
  check(Codebook::train(options, sample, scales, alone, b.bytes()), "trained");
  Sample all(options, sample, scales, alone);
  all.shuffle();
  const float* mean = reinterpret_cast<const float*>(b.bytes() + kMeanAt);
  float scale;
  std::memcpy(&scale, b.bytes() + 28, sizeof scale);
  const Origin origin(d, metric, options.seed, scale, mean);
  uint32_t at = (kMeanAt + 4 * d + 7) / 8 * 8;
  for (const Tier tier : kLower) {
    // Factors as the training found them: those of the tier's part, or of another that has some.
    PartHead head;
    const uint32_t from = get(b.bytes() + kPartsAt + 4 * static_cast<uint32_t>(tier));
    std::memcpy(&head, b.bytes() + from, sizeof head);
    const std::vector<Trained> kinds = kindsOf(origin, all, tier);
    const Trained& one = kinds[which % kinds.size()];
    const Magnitude lengths(0.25f, 64.0f, lengthBits(one.factored)), ratios(0.5f, 8.0f, ratioBits(one.factored));
    const uint32_t bytes = static_cast<uint32_t>((sizeof head + one.body.size() + 7) / 8 * 8);
    head = {static_cast<uint32_t>(one.kind),
            bytes,
            static_cast<uint32_t>(one.factored),
            lengths.base(),
            lengths.step(),
            ratios.base(),
            ratios.step(),
            one.count,
            one.parts,
            0};
    check(at + bytes <= b.size(), "the parts fit");
    put(b.bytes() + kPartsAt + 4 * static_cast<uint32_t>(tier), at);
    std::memset(b.bytes() + at, 0, bytes);
    std::memcpy(b.bytes() + at, &head, sizeof head);
    if (!one.body.empty()) std::memcpy(b.bytes() + at + sizeof head, one.body.data(), one.body.size());
    at += bytes;
  }
  put(b.bytes() + kBytesAt, at);
  seal(b);
  const char* error = nullptr;
  check(Codebook::open(b.bytes(), d, metric, &error) != nullptr, error ? error : "a sound codebook opens");
  return b;
}

// One of each: dimensions, kind, coder.
const Book& soundBook(uint32_t number) {
  static std::unique_ptr<Book> books[36];
  std::unique_ptr<Book>& b = books[number];
  if (!b)
    b = std::make_unique<Book>(bookOf(kDimensions[number % 4], static_cast<Metric>(number / 4 % 3),
                                      static_cast<EntropyCoder>(number / 12), number / 4 % 3));
  return *b;
}

bool finite(const std::vector<float>& x) {
  for (const float value : x) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

// Everything that a codec can be asked, of memory of exactly the size that is promised.
void use(const Codec& codec, Tier tier, const Book& b, Input& in) {
  const uint32_t d = b.dimensions, bytes = recordBytes(tier, d);
  CodecRoom room;
  const auto record = std::make_unique<uint8_t[]>(bytes);
  const float* x = b.vectors.data() + uint64_t{in.u8() % 200u} * d;
  TierQuery query;
  codec.prepare(x, &query);
  codec.encode(x, room, record.get());
  std::vector<float> out(d);
  const auto read = [&] {
    if (codec.decode(record.get(), room, out.data())) check(finite(out), "what is decoded is finite");
    const float distance = codec.distance(query, room, record.get());
    check(distance == distance, "a distance is a number");
    if (codec.slow() && codec.unpack(record.get(), room, out.data())) codec.distanceOf(query, out.data());
  };
  read();
  for (uint32_t edits = in.u8() % 6; edits > 0; edits--) record[in.u16() % bytes] = in.u8();
  read();
  if (in.u8() % 4 == 0) {
    for (uint32_t i = 0; i < bytes; i++) record[i] = in.u8();
    read();
  }
}

void runCodebook(Input& in) {
  Book b = soundBook(in.below(36));
  const uint8_t how = in.u8();
  for (uint32_t edits = how & 7; edits > 0; edits--) {
    const uint8_t where = in.u8();
    // A head's field, a field of a part's head or the start of its body, or anywhere.
    uint32_t at = in.u16();
    if (where % 3 == 0) {
      at %= kMeanAt;
    } else if (where % 3 == 1) {
      const uint32_t part = get(b.bytes() + kPartsAt + 4 * static_cast<uint32_t>(kLower[where / 3 % 3]));
      at = static_cast<uint32_t>(std::min<uint64_t>(part, b.size()) + at % 128);
    }
    const uint32_t value = in.odd(b.dimensions), size = where & 128 ? 1 : 4;
    if (where & 64) at &= ~3u;
    std::memcpy(b.bytes() + std::min<uint64_t>(at, b.size() - 4), &value, size);
  }
  seal(b);
  const char* error = nullptr;
  const std::unique_ptr<Codebook> book = Codebook::open(b.bytes(), b.dimensions, b.metric, &error);
  check(book || error, "a refusal has a reason");
  if (!book) return;
  // Where the changed book is not what was trained, its mean may be far from every vector: nothing is exact any more,
  // but all stays in bounds.
  for (const Tier tier : kLower) use(book->codec(tier), tier, b, in);
}

void runHalf(Input& in) {
  const Book& b = soundBook(in.below(36));
  use(*halfCodec(b.dimensions, b.metric), Tier::kWarm, b, in);
}

void runEntropy(Input& in) {
  const size_t n = in.u16() % 1200, tableBytes = in.u16() % (EntropyTable::kMaxBytes + 1);
  std::vector<uint8_t> table(tableBytes);
  if (in.u8() & 1) {  // one that is sound but for a few bytes
    std::vector<uint32_t> counts(1 + in.u8());
    for (uint32_t& count : counts) count = in.u8();
    const EntropyCoder coder = static_cast<EntropyCoder>(in.u8() % 3);
    table.assign(EntropyTable::bytes(coder, static_cast<uint32_t>(counts.size())), 0);
    EntropyTable::fit(coder, counts.data(), static_cast<uint32_t>(counts.size()), table.data());
    for (uint32_t edits = in.u8() % 4; edits > 0; edits--) table[in.u16() % table.size()] = in.u8();
  } else {
    for (uint8_t& byte : table) byte = in.u8();
  }
  const std::optional<EntropyTable> read = EntropyTable::read(table.data(), table.size());
  if (!read) return;
  const size_t size = std::min<size_t>(in.left(), 2048);
  const auto bytes = std::make_unique<uint8_t[]>(size), symbols = std::make_unique<uint8_t[]>(n);
  if (size > 0) std::memcpy(bytes.get(), in.bytes(), size);
  if (!read->decode(bytes.get(), size, n, symbols.get())) return;
  // What decodes is what encoding gives.
  for (size_t i = 0; i < n; i++) check(symbols[i] < read->alphabet(), "symbols are in the alphabet");
  const auto again = std::make_unique<uint8_t[]>(size);
  check(read->encode(symbols.get(), n, again.get(), size) != kDoesNotFit, "what was decoded can be encoded");
  check(size == 0 || std::memcmp(again.get(), bytes.get(), size) == 0, "and gives the same bytes");
}

}  // namespace
}  // namespace hebb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace hebb::fuzz;
  static const std::vector<const hebb::Kernel*> kernels = hebb::test::kernelsHere();
  Input in(bytes, size);
  const uint8_t how = in.u8();
  hebb::kernel = kernels[how / 8 % kernels.size()];
  if (how % 8 == 0) runHalf(in);
  else if (how % 8 < 3) runEntropy(in);
  else runCodebook(in);
  return 0;
}
