// The tiers' codecs: their inner loops against plain ones and each other, what a record loses against theory, bytes
// that do not depend on kernels or threads, and damage.
#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <thread>

#include "quantize/codebook.hpp"
#include "quantize/frame.hpp"
#include "quantize/kmeans.hpp"
#include "quantize/magnitude.hpp"
#include "simd/tiers.hpp"
#include "testing.hpp"

namespace hebb::test {
namespace {

constexpr Tier kCodecTiers[] = {Tier::kWarm, Tier::kCool, Tier::kCold, Tier::kArchive};

std::string at(const char* what, size_t n) {
  return std::string(what) + " at " + std::to_string(n);
}

// What a half is, by its definition.
double halfValue(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const double size = exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24);
  return h & 0x8000 ? -size : size;
}

void testHalves() {
  std::vector<uint16_t> all(65536);
  for (uint32_t h = 0; h < all.size(); h++) all[h] = static_cast<uint16_t>(h);
  std::vector<float> expected(all.size());
  check(!kScalar.widen(all.data(), all.size(), expected.data()), "widen tells that not all are finite");
  bool plain = true;
  for (uint32_t h = 0; h < all.size(); h++) {
    if ((h & 0x7c00) == 0x7c00) {
      plain &= !std::isfinite(expected[h]) && std::isnan(expected[h]) == ((h & 1023) != 0);
    } else {
      plain &= expected[h] == halfValue(all[h]) && std::signbit(expected[h]) == (h >> 15);
    }
  }
  check(plain, "widen is exact");

  Random random(seed);
  std::vector<float> values;
  for (uint32_t h = 0; h < 0x7c00; h++) {  // every half, and the middle between it and the next, both signs
    const float x = static_cast<float>(halfValue(static_cast<uint16_t>(h)));
    const float middle = static_cast<float>(h == 0x7bff ? 65520.0 : (x + halfValue(static_cast<uint16_t>(h + 1))) / 2);
    for (const float v : {x, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, FLT_MAX)})
      values.insert(values.end(), {v, -v});
  }
  for (const float v : {1e-41f, 1e-30f, 65504.0f, 65536.0f, FLT_MAX}) values.insert(values.end(), {v, -v});
  for (int i = 0; i < 4096; i++) values.push_back(std::ldexp(random.gauss(), static_cast<int>(random() % 60) - 40));
  std::vector<uint16_t> narrowed(values.size());
  kScalar.narrow(values.data(), values.size(), narrowed.data());
  plain = true;
  for (size_t i = 0; i < values.size(); i++) {
    const uint16_t size = narrowed[i] & 0x7fff;
    const double x = std::min(std::fabs(double{values[i]}), 65504.0), off = std::fabs(halfValue(size) - x);
    plain &= size < 0x7c00 && (narrowed[i] >> 15) == std::signbit(values[i]);
    if (size > 0) {
      const double below = std::fabs(halfValue(static_cast<uint16_t>(size - 1)) - x);
      plain &= off < below || (off == below && size % 2 == 0);
    }
    if (size < 0x7bff) {
      const double above = std::fabs(halfValue(static_cast<uint16_t>(size + 1)) - x);
      plain &= off < above || (off == above && size % 2 == 0);
    }
  }
  check(plain, "narrow gives the nearest half, the even one of two");

  for (const Kernel* k : kernelsHere()) {
    bool same = true;
    std::vector<float> wide(all.size());
    std::vector<uint16_t> narrow(values.size());
    same &= !k->widen(all.data(), all.size(), wide.data()) && sameBits(wide, expected);
    k->narrow(values.data(), values.size(), narrow.data());
    same &= narrow == narrowed;
    for (size_t n = 0; n <= 130; n++) {
      // Exactly as much memory as is asked for, at any alignment.
      const size_t shift = n % 4;
      std::vector<uint16_t> in(n + shift), a(n + shift), b(n + shift);
      std::vector<float> x(n + shift), y(n + shift);
      for (uint16_t& h : in) h = static_cast<uint16_t>(random() % 0x7c00 | (random() & 0x8000));
      const size_t bad = n ? random() % (2 * n) : 0;
      if (bad < n) in[shift + bad] = 0x7c00;
      const bool finite = k->widen(in.data() + shift, n, x.data() + shift);
      same &= finite == kScalar.widen(in.data() + shift, n, y.data() + shift) && finite == (n == 0 || bad >= n);
      same &= sameBits(x, y);
      for (float& v : x) v = std::ldexp(random.gauss(), static_cast<int>(random() % 40) - 20);
      k->narrow(x.data() + shift, n, a.data() + shift);
      kScalar.narrow(x.data() + shift, n, b.data() + shift);
      same &= a == b;
    }
    check(same, std::string(k->name) + ": widen and narrow equal to scalar");
  }
}

void testGreatest() {
  Random random(seed);
  bool plain = true;
  for (const Kernel* k : kernelsHere()) {
    bool same = true;
    for (size_t n = 0; n <= 130; n++) {
      for (const size_t count : {16, 32, 48, 256}) {
        std::vector<float> columns = random.gauss(count * (n + 1)), x = random.gauss(n);
        if (n % 3 == 0) {  // many equals
          for (float& v : columns) v = std::round(v);
          for (float& v : x) v = std::round(v);
        }
        const uint32_t found = k->greatest(x.data(), n, columns.data(), count);
        same &= found == kScalar.greatest(x.data(), n, columns.data(), count);
        const auto valueOf = [&](size_t c) {
          const float* column = columns.data() + 16 * (n + 1) * (c / 16) + c % 16;
          double sum = column[0];
          for (size_t j = 0; j < n; j++) sum += double{x[j]} * column[16 * (j + 1)];
          return sum;
        };
        double best = -DBL_MAX;
        size_t first = 0;
        for (size_t c = 0; c < count; c++) {
          if (valueOf(c) > best) best = valueOf(first = c);
        }
        plain &= n % 3 == 0 ? found == first : found < count && valueOf(found) >= best - 1e-4;
      }
    }
    check(same, std::string(k->name) + ": greatest equal to scalar");
  }
  check(plain, "greatest finds the first of the greatest");
}

void testRestore() {
  Random random(seed);
  bool plain = true;
  for (const Kernel* k : kernelsHere()) {
    bool same = true;
    for (size_t n = 0; n <= 130; n++) {
      for (const bool huge : {false, true}) {
        std::vector<float> in = random.gauss(n), add = random.gauss(n), a(n), b(n);
        const float scale = huge ? FLT_MAX : 0.25f;
        if (huge && n > 2) in[n / 2] = NAN;
        k->restore(in.data(), 1.5f, add.data(), scale, n, a.data());
        kScalar.restore(in.data(), 1.5f, add.data(), scale, n, b.data());
        same &= sameBits(a, b);
        for (size_t i = 0; i < n; i++) {
          const float x = (in[i] * 1.5f + add[i]) * scale;
          plain &= sameBits(b[i], x > FLT_MAX ? FLT_MAX : x >= -FLT_MAX ? x : -FLT_MAX);
        }
      }
    }
    check(same, std::string(k->name) + ": restore bit-equal to scalar");
  }
  check(plain, "restore multiplies, adds, scales and cuts");
}

void testAddSteps() {
  Random random(seed);
  bool plain = true;
  for (const Kernel* k : kernelsHere()) {
    bool same = true;
    for (size_t n = 0; n <= 130; n++) {
      const std::vector<float> x = random.gauss(n);
      std::vector<float> a = x, b = x;
      std::vector<uint8_t> symbols(n);
      for (uint8_t& symbol : symbols) symbol = static_cast<uint8_t>(random());
      k->addSteps(a.data(), symbols.data(), 63, 0.1f, 3.0f, n);
      kScalar.addSteps(b.data(), symbols.data(), 63, 0.1f, 3.0f, n);
      same &= sameBits(a, b);
      for (size_t i = 0; i < n; i++) plain &= b[i] == (x[i] + static_cast<float>(symbols[i] - 63) * 0.1f) * 3.0f;
    }
    check(same, std::string(k->name) + ": addSteps bit-equal to scalar");
  }
  check(plain, "addSteps adds steps and scales");
}

// What a transform with factors gives by the kernel's own, and flips: bit for bit, as a store's vectors depend on it.
void testTransforms() {
  Random random(seed);
  bool plain = true, cut = true;
  for (const Kernel* k : kernelsHere()) {
    const TierLoops& loops = *k->tiers;
    bool same = true;
    for (size_t n = 16; n <= kMostSigns; n *= 2) {
      for (size_t shift = 0; shift < 4; shift++) {
        const float scale = shift % 2 ? 0.125f : 0.7f, times = 1.5f, unscale = shift == 3 ? FLT_MAX : 0.25f;
        std::vector<float> x = random.gauss(n + shift), factors(n + shift), add = random.gauss(n + shift);
        std::vector<uint32_t> signs(n);
        std::vector<uint8_t> code(n / 8);
        for (uint8_t& byte : code) byte = static_cast<uint8_t>(random());
        if (shift == 3) std::fill(code.begin(), code.end(), uint8_t{255});  // the widest sum
        for (size_t i = 0; i < n; i++) {
          signs[i] = random() % 2 ? 0x80000000u : 0;
          factors[shift + i] = signs[i] ? -scale : scale;
        }
        std::vector<float> expected(x.begin() + static_cast<ptrdiff_t>(shift), x.end()), of(n), restored(n);
        for (size_t i = 0; i < n; i++) of[i] = code[i / 8] >> (i % 8) & 1 ? 1.0f : -1.0f;
        for (std::vector<float>* values : {&expected, &of}) {
          kScalar.hadamard(values->data(), n, scale);
          kScalar.flip(values->data(), signs.data(), n);
        }
        kScalar.restore(expected.data(), times, add.data() + shift, unscale, n, restored.data());

        std::vector<float> a = x, out(n + shift);
        loops.hadamardTimes(a.data() + shift, n, factors.data() + shift);
        same &= std::memcmp(a.data() + shift, expected.data(), 4 * n) == 0;
        a = x;
        loops.hadamardRestore(a.data() + shift, n, factors.data() + shift, times, add.data() + shift, unscale,
                              out.data() + shift);
        same &= std::memcmp(out.data() + shift, restored.data(), 4 * n) == 0;
        for (const float value : restored) cut &= std::isfinite(value);
        std::vector<int16_t> sums(n);
        loops.hadamardSigns(code.data(), n, factors.data() + shift, sums.data(), out.data() + shift);
        plain &= std::memcmp(out.data() + shift, of.data(), 4 * n) == 0;
      }
    }
    check(same, std::string(k->name) + ": transforms with factors bit-equal to scalar");
  }
  check(plain, "a transform of signs is that of their values");
  check(cut, "what is restored is finite");
}

void testUnpacking() {
  Random random(seed);
  for (const Kernel* k : kernelsHere()) {
    const TierLoops& loops = *k->tiers;
    bool levels = true, pairs = true, parts = true;
    for (size_t n = 0; n <= 130; n++) {
      // Exactly as much memory as is asked for, at any alignment.
      const size_t shift = n % 4;
      const std::vector<float> table = random.gauss(16), centroids = random.gauss(512);
      std::vector<uint8_t> code(n + shift), halved((n + 1) / 2 + shift), symbols(n + shift);
      for (std::vector<uint8_t>* bytes : {&code, &halved, &symbols}) {
        for (uint8_t& byte : *bytes) byte = static_cast<uint8_t>(random());
      }
      std::vector<float> out(n + shift);
      loops.levels(halved.data() + shift, n, table.data(), out.data() + shift);
      for (size_t i = 0; i < n; i++)
        levels &= sameBits(out[shift + i], table[halved[shift + i / 2] >> (4 * (i % 2)) & 15]);

      const float(*const book)[2] = reinterpret_cast<const float(*)[2]>(centroids.data());
      loops.pairs(halved.data() + shift, book, symbols.data() + shift, 63, 0.1f, 3.0f, n, out.data() + shift);
      for (size_t i = 0; i < n; i++) {
        const float step = static_cast<float>(symbols[shift + i] - 63) * 0.1f;
        pairs &= sameBits(out[shift + i], (book[halved[shift + i / 2]][i % 2] + step) * 3.0f);
      }

      const uint32_t places = static_cast<uint32_t>(random() % 8), mask = static_cast<uint32_t>(random() % 256);
      loops.parts(code.data() + shift, places, mask, 7.5f, 0.1f, symbols.data() + shift, 1.6f, 3.0f, n,
                  out.data() + shift);
      for (size_t i = 0; i < n; i++) {
        const float lower = (static_cast<float>(code[shift + i] >> places & mask) - 7.5f) * 0.1f;
        parts &= sameBits(out[shift + i], (lower + static_cast<float>(symbols[shift + i]) * 1.6f) * 3.0f);
      }
    }
    const std::string name = k->name;
    check(levels, name + ": levels are looked up");
    check(pairs, name + ": pairs and their residuals are added up");
    check(parts, name + ": two parts of an index are added up");
  }
}

void testFrame() {
  Random random(seed);
  std::vector<uint32_t> sizes;
  for (uint32_t d = 1; d <= 130; d++) sizes.push_back(d);
  for (const uint32_t d : {255, 256, 784, 1000, 1023, 1024, 8191, 8192}) sizes.push_back(d);
  for (const uint32_t d : sizes) {
    const Frame frame(d, seed);
    const std::vector<float> x = random.gauss(d);
    std::vector<float> y = x;
    y.resize(frame.room());
    frame.apply(y.data());
    double before = 0, after = 0, off = 0;
    for (uint32_t i = 0; i < d; i++) before += double{x[i]} * x[i], after += double{y[i]} * y[i];
    std::vector<float> back(d), zeros(d);
    frame.restore(y.data(), Frame::kRounds, 1, zeros.data(), 1, back.data());
    for (uint32_t i = 0; i < d; i++) off += double{x[i] - back[i]} * (x[i] - back[i]);
    check(std::fabs(after - before) <= 1e-5 * before && off <= 1e-10 * before, at("a rotation and back", d));
    // One value alone is spread over all, so that none keeps much of it.
    if (d < 64) continue;
    std::fill(y.begin(), y.end(), 0.0f);
    y[random() % d] = 1;
    frame.apply(y.data());
    float widest = 0;
    for (uint32_t i = 0; i < d; i++) widest = std::max(widest, std::fabs(y[i]));
    check(widest < 0.75f, at("a rotation spreads", d));
  }
}

void testMagnitudes() {
  Random random(seed);
  bool near = true, ends = true, known = true;
  for (const uint32_t bits : {2, 6, 10, 16}) {
    for (const float least : {1e-30f, 0.01f, 3.0f}) {
      const float most = least * 1000;
      const Magnitude magnitude(least, most, bits);
      const uint32_t codes = (1u << bits) - 1;
      for (int i = 0; i < 200; i++) {
        const float x = least * std::pow(1000.0f, static_cast<float>(random() % 1000) / 1000);
        const uint32_t code = magnitude.code(x);
        // A step of a float's bits is at most twice its share of the exponent's range.
        near &= code >= 1 && code <= codes && std::fabs(magnitude.value(code) / x - 1) <= 11.0f / codes;
      }
      ends &= magnitude.code(0) == 0 && magnitude.code(-1) == 0 && magnitude.value(0) == 0 &&
              magnitude.code(least / 10) == 1 && magnitude.code(FLT_MAX) == codes;
      Magnitude again;
      known &=
          Magnitude::read(magnitude.base(), magnitude.step(), bits, &again) && again.value(1) == magnitude.value(1);
      known &= !Magnitude::read(0, 1, bits, &again) && !Magnitude::read(1, 0, bits, &again) &&
               !Magnitude::read(0x7f000000, 0x7f000000, bits, &again);
    }
  }
  check(near, "magnitudes come back within their step");
  check(ends, "magnitudes out of range get the last codes, zero its own");
  check(known, "a magnitude's range can be kept, and what is none is refused");
}

void testKmeans() {
  Random random(seed);
  constexpr uint32_t kClusters = 16, kEach = 64, kN = 3;
  std::vector<float> points;
  for (uint32_t i = 0; i < kClusters * kEach; i++) {
    const uint32_t c = i % kClusters;
    for (uint32_t j = 0; j < kN; j++)
      points.push_back(static_cast<float>(c * (j + 1) * 7 % 64) + 0.01f * random.gauss());
  }
  std::vector<float> centroids(kClusters * kN);
  kmeans(points.data(), kClusters * kEach, kN, kClusters, 20, seed, centroids.data());
  const Nearest nearest(centroids.data(), kClusters, kN);
  double off = 0;
  for (uint32_t i = 0; i < kClusters * kEach; i++) {
    const uint32_t c = nearest.of(points.data() + i * kN);
    for (uint32_t j = 0; j < kN; j++) off += std::pow(double{points[i * kN + j]} - centroids[c * kN + j], 2);
  }
  check(off <= 2 * kN * 1e-4 * kClusters * kEach, "k-means finds clusters that lie apart");
  std::vector<float> same(64, 2.5f), few(4);
  kmeans(same.data(), 64, 1, 4, 5, seed, few.data());
  check(few == std::vector<float>(4, 2.5f), "k-means of equal points");
  std::vector<float> numbers(100000), levels(16);
  for (float& x : numbers) x = random.gauss();
  kmeansOfNumbers(numbers, 16, 200, levels.data());
  double error = 0;
  for (const float x : numbers) {
    float best = FLT_MAX;
    for (const float level : levels) best = std::min(best, (x - level) * (x - level));
    error += best;
  }
  check(std::is_sorted(levels.begin(), levels.end()) && error / 100000 < 0.0105,
        "16 levels of a normal distribution lose about 0.0095 of its variance");
}

// Vectors one behind the other.
struct Data {
  uint32_t d;
  std::vector<float> values;
  uint32_t size() const { return static_cast<uint32_t>(values.size() / d); }
  const float* operator[](uint32_t i) const { return values.data() + size_t{i} * d; }
  std::vector<const float*> pointers() const {
    std::vector<const float*> out;
    for (uint32_t i = 0; i < size(); i++) out.push_back((*this)[i]);
    return out;
  }
};

enum Shape { kGaussian, kClustered, kConstant, kDuplicates, kHuge, kTiny, kZeros, kShapes };

Data generate(Shape shape, uint32_t d, uint32_t n, Random& random) {
  Data data{d, {}};
  const std::vector<float> centres = random.gauss(size_t{8} * d);
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t c = static_cast<uint32_t>(random() % 8);
    for (uint32_t j = 0; j < d; j++) {
      float x = random.gauss() + 0.5f;
      if (shape == kClustered) x = 3 * centres[c * d + j] + 0.3f * x;
      if (shape == kConstant) x = 0.1f + static_cast<float>(j);
      if (shape == kDuplicates) x = centres[c * d + j];
      if (shape == kHuge) x *= 1e18f;
      if (shape == kTiny) x *= 1e-20f;
      if (shape == kZeros && i % 2) x = 0;
      data.values.push_back(x);
    }
  }
  return data;
}

void alone(uint32_t count, const std::function<void(uint32_t)>& fn) {
  for (uint32_t i = 0; i < count; i++) fn(i);
}
// Backwards, on three threads.
void together(uint32_t count, const std::function<void(uint32_t)>& fn) {
  std::atomic<uint32_t> left{count};
  const auto work = [&] {
    for (uint32_t i = left.load(); i;) {
      if (left.compare_exchange_weak(i, i - 1)) fn(i - 1), i = left.load();
    }
  };
  std::thread a(work), b(work);
  work();
  a.join();
  b.join();
}

CodebookOptions optionsOf(uint32_t d, Metric metric) {
  CodebookOptions options{};
  options.dimensions = d;
  options.metric = metric;
  options.seed = seed;
  options.centroids8 = d > 200 ? 16 : 64;
  options.centroids4 = 16;
  options.outlierThreshold = 2.5f;
  options.coder = EntropyCoder::kAns;
  options.residualBits = 4;
  options.iterations = d > 200 ? 2 : 6;
  return options;
}

// A trained codebook in memory of exactly its size, where overruns show.
struct Trained {
  std::vector<uint64_t> block;
  std::unique_ptr<Codebook> book;
  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(block.data()); }
};
bool trainOn(const Data& data, const CodebookOptions& options, const CodebookEach& each, Trained* out) {
  out->block.assign(Codebook::bytes(data.d) / 8, 0);
  const char* error = "";
  if (!Codebook::train(options, data.pointers(), std::vector<float>(data.size(), 1.0f), each, out->bytes()))
    return false;
  out->book = Codebook::open(out->bytes(), data.d, options.metric, &error);
  check(out->book != nullptr, std::string("opens what was trained: ") + error);
  return out->book != nullptr;
}

// Squares of what decoding is off by, in parts of the vectors' squared distances from their mean.
double lossOf(const Codec& codec, Tier tier, const Data& data) {
  const uint32_t d = data.d;
  std::vector<double> mean(d);
  for (uint32_t i = 0; i < data.size(); i++) {
    for (uint32_t j = 0; j < d; j++) mean[j] += data[i][j] / data.size();
  }
  CodecRoom room;
  std::vector<uint8_t> record(recordBytes(tier, d));
  std::vector<float> x(d);
  double off = 0, all = 0;
  for (uint32_t i = 0; i < data.size(); i++) {
    codec.encode(data[i], room, record.data());
    if (!codec.decode(record.data(), room, x.data())) return DBL_MAX;
    for (uint32_t j = 0; j < d; j++) {
      off += std::pow(double{x[j]} - data[i][j], 2);
      all += std::pow(data[i][j] - mean[j], 2);
    }
  }
  if (all > 1e-6 * data.size()) return off / all;
  for (const float value : data.values) all += double{value} * value;  // they all lie on their mean
  return off / all;
}

void testSizes() {
  bool within = true;
  for (uint32_t d = 1; d <= 65536; d = d < 2000 ? d + 1 : d * 3 / 2) {
    const uint32_t cool = recordBytes(Tier::kCool, d), cold = recordBytes(Tier::kCold, d);
    const uint32_t archive = recordBytes(Tier::kArchive, d);
    within &= recordBytes(Tier::kWarm, d) == 2 * d && cool == d && cold <= cool && archive <= cold && archive > 0;
    within &= d < 100 || cold <= 4 * d / 7.6;
    within &= d < 200 || archive <= 4 * d / 26.0;
  }
  check(within, "records have the sizes that tiers are for");
}

void testShapes() {
  Random random(seed);
  for (const uint32_t d : {1, 2, 3, 15, 16, 17, 100, 784, 1000, 1024, 8192}) {
    for (int s = 0; s < kShapes; s++) {
      const Shape shape = static_cast<Shape>(s);
      // Of the longer ones not every shape, for time's sake.
      if (d >= 784 && shape != (d == 784 ? kHuge : d == 1000 ? kZeros : d == 1024 ? kClustered : kGaussian)) continue;
      const Metric metric = static_cast<Metric>((d + s) % 2);
      const Data data = generate(shape, d, d > 2000 ? kLeastSample : 300, random);
      Trained trained;
      if (!trainOn(data, optionsOf(d, metric), alone, &trained)) {
        check(false, at("trains", d));
        continue;
      }
      const std::string of = " of shape " + std::to_string(s) + " at " + std::to_string(d);
      for (const Tier tier : kCodecTiers) {
        if (tier == Tier::kWarm && (shape == kHuge || shape == kTiny)) continue;  // its caller scales
        const Codec& codec = trained.book->codec(tier);
        const double loss = lossOf(codec, tier, data);
        // What is lost at most: half precision; 8 bits, of which the shortest vectors need many for other things; 16
        // levels, or a range of a few dimensions; one bit a value (1 - 2 / pi = 0.36).
        const double most = tier == Tier::kWarm   ? 1e-6
                            : tier == Tier::kCool ? 1.5e-3
                            : tier == Tier::kCold ? 0.02
                                                  : 0.42;
        check(loss <= (shape == kConstant ? 1e-6 : most), std::string(codec.name()) + " keeps vectors" + of);
        CodecRoom room;
        TierQuery query;
        std::vector<uint8_t> record(recordBytes(tier, d));
        bool numbers = true;
        codec.prepare(data[0], &query);
        for (uint32_t i = 0; i < data.size(); i++) {
          codec.encode(data[i], room, record.data());
          numbers &= !std::isnan(codec.distance(query, room, record.data()));
        }
        check(numbers && query.prepared, std::string(codec.name()) + " estimates numbers" + of);
      }
    }
  }
}

double exactDistance(Metric metric, const float* a, const float* b, uint32_t d) {
  double l2 = 0, dot = 0;
  for (uint32_t i = 0; i < d; i++) l2 += std::pow(double{a[i]} - b[i], 2), dot += double{a[i]} * b[i];
  return metric == Metric::kL2 ? l2 : metric == Metric::kDot ? -dot : 0.5 * l2;
}

// On clustered vectors: estimates that are right on average, and the nearest found by them.
void testEstimatesOfTiers() {
  Random random(seed);
  constexpr uint32_t d = 128, kAsked = 24;
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    Data data = generate(kGaussian, d, 1200, random);
    // Less dimensions than it has values, as data are: or all were equally far.
    const std::vector<float> basis = random.gauss(16 * d);
    for (uint32_t i = 0; i < data.size(); i++) {
      const std::vector<float> place = random.gauss(16);
      for (uint32_t j = 0; j < d; j++) {
        float x = 0.3f * data.values[i * d + j];
        for (uint32_t b = 0; b < 16; b++) x += place[b] * basis[b * d + j];
        data.values[i * d + j] = x;
      }
      if (metric == Metric::kCosine) {
        const float length = std::sqrt(kScalar.dot(data[i], data[i], d));
        for (uint32_t j = 0; j < d; j++) data.values[i * d + j] /= length;
      }
    }
    Trained trained;
    CodebookOptions options = optionsOf(d, metric);
    options.centroids8 = 256;
    if (!trainOn(data, options, alone, &trained)) continue;
    for (const Tier tier : kCodecTiers) {
      const Codec& codec = trained.book->codec(tier);
      const uint32_t bytes = recordBytes(tier, d);
      std::vector<uint8_t> records(size_t{bytes} * data.size());
      CodecRoom room;
      for (uint32_t i = 0; i < data.size(); i++) codec.encode(data[i], room, records.data() + size_t{i} * bytes);
      double off = 0, squares = 0;
      uint32_t found = 0, count = 0;
      for (uint32_t q = 0; q < kAsked; q++) {
        TierQuery query;
        codec.prepare(data[q], &query);
        std::vector<std::pair<double, uint32_t>> exact, estimated;
        for (uint32_t i = kAsked; i < data.size(); i++) {
          exact.push_back({exactDistance(metric, data[q], data[i], d), i});
          estimated.push_back({codec.distance(query, room, records.data() + size_t{i} * bytes), i});
          const double error = estimated.back().first - exact.back().first;
          off += error;
          squares += error * error;
          count++;
        }
        std::partial_sort(exact.begin(), exact.begin() + 10, exact.end());
        std::partial_sort(estimated.begin(), estimated.begin() + 40, estimated.end());
        for (int i = 0; i < 10; i++) {
          for (int j = 0; j < 40; j++) found += exact[i].second == estimated[j].second;
        }
      }
      const std::string of = std::string(codec.name()) + " under metric " + std::to_string(static_cast<int>(metric));
      // Errors of one query or one record go together: far fewer are independent than there are.
      check(std::fabs(off / count) <= 6 * std::sqrt(squares / count / 1200) + 1e-5, of + " is right on average");
      const double recall = found / (10.0 * kAsked), least = tier == Tier::kArchive ? 0.85 : 0.99;
      check(recall >= least, of + " has the nearest among four times as many: " + std::to_string(recall));
    }
  }
}

void testSameBytes() {
  Random random(seed);
  for (const uint32_t d : {5, 100, 131}) {
    const Data data = generate(kClustered, d, 400, random);
    const Kernel* const chosen = kernel;
    std::vector<uint8_t> first;
    for (const Kernel* k : kernelsHere()) {
      kernel = k;
      for (const bool threads : {false, true}) {
        Trained trained;
        if (!trainOn(data, optionsOf(d, Metric::kL2), threads ? CodebookEach(together) : CodebookEach(alone), &trained))
          continue;
        std::vector<uint8_t> all(trained.bytes(), trained.bytes() + trained.block.size() * 8);
        CodecRoom room;
        for (const Tier tier : kCodecTiers) {
          const Codec& codec = trained.book->codec(tier);
          std::vector<uint8_t> record(recordBytes(tier, d));
          std::vector<float> x(d);
          TierQuery query;
          codec.prepare(data[0], &query);
          for (uint32_t i = 0; i < 50; i++) {
            codec.encode(data[i], room, record.data());
            codec.decode(record.data(), room, x.data());
            const float distance = codec.distance(query, room, record.data());
            all.insert(all.end(), record.begin(), record.end());
            const uint8_t* const values = reinterpret_cast<const uint8_t*>(x.data());
            all.insert(all.end(), values, values + 4 * d);
            const uint8_t* const number = reinterpret_cast<const uint8_t*>(&distance);
            all.insert(all.end(), number, number + 4);
          }
        }
        if (first.empty()) first = all;
        check(all == first, std::string(k->name) + at(": the same codebook, records and distances", d));
      }
    }
    kernel = chosen;
  }
}

void testOptions() {
  Random random(seed);
  constexpr uint32_t d = 96;
  const Data data = generate(kGaussian, d, 300, random);
  for (const EntropyCoder coder : {EntropyCoder::kNone, EntropyCoder::kHuffman, EntropyCoder::kAns}) {
    for (const uint32_t bits : {0, 1, 4, 8}) {
      CodebookOptions options = optionsOf(d, Metric::kL2);
      options.coder = coder;
      options.residualBits = bits;
      options.centroids8 = bits == 1 ? 2 : 256;
      options.centroids4 = bits == 1 ? 2 : 16;
      options.subvectors = bits;
      options.outlierThreshold = bits == 8 ? 1e30f : 0.1f;
      Trained trained;
      if (!trainOn(data, options, alone, &trained)) continue;
      for (const Tier tier : kCodecTiers)
        check(lossOf(trained.book->codec(tier), tier, data) < 0.99, "any option keeps something");
    }
  }
  const Data few = generate(kGaussian, d, kLeastSample - 1, random);
  Trained trained;
  check(!trainOn(few, optionsOf(d, Metric::kL2), alone, &trained), "too small a sample is refused");
}

// What a codec says of bytes that it has not written; nothing but that it says something sane.
bool survives(const Codec& codec, const std::vector<uint8_t>& record, const TierQuery& query, uint32_t d) {
  CodecRoom room;
  std::vector<float> x(d);
  const bool decoded = codec.decode(record.data(), room, x.data());
  for (const float value : x) {
    if (decoded && !std::isfinite(value)) return false;
  }
  return !std::isnan(codec.distance(query, room, record.data()));
}

void testDamagedRecords() {
  Random random(seed);
  for (const uint32_t d : {3, 17, 100, 1030}) {
    const Data data = generate(d == 17 ? kClustered : kGaussian, d, 300, random);
    Trained trained;
    if (!trainOn(data, optionsOf(d, Metric::kL2), alone, &trained)) continue;
    for (const Tier tier : kCodecTiers) {
      const Codec& codec = trained.book->codec(tier);
      TierQuery query;
      CodecRoom room;
      codec.prepare(data[0], &query);
      std::vector<uint8_t> record(recordBytes(tier, d));
      bool sane = true;
      for (uint32_t round = 0; round < 400 / share; round++) {
        codec.encode(data[round % data.size()], room, record.data());
        if (round % 4 == 0) {
          for (uint8_t& byte : record) byte = static_cast<uint8_t>(random());
        } else {
          for (uint32_t hits = 0; hits <= round % 4; hits++)
            record[random() % record.size()] ^= static_cast<uint8_t>(1 + random() % 255);
        }
        sane &= survives(codec, record, query, d);
      }
      for (const uint8_t byte : {0x00, 0xff, 0x7c}) {
        std::fill(record.begin(), record.end(), byte);
        sane &= survives(codec, record, query, d);
      }
      check(sane, std::string(codec.name()) + at(" bears any bytes", d));
    }
  }
}

void testDamagedCodebooks() {
  Random random(seed);
  for (const uint32_t d : {4, 40, 64}) {
    const Data data = generate(kGaussian, d, 300, random);
    Trained trained;
    if (!trainOn(data, optionsOf(d, Metric::kL2), alone, &trained)) continue;
    uint32_t bytes;
    std::memcpy(&bytes, trained.bytes() + 12, 4);
    const char* error = nullptr;
    check(!Codebook::open(trained.bytes(), d, Metric::kDot, &error) && error, "another metric is refused");
    error = nullptr;
    check(!Codebook::open(trained.bytes(), d + 1, Metric::kL2, &error) && error, "other dimensions are refused");
    bool refused = true, sane = true;
    uint32_t opened = 0;
    const std::vector<uint64_t> whole = trained.block;
    for (uint32_t round = 0; round < 1500 / share; round++) {
      trained.block = whole;
      // Most often where sizes and places are.
      const uint32_t place = static_cast<uint32_t>(random() % (round % 2 ? 128 + 4 * d : bytes));
      trained.bytes()[place] ^= static_cast<uint8_t>(1 + random() % 255);
      error = nullptr;
      refused &= !Codebook::open(trained.bytes(), d, Metric::kL2, &error) && error;
      // And with a checksum that says all is well.
      uint32_t size;
      std::memcpy(&size, trained.bytes() + 12, 4);
      if (size < 20 || size > trained.block.size() * 8) continue;
      const uint32_t crc = kernel->crc32c(trained.bytes() + 20, size - 20, 0);
      std::memcpy(trained.bytes() + 16, &crc, 4);
      const std::unique_ptr<Codebook> book = Codebook::open(trained.bytes(), d, Metric::kL2, &error);
      if (!book) continue;
      opened++;
      for (const Tier tier : kCodecTiers) {
        const Codec& codec = book->codec(tier);
        std::vector<uint8_t> record(recordBytes(tier, d));
        CodecRoom room;
        TierQuery query;
        codec.prepare(data[1], &query);
        codec.encode(data[0], room, record.data());
        sane &= survives(codec, record, query, d);
        for (uint8_t& byte : record) byte = static_cast<uint8_t>(random());
        sane &= survives(codec, record, query, d);
      }
    }
    check(refused, at("a codebook with a changed byte is refused", d));
    check(sane && opened > 0, at("a codebook that lies is borne", d));
  }
}

}  // namespace

void testTierKernels() {
  testHalves();
  testGreatest();
  testAddSteps();
  testRestore();
  testTransforms();
  testUnpacking();
  testFrame();
  testMagnitudes();
  testKmeans();
}

void testTierCodecs() {
  testSizes();
  testShapes();
  testEstimatesOfTiers();
  testSameBytes();
  testOptions();
  testDamagedRecords();
  testDamagedCodebooks();
}

}  // namespace hebb::test
