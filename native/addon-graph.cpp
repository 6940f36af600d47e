#include <algorithm>
#include <cstring>

#include "addon.hpp"
#include "graph/check.hpp"
#include "graph/graph.hpp"
#include "map/platform.hpp"

namespace hebb::addon {
namespace {

// The first byte of an id's slot (docs/format.md).
enum IdKind : uint8_t { kNoId = 0, kInteger = 1, kString = 2, kLongString = 3 };

class LinkTask : public Task {
 public:
  LinkTask(Napi::Env env, std::shared_ptr<Graph> graph, uint32_t most) : Task(env, std::move(graph)), most_(most) {}
  void Execute() override {
    const std::vector<uint32_t> nodes = graph_->unlinked(most_);
    sound_ = graph_->link(nodes.data(), static_cast<uint32_t>(nodes.size()), platform::processorCount());
  }

 private:
  uint32_t most_;
};

class ConsolidateTask : public Task {
 public:
  using Task::Task;
  void Execute() override { sound_ = graph_->consolidate(platform::processorCount()); }
};

class ReconnectTask : public Task {
 public:
  using Task::Task;
  void Execute() override {
    lost_ = graph_->reconnect();
    sound_ = lost_ >= 0;
  }
  Napi::Value result() override { return Napi::Number::New(Env(), static_cast<double>(lost_)); }

 private:
  int64_t lost_ = 0;
};

class CheckTask : public Task {
 public:
  CheckTask(Napi::Env env, std::shared_ptr<Graph> graph) : Task(env, std::move(graph)), check_(*graph_) {}
  void Execute() override { check_.run(); }
  Napi::Value result() override {
    Napi::Array faults = Napi::Array::New(Env(), check_.faults().size());
    for (uint32_t i = 0; i < check_.faults().size(); i++) {
      const GraphFault& fault = check_.faults()[i];
      Napi::Object one = Napi::Object::New(Env());
      one.Set("section", fault.section);
      one.Set("offset", static_cast<double>(fault.offset));
      one.Set("message", fault.text);
      faults.Set(i, one);
    }
    Napi::Object out = Napi::Object::New(Env());
    out.Set("faults", faults);
    out.Set("unreached", check_.unreached());
    out.Set("lost", copied<Napi::Uint32Array>(Env(), check_.lost()));
    out.Set("unreadable", copied<Napi::Uint32Array>(Env(), check_.unreadable()));
    return out;
  }

 private:
  GraphCheck check_;
};

class RetierTask : public Task {
 public:
  RetierTask(Napi::Env env, std::shared_ptr<Graph> graph, const Span<uint32_t>& nodes, Tier to)
      : Task(env, std::move(graph)), nodes_(nodes.data, nodes.data + nodes.length), to_(to) {}
  void Execute() override {
    sound_ =
        graph_->retier(nodes_.data(), static_cast<uint32_t>(nodes_.size()), to_, platform::processorCount(), &moves_);
  }
  Napi::Value result() override {
    Napi::Object out = Napi::Object::New(Env());
    out.Set("moved", moves_.moved);
    out.Set("lossy", moves_.lossy);
    out.Set("untrained", moves_.untrained);
    return out;
  }

 private:
  std::vector<uint32_t> nodes_;
  Tier to_;
  Moves moves_;
};

class PrefetchTask : public Task {
 public:
  PrefetchTask(Napi::Env env, std::shared_ptr<Graph> graph, const Span<uint32_t>& nodes)
      : Task(env, std::move(graph)), nodes_(nodes.data, nodes.data + nodes.length) {}
  void Execute() override { sound_ = graph_->prefetch(nodes_.data(), static_cast<uint32_t>(nodes_.size())); }

 private:
  std::vector<uint32_t> nodes_;
};

class SqueezeTask : public Task {
 public:
  SqueezeTask(Napi::Env env, std::shared_ptr<Graph> graph, bool all) : Task(env, std::move(graph)), all_(all) {}
  void Execute() override { sound_ = graph_->tiers().squeeze(graph_->nodes(), all_); }

 private:
  bool all_;
};

class TrainTask : public Task {
 public:
  TrainTask(Napi::Env env, std::shared_ptr<Graph> graph, const CodebookOptions& options, uint32_t most)
      : Task(env, std::move(graph)), options_(options), most_(most) {
    version_ = graph_->tiers().spare(graph_->searching());
  }
  void Execute() override { sound_ = graph_->train(options_, most_, version_, platform::processorCount(), &trained_); }
  Napi::Value result() override { return Napi::Boolean::New(Env(), trained_); }

 private:
  CodebookOptions options_;
  uint32_t most_, version_;
  bool trained_ = false;
};

class SearchManyTask : public Task {
 public:
  SearchManyTask(Napi::Env env, std::shared_ptr<Graph> graph, const Span<float>& queries, uint32_t k, uint32_t ef,
                 const Filter& filter, bool exact, uint32_t rerank)
      : Task(env, std::move(graph)),
        reading_(*graph_),
        queries_(queries.data, queries.data + queries.length),
        k_(k),
        ef_(ef),
        words_(filter.words, filter.words + (filter.words ? (filter.nodes + 31) / 32 : 0)),
        filter_(filter),
        exact_(exact),
        rerank_(rerank) {
    filter_.words = filter.words ? words_.data() : nullptr;
    const uint32_t count = static_cast<uint32_t>(queries_.size() / graph_->options().dimensions);
    nodes_.resize(uint64_t(count) * k);
    distances_.resize(uint64_t(count) * k);
    counts_.resize(count);
  }
  void Execute() override {
    sound_ = graph_->searchMany(queries_.data(), static_cast<uint32_t>(counts_.size()), k_, ef_, filter_, exact_,
                                rerank_, platform::processorCount(), nodes_.data(), distances_.data(), counts_.data());
  }
  Napi::Value result() override { return manyResults(Env(), nodes_, distances_, counts_); }

 private:
  Reading reading_;  // until the caller has the results, and no other row has taken their nodes
  std::vector<float> queries_;
  uint32_t k_, ef_;
  std::vector<uint32_t> words_;
  Filter filter_;
  bool exact_;
  uint32_t rerank_;
  std::vector<uint32_t> nodes_;
  std::vector<float> distances_;
  std::vector<int32_t> counts_;
};

class GraphObject : public Napi::ObjectWrap<GraphObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Graph",
                       {InstanceAccessor("nodes", &GraphObject::nodes, nullptr),
                        InstanceAccessor("live", &GraphObject::reading<&GraphObject::live>, nullptr),
                        InstanceAccessor("dead", &GraphObject::reading<&GraphObject::dead>, nullptr),
                        InstanceAccessor("backlog", &GraphObject::backlog, nullptr),
                        InstanceAccessor("path", &GraphObject::reading<&GraphObject::path>, nullptr),
                        InstanceMethod("isLive", &GraphObject::reading<&GraphObject::isLive>),
                        InstanceMethod("liveBits", &GraphObject::reading<&GraphObject::liveBits>),
                        InstanceMethod("allocate", &GraphObject::reading<&GraphObject::allocate>),
                        InstanceMethod("claim", &GraphObject::reading<&GraphObject::claim>),
                        InstanceMethod("abandon", &GraphObject::reading<&GraphObject::abandon>),
                        InstanceMethod("setVectors", &GraphObject::reading<&GraphObject::setVectors>),
                        InstanceMethod("setIds", &GraphObject::reading<&GraphObject::setIds>),
                        InstanceMethod("idsOf", &GraphObject::reading<&GraphObject::idsOf>),
                        InstanceMethod("vector", &GraphObject::reading<&GraphObject::vector>),
                        InstanceMethod("vectors", &GraphObject::reading<&GraphObject::vectors>),
                        InstanceMethod("publish", &GraphObject::reading<&GraphObject::publish>),
                        InstanceMethod("link", &GraphObject::link),
                        InstanceMethod("consolidate", &GraphObject::consolidate),
                        InstanceMethod("reconnect", &GraphObject::reconnect),
                        InstanceMethod("check", &GraphObject::check),
                        InstanceAccessor("keepsOriginals", &GraphObject::keepsOriginals, nullptr),
                        InstanceAccessor("reset", &GraphObject::wasReset, nullptr),
                        InstanceMethod("retier", &GraphObject::retier),
                        InstanceMethod("train", &GraphObject::train),
                        InstanceMethod("prefetch", &GraphObject::prefetch),
                        InstanceMethod("cache", &GraphObject::cache),
                        InstanceAccessor("compressed", &GraphObject::compressed, nullptr),
                        InstanceMethod("squeeze", &GraphObject::squeeze),
                        InstanceMethod("rest", &GraphObject::reading<&GraphObject::rest>),
                        InstanceMethod("tierCounts", &GraphObject::reading<&GraphObject::tierCounts>),
                        InstanceMethod("tierOf", &GraphObject::reading<&GraphObject::tierOf>),
                        InstanceMethod("places", &GraphObject::reading<&GraphObject::places>),
                        InstanceMethod("checkTiers", &GraphObject::reading<&GraphObject::checkTiers>),
                        InstanceMethod("readable", &GraphObject::reading<&GraphObject::readable>),
                        InstanceMethod("inDegree", &GraphObject::reading<&GraphObject::inDegree>),
                        InstanceMethod("setHeats", &GraphObject::reading<&GraphObject::setHeats>),
                        InstanceMethod("codecs", &GraphObject::reading<&GraphObject::codecs>),
                        InstanceMethod("notes", &GraphObject::reading<&GraphObject::notes>),
                        InstanceMethod("setNotes", &GraphObject::reading<&GraphObject::setNotes>),
                        InstanceMethod("search", &GraphObject::reading<&GraphObject::search>),
                        InstanceMethod("searchMany", &GraphObject::searchMany),
                        InstanceMethod("distances", &GraphObject::reading<&GraphObject::distances>),
                        InstanceMethod("neighbors", &GraphObject::reading<&GraphObject::neighbors>),
                        InstanceMethod("fields", &GraphObject::reading<&GraphObject::fields>),
                        InstanceMethod("setBiases", &GraphObject::reading<&GraphObject::setBiases>),
                        InstanceMethod("standing", &GraphObject::reading<&GraphObject::standing>),
                        InstanceAccessor("topLevel", &GraphObject::reading<&GraphObject::topLevel>, nullptr),
                        InstanceMethod("searchLevel", &GraphObject::reading<&GraphObject::searchLevel>),
                        InstanceMethod("close", &GraphObject::close),
                        StaticMethod("strides", &GraphObject::strides)});
  }

  const std::shared_ptr<Graph>& graph() const { return graph_; }

  explicit GraphObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GraphObject>(info) {
    const Napi::Object region = info[0].As<Napi::Object>();
    const char* error = nullptr;
    options_ = optionsOf(info[1].As<Napi::Object>());
    const std::shared_ptr<Region>& memory = RegionObject::Unwrap(region)->region();
    if (!memory) {
      fail(info.Env(), "the region is closed");
      return;
    }
    graph_ = Graph::attach(memory, options_, &error, &reset_);
    if (memory->lost()) graph_.reset();
    if (graph_) return;
    if (!memory->lost() && error && std::strcmp(error, "checksum") != 0) fail(info.Env(), error);
    else throwFault(info.Env(), memory->fault());
  }

 private:
  static Options optionsOf(const Napi::Object& o) {
    const auto number = [&](const char* name) { return o.Get(name).As<Napi::Number>().DoubleValue(); };
    const std::string metric = o.Get("metric").As<Napi::String>().Utf8Value();
    const std::string profile = o.Get("profile").As<Napi::String>().Utf8Value();
    return {static_cast<uint32_t>(number("dimensions")),
            metric == "l2"    ? Metric::kL2
            : metric == "dot" ? Metric::kDot
                              : Metric::kCosine,
            static_cast<uint32_t>(number("m")),
            static_cast<uint32_t>(number("efConstruction")),
            number("ml"),
            static_cast<uint64_t>(number("seed")),
            static_cast<uint32_t>(number("maxNodes")),
            static_cast<float>(number("stopMargin")),
            profile == "compact" ? Profile::kCompact
            : profile == "small" ? Profile::kSmall
                                 : Profile::kTurbo,
            static_cast<uint64_t>(number("cacheBytes")),
            o.Get("keepOriginals").ToBoolean().Value(),
            o.Get("readAhead").IsNumber() ? static_cast<uint32_t>(number("readAhead")) : 0};
  }

  static Napi::Value strides(const Napi::CallbackInfo& info) {
    const Options o = optionsOf(info[0].As<Napi::Object>());
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("vector", static_cast<double>(Graph::vectorStride(o)));
    out.Set("row", static_cast<double>(Graph::rowStride(o)));
    out.Set("upper", static_cast<double>(Graph::upperStride(o)));
    out.Set("id", static_cast<double>(kIdBytes));
    out.Set("projection", static_cast<double>(Graph::projectionBytes(o)));
    out.Set("place", static_cast<double>(sizeof(Place)));
    out.Set("warm", static_cast<double>(recordBytes(Tier::kWarm, o.dimensions)));
    out.Set("cool", static_cast<double>(recordBytes(Tier::kCool, o.dimensions)));
    out.Set("cold", static_cast<double>(recordBytes(Tier::kCold, o.dimensions)));
    out.Set("archive", static_cast<double>(recordBytes(Tier::kArchive, o.dimensions)));
    out.Set("codebooks", static_cast<double>(Tiers::codebooksBytes(o.dimensions)));
    return out;
  }

  template <Napi::Value (GraphObject::*method)(const Napi::CallbackInfo&)>
  Napi::Value reading(const Napi::CallbackInfo& info) {
    const Napi::Value value = (this->*method)(info);
    return graph_ ? believed(info.Env(), graph_->region(), value) : value;
  }
  bool open(const Napi::CallbackInfo& info) {
    if (!graph_) fail(info.Env(), "the graph is closed");
    return graph_ != nullptr;
  }
  Napi::Value fault(const Napi::CallbackInfo& info) {
    throwFault(info.Env(), graph_->region().fault());
    return info.Env().Undefined();
  }
  // Node numbers from outside, all below `nodes`.
  bool known(const Napi::CallbackInfo& info, const Span<uint32_t>& nodes) {
    for (size_t i = 0; i < nodes.length; i++) {
      if (nodes.data[i] >= graph_->nodes()) {
        fail(info.Env(), "a node number past the last");
        return false;
      }
    }
    return true;
  }
  Filter filterOf(const Napi::Value& bits, const Napi::Value& count) {
    if (!bits.IsTypedArray()) return {};
    const auto words = span<Napi::Uint32Array>(bits);
    return {words.data, static_cast<uint32_t>(words.length * 32), count.As<Napi::Number>().Uint32Value()};
  }

  Napi::Value nodes(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->nodes() : 0);
  }
  Napi::Value live(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->live() : 0);
  }
  Napi::Value dead(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->dead() : 0);
  }

  Napi::Value backlog(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->backlog() : 0);
  }

  Napi::Value path(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), graph_ && graph_->walksByCodes() ? "codes" : "vectors");
  }

  Napi::Value isLive(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), graph_ && (graph_->state(info[0].As<Napi::Number>().Uint32Value()) & kLive));
  }

  // liveBits(linked): of live nodes, or of those that are linked too
  Napi::Value liveBits(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint8_t wanted = info[0].ToBoolean().Value() ? kLive | kLinked : kLive;
    const uint32_t n = graph_->nodes();
    Napi::Uint32Array bits = Napi::Uint32Array::New(info.Env(), (n + 31) / 32);
    std::memset(bits.Data(), 0, bits.ByteLength());
    for (uint32_t node = 0; node < n; node++) {
      if ((graph_->state(node) & wanted) == wanted) bits.Data()[node / 32] |= 1u << (node % 32);
    }
    return bits;
  }

  Napi::Value allocate(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t count = info[0].As<Napi::Number>().Uint32Value();
    Napi::Uint32Array out = Napi::Uint32Array::New(info.Env(), count);
    if (!graph_->allocate(count, out.Data())) return info.Env().Null();
    return out;
  }

  Napi::Value claim(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    return Napi::Boolean::New(info.Env(), graph_->claim(wanted.data, static_cast<uint32_t>(wanted.length)));
  }

  Napi::Value abandon(const Napi::CallbackInfo& info) {
    const auto given = span<Napi::Uint32Array>(info[0]);
    if (!open(info) || !known(info, given)) return info.Env().Undefined();
    if (!graph_->abandon(given.data, static_cast<uint32_t>(given.length))) return fault(info);
    return info.Env().Undefined();
  }

  Napi::Value setVectors(const Napi::CallbackInfo& info) {
    const auto to = span<Napi::Uint32Array>(info[0]);
    const auto values = span<Napi::Float32Array>(info[1]);
    const float heat = info[2].As<Napi::Number>().FloatValue();
    if (!open(info) || !known(info, to)) return info.Env().Undefined();
    if (values.length != to.length * graph_->options().dimensions)
      return fail(info.Env(), "values for each node were expected");
    for (size_t i = 0; i < to.length; i++) {
      if (!graph_->setVector(to.data[i], values.data + i * graph_->options().dimensions, heat)) return fault(info);
    }
    return info.Env().Undefined();
  }

  Napi::Value setIds(const Napi::CallbackInfo& info) {
    const auto to = span<Napi::Uint32Array>(info[0]);
    const Napi::Array ids = info[1].As<Napi::Array>();
    if (!open(info) || !known(info, to)) return info.Env().Undefined();
    for (uint32_t i = 0; i < to.length; i++) {
      const Napi::Value id = ids.Get(i);
      uint8_t slot[kIdBytes] = {};
      if (id.IsNumber()) {
        const int64_t value = id.As<Napi::Number>().Int64Value();
        slot[0] = kInteger;
        std::memcpy(slot + 8, &value, sizeof value);
      } else {
        const std::string text = id.As<Napi::String>().Utf8Value();
        if (text.size() <= kIdBytes - 2) {
          slot[0] = kString;
          slot[1] = static_cast<uint8_t>(text.size());
          std::memcpy(slot + 2, text.data(), text.size());
        } else {
          slot[0] = kLongString;
        }
      }
      if (!graph_->setId(to.data[i], slot)) return fault(info);
    }
    return info.Env().Undefined();
  }

  Napi::Value idsOf(const Napi::CallbackInfo& info) {
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    const uint32_t count = info[1].As<Napi::Number>().Uint32Value();
    if (!open(info)) return info.Env().Undefined();
    Napi::Array out = Napi::Array::New(info.Env(), count);
    for (uint32_t i = 0; i < count && i < wanted.length; i++) {
      if (wanted.data[i] >= graph_->nodes()) return fail(info.Env(), "a node number past the last");
      const uint8_t* slot = graph_->id(wanted.data[i]);
      if (!slot) return fault(info);
      if (slot[0] == kInteger) {
        int64_t value;
        std::memcpy(&value, slot + 8, sizeof value);
        out.Set(i, Napi::Number::New(info.Env(), static_cast<double>(value)));
      } else if (slot[0] == kString) {
        const size_t length = std::min<size_t>(slot[1], kIdBytes - 2);
        out.Set(i, Napi::String::New(info.Env(), reinterpret_cast<const char*>(slot + 2), length));
      } else {
        out.Set(i, info.Env().Null());
      }
    }
    return out;
  }

  Napi::Value vector(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t node = info[0].As<Napi::Number>().Uint32Value();
    if (node >= graph_->nodes()) return fail(info.Env(), "a node number past the last");
    const float* v = graph_->vector(node);
    if (!v) return fault(info);
    Napi::Float32Array out = Napi::Float32Array::New(info.Env(), graph_->options().dimensions);
    std::memcpy(out.Data(), v, out.ByteLength());
    return out;
  }

  Napi::Value vectors(const Napi::CallbackInfo& info) {
    const auto nodes = span<Napi::Uint32Array>(info[0]);
    if (!open(info) || !known(info, nodes)) return info.Env().Undefined();
    const size_t dimensions = graph_->options().dimensions;
    Napi::Float32Array out = Napi::Float32Array::New(info.Env(), nodes.length * dimensions);
    if (!graph_->vectors(nodes.data, static_cast<uint32_t>(nodes.length), out.Data())) return fault(info);
    return out;
  }

  Napi::Value publish(const Napi::CallbackInfo& info) {
    const auto live = span<Napi::Uint32Array>(info[0]), dead = span<Napi::Uint32Array>(info[1]);
    if (!open(info) || !known(info, live) || !known(info, dead)) return info.Env().Undefined();
    if (!graph_->publish(live.data, static_cast<uint32_t>(live.length), dead.data, static_cast<uint32_t>(dead.length)))
      return fault(info);
    return info.Env().Undefined();
  }

  Napi::Value link(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return start(new LinkTask(info.Env(), graph_, info[0].As<Napi::Number>().Uint32Value()));
  }
  Napi::Value consolidate(const Napi::CallbackInfo& info) {
    return open(info) ? start(new ConsolidateTask(info.Env(), graph_)) : info.Env().Undefined();
  }
  Napi::Value reconnect(const Napi::CallbackInfo& info) {
    return open(info) ? start(new ReconnectTask(info.Env(), graph_)) : info.Env().Undefined();
  }
  Napi::Value check(const Napi::CallbackInfo& info) {
    return open(info) ? start(new CheckTask(info.Env(), graph_)) : info.Env().Undefined();
  }
  Napi::Value start(Task* task) {
    const Napi::Promise promise = task->promise();
    task->Queue();
    return promise;
  }

  Napi::Value keepsOriginals(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), options_.keepOriginals);
  }
  Napi::Value wasReset(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), reset_); }

  static Tier tierOf(const Napi::Value& value) {
    return static_cast<Tier>(std::min(4u, value.ToNumber().Uint32Value()));
  }

  // retier(nodes, tier) -> { moved, lossy, untrained }
  Napi::Value retier(const Napi::CallbackInfo& info) {
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    if (!open(info)) return info.Env().Undefined();
    return start(new RetierTask(info.Env(), graph_, wanted, tierOf(info[1])));
  }

  Napi::Value train(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const Napi::Object o = info[0].As<Napi::Object>();
    const auto number = [&](const char* name) { return o.Get(name).As<Napi::Number>().DoubleValue(); };
    const std::string coder = o.Get("coder").As<Napi::String>().Utf8Value();
    const CodebookOptions options{graph_->options().dimensions,
                                  graph_->options().metric,
                                  static_cast<uint64_t>(number("seed")),
                                  static_cast<uint32_t>(number("subvectors")),
                                  static_cast<uint32_t>(number("centroids8")),
                                  static_cast<uint32_t>(number("centroids4")),
                                  static_cast<float>(number("outlierThreshold")),
                                  coder == "ans"       ? EntropyCoder::kAns
                                  : coder == "huffman" ? EntropyCoder::kHuffman
                                                       : EntropyCoder::kNone,
                                  static_cast<uint32_t>(number("residualBits")),
                                  static_cast<uint32_t>(number("iterations"))};
    return start(new TrainTask(info.Env(), graph_, options, static_cast<uint32_t>(number("sample"))));
  }

  Napi::Value prefetch(const Napi::CallbackInfo& info) {
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    if (!open(info)) return info.Env().Undefined();
    return start(new PrefetchTask(info.Env(), graph_, wanted));
  }
  Napi::Value cache(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("hits", static_cast<double>(graph_->cache().hits()));
    out.Set("misses", static_cast<double>(graph_->cache().misses()));
    return out;
  }
  Napi::Value compressed(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), graph_ && graph_->tiers().compressed());
  }

  Napi::Value squeeze(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return start(new SqueezeTask(info.Env(), graph_, info[0].ToBoolean().Value()));
  }

  Napi::Value rest(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    if (graph_->searching()) return Napi::Boolean::New(info.Env(), false);
    if (!graph_->tiers().rest(graph_->nodes())) return fault(info);
    return Napi::Boolean::New(info.Env(), true);
  }

  Napi::Value tierCounts(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    Napi::Uint32Array out = Napi::Uint32Array::New(info.Env(), kTiers);
    uint32_t elsewhere = 0;
    for (uint32_t t = 1; t < kTiers; t++) elsewhere += out.Data()[t] = graph_->tiers().count(static_cast<Tier>(t));
    out.Data()[0] = graph_->live() - std::min(graph_->live(), elsewhere);
    return out;
  }

  Napi::Value tierOf(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t node = info[0].As<Napi::Number>().Uint32Value();
    if (node >= graph_->nodes()) return fail(info.Env(), "a node number past the last");
    if (!graph_->tiers().ensurePlace(node)) return fault(info);
    return Napi::Number::New(info.Env(), std::min<uint32_t>(graph_->tiers().where(node).tier, kTiers - 1));
  }

  // places(nodes) -> { tiers, stale, heats }: tiers holds 255 for nodes that are not live; stale is 1 for records of
  // an older codebook.
  Napi::Value places(const Napi::CallbackInfo& info) {
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    if (!open(info)) return info.Env().Undefined();
    Napi::Uint8Array tiers = Napi::Uint8Array::New(info.Env(), wanted.length);
    Napi::Uint8Array stale = Napi::Uint8Array::New(info.Env(), wanted.length);
    Napi::Float32Array heats = Napi::Float32Array::New(info.Env(), wanted.length);
    const uint32_t current = graph_->tiers().current();
    for (size_t i = 0; i < wanted.length; i++) {
      const uint32_t node = wanted.data[i];
      const bool live = graph_->state(node) & kLive;
      if (live && !graph_->tiers().ensurePlace(node)) return fault(info);
      const Where w = live ? graph_->tiers().where(node) : Where{};
      tiers.Data()[i] = live ? w.tier : 255;
      stale.Data()[i] = live && w.tier >= static_cast<uint8_t>(Tier::kCool) && w.version != current;
      heats.Data()[i] = live ? graph_->tiers().place(node)->heat : 0;
    }
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("tiers", tiers);
    out.Set("stale", stale);
    out.Set("heats", heats);
    return out;
  }

  Napi::Value checkTiers(const Napi::CallbackInfo& info) {
    if (!open(info) || graph_->tiers().check(graph_->nodes())) return info.Env().Undefined();
    return fault(info);
  }
  Napi::Value readable(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return Napi::Boolean::New(info.Env(), graph_->tiers().readable(info[0].As<Napi::Number>().Uint32Value()));
  }

  Napi::Value inDegree(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), graph_->inDegree(info[0].As<Napi::Number>().Uint32Value()));
  }

  Napi::Value setHeats(const Napi::CallbackInfo& info) {
    const auto nodes = span<Napi::Uint32Array>(info[0]);
    const auto heats = span<Napi::Float32Array>(info[1]);
    if (!open(info) || !known(info, nodes)) return info.Env().Undefined();
    for (size_t i = 0; i < nodes.length && i < heats.length; i++) {
      if (!graph_->tiers().setHeat(nodes.data[i], heats.data[i])) return fault(info);
    }
    return info.Env().Undefined();
  }

  // Which codec each tier encodes with: null where there is no codebook yet.
  Napi::Value codecs(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t current = graph_->tiers().current();
    Napi::Array out = Napi::Array::New(info.Env(), kTiers);
    out.Set(0u, "float");
    out.Set(1u, "half");
    for (uint32_t t = 2; t < kTiers; t++) {
      const Where w{1, static_cast<uint8_t>(t), static_cast<uint8_t>(current), 0};
      const Codec* codec = current == kVersions ? nullptr : graph_->tiers().codec(w);
      if (codec) out.Set(t, codec->name());
      else out.Set(t, info.Env().Null());
    }
    return out;
  }

  Napi::Value notes(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const TiersHead* head = graph_->tiers().head();
    constexpr size_t count = std::size(TiersHead{}.notes);
    Napi::Float64Array out = Napi::Float64Array::New(info.Env(), count);
    std::memcpy(out.Data(), head->notes, sizeof head->notes);
    return out;
  }
  Napi::Value setNotes(const Napi::CallbackInfo& info) {
    const auto values = span<Napi::Float64Array>(info[0]);
    if (!open(info)) return info.Env().Undefined();
    TiersHead* head = graph_->tiers().head();
    if (!graph_->tiers().touchHead()) return fault(info);
    for (size_t i = 0; i < std::size(head->notes) && i < values.length; i++) head->notes[i] = values.data[i];
    return info.Env().Undefined();
  }

  // search(query, k, ef, outNodes, outDistances, exact, rerank, filterBits?, filterCount?) -> how many
  Napi::Value search(const Napi::CallbackInfo& info) {
    const auto query = span<Napi::Float32Array>(info[0]);
    const uint32_t k = info[1].As<Napi::Number>().Uint32Value(), ef = info[2].As<Napi::Number>().Uint32Value();
    const auto outNodes = span<Napi::Uint32Array>(info[3]);
    const auto outDistances = span<Napi::Float32Array>(info[4]);
    if (!open(info)) return info.Env().Undefined();
    if (query.length != graph_->options().dimensions || outNodes.length < k || outDistances.length < k) {
      return fail(info.Env(), "a query of the index's dimensions and room for k results were expected");
    }
    const uint32_t rerank = info[6].As<Napi::Number>().Uint32Value();
    const Filter filter = filterOf(info[7], info[8]);
    const int32_t count = info[5].ToBoolean().Value()
                              ? graph_->scan(query.data, k, filter, rerank, outNodes.data, outDistances.data)
                              : graph_->search(query.data, k, ef, filter, rerank, outNodes.data, outDistances.data);
    if (count < 0) return fault(info);
    return Napi::Number::New(info.Env(), count);
  }

  // searchMany(queries, k, ef, exact, rerank, filterBits?, filterCount?) -> { nodes, distances, counts }
  Napi::Value searchMany(const Napi::CallbackInfo& info) {
    const auto queries = span<Napi::Float32Array>(info[0]);
    if (!open(info)) return info.Env().Undefined();
    return start(new SearchManyTask(info.Env(), graph_, queries, info[1].As<Napi::Number>().Uint32Value(),
                                    info[2].As<Napi::Number>().Uint32Value(), filterOf(info[5], info[6]),
                                    info[3].ToBoolean().Value(), info[4].As<Napi::Number>().Uint32Value()));
  }

  Napi::Value distances(const Napi::CallbackInfo& info) {
    const auto query = span<Napi::Float32Array>(info[0]);
    const auto wanted = span<Napi::Uint32Array>(info[1]);
    if (!open(info) || !known(info, wanted)) return info.Env().Undefined();
    if (query.length != graph_->options().dimensions)
      return fail(info.Env(), "a query of the index's dimensions was expected");
    Napi::Float32Array out = Napi::Float32Array::New(info.Env(), wanted.length);
    if (!graph_->distances(query.data, wanted.data, static_cast<uint32_t>(wanted.length), out.Data()))
      return fault(info);
    return out;
  }

  Napi::Value neighbors(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t node = info[0].As<Napi::Number>().Uint32Value();
    if (node >= graph_->nodes()) return fail(info.Env(), "a node number past the last");
    std::vector<uint32_t> ids(2 * graph_->options().m);
    const int32_t count = graph_->neighbors(node, ids.data());
    if (count < 0) return fault(info);
    Napi::Uint32Array out = Napi::Uint32Array::New(info.Env(), static_cast<size_t>(count));
    std::memcpy(out.Data(), ids.data(), static_cast<size_t>(count) * sizeof(uint32_t));
    return out;
  }

  // fields(nodes, most) -> { nodes, distances, biases, counts }
  Napi::Value fields(const Napi::CallbackInfo& info) {
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    if (!open(info)) return info.Env().Undefined();
    const uint32_t most = std::clamp(info[1].As<Napi::Number>().Uint32Value(), 1u, 2 * graph_->options().m);
    Napi::Env env = info.Env();
    Napi::Uint32Array nodes = Napi::Uint32Array::New(env, wanted.length * most);
    Napi::Float32Array distances = Napi::Float32Array::New(env, wanted.length * most);
    Napi::Float32Array biases = Napi::Float32Array::New(env, wanted.length * most);
    Napi::Uint32Array counts = Napi::Uint32Array::New(env, wanted.length);
    if (!graph_->fields(wanted.data, static_cast<uint32_t>(wanted.length), most, nodes.Data(), distances.Data(),
                        biases.Data(), counts.Data()))
      return fault(info);
    Napi::Object out = Napi::Object::New(env);
    out.Set("nodes", nodes);
    out.Set("distances", distances);
    out.Set("biases", biases);
    out.Set("counts", counts);
    return out;
  }

  // setBiases(nodes, to, biases): to and biases have as many values for each node
  Napi::Value setBiases(const Napi::CallbackInfo& info) {
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    const auto to = span<Napi::Uint32Array>(info[1]);
    const auto biases = span<Napi::Float32Array>(info[2]);
    if (!open(info) || wanted.length == 0) return info.Env().Undefined();
    if (to.length != biases.length || to.length % wanted.length != 0)
      return fail(info.Env(), "as many ends and biases for each node were expected");
    if (!graph_->setBiases(wanted.data, static_cast<uint32_t>(wanted.length),
                           static_cast<uint32_t>(to.length / wanted.length), to.data, biases.data))
      return fault(info);
    return info.Env().Undefined();
  }

  // standing(nodes) -> { levels, inDegrees }
  Napi::Value standing(const Napi::CallbackInfo& info) {
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    if (!open(info) || !known(info, wanted)) return info.Env().Undefined();
    Napi::Uint8Array levels = Napi::Uint8Array::New(info.Env(), wanted.length);
    Napi::Uint32Array inDegrees = Napi::Uint32Array::New(info.Env(), wanted.length);
    if (!graph_->standing(wanted.data, static_cast<uint32_t>(wanted.length), levels.Data(), inDegrees.Data()))
      return fault(info);
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("levels", levels);
    out.Set("inDegrees", inDegrees);
    return out;
  }

  Napi::Value topLevel(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->topLevel() : 0);
  }

  // searchLevel(query, level, k, outNodes, outDistances) -> how many
  Napi::Value searchLevel(const Napi::CallbackInfo& info) {
    const auto query = span<Napi::Float32Array>(info[0]);
    const uint32_t level = info[1].As<Napi::Number>().Uint32Value(), k = info[2].As<Napi::Number>().Uint32Value();
    const auto outNodes = span<Napi::Uint32Array>(info[3]);
    const auto outDistances = span<Napi::Float32Array>(info[4]);
    if (!open(info)) return info.Env().Undefined();
    if (query.length != graph_->options().dimensions || outNodes.length < k || outDistances.length < k) {
      return fail(info.Env(), "a query of the index's dimensions and room for k results were expected");
    }
    const int32_t count = graph_->searchLevel(query.data, level, k, outNodes.data, outDistances.data);
    if (count < 0) return fault(info);
    return Napi::Number::New(info.Env(), count);
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    graph_.reset();
    return info.Env().Undefined();
  }

  Options options_{};
  bool reset_ = false;
  std::shared_ptr<Graph> graph_;
};

}  // namespace

Napi::Function defineGraph(Napi::Env env) {
  return GraphObject::define(env);
}

std::shared_ptr<Graph> graphOf(const Napi::Value& object) {
  return GraphObject::Unwrap(object.As<Napi::Object>())->graph();
}

}  // namespace hebb::addon
