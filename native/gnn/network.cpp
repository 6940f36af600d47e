#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "functions.hpp"
#include "kernel.hpp"
#include "products.hpp"

namespace hebb::gnn {
namespace {

constexpr double kEpsilon = 1e-5;  // of the layer norm

// Pieces a thread gets of a product: enough to even out, of enough work to be worth taking.
constexpr size_t kPieces = 3;
constexpr size_t kWorth = 100000;  // multiplications

struct Range {
  size_t from, to;
  size_t size() const { return to - from; }
};

// n cut into ranges that are multiples of 16 and carry at least kWorth products each.
size_t piecesOf(const Crew& crew, size_t n, size_t each) {
  if (crew.threads() == 1) return 1;
  const size_t worth = std::max<size_t>(1, n * each / kWorth);
  return std::max<size_t>(1, std::min({kPieces * crew.threads(), worth, (n + 15) / 16}));
}
Range piece(size_t n, size_t pieces, size_t i) {
  const size_t sixteens = (n + 15) / 16;
  return {std::min(n, sixteens * i / pieces * 16), std::min(n, sixteens * (i + 1) / pieces * 16)};
}

// A product cut along the longer side of its result.
template <typename Fn>
void cut(Crew& crew, size_t m, size_t n, size_t k, const Fn& fn) {
  if (m >= n) {
    const size_t pieces = piecesOf(crew, m, n * k);
    crew.run(pieces, m * n * k, [&](size_t i) { fn(piece(m, pieces, i), Range{0, n}); });
  } else {
    const size_t pieces = piecesOf(crew, n, m * k);
    crew.run(pieces, m * n * k, [&](size_t i) { fn(Range{0, m}, piece(n, pieces, i)); });
  }
}

template <typename T>
void abt(Crew& crew, const T* a, const T* b, T* out, size_t m, size_t n, size_t k) {
  cut(crew, m, n, k, [&](Range i, Range j) {
    products<T>().abt(a + i.from * k, k, b + j.from * k, k, out + i.from * n + j.from, n, i.size(), j.size(), k);
  });
}

// a b^T with b a block of a layer's parameters.
template <typename T>
void abt(Crew& crew, const T* a, const Parameters<T>& b, size_t at, T* out, size_t m, size_t n, size_t k) {
  if (!b.half) return abt(crew, a, b.full + at, out, m, n, k);
  cut(crew, m, n, k, [&](Range i, Range j) {
    products<T>().abtHalf(a + i.from * k, k, b.half + at + j.from * k, k, out + i.from * n + j.from, n, i.size(),
                          j.size(), k);
  });
}

template <typename T>
void ab(Crew& crew, const T* a, const T* b, T* out, size_t m, size_t n, size_t k, bool add) {
  cut(crew, m, n, k, [&](Range i, Range j) {
    products<T>().ab(a + i.from * k, k, b + j.from, n, out + i.from * n + j.from, n, i.size(), j.size(), k, add);
  });
}

template <typename T>
void atb(Crew& crew, const T* a, const T* b, T* out, size_t m, size_t n, const std::vector<uint32_t>& rows) {
  cut(crew, m, n, rows.size(), [&](Range i, Range j) {
    products<T>().atb(a + i.from, m, b + j.from, n, out + i.from * n + j.from, n, i.size(), j.size(), rows.data(),
                      rows.size());
  });
}

template <typename T>
T dot(const T* a, const T* b, size_t n) {
  return products<T>().dot(a, b, n);
}

template <typename T>
T lengthOf(const T* x, size_t n) {
  return std::sqrt(dot(x, x, n));
}

template <typename T>
void grow(std::vector<T>& of, size_t n) {
  if (of.size() < n) of.resize(n);
}

// out_j = sum over rows r of a_rj b_rj (b null: of a_rj), in the order of rows.
template <typename T>
void sumColumns(const T* a, size_t stride, const T* b, size_t n, const std::vector<uint32_t>& rows, T* out) {
  std::fill(out, out + n, T(0));
  for (const uint32_t r : rows) {
    const T* of = a + r * stride;
    if (b) {
      const T* with = b + r * n;
      for (size_t j = 0; j < n; j++) out[j] += of[j] * with[j];
    } else {
      for (size_t j = 0; j < n; j++) out[j] += of[j];
    }
  }
}

void widen(const uint16_t* half, size_t n, float* out) {
  kernel->widen(half, n, out);
}
void widen(const uint16_t*, size_t, double*) {}  // there are no halves for double

bool kept(uint32_t hash, uint32_t position, double rate) {
  return chain(hash, position) >= rate * 4294967296.0;
}
uint32_t dropoutHash(const Dropout& dropout, size_t anchor) {
  return chain(chain(mix32(dropout.seed), dropout.layer), static_cast<uint32_t>(anchor));
}

// Whether an anchor hears what is at a place.
template <typename T>
bool heardAt(const uint32_t* index, const T* logWeights, size_t n) {
  return index[n] != kMasked && logWeights[n] != -HUGE_VAL;
}

// The weights of one anchor's places: softmax, for each head, of the products (or zeros) already in `a`, scaled, plus
// logWeights. Returns whether any place counts.
template <typename T>
bool weigh(const uint32_t* index, const T* logWeights, size_t places, size_t heads, T* a) {
  const auto counts = [&](size_t n) { return heardAt(index, logWeights, n); };
  bool any = false;
  for (size_t n = 0; n < places; n++) any |= counts(n);
  for (size_t h = 0; h < heads; h++, a += places) {
    if (!any) {
      std::fill(a, a + places, T(0));
      continue;
    }
    T most = -HUGE_VAL, sum = 0;
    for (size_t n = 0; n < places; n++) {
      if (!counts(n)) continue;
      a[n] += logWeights[n];
      if (!(a[n] <= most)) most = a[n];  // a NaN stays
    }
    for (size_t n = 0; n < places; n++) {
      a[n] = counts(n) ? expOf(a[n] - most) : T(0);
      sum += a[n];
    }
    for (size_t n = 0; n < places; n++) a[n] /= sum;
  }
  return any;
}

}  // namespace

Blocks::Blocks(const Shape& s) {
  const size_t d = s.d, h = s.hidden;
  size_t at = 0;
  const auto take = [&](size_t n) {
    const size_t from = at;
    if (!s.linear) at += n;
    return from;
  };
  msg = take(h * d);
  query = take(h * d);
  keyValue = take(2 * h * h);
  aggregate = take(d * h);
  w = take(3 * d * d);
  u = take(3 * d * d);
  biases = take(4 * d);
  gain = take(d);
  bias = take(d);
  gate = at;
  end = at + 1;
}

size_t Shape::parameters() const {
  return Blocks(*this).end;
}

template <typename T>
void Tape<T>::reserve(const Shape& s, size_t anchors, size_t places) {
  if (!s.linear) {
    for (std::vector<T>* of : {&q, &context}) grow(*of, anchors * s.hidden);
    for (std::vector<T>* of : {&agg, &normal}) grow(*of, anchors * s.d);
    for (std::vector<T>* of : {&w, &u}) grow(*of, anchors * 3 * s.d);
  }
  for (std::vector<T>* of : {&delta, &out}) grow(*of, anchors * s.d);
  for (std::vector<T>* of : {&scale, &bounded, &length, &lengthIn, &lengthChange}) grow(*of, anchors);
  grow(attention, anchors * s.attentionHeads() * places);
  grow(hears, anchors);
}

template <typename T>
void keysAndValues(const Shape& s, const Parameters<T>& parameters, const T* pool, size_t count, T* messages, T* states,
                   Crew& crew) {
  if (s.linear) {
    if (count) std::memcpy(states, pool, count * s.d * sizeof(T));
    return;
  }
  const Blocks at(s);
  abt(crew, pool, parameters, at.msg, messages, count, s.hidden, s.d);
  abt(crew, messages, parameters, at.keyValue, states, count, 2 * s.hidden, s.hidden);
}

template <typename T>
void attend(const Shape& s, const Parameters<T>& parameters, const T* x, size_t anchors, const T* states,
            const uint32_t* index, const T* logWeights, size_t places, const Dropout& dropout, Tape<T>& tape,
            Crew& crew) {
  const size_t d = s.d, hidden = s.hidden, heads = s.attentionHeads(), width = s.stateWidth(), each = hidden / s.heads;
  const Blocks at(s);
  tape.reserve(s, anchors, places);
  const T scale = T(1) / std::sqrt(T(each));

  if (!s.linear) abt(crew, x, parameters, at.query, tape.q.data(), anchors, hidden, d);
  crew.run(anchors, anchors * places * width, [&](size_t b) {
    const uint32_t* from = index + b * places;
    const T* logs = logWeights + b * places;
    T* a = tape.attention.data() + b * heads * places;
    std::fill(a, a + heads * places, T(0));
    for (size_t n = 0; n < places && !s.linear; n++) {
      if (!heardAt(from, logs, n)) continue;
      const T* key = states + from[n] * width;
      for (size_t h = 0; h < heads; h++)
        a[h * places + n] = scale * dot(tape.q.data() + b * hidden + h * each, key + h * each, each);
    }
    tape.hears[b] = weigh(from, logs, places, heads, a);

    // The weighted sum of values, or of rows, less x.
    T* out = s.linear ? tape.delta.data() + b * d : tape.context.data() + b * hidden;
    const size_t wide = s.linear ? d : each;
    std::fill(out, out + heads * wide, T(0));
    for (size_t n = 0; n < places; n++) {
      if (!heardAt(from, logs, n)) continue;
      const T* value = states + from[n] * width + (s.linear ? 0 : hidden);
      for (size_t h = 0; h < heads; h++) {
        const T weight = a[h * places + n];
        if (weight == 0) continue;
        for (size_t j = h * wide; j < (h + 1) * wide; j++) out[j] += weight * value[j];
      }
    }
    if (s.linear)
      for (size_t j = 0; j < d; j++) out[j] -= x[b * d + j];
    else if (dropout.rate > 0) {
      const uint32_t hash = dropoutHash(dropout, b);
      const T grow = T(1 / (1 - dropout.rate));
      for (size_t j = 0; j < hidden; j++)
        out[j] = kept(hash, static_cast<uint32_t>(j), dropout.rate) ? out[j] * grow : 0;
    }
  });
  if (!s.linear) {
    abt(crew, tape.context.data(), parameters, at.aggregate, tape.agg.data(), anchors, d, hidden);
    abt(crew, tape.agg.data(), parameters, at.w, tape.w.data(), anchors, 3 * d, d);
    abt(crew, x, parameters, at.u, tape.u.data(), anchors, 3 * d, d);
  }
  // From the biases on: no matrices.
  const T* vectors = parameters.full ? parameters.full + at.biases : nullptr;
  if (parameters.half) {
    grow(tape.vectors, at.end - at.biases);
    widen(parameters.half + at.biases, at.end - at.biases, tape.vectors.data());
    vectors = tape.vectors.data();
  }
  const T *gain = vectors + (at.gain - at.biases), *bias = vectors + (at.bias - at.biases);
  const T gate = vectors[at.gate - at.biases], bound = T(s.bound);
  crew.run(anchors, anchors * d * (s.linear ? 8 : 64), [&](size_t b) {
    const T* in = x + b * d;
    T* delta = tape.delta.data() + b * d;
    T* out = tape.out.data() + b * d;
    std::memcpy(out, in, d * sizeof(T));
    if (!tape.hears[b]) {
      std::fill(delta, delta + d, T(0));
      return;
    }
    if (!s.linear) {
      // The gates' values replace what came in: w holds z, r, n, and the last third of u holds U_n x + c_n.
      T *z = tape.w.data() + b * 3 * d, *r = z + d, *n = r + d;
      T* of = tape.u.data() + b * 3 * d;
      T* normal = tape.normal.data() + b * d;
      const T *biasZ = vectors, *biasR = biasZ + d, *biasN = biasR + d, *hiddenN = biasN + d;
      T mean = 0, variance = 0;
      for (size_t j = 0; j < d; j++) {
        z[j] = sigmoid(z[j] + of[j] + biasZ[j]);
        r[j] = sigmoid(r[j] + of[d + j] + biasR[j]);
        of[2 * d + j] += hiddenN[j];
        n[j] = tanhOf(n[j] + biasN[j] + r[j] * of[2 * d + j]);
        normal[j] = (1 - z[j]) * n[j] + z[j] * in[j];
        mean += normal[j];
      }
      mean /= T(d);
      for (size_t j = 0; j < d; j++) {
        normal[j] -= mean;
        variance += normal[j] * normal[j];
      }
      const T inverse = 1 / std::sqrt(variance / T(d) + T(kEpsilon));
      tape.scale[b] = inverse;
      for (size_t j = 0; j < d; j++) {
        normal[j] *= inverse;
        delta[j] = gain[j] * normal[j] + bias[j];
      }
    }
    const T before = lengthOf(in, d), change = std::abs(gate) * lengthOf(delta, d);
    const T most = bound * before;
    const T c = most < change ? most / change : T(1);
    tape.lengthIn[b] = before;
    tape.lengthChange[b] = change;
    tape.bounded[b] = c;
    tape.length[b] = before;
    if (gate == 0) return;
    for (size_t j = 0; j < d; j++) out[j] = in[j] + c * (gate * delta[j]);
    if (s.metric != Metric::cosine) return;
    tape.length[b] = lengthOf(out, d);
    if (tape.length[b] > 0)
      for (size_t j = 0; j < d; j++) out[j] /= tape.length[b];
  });
}

template <typename T>
T infoNce(const T* logits, const T* weights, size_t positives, size_t count, T* gradient, bool decoupled) {
  std::fill(gradient, gradient + count, T(0));
  if (positives == 0 || positives == count) return 0;
  T most = -HUGE_VAL, sum = 0;
  for (size_t j = positives; j < count; j++)
    if (logits[j] > most) most = logits[j];
  for (size_t j = positives; j < count; j++) sum += expOf(logits[j] - most);
  const T negatives = most + static_cast<T>(std::log(static_cast<double>(sum)));
  T loss = 0, pull = 0;
  for (size_t p = 0; p < positives; p++) {
    const T gap = negatives - logits[p];
    const T wrong = decoupled ? T(1) : sigmoid(gap);
    loss += weights[p] * (decoupled ? gap : softplus(gap));
    gradient[p] = -weights[p] * wrong;
    pull += weights[p] * wrong;
  }
  for (size_t j = positives; j < count; j++) gradient[j] = pull * expOf(logits[j] - most) / sum;
  return loss;
}

namespace {

// The backward pass of one layer's anchor from dL/dy to dL/dx (in place in `g`) and dL/ddelta, through the
// normalization, the bound and the gate. Returns the gate's own part.
template <typename T>
T backThroughChange(const Shape& s, T gate, const Tape<T>& tape, size_t b, const T* in, T* g, T* toDelta) {
  const size_t d = s.d;
  const T *delta = tape.delta.data() + b * d, *out = tape.out.data() + b * d;
  T of = 0;
  if (s.metric == Metric::cosine) {
    const T length = tape.length[b], along = dot(out, g, d), inverse = length > 0 ? 1 / length : 0;
    if (gate == 0) {  // y is x itself, whatever its length; only the gate leads away from it
      const T square = length * length, toX = square > 0 ? along / square : 0;
      for (size_t j = 0; j < d; j++) of += (g[j] - in[j] * toX) * inverse * delta[j];
      return of;
    }
    for (size_t j = 0; j < d; j++) g[j] = (g[j] - out[j] * along) * inverse;
  } else if (gate == 0) {
    return dot(g, delta, d);
  }
  if (tape.bounded[b] == 1) {
    for (size_t j = 0; j < d; j++) toDelta[j] = gate * g[j];
    return dot(g, delta, d);
  }
  // The change is bound |x| e / |e|: it follows the direction of e and the length of x.
  const T before = tape.lengthIn[b], change = tape.lengthChange[b], bound = T(s.bound);
  const T along = gate * dot(delta, g, d) / change, share = bound * before / change;
  for (size_t j = 0; j < d; j++) {
    const T toChange = share * (g[j] - gate * delta[j] / change * along);
    toDelta[j] = gate * toChange;
    g[j] += before > 0 ? bound * along * in[j] / before : T(0);
  }
  return 0;  // its size does not count any more
}

// Back through the layer norm and the gated unit: from dL/ddelta (du) to the gradients of both sides' sums.
template <typename T>
void backThroughUnit(const Shape& s, const T* gain, const Tape<T>& tape, size_t b, const T* in, const T* toDelta,
                     T* toW, T* toU, T* toX) {
  const size_t d = s.d;
  const T* normal = tape.normal.data() + b * d;
  const T *z = tape.w.data() + b * 3 * d, *r = z + d, *n = r + d, *hidden = tape.u.data() + b * 3 * d + 2 * d;
  T mean = 0, along = 0;
  for (size_t j = 0; j < d; j++) {
    mean += toDelta[j] * gain[j];
    along += toDelta[j] * gain[j] * normal[j];
  }
  mean /= T(d);
  along /= T(d);
  for (size_t j = 0; j < d; j++) {
    const T du = tape.scale[b] * (toDelta[j] * gain[j] - mean - normal[j] * along);
    const T dz = du * (in[j] - n[j]) * z[j] * (1 - z[j]);
    const T dn = du * (1 - z[j]) * (1 - n[j] * n[j]);
    const T dr = dn * hidden[j] * r[j] * (1 - r[j]);
    toX[j] += du * z[j];
    toW[j] = toU[j] = dz;
    toW[d + j] = toU[d + j] = dr;
    toW[2 * d + j] = dn;
    toU[2 * d + j] = dn * r[j];
  }
}

// Where each pool row is heard: places b N + n in ascending order, row after row.
struct Heard {
  std::vector<uint32_t> from, places, rows;

  template <typename T>
  void fill(const StepLayer<T>& layer, const std::vector<uint32_t>& anchors) {
    const auto each = [&](const auto& fn) {
      for (const uint32_t b : anchors)
        for (size_t place = b * layer.places; place < (b + 1) * layer.places; place++)
          if (heardAt(layer.index, layer.logWeights, place)) fn(layer.index[place], static_cast<uint32_t>(place));
    };
    from.assign(layer.poolRows + 1, 0);
    rows.clear();
    each([&](uint32_t row, uint32_t) { from[row + 1]++; });
    for (size_t row = 0; row < layer.poolRows; row++) {
      if (from[row + 1]) rows.push_back(static_cast<uint32_t>(row));
      from[row + 1] += from[row];
    }
    places.resize(from[layer.poolRows]);
    std::vector<uint32_t> next(from.begin(), from.end() - 1);
    each([&](uint32_t row, uint32_t place) { places[next[row]++] = place; });
  }
};

// One training step's memory and its passes.
template <typename T>
class Pass {
 public:
  Pass(const Shape& shape, const Step<T>& of, Scratch<T>& scratch, unsigned threads)
      : s_(shape), at_(shape), of_(of), my_(scratch), crew_(threads) {}

  size_t run() {
    forward();
    const size_t lost = losses();
    for (size_t l = of_.layers.size(); l-- > 0;) backward(l);
    if (of_.gradientX && of_.anchors) std::memcpy(of_.gradientX, my_.g.data(), of_.anchors * s_.d * sizeof(T));
    return lost;
  }

 private:
  const T* input(size_t l) const { return l ? my_.tapes[l - 1].out.data() : of_.x; }

  void forward() {
    if (my_.tapes.size() < of_.layers.size()) my_.tapes.resize(of_.layers.size());
    for (size_t l = 0; l < of_.layers.size(); l++) {
      const StepLayer<T>& layer = of_.layers[l];
      Tape<T>& tape = my_.tapes[l];
      const T* states = layer.pool;
      if (!s_.linear) {
        grow(tape.messages, layer.poolRows * s_.hidden);
        grow(tape.states, layer.poolRows * s_.stateWidth());
        keysAndValues(s_, {layer.parameters, nullptr}, layer.pool, layer.poolRows, tape.messages.data(),
                      tape.states.data(), crew_);
        states = tape.states.data();
      }
      attend(s_, {layer.parameters, nullptr}, input(l), of_.anchors, states, layer.index, layer.logWeights,
             layer.places, Dropout{of_.dropout, of_.seed, static_cast<uint32_t>(l)}, tape, crew_);
    }
  }

  // Losses, dL/dx_L into my_.g, and which anchors count.
  size_t losses() {
    const size_t d = s_.d, most = of_.candidatePlaces;
    const T* last = input(of_.layers.size());
    my_.g.assign(of_.anchors * d, T(0));
    my_.counts.assign(of_.anchors, 0);
    grow(my_.candidates, of_.anchors * 3 * most);
    crew_.run(of_.anchors, 2 * of_.anchors * most * d, [&](size_t b) {
      const uint32_t* places = of_.candidates + b * most;
      const T* x = last + b * d;
      T *logits = my_.candidates.data() + b * 3 * most, *gradient = logits + most, *weights = gradient + most;
      size_t count = 0, positives = 0;
      for (size_t c = 0; c < most; c++) {
        if (places[c] == kMasked) continue;
        const T* row = of_.rows + places[c] * d;
        const T score = s_.metric == Metric::l2 ? -products<T>().l2(x, row, d) : dot(x, row, d);
        if (c < of_.positives[b]) weights[positives++] = of_.weights[b * most + c];
        logits[count++] = score / T(of_.divisor);
      }
      const T loss = infoNce(logits, weights, positives, count, gradient, of_.decoupled);
      of_.losses[b] = loss;
      bool sound = finite(loss);
      for (size_t l = 0; l < of_.layers.size(); l++) {
        const Tape<T>& tape = my_.tapes[l];
        sound = sound && (!tape.hears[b] || finite(tape.lengthChange[b]));
      }
      my_.counts[b] = sound;
      if (!sound) return;
      T* g = my_.g.data() + b * d;
      count = 0;
      for (size_t c = 0; c < most; c++) {
        if (places[c] == kMasked) continue;
        const T pull = gradient[count++] / T(of_.divisor);
        if (pull == 0) continue;
        const T* row = of_.rows + places[c] * d;
        if (s_.metric == Metric::l2)
          for (size_t j = 0; j < d; j++) g[j] += pull * 2 * (row[j] - x[j]);
        else
          for (size_t j = 0; j < d; j++) g[j] += pull * row[j];
      }
    });
    size_t lost = 0;
    for (const uint8_t counts : my_.counts) lost += !counts;
    return lost;
  }

  // From dL/dx_(l+1) to dL/dx_l, both my_.g.
  void backward(size_t l) {
    const StepLayer<T>& layer = of_.layers[l];
    const Tape<T>& tape = my_.tapes[l];
    const size_t d = s_.d, hidden = s_.hidden, heads = s_.attentionHeads(), places = layer.places;
    const T* in = input(l);
    const T gate = layer.parameters[at_.gate];
    my_.toDelta.assign(of_.anchors * d, T(0));
    my_.toGate.assign(of_.anchors, T(0));
    std::fill(layer.gradient, layer.gradient + at_.end, T(0));
    std::fill(layer.gradientLogWeights, layer.gradientLogWeights + of_.anchors * places, T(0));
    if (!s_.linear) {
      my_.toW.assign(of_.anchors * 3 * d, T(0));
      my_.toU.assign(of_.anchors * 3 * d, T(0));
    }
    std::vector<uint32_t> active;
    for (size_t b = 0; b < of_.anchors; b++)
      if (my_.counts[b] && tape.hears[b]) active.push_back(static_cast<uint32_t>(b));
    crew_.run(active.size(), active.size() * d * 16, [&](size_t i) {
      const size_t b = active[i];
      T* g = my_.g.data() + b * d;
      my_.toGate[b] = backThroughChange(s_, gate, tape, b, in + b * d, g, my_.toDelta.data() + b * d);
      if (gate != 0 && !s_.linear)
        backThroughUnit(s_, layer.parameters + at_.gain, tape, b, in + b * d, my_.toDelta.data() + b * d,
                        my_.toW.data() + b * 3 * d, my_.toU.data() + b * 3 * d, g);
    });
    for (const uint32_t b : active) layer.gradient[at_.gate] += my_.toGate[b];
    if (gate == 0 || active.empty()) return;

    my_.toScores.assign(of_.anchors * heads * places, T(0));
    if (s_.linear) {
      crew_.run(active.size(), active.size() * places * d, [&](size_t i) {
        const size_t b = active[i];
        const T* to = my_.toDelta.data() + b * d;
        backThroughWeights(layer, tape, b, [&](size_t, uint32_t row) { return dot(to, layer.pool + row * d, d); });
        for (size_t j = 0; j < d; j++) my_.g[b * d + j] -= to[j];
      });
      return;
    }

    const T* p = layer.parameters;
    T* out = layer.gradient;
    biases(tape, active, out);
    grow(my_.toAgg, of_.anchors * d);
    grow(my_.toContext, of_.anchors * hidden);
    my_.toQ.assign(of_.anchors * hidden, T(0));
    ab(crew_, my_.toW.data(), p + at_.w, my_.toAgg.data(), of_.anchors, d, 3 * d, false);
    ab(crew_, my_.toU.data(), p + at_.u, my_.g.data(), of_.anchors, d, 3 * d, true);
    atb(crew_, my_.toW.data(), tape.agg.data(), out + at_.w, 3 * d, d, active);
    atb(crew_, my_.toU.data(), in, out + at_.u, 3 * d, d, active);
    ab(crew_, my_.toAgg.data(), p + at_.aggregate, my_.toContext.data(), of_.anchors, hidden, d, false);
    atb(crew_, my_.toAgg.data(), tape.context.data(), out + at_.aggregate, d, hidden, active);

    const size_t each = hidden / s_.heads, width = s_.stateWidth();
    const T scale = T(1) / std::sqrt(T(each));
    crew_.run(active.size(), 2 * active.size() * places * hidden, [&](size_t i) {
      const size_t b = active[i];
      T *to = my_.toContext.data() + b * hidden, *toQ = my_.toQ.data() + b * hidden;
      if (of_.dropout > 0) {
        const uint32_t hash = dropoutHash(Dropout{of_.dropout, of_.seed, static_cast<uint32_t>(l)}, b);
        const T grow = T(1 / (1 - of_.dropout));
        for (size_t j = 0; j < hidden; j++)
          to[j] = kept(hash, static_cast<uint32_t>(j), of_.dropout) ? to[j] * grow : 0;
      }
      backThroughWeights(layer, tape, b, [&](size_t h, uint32_t row) {
        return dot(to + h * each, tape.states.data() + row * width + hidden + h * each, each);
      });
      for (size_t n = 0; n < places; n++) {
        const uint32_t row = layer.index[b * places + n];
        if (!heardAt(layer.index, layer.logWeights, b * places + n)) continue;
        const T* key = tape.states.data() + row * width;
        for (size_t h = 0; h < heads; h++) {
          const T weight = scale * my_.toScores[(b * heads + h) * places + n];
          for (size_t j = h * each; j < (h + 1) * each; j++) toQ[j] += weight * key[j];
        }
      }
    });
    ab(crew_, my_.toQ.data(), p + at_.query, my_.g.data(), of_.anchors, d, hidden, true);
    atb(crew_, my_.toQ.data(), in, out + at_.query, hidden, d, active);

    toStates(layer, tape, active);
    grow(my_.toMessages, layer.poolRows * hidden);
    ab(crew_, my_.toStates.data(), p + at_.keyValue, my_.toMessages.data(), layer.poolRows, hidden, 2 * hidden, false);
    atb(crew_, my_.toStates.data(), tape.messages.data(), out + at_.keyValue, 2 * hidden, hidden, heard_.rows);
    atb(crew_, my_.toMessages.data(), layer.pool, out + at_.msg, hidden, d, heard_.rows);
  }

  // From dL/da (of a head and a pool row) through the softmax: dL/dscores and, over the heads, dL/dlogWeights.
  template <typename ToAttention>
  void backThroughWeights(const StepLayer<T>& layer, const Tape<T>& tape, size_t b, const ToAttention& toAttention) {
    const size_t heads = s_.attentionHeads(), places = layer.places;
    const uint32_t* index = layer.index + b * places;
    for (size_t h = 0; h < heads; h++) {
      const T* a = tape.attention.data() + (b * heads + h) * places;
      T* to = my_.toScores.data() + (b * heads + h) * places;
      T along = 0;
      for (size_t n = 0; n < places; n++) {
        if (!heardAt(index, layer.logWeights + b * places, n)) continue;
        to[n] = toAttention(h, index[n]);
        along += a[n] * to[n];
      }
      for (size_t n = 0; n < places; n++) {
        to[n] = a[n] * (to[n] - along);
        layer.gradientLogWeights[b * places + n] += to[n];
      }
    }
  }

  void biases(const Tape<T>& tape, const std::vector<uint32_t>& active, T* out) {
    const size_t d = s_.d;
    crew_.run(4, 6 * active.size() * d, [&](size_t which) {
      if (which == 0) sumColumns<T>(my_.toW.data(), 3 * d, nullptr, 3 * d, active, out + at_.biases);
      if (which == 1) sumColumns<T>(my_.toU.data() + 2 * d, 3 * d, nullptr, d, active, out + at_.biases + 3 * d);
      if (which == 2) sumColumns<T>(my_.toDelta.data(), d, tape.normal.data(), d, active, out + at_.gain);
      if (which == 3) sumColumns<T>(my_.toDelta.data(), d, nullptr, d, active, out + at_.bias);
    });
  }

  // dL/dkeys and dL/dvalues of each pool row, from the places that heard it.
  void toStates(const StepLayer<T>& layer, const Tape<T>& tape, const std::vector<uint32_t>& active) {
    const size_t hidden = s_.hidden, heads = s_.heads, each = hidden / heads, places = layer.places;
    const T scale = T(1) / std::sqrt(T(each));
    heard_.fill(layer, active);
    my_.toStates.assign(layer.poolRows * 2 * hidden, T(0));
    const size_t pieces = piecesOf(crew_, heard_.rows.size(), 64 * hidden);
    crew_.run(pieces, 2 * heard_.places.size() * hidden, [&](size_t i) {
      const Range of = piece(heard_.rows.size(), pieces, i);
      for (size_t r = of.from; r < of.to; r++) {
        const uint32_t row = heard_.rows[r];
        T *toKey = my_.toStates.data() + row * 2 * hidden, *toValue = toKey + hidden;
        for (uint32_t e = heard_.from[row]; e < heard_.from[row + 1]; e++) {
          const size_t b = heard_.places[e] / places, n = heard_.places[e] % places;
          const T *q = tape.q.data() + b * hidden, *to = my_.toContext.data() + b * hidden;
          for (size_t h = 0; h < heads; h++) {
            const T byKey = scale * my_.toScores[(b * heads + h) * places + n];
            const T byValue = tape.attention[(b * heads + h) * places + n];
            for (size_t j = h * each; j < (h + 1) * each; j++) {
              toKey[j] += byKey * q[j];
              toValue[j] += byValue * to[j];
            }
          }
        }
      }
    });
  }

  const Shape& s_;
  const Blocks at_;
  const Step<T>& of_;
  Scratch<T>& my_;
  Crew crew_;
  Heard heard_;
};

}  // namespace

template <typename T>
size_t step(const Shape& shape, const Step<T>& of, Scratch<T>& scratch, unsigned threads) {
  return Pass<T>(shape, of, scratch, threads).run();
}

void adam(float* x, const float* gradient, float* first, float* second, size_t n, double rate, double beta1,
          double beta2, double epsilon, double decay, uint32_t t) {
  const AdamFactors f = {static_cast<float>(beta1),
                         static_cast<float>(1 - beta1),
                         static_cast<float>(beta2),
                         static_cast<float>(1 - beta2),
                         static_cast<float>(1 / (1 - std::pow(beta2, t))),
                         static_cast<float>(rate / (1 - std::pow(beta1, t))),
                         static_cast<float>(epsilon),
                         static_cast<float>(1 - rate * decay)};
  floatLoops().adam(x, gradient, first, second, n, f);
}

template struct Tape<float>;
template struct Tape<double>;
template void keysAndValues(const Shape&, const Parameters<float>&, const float*, size_t, float*, float*, Crew&);
template void keysAndValues(const Shape&, const Parameters<double>&, const double*, size_t, double*, double*, Crew&);
template void attend(const Shape&, const Parameters<float>&, const float*, size_t, const float*, const uint32_t*,
                     const float*, size_t, const Dropout&, Tape<float>&, Crew&);
template void attend(const Shape&, const Parameters<double>&, const double*, size_t, const double*, const uint32_t*,
                     const double*, size_t, const Dropout&, Tape<double>&, Crew&);
template float infoNce(const float*, const float*, size_t, size_t, float*, bool);
template double infoNce(const double*, const double*, size_t, size_t, double*, bool);
template size_t step(const Shape&, const Step<float>&, Scratch<float>&, unsigned);
template size_t step(const Shape&, const Step<double>&, Scratch<double>&, unsigned);

}  // namespace hebb::gnn
