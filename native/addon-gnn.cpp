#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "addon.hpp"
#include "gnn/network.hpp"
#include "kernel.hpp"
#include "map/platform.hpp"

namespace hebb::addon {
namespace {

using gnn::kMasked;

template <typename T>
constexpr napi_typedarray_type kTypeOf = napi_float32_array;
template <>
constexpr napi_typedarray_type kTypeOf<double> = napi_float64_array;
template <>
constexpr napi_typedarray_type kTypeOf<uint32_t> = napi_uint32_array;
template <>
constexpr napi_typedarray_type kTypeOf<uint16_t> = napi_uint16_array;

// Reads typed arrays; after the first that is not what was expected all are empty, and refuse() says which it was.
class Reader {
 public:
  explicit Reader(Napi::Env env) : env_(env) {}
  bool sound() const { return wrong_ == nullptr; }
  Napi::Value refuse() { return fail(env_, wrong_); }
  bool expect(bool holds, const char* message) {
    if (sound() && !holds) wrong_ = message;
    return sound();
  }

  template <typename T>
  Span<T> array(const Napi::Value& value, const char* message) {
    if (!expect(value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == kTypeOf<T>, message))
      return {};
    auto of = value.As<Napi::TypedArrayOf<T>>();
    return {of.Data(), of.ElementLength()};
  }
  template <typename T>
  T* array(const Napi::Value& value, size_t length, const char* message) {
    const Span<T> of = array<T>(value, message);
    return expect(of.length == length, message) ? of.data : nullptr;
  }
  // Numbers of rows below `rows`, or masked.
  const uint32_t* rows(const Napi::Value& value, size_t length, size_t rows, const char* message) {
    const uint32_t* of = array<uint32_t>(value, length, message);
    for (size_t i = 0; sound() && i < length; i++) expect(of[i] < rows || of[i] == kMasked, message);
    return of;
  }
  // How many rows of `width` values an array has.
  size_t rowsOf(size_t length, size_t width, const char* message) {
    return expect(length % width == 0, message) ? length / width : 0;
  }

 private:
  Napi::Env env_;
  const char* wrong_ = nullptr;
};

bool isDouble(const Napi::Value& value) {
  return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_float64_array;
}

template <typename T>
gnn::Step<T> readStep(Reader& reader, const gnn::Shape& shape, const Napi::Object& input) {
  const size_t d = shape.d;
  gnn::Step<T> of{};
  const Span<T> x = reader.array<T>(input.Get("x"), "x: a float array was expected");
  of.x = x.data;
  of.anchors = reader.rowsOf(x.length, d, "x: rows of the network's dimensions were expected");
  const Span<T> rows = reader.array<T>(input.Get("rows"), "rows: a float array of x's type was expected");
  of.rows = rows.data;
  const size_t count = reader.rowsOf(rows.length, d, "rows: rows of the network's dimensions were expected");
  of.positives = reader.array<uint32_t>(input.Get("positives"), of.anchors, "positives: a count for each anchor");
  const Span<uint32_t> candidates = reader.array<uint32_t>(input.Get("candidates"), "candidates: a Uint32Array");
  if (!reader.expect(of.anchors ? candidates.length % of.anchors == 0 : candidates.length == 0,
                     "candidates: as many for each anchor were expected"))
    return of;
  of.candidatePlaces = of.anchors ? candidates.length / of.anchors : 0;
  of.candidates = reader.rows(input.Get("candidates"), candidates.length, count, "candidates: a row past the last");
  of.weights = reader.array<T>(input.Get("weights"), candidates.length, "weights: one for each candidate");
  of.losses = reader.array<T>(input.Get("losses"), of.anchors, "losses: room for each anchor");
  if (!input.Get("gradientX").IsUndefined())
    of.gradientX = reader.array<T>(input.Get("gradientX"), x.length, "gradientX: as long as x");
  of.divisor = input.Get("divisor").ToNumber().DoubleValue();
  of.decoupled = input.Get("decoupled").ToBoolean().Value();
  of.dropout = input.Get("dropout").ToNumber().DoubleValue();
  of.seed = input.Get("seed").ToNumber().Uint32Value();
  if (!reader.expect(of.dropout >= 0 && of.dropout < 1, "dropout: from 0 to below 1")) return of;
  const Napi::Array layers = input.Get("layers").As<Napi::Array>();
  if (!reader.expect(layers.IsArray(), "layers: an array")) return of;
  for (uint32_t l = 0; reader.sound() && l < layers.Length(); l++) {
    const Napi::Object from = layers.Get(l).ToObject();
    gnn::StepLayer<T> layer{};
    const size_t length = shape.parameters();
    layer.parameters = reader.array<T>(from.Get("parameters"), length, "parameters: as many as the layer has");
    const Span<T> pool = reader.array<T>(from.Get("pool"), "pool: a float array of x's type was expected");
    layer.pool = pool.data;
    layer.poolRows = reader.rowsOf(pool.length, d, "pool: rows of the network's dimensions were expected");
    const Span<uint32_t> index = reader.array<uint32_t>(from.Get("index"), "index: a Uint32Array");
    if (!reader.expect(of.anchors ? index.length % of.anchors == 0 : index.length == 0,
                       "index: as many places for each anchor were expected"))
      return of;
    layer.places = of.anchors ? index.length / of.anchors : 0;
    layer.index = reader.rows(from.Get("index"), index.length, layer.poolRows, "index: a pool row past the last");
    layer.logWeights = reader.array<T>(from.Get("logWeights"), index.length, "logWeights: one for each place");
    layer.gradient = reader.array<T>(from.Get("gradient"), length, "gradient: as long as parameters");
    layer.gradientLogWeights =
        reader.array<T>(from.Get("gradientLogWeights"), index.length, "gradientLogWeights: one for each place");
    of.layers.push_back(layer);
  }
  return of;
}

// A network's scratches: one for each step that is under way. For the main thread.
template <typename T>
class Scratches {
 public:
  std::unique_ptr<gnn::Scratch<T>> take() {
    if (free_.empty()) return std::make_unique<gnn::Scratch<T>>();
    std::unique_ptr<gnn::Scratch<T>> one = std::move(free_.back());
    free_.pop_back();
    return one;
  }
  void giveBack(std::unique_ptr<gnn::Scratch<T>> one) { free_.push_back(std::move(one)); }

 private:
  std::vector<std::unique_ptr<gnn::Scratch<T>>> free_;
};

template <typename T>
class StepTask : public Napi::AsyncWorker {
 public:
  StepTask(Napi::Env env, const gnn::Shape& shape, gnn::Step<T> of, std::shared_ptr<Scratches<T>> scratches,
           const Napi::Object& input, unsigned threads)
      : Napi::AsyncWorker(env),
        shape_(shape),
        scratches_(std::move(scratches)),
        scratch_(scratches_->take()),
        of_(std::move(of)),
        input_(Napi::Persistent(input)),
        threads_(threads),
        deferred_(Napi::Promise::Deferred::New(env)) {
    // The arrays themselves, whatever happens to the object that named them.
    const Napi::Array layers = input.Get("layers").As<Napi::Array>();
    keep(input);
    for (uint32_t l = 0; l < layers.Length(); l++) keep(layers.Get(l).ToObject());
  }
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { lost_ = gnn::step(shape_, of_, *scratch_, threads_); }
  void OnOK() override {
    scratches_->giveBack(std::move(scratch_));
    const Napi::HandleScope scope(Env());
    deferred_.Resolve(Napi::Number::New(Env(), static_cast<double>(lost_)));
  }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  void keep(const Napi::Object& of) {
    const Napi::Array names = of.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); i++) {
      const Napi::Value value = of.Get(names.Get(i));
      if (value.IsTypedArray()) arrays_.push_back(Napi::Persistent(value.As<Napi::Object>()));
    }
  }

  gnn::Shape shape_;
  std::shared_ptr<Scratches<T>> scratches_;
  std::unique_ptr<gnn::Scratch<T>> scratch_;
  gnn::Step<T> of_;
  Napi::ObjectReference input_;
  std::vector<Napi::ObjectReference> arrays_;
  unsigned threads_;
  Napi::Promise::Deferred deferred_;
  size_t lost_ = 0;
};

class NetworkObject : public Napi::ObjectWrap<NetworkObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Network",
                       {InstanceAccessor("parameterCount", &NetworkObject::parameterCount, nullptr),
                        InstanceMethod("keysAndValues", &NetworkObject::keysAndValues),
                        InstanceMethod("attend", &NetworkObject::attend), InstanceMethod("step", &NetworkObject::step),
                        InstanceMethod("stepAsync", &NetworkObject::stepAsync)});
  }

  // Network(dimensions, hidden, heads, linear, metric, bound): the caller has validated them.
  explicit NetworkObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NetworkObject>(info) {
    const auto number = [&](size_t i) { return info[i].ToNumber().Uint32Value(); };
    shape_ = {number(0),
              number(1),
              number(2),
              info[3].ToBoolean().Value(),
              static_cast<gnn::Metric>(number(4)),
              info[5].ToNumber().DoubleValue()};
    Reader reader(info.Env());
    if (!reader.expect(shape_.d > 0 && shape_.hidden > 0 && shape_.heads > 0 && shape_.hidden % shape_.heads == 0,
                       "a hidden size that is a multiple of the number of heads was expected"))
      reader.refuse();
  }

 private:
  template <typename T>
  struct Room {
    std::vector<T> messages;
    gnn::Tape<T> tape;
    std::shared_ptr<Scratches<T>> scratches = std::make_shared<Scratches<T>>();
  };

  template <typename T>
  gnn::Parameters<T> readParameters(Reader& reader, const Napi::Value& value) {
    const char* message = "parameters: as many as the layer has";
    if (std::is_same_v<T, float> && value.IsTypedArray() &&
        value.As<Napi::TypedArray>().TypedArrayType() == napi_uint16_array)
      return {nullptr, reader.array<uint16_t>(value, shape_.parameters(), message)};
    return {reader.array<T>(value, shape_.parameters(), message), nullptr};
  }

  Napi::Value parameterCount(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(shape_.parameters()));
  }

  // keysAndValues(parameters, pool, out)
  Napi::Value keysAndValues(const Napi::CallbackInfo& info) {
    if (isDouble(info[0])) keysAndValues(info, doubles_);
    else keysAndValues(info, floats_);
    return info.Env().Undefined();
  }
  template <typename T>
  void keysAndValues(const Napi::CallbackInfo& info, Room<T>& room) {
    Reader reader(info.Env());
    const gnn::Parameters<T> parameters = readParameters<T>(reader, info[0]);
    const Span<T> pool = reader.array<T>(info[1], "pool: a float array of the parameters' type was expected");
    const size_t count = reader.rowsOf(pool.length, shape_.d, "pool: rows of the network's dimensions were expected");
    T* out = reader.array<T>(info[2], count * shape_.stateWidth(), "out: room for the states of each row");
    if (!reader.sound()) {
      reader.refuse();
      return;
    }
    if (room.messages.size() < count * shape_.hidden) room.messages.resize(count * shape_.hidden);
    gnn::keysAndValues(shape_, parameters, pool.data, count, room.messages.data(), out, alone_);
  }

  // attend(parameters, x, states, index, logWeights, y, attention)
  Napi::Value attend(const Napi::CallbackInfo& info) {
    if (isDouble(info[0])) attend(info, doubles_.tape);
    else attend(info, floats_.tape);
    return info.Env().Undefined();
  }
  template <typename T>
  void attend(const Napi::CallbackInfo& info, gnn::Tape<T>& tape) {
    Reader reader(info.Env());
    const gnn::Parameters<T> parameters = readParameters<T>(reader, info[0]);
    const Span<T> x = reader.array<T>(info[1], "x: a float array of the parameters' type was expected");
    const size_t anchors = reader.rowsOf(x.length, shape_.d, "x: rows of the network's dimensions were expected");
    const Span<T> states = reader.array<T>(info[2], "states: a float array of the parameters' type was expected");
    const size_t count = reader.rowsOf(states.length, shape_.stateWidth(), "states: whole rows were expected");
    const size_t length = reader.array<uint32_t>(info[3], "index: a Uint32Array").length;
    reader.expect(anchors ? length % anchors == 0 : length == 0, "index: as many places for each anchor were expected");
    const uint32_t* index = reader.rows(info[3], length, count, "index: a row past the last state");
    const T* logWeights = reader.array<T>(info[4], length, "logWeights: one for each place");
    T* y = reader.array<T>(info[5], x.length, "y: as long as x");
    T* attention = reader.array<T>(info[6], length * shape_.attentionHeads(), "attention: one for each head and place");
    if (!reader.sound()) reader.refuse();
    if (!reader.sound() || anchors == 0) return;
    gnn::attend(shape_, parameters, x.data, anchors, states.data, index, logWeights, length / anchors, gnn::Dropout{},
                tape, alone_);
    std::memcpy(y, tape.out.data(), x.length * sizeof(T));
    if (length) std::memcpy(attention, tape.attention.data(), length * shape_.attentionHeads() * sizeof(T));
  }

  // step(input, threads) -> how many anchors were not finite
  Napi::Value step(const Napi::CallbackInfo& info) {
    const Napi::Object input = info[0].ToObject();
    return isDouble(input.Get("x")) ? step(info, input, doubles_) : step(info, input, floats_);
  }
  template <typename T>
  Napi::Value step(const Napi::CallbackInfo& info, const Napi::Object& input, Room<T>& room) {
    Reader reader(info.Env());
    const gnn::Step<T> of = readStep<T>(reader, shape_, input);
    if (!reader.sound()) return reader.refuse();
    std::unique_ptr<gnn::Scratch<T>> scratch = room.scratches->take();
    const size_t lost = gnn::step(shape_, of, *scratch, threadsOf(info[1]));
    room.scratches->giveBack(std::move(scratch));
    return Napi::Number::New(info.Env(), static_cast<double>(lost));
  }

  Napi::Value stepAsync(const Napi::CallbackInfo& info) {
    const Napi::Object input = info[0].ToObject();
    return isDouble(input.Get("x")) ? stepAsync(info, input, doubles_) : stepAsync(info, input, floats_);
  }
  template <typename T>
  Napi::Value stepAsync(const Napi::CallbackInfo& info, const Napi::Object& input, Room<T>& room) {
    Reader reader(info.Env());
    gnn::Step<T> of = readStep<T>(reader, shape_, input);
    if (!reader.sound()) return reader.refuse();
    auto* task = new StepTask<T>(info.Env(), shape_, std::move(of), room.scratches, input, threadsOf(info[1]));
    const Napi::Promise promise = task->promise();
    task->Queue();
    return promise;
  }

  static unsigned threadsOf(const Napi::Value& value) {
    const unsigned here = platform::processorCount();
    return value.IsNumber() ? std::min(value.As<Napi::Number>().Uint32Value(), 64u) : here;
  }

  gnn::Shape shape_{};
  gnn::Crew alone_{1};
  Room<float> floats_;
  Room<double> doubles_;
};

// adam(parameters, gradient, first, second, rate, beta1, beta2, epsilon, decay, t)
Napi::Value adam(const Napi::CallbackInfo& info) {
  Reader reader(info.Env());
  const Span<float> x = reader.array<float>(info[0], "parameters: a Float32Array");
  const float* gradient = reader.array<float>(info[1], x.length, "gradient: as long as parameters");
  float* first = reader.array<float>(info[2], x.length, "first moments: as long as parameters");
  float* second = reader.array<float>(info[3], x.length, "second moments: as long as parameters");
  if (!reader.sound()) return reader.refuse();
  const auto number = [&](size_t i) { return info[i].ToNumber().DoubleValue(); };
  gnn::adam(x.data, gradient, first, second, x.length, number(4), number(5), number(6), number(7), number(8),
            info[9].ToNumber().Uint32Value());
  return info.Env().Undefined();
}

// halves(parameters, out): the nearest half of each
Napi::Value halves(const Napi::CallbackInfo& info) {
  Reader reader(info.Env());
  const Span<float> x = reader.array<float>(info[0], "parameters: a Float32Array");
  uint16_t* out = reader.array<uint16_t>(info[1], x.length, "out: as long as parameters");
  if (!reader.sound()) return reader.refuse();
  kernel->narrow(x.data, x.length, out);
  return info.Env().Undefined();
}

}  // namespace

void exportNetwork(Napi::Env env, Napi::Object exports) {
  exports.Set("Network", NetworkObject::define(env));
  exports.Set("adam", Napi::Function::New(env, adam));
  exports.Set("halves", Napi::Function::New(env, halves));
}

}  // namespace hebb::addon
