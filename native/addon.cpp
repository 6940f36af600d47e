#include "addon.hpp"

#include <cstdlib>

#include "kernel.hpp"
#include "map/platform.hpp"

namespace hebb::addon {

Napi::Value fail(Napi::Env env, const char* message) {
  Napi::Error::New(env, message).ThrowAsJavaScriptException();
  return env.Undefined();
}

// By JavaScript's own function, one for each environment.
Napi::Value faultError(Napi::Env env, const BlockFault& fault) {
  const Napi::FunctionReference* make = env.GetInstanceData<Napi::FunctionReference>();
  if (!make) return fail(env, "a block of mapped memory does not have its checksum");
  return make->Call({Napi::Number::New(env, fault.section), Napi::Number::New(env, static_cast<double>(fault.block)),
                     Napi::Number::New(env, fault.expected), Napi::Number::New(env, fault.computed),
                     Napi::Number::New(env, static_cast<double>(fault.offset)),
                     fault.reason ? Napi::String::New(env, fault.reason) : env.Null(),
                     Napi::Boolean::New(env, fault.lost)});
}

void throwFault(Napi::Env env, const BlockFault& fault) {
  const Napi::Value error = faultError(env, fault);
  if (!env.IsExceptionPending()) napi_throw(env, error);
}

namespace {

Napi::Value crc32c(const Napi::CallbackInfo& info) {
  const auto bytes = span<Napi::Uint8Array>(info[0]);
  const uint32_t seed = info.Length() > 1 && info[1].IsNumber() ? info[1].As<Napi::Number>().Uint32Value() : 0;
  return Napi::Number::New(info.Env(), kernel->crc32c(bytes.data, bytes.length, seed));
}

Napi::Value firstNonFinite(const Napi::CallbackInfo& info) {
  const auto values = span<Napi::Float32Array>(info[0]);
  const size_t at = kernel->firstNonFinite(values.data, values.length);
  return Napi::Number::New(info.Env(), at == values.length ? -1.0 : static_cast<double>(at));
}

Napi::Value l2(const Napi::CallbackInfo& info) {
  const auto a = span<Napi::Float32Array>(info[0]), b = span<Napi::Float32Array>(info[1]);
  if (a.length != b.length) return fail(info.Env(), "vectors of one length were expected");
  return Napi::Number::New(info.Env(), kernel->l2(a.data, b.data, a.length));
}

Napi::Value dot(const Napi::CallbackInfo& info) {
  const auto a = span<Napi::Float32Array>(info[0]), b = span<Napi::Float32Array>(info[1]);
  if (a.length != b.length) return fail(info.Env(), "vectors of one length were expected");
  return Napi::Number::New(info.Env(), kernel->dot(a.data, b.data, a.length));
}

// scoreRows(isL2, query, rows, slots, out, places): the score of the row at each slot goes to its place in `out`.
Napi::Value scoreRows(const Napi::CallbackInfo& info) {
  const auto query = span<Napi::Float32Array>(info[1]), rows = span<Napi::Float32Array>(info[2]);
  const auto slots = span<Napi::Uint32Array>(info[3]), places = span<Napi::Uint32Array>(info[5]);
  const auto out = span<Napi::Float64Array>(info[4]);
  const bool isL2 = info[0].ToBoolean().Value();
  const size_t d = query.length, count = d ? rows.length / d : 0;
  if (slots.length != places.length) return fail(info.Env(), "a place for each slot was expected");
  for (size_t i = 0; i < slots.length; i++) {
    if (slots.data[i] >= count) return fail(info.Env(), "a slot past the last row");
    if (places.data[i] >= out.length) return fail(info.Env(), "a place past the last score");
    const float* row = rows.data + slots.data[i] * d;
    out.data[places.data[i]] = isL2 ? -kernel->l2(query.data, row, d) : kernel->dot(query.data, row, d);
  }
  return info.Env().Undefined();
}

Napi::Value tryLock(const Napi::CallbackInfo& info) {
  const bool exclusive = info[1].As<Napi::String>().Utf8Value() == "exclusive";
  return Napi::Boolean::New(info.Env(), platform::tryLock(info[0].As<Napi::Number>().Int32Value(), exclusive));
}

Napi::Value allocate(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           platform::allocate(info[0].As<Napi::Number>().Int32Value(), whole(info[1]), whole(info[2])));
}

Napi::Value makeFaultsBy(const Napi::CallbackInfo& info) {
  info.Env().SetInstanceData(new Napi::FunctionReference(Napi::Persistent(info[0].As<Napi::Function>())));
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const char* error = nullptr;
  if (!kernel) kernel = selectKernel(std::getenv("HEBB_KERNEL"), &error);
  if (!kernel) {
    fail(env, error);
    return exports;
  }
  exports.Set("kernelName", Napi::String::New(env, kernel->name));
  exports.Set("kernelDeterministic", Napi::Boolean::New(env, kernel->deterministic));
  exports.Set("kernelMaxDimension", Napi::Number::New(env, kernel->maxDimension));
  exports.Set("crc32c", Napi::Function::New(env, crc32c));
  exports.Set("firstNonFinite", Napi::Function::New(env, firstNonFinite));
  exports.Set("l2", Napi::Function::New(env, l2));
  exports.Set("dot", Napi::Function::New(env, dot));
  exports.Set("scoreRows", Napi::Function::New(env, scoreRows));
  exports.Set("tryLock", Napi::Function::New(env, tryLock));
  exports.Set("allocate", Napi::Function::New(env, allocate));
  exports.Set("makeFaultsBy", Napi::Function::New(env, makeFaultsBy));
  exports.Set("Region", RegionObject::define(env));
  exports.Set("Graph", defineGraph(env));
  exportNetwork(env, exports);
  exportFrozen(env, exports);
  return exports;
}

}  // namespace
}  // namespace hebb::addon

static Napi::Object initAddon(Napi::Env env, Napi::Object exports) {
  return hebb::addon::init(env, exports);
}
NODE_API_MODULE(hebb, initAddon)
