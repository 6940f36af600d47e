#include <cerrno>
#include <cstring>

#include "addon.hpp"

namespace hebb::addon {

Napi::Function RegionObject::define(Napi::Env env) {
  return DefineClass(
      env, "Region",
      {InstanceMethod("map", &RegionObject::map), InstanceMethod("load", &RegionObject::load),
       InstanceMethod("expectChecksums", &RegionObject::expectChecksums),
       InstanceMethod("read", &RegionObject::reading<&RegionObject::read>),
       InstanceMethod("write", &RegionObject::reading<&RegionObject::write>),
       InstanceMethod("dirtyPages", &RegionObject::dirtyPages), InstanceMethod("dirtyCount", &RegionObject::dirtyCount),
       InstanceMethod("discard", &RegionObject::discard), InstanceMethod("kept", &RegionObject::kept),
       InstanceMethod("snapshot", &RegionObject::snapshot), InstanceMethod("include", &RegionObject::include),
       InstanceMethod("takeBlocks", &RegionObject::reading<&RegionObject::takeBlocks>),
       InstanceMethod("loss", &RegionObject::loss), InstanceMethod("blocks", &RegionObject::blocks),
       InstanceMethod("restore", &RegionObject::restore),
       InstanceMethod("forgetSnapshot", &RegionObject::forgetSnapshot),
       InstanceMethod("dropPages", &RegionObject::dropPages),
       InstanceMethod("residentBytes", &RegionObject::residentBytes), InstanceMethod("close", &RegionObject::close)});
}

RegionObject::RegionObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RegionObject>(info) {
  const Napi::Array sizes = info[0].As<Napi::Array>();
  std::vector<uint64_t> reserve(sizes.Length());
  for (uint32_t i = 0; i < reserve.size(); i++) reserve[i] = whole(sizes.Get(i));
  region_ = std::make_shared<Region>(reserve);
  if (!region_->valid()) {
    region_.reset();
    fail(info.Env(),
         "the system refused address space for the store; lower max_nodes, or raise the limit on virtual memory "
         "(ulimit -v)");
  }
}

bool RegionObject::within(const Napi::CallbackInfo& info, uint64_t section, uint64_t at, uint64_t bytes) {
  if (!region_) {
    fail(info.Env(), "the region is closed");
    return false;
  }
  if (section >= region_->sectionCount() || at > region_->reserved(static_cast<uint32_t>(section)) ||
      bytes > region_->reserved(static_cast<uint32_t>(section)) - at) {
    fail(info.Env(), "a range past the section's reserved addresses");
    return false;
  }
  return true;
}

bool RegionObject::pagesWithin(const Napi::CallbackInfo& info, uint64_t section, const Span<uint32_t>& pages) {
  for (size_t i = 0; i < pages.length; i++) {
    if (!within(info, section, pages.data[i] * kPageBytes, kPageBytes)) return false;
  }
  return within(info, section, 0, 0);
}

Napi::Value RegionObject::map(const Napi::CallbackInfo& info) {
  const uint64_t section = whole(info[0]), at = whole(info[1]), bytes = whole(info[2]), offset = whole(info[4]);
  if (!within(info, section, at, bytes)) return info.Env().Undefined();
  if (!region_->map(static_cast<uint32_t>(section), at, bytes, info[3].As<Napi::Number>().Int32Value(), offset)) {
    return fail(info.Env(), (std::string("mmap failed: ") + std::strerror(errno)).c_str());
  }
  return info.Env().Undefined();
}

Napi::Value RegionObject::load(const Napi::CallbackInfo& info) {
  const auto bytes = span<Napi::Uint8Array>(info[2]);
  const uint64_t section = whole(info[0]), at = whole(info[1]);
  if (within(info, section, at, bytes.length))
    region_->load(static_cast<uint32_t>(section), at, bytes.data, bytes.length);
  return info.Env().Undefined();
}

Napi::Value RegionObject::expectChecksums(const Napi::CallbackInfo& info) {
  const auto sums = span<Napi::Uint32Array>(info[2]);
  const uint64_t section = whole(info[0]), first = whole(info[1]);
  if (within(info, section, first * kBlockBytes, sums.length * kBlockBytes)) {
    region_->expectChecksums(static_cast<uint32_t>(section), first, sums.data, sums.length);
  }
  return info.Env().Undefined();
}

Napi::Value RegionObject::read(const Napi::CallbackInfo& info) {
  const uint64_t section = whole(info[0]), at = whole(info[1]), bytes = whole(info[2]);
  if (!within(info, section, at, bytes)) return info.Env().Undefined();
  if (!region_->ensure(static_cast<uint32_t>(section), at, bytes)) {
    throwFault(info.Env(), region_->fault());
    return info.Env().Undefined();
  }
  Napi::Uint8Array out = Napi::Uint8Array::New(info.Env(), bytes);
  std::memcpy(out.Data(), region_->base(static_cast<uint32_t>(section)) + at, bytes);
  return out;
}

Napi::Value RegionObject::write(const Napi::CallbackInfo& info) {
  const auto bytes = span<Napi::Uint8Array>(info[2]);
  const uint64_t section = whole(info[0]), at = whole(info[1]);
  if (!within(info, section, at, bytes.length)) return info.Env().Undefined();
  if (!region_->touch(static_cast<uint32_t>(section), at, bytes.length)) {
    throwFault(info.Env(), region_->fault());
    return info.Env().Undefined();
  }
  std::memcpy(region_->base(static_cast<uint32_t>(section)) + at, bytes.data, bytes.length);
  return info.Env().Undefined();
}

Napi::Value RegionObject::dirtyPages(const Napi::CallbackInfo& info) {
  const uint64_t section = whole(info[0]);
  if (!within(info, section, 0, 0)) return info.Env().Undefined();
  const std::vector<uint32_t> pages = region_->dirtyPages(static_cast<uint32_t>(section));
  Napi::Uint32Array out = Napi::Uint32Array::New(info.Env(), pages.size());
  std::memcpy(out.Data(), pages.data(), pages.size() * sizeof(uint32_t));
  return out;
}

Napi::Value RegionObject::dirtyCount(const Napi::CallbackInfo& info) {
  if (!within(info, 0, 0, 0)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(region_->dirtyCount()));
}

Napi::Value RegionObject::snapshot(const Napi::CallbackInfo& info) {
  const uint64_t section = whole(info[0]);
  if (!within(info, section, 0, 0)) return info.Env().Undefined();
  return copied<Napi::Uint32Array>(info.Env(), region_->snapshot(static_cast<uint32_t>(section)));
}

Napi::Value RegionObject::include(const Napi::CallbackInfo& info) {
  const uint64_t section = whole(info[0]), first = whole(info[1]), blocks = whole(info[2]);
  if (within(info, section, first * kBlockBytes, blocks * kBlockBytes))
    region_->include(static_cast<uint32_t>(section), first, blocks);
  return info.Env().Undefined();
}

Napi::Value RegionObject::takeBlocks(const Napi::CallbackInfo& info) {
  const auto blocks = span<Napi::Uint32Array>(info[1]);
  const uint64_t section = whole(info[0]);
  Napi::Uint8Array out = Napi::Uint8Array::New(info.Env(), blocks.length * kBlockBytes);
  for (size_t i = 0; i < blocks.length; i++) {
    if (!within(info, section, blocks.data[i] * kBlockBytes, kBlockBytes)) return info.Env().Undefined();
    if (!region_->take(static_cast<uint32_t>(section), blocks.data[i], out.Data() + i * kBlockBytes))
      return fail(info.Env(), "a block that the snapshot does not have");
  }
  return out;
}

Napi::Value RegionObject::restore(const Napi::CallbackInfo& info) {
  const auto pages = span<Napi::Uint32Array>(info[1]);
  const uint64_t section = whole(info[0]);
  if (pagesWithin(info, section, pages))
    region_->restore(static_cast<uint32_t>(section), pages.data, pages.length, whole(info[2]));
  return info.Env().Undefined();
}

Napi::Value RegionObject::forgetSnapshot(const Napi::CallbackInfo& info) {
  if (!within(info, 0, 0, 0)) return info.Env().Undefined();
  for (uint32_t section = 0; section < region_->sectionCount(); section++) region_->forgetSnapshot(section);
  return info.Env().Undefined();
}

Napi::Value RegionObject::dropPages(const Napi::CallbackInfo& info) {
  const auto pages = span<Napi::Uint32Array>(info[1]);
  const uint64_t section = whole(info[0]);
  if (pagesWithin(info, section, pages)) region_->dropPages(static_cast<uint32_t>(section), pages.data, pages.length);
  return info.Env().Undefined();
}

Napi::Value RegionObject::discard(const Napi::CallbackInfo& info) {
  const uint64_t section = whole(info[0]), from = whole(info[1]);
  if (!within(info, section, from, 0)) return info.Env().Undefined();
  if (from % kBlockBytes != 0) return fail(info.Env(), "a discard from within a block");
  if (!region_->discard(static_cast<uint32_t>(section), from)) {
    return fail(info.Env(), (std::string("mmap failed: ") + std::strerror(errno)).c_str());
  }
  return info.Env().Undefined();
}

Napi::Value RegionObject::kept(const Napi::CallbackInfo& info) {
  const uint64_t section = whole(info[0]);
  if (!within(info, section, 0, 0)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(region_->kept(static_cast<uint32_t>(section))));
}

Napi::Value RegionObject::residentBytes(const Napi::CallbackInfo& info) {
  const bool all = info[0].IsUndefined();
  const uint64_t section = all ? 0 : whole(info[0]);
  if (!within(info, section, 0, 0)) return info.Env().Undefined();
  const uint64_t bytes = all ? region_->residentBytes() : region_->residentBytes(static_cast<uint32_t>(section));
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

// blocks() -> { all, touched }
Napi::Value RegionObject::blocks(const Napi::CallbackInfo& info) {
  if (!within(info, 0, 0, 0)) return info.Env().Undefined();
  const Region::Blocks blocks = region_->blocks();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("all", static_cast<double>(blocks.all));
  out.Set("touched", static_cast<double>(blocks.touched));
  return out;
}

// The error for the first page that was lost, or undefined.
Napi::Value RegionObject::loss(const Napi::CallbackInfo& info) {
  return region_ && region_->lost() ? faultError(info.Env(), region_->fault()) : info.Env().Undefined();
}

Napi::Value RegionObject::close(const Napi::CallbackInfo& info) {
  region_.reset();
  return info.Env().Undefined();
}

}  // namespace hebb::addon
