// The rotation and the estimates of 1-bit codes, held against what their papers say of them.
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "quantize/rabitq.hpp"
#include "quantize/rotation.hpp"
#include "testing.hpp"

namespace hebb::test {
namespace {

double product(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += double(a[i]) * b[i];
  return sum;
}

double apartSquared(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return sum;
}

std::vector<float> rotated(const Rotation& rotation, const std::vector<float>& x, float scale = 1) {
  std::vector<float> out(rotation.padded(), NAN);
  rotation.apply(x.data(), scale, out.data());
  return out;
}

// Vectors of a data set, estimates between which are looked at under many rotations.
struct Sample {
  std::vector<float> centre;
  std::vector<std::vector<float>> others, queries;
};

constexpr uint32_t kOthers = 8, kQueries = 3;

// Gaussian, or close together and far from the origin.
Sample sampleOf(uint32_t d, bool clustered, bool unit, Random& random) {
  const std::vector<float> middle = random.gauss(d);
  const auto draw = [&] {
    std::vector<float> v = random.gauss(d);
    if (clustered) {
      for (uint32_t i = 0; i < d; i++) v[i] = 4 * middle[i] + 0.4f * v[i];
    }
    const float scale = unit ? static_cast<float>(1 / std::sqrt(product(v, v))) : 1;
    for (float& x : v) x *= scale;
    return v;
  };
  Sample s{draw(), {}, {}};
  for (uint32_t i = 0; i < kOthers; i++) s.others.push_back(draw());
  for (uint32_t i = 0; i < kQueries; i++) s.queries.push_back(draw());
  return s;
}

// Mean and spread of what was added.
struct Spread {
  double sum = 0, squares = 0;
  uint64_t count = 0;
  void add(double x) {
    sum += x;
    squares += x * x;
    count++;
  }
  double mean() const { return sum / static_cast<double>(count); }
  double deviation() const { return std::sqrt(std::fmax(0, squares / static_cast<double>(count) - mean() * mean())); }
  double standardErrors() const { return mean() / (deviation() / std::sqrt(static_cast<double>(count))); }
};

// <w, q> of a code, w being its signs halved.
double halvedSigns(const std::vector<uint8_t>& nibbles, const std::vector<float>& q) {
  double sum = 0;
  for (size_t v = 0; v < q.size(); v++)
    sum += (nibbles[16 * (v / 64) + v % 16] >> (v / 16 % 4) & 1 ? 0.5 : -0.5) * q[v];
  return sum;
}

double distanceOf(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  if (metric == Metric::kL2) return apartSquared(a, b);
  return (metric == Metric::kDot ? 0 : 1) - product(a, b);
}

// Errors are counted in standard deviations of the theory (eq. 14): the part of q - c that is at right
// angles to r is all that makes them.
void testEstimatesOf(Metric metric, uint32_t d, bool clustered) {
  const uint32_t rotations = std::max(300u, 8000 / d) / share;
  Random random(seed * 1000 + d);
  const Sample sample = sampleOf(d, clustered, metric == Metric::kCosine, random);
  const double factor = metric == Metric::kL2 ? 2 : 1;
  Spread each, means, coverage, aligned, table;
  std::vector<Spread> ofPair(kOthers * kQueries);
  for (uint32_t turn = 0; turn < rotations; turn++) {
    const Rotation rotation(d, random());
    const uint32_t padded = rotation.padded(), quads = padded / 4;
    const std::vector<float> c = rotated(rotation, sample.centre);
    Spread ofTurn;
    for (uint32_t j = 0; j < kOthers; j++) {
      const std::vector<float>& original = sample.others[j];
      const std::vector<float> o = rotated(rotation, original);
      std::vector<uint8_t> nibbles(quads);
      const double along = product(original, sample.centre) - product(sample.centre, sample.centre);
      const Factors f = encode(metric, o.data(), c.data(), quads, {static_cast<float>(along), -1}, nibbles.data());
      const double squares = apartSquared(original, sample.centre), length = std::sqrt(squares);
      double magnitudes = 0;
      for (uint32_t i = 0; i < padded; i++) magnitudes += std::fabs(double(o[i]) - c[i]);
      const double x0 = magnitudes / std::sqrt(double(padded)) / length;
      aligned.add(x0);
      const double relative = std::sqrt((1 - x0 * x0) / (x0 * x0) / (padded - 1));
      for (uint32_t i = 0; i < kQueries; i++) {
        const std::vector<float>& query = sample.queries[i];
        const std::vector<float> q = rotated(rotation, query);
        const double apart = std::sqrt(apartSquared(query, sample.centre));
        double cosine = 0;
        for (uint32_t l = 0; l < d; l++) {
          cosine += (double(query[l]) - sample.centre[l]) * (double(original[l]) - sample.centre[l]);
        }
        cosine /= apart * length;
        const double deviation = factor * length * apart * relative * std::sqrt(1 - cosine * cosine);
        const double exact = halvedSigns(nibbles, q);
        const double estimate = f.add + distanceOf(metric, query, sample.centre) + f.rescale * exact;
        const double error = estimate - distanceOf(metric, query, original);
        each.add(error / deviation);
        ofTurn.add(error / deviation);
        ofPair[j * kQueries + i].add(error / deviation);
        const double most = errorOf(metric, static_cast<float>(squares), f, quads, 1.9f) * apart;
        coverage.add(std::fabs(error) <= most);

        // The same by the table, as rows are scanned: each value is off by half a step at most.
        std::vector<uint8_t> entries(16 * quads), block(16 * quads);
        const Lut lut = kernel->lut(q.data(), padded, entries.data());
        packLane(block.data(), quads, 21, nibbles.data());
        const std::vector<float> add(32, f.add), rescale(32, f.rescale);
        std::vector<float> estimates(32);
        kernel->scan(block.data(), entries.data(), quads, lut, add.data(), rescale.data(), 0, 0, estimates.data());
        const double rough = (double(estimates[21]) - f.add) / f.rescale;
        table.add((rough - exact) / (0.5 * lut.step * std::sqrt(padded / 12.0)));
      }
    }
    means.add(ofTurn.mean());
  }
  Spread squaredErrors;  // of a pair's mean, in standard errors: about 1 where there is no bias
  for (const Spread& pair : ofPair) squaredErrors.add(pair.standardErrors() * pair.standardErrors());
  const std::string name = std::string(metric == Metric::kL2    ? "l2"
                                       : metric == Metric::kDot ? "dot"
                                                                : "cosine") +
                           " " + std::to_string(d) + (clustered ? " clustered" : " gaussian");
  const auto within = [&](double value, double from, double to, const std::string& what) {
    check(value >= from && value <= to, name + ": " + what + " is " + std::to_string(value));
  };
  within(means.standardErrors(), -4, 4, "an estimate's mean error, in standard errors,");
  within(squaredErrors.mean(), 0, 3, "the square of a pair's mean error, in standard errors,");
  within(each.deviation(), 0.85, 1.15, "spread of estimates, in deviations of the theory,");
  within(coverage.mean(), 0.94, 0.995, "share of estimates within 1.9 deviations");
  within(aligned.mean(), 0.78, 0.82, "a code's cosine with what it stands for");
  within(table.deviation(), 0.7, 1.3, "spread of sums by the table");
  within(table.mean(), -0.4, 0.4, "mean error of sums by the table");
}

// Vectors that are where the centre is: nothing is left to estimate.
void testEqualVectors() {
  bool exact = true;
  Random random(seed);
  for (const uint32_t d : {1u, 64u, 100u, 784u}) {
    const Rotation rotation(d, seed);
    const uint32_t quads = rotation.padded() / 4;
    const std::vector<float> v = random.gauss(d), r = rotated(rotation, v), q = rotated(rotation, random.gauss(d));
    std::vector<uint8_t> entries(16 * quads), nibbles(quads), block(16 * quads);
    const Lut lut = kernel->lut(q.data(), rotation.padded(), entries.data());
    for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
      const Factors f = encode(metric, r.data(), r.data(), quads, {}, nibbles.data());
      packLane(block.data(), quads, 3, nibbles.data());
      const std::vector<float> add(32, f.add), rescale(32, f.rescale);
      std::vector<float> estimates(32);
      kernel->scan(block.data(), entries.data(), quads, lut, add.data(), rescale.data(), 7.25f, 8, estimates.data());
      exact &= estimates[3] == 7.25f && errorOf(metric, 0, f, quads, 3) == 0;
    }
  }
  check(exact, "the estimate of a vector equal to the centre is the centre's distance");
}

void testLanes() {
  Random random(seed);
  bool back = true, others = true;
  for (const uint32_t quads : {16u, 32u, 208u}) {
    for (uint32_t lane = 0; lane < kLanes; lane++) {
      std::vector<uint8_t> block(16 * quads), nibbles(quads), read(quads);
      for (uint8_t& b : block) b = static_cast<uint8_t>(random());
      for (uint8_t& b : nibbles) b = random() % 16;
      const std::vector<uint8_t> before = block;
      packLane(block.data(), quads, lane, nibbles.data());
      unpackLane(block.data(), quads, lane, read.data());
      back &= read == nibbles;
      for (uint32_t other = 0; other < kLanes; other++) {
        if (other == lane) continue;
        std::vector<uint8_t> was(quads);
        unpackLane(before.data(), quads, other, was.data());
        unpackLane(block.data(), quads, other, read.data());
        others &= was == read;
      }
      // The place that kernel.hpp and docs/format.md give it.
      for (uint32_t q = 0; q < quads; q++) {
        back &= (lane < 16 ? block[16 * q + lane] & 15 : block[16 * q + lane - 16] >> 4) == nibbles[q];
      }
    }
  }
  check(back, "a code comes back from its lane");
  check(others, "packing a lane leaves the others as they were");
}

}  // namespace

void testRotation() {
  Random random(seed);
  std::vector<uint32_t> dimensions;
  for (uint32_t d = 1; d <= 130; d++) dimensions.push_back(d);
  for (const uint32_t d : {192, 200, 784, 1000, 1024}) dimensions.push_back(d);
  bool lengths = true, products = true, padding = true, same = true, different = true, scaled = true, mixed = true;
  for (const uint32_t d : dimensions) {
    const Rotation rotation(d, seed), again(d, seed), other(d, seed + 1);
    padding &= rotation.padded() % 64 == 0 && rotation.padded() >= d && rotation.padded() < d + 64;
    std::vector<float> x = random.gauss(d), y = random.gauss(d);
    const std::vector<float> u = rotated(rotation, x), v = rotated(rotation, y);
    const double size = std::sqrt(product(x, x) * product(y, y));
    lengths &= std::fabs(product(u, u) - product(x, x)) <= 1e-5 * product(x, x);
    products &= std::fabs(product(u, v) - product(x, y)) <= 1e-5 * size;
    same &= sameBits(u, rotated(again, x));
    different &= !sameBits(u, rotated(other, x));
    std::vector<float> half = x;
    for (float& value : half) value *= 0.3f;
    scaled &= sameBits(rotated(rotation, x, 0.3f), rotated(rotation, half));
    // One value alone must spread over all, or codes of sparse vectors would say nothing.
    std::vector<float> spike(d);
    spike[random() % d] = 1;
    double magnitudes = 0;
    for (const float value : rotated(rotation, spike)) magnitudes += std::fabs(value);
    mixed &= magnitudes / std::sqrt(double(rotation.padded())) > 0.65;
  }
  check(padding, "padded dimensions are the next multiple of 64");
  check(lengths, "a rotation keeps lengths");
  check(products, "a rotation keeps inner products");
  check(same, "the same seed gives the same rotation, bit for bit");
  check(different, "another seed gives another rotation");
  check(scaled, "scaling is part of the rotation");
  check(mixed, "a single value is spread over all");
}

void testEstimates() {
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    for (const uint32_t d : {64u, 100u, 128u, 784u}) {
      for (const bool clustered : {false, true}) testEstimatesOf(metric, d, clustered);
    }
  }
  testEqualVectors();
  testLanes();
}

}  // namespace hebb::test
