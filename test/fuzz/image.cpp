#include "image.hpp"

#include <sanitizer/asan_interface.h>

#include <algorithm>

namespace hebb::fuzz {

Image::Image(Region& region, std::vector<Part> parts) : region_(region) {
  for (Part& part : parts) {
    const uint8_t* base = region.base(part.section);
    const uint64_t reserved = region.reserved(part.section);
    part.limit = part.limit == 0 ? reserved : std::min(reserved, roundUp(part.limit, 8));
    __asan_poison_memory_region(base + part.limit, reserved - part.limit);
    region.snapshot(part.section);  // nothing is changed yet
    region.forgetSnapshot(part.section);
    copies_.push_back({part, {base, base + part.bytes}, {}});
  }
}

uint8_t* Image::open(uint32_t section, uint64_t at, uint64_t bytes) {
  for (Copy& c : copies_) {
    if (c.part.section != section) continue;
    for (uint64_t page = at / kPageBytes; page <= (at + bytes - 1) / kPageBytes; page++)
      c.edited.push_back(static_cast<uint32_t>(page));
  }
  return region_.base(section) + at;
}

const std::vector<uint32_t>& Image::edited(uint32_t section) const {
  static const std::vector<uint32_t> none;
  for (const Copy& c : copies_) {
    if (c.part.section == section) return c.edited;
  }
  return none;
}

void Image::edit(Input& in, uint32_t bound) {
  const Copy& c = copies_[in.below(static_cast<uint32_t>(copies_.size()))];
  const Part& part = c.part;
  if (part.bytes < 8) return;
  const uint8_t how = in.u8();
  // Most fields are at the start of a record, and most records are like the first ones.
  uint64_t at = in.u32() % part.bytes;
  if (how & 1) {
    const uint64_t records = (part.bytes + part.stride - 1) / part.stride;
    const uint64_t within = how & 2 ? in.u8() : in.u16();
    at = in.u16() % records * part.stride + within % part.stride;
  }
  if (how & 4) at &= ~uint64_t{3};
  at = std::min(at, part.bytes - 8);
  if (how & 8) {
    const uint32_t value = in.odd(bound);
    const uint32_t size = how & 16 ? 4 : how & 32 ? 2 : 1;
    std::memcpy(open(part.section, at, size), &value, size);
  } else if (how & 16) {
    *open(part.section, at, 1) ^= static_cast<uint8_t>(1u << in.below(8));
  } else {
    // A run of the same value, as of a block that was zeroed or written over; or bytes of elsewhere.
    const uint64_t size = std::min<uint64_t>(1 + in.u8() * (how & 32 ? 16 : 1), part.bytes - at);
    uint8_t* const to = open(part.section, at, size);
    if (how & 64) {
      const uint64_t from = in.u32() % (part.bytes - size + 1);
      std::memmove(to, region_.base(part.section) + from, size);
    } else {
      std::memset(to, in.u8(), size);
    }
  }
}

void Image::restore(Copy& c, uint64_t from, uint64_t end) {
  end = std::min(end, c.part.limit);
  if (from >= end) return;
  uint8_t* const base = region_.base(c.part.section);
  const uint64_t known = std::min<uint64_t>(end, c.bytes.size());
  if (from < known) std::memcpy(base + from, c.bytes.data() + from, known - from);
  const uint64_t zeros = std::max(from, known);
  if (zeros < end) std::memset(base + zeros, 0, end - zeros);
}

void Image::heal() {
  for (Copy& c : copies_) {
    const uint64_t kept = region_.kept(c.part.section);
    std::vector<uint32_t> pages = region_.snapshot(c.part.section);
    region_.forgetSnapshot(c.part.section);
    pages.insert(pages.end(), c.edited.begin(), c.edited.end());
    c.edited.clear();
    for (const uint32_t page : pages) restore(c, page * kPageBytes, (page + 1) * kPageBytes);
    if (kept < region_.reserved(c.part.section)) restore(c, kept, c.bytes.size());
  }
}

}  // namespace hebb::fuzz
