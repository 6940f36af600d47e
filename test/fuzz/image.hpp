// The bytes of a region's sections as a sound store has them; what a fuzzer changes in them, and how they become sound
// again. Changes come with right checksums: no section states any.
#pragma once

#include <cstdint>
#include <vector>

#include "input.hpp"
#include "map/region.hpp"

namespace hebb::fuzz {

class Image {
 public:
  // What a section may have: `bytes` of it are used, and nobody has any business from `limit` on, so that the
  // sanitizer is told (0: where the section ends).
  struct Part {
    uint32_t section;
    uint64_t bytes, stride, limit;
  };

  Image(Region& region, std::vector<Part> parts);

  // Changes a few bytes of a section: of one field of a record, or anywhere.
  void edit(Input& in, uint32_t bound);
  // A section's bytes, which are about to be changed.
  uint8_t* open(uint32_t section, uint64_t at, uint64_t bytes);
  // Pages of a section that were opened since it was sound.
  const std::vector<uint32_t>& edited(uint32_t section) const;
  // What was edited, and what the kernel said that it changed, is as it was.
  void heal();

 private:
  struct Copy {
    Part part;
    std::vector<uint8_t> bytes;
    std::vector<uint32_t> edited;  // pages
  };
  void restore(Copy& c, uint64_t from, uint64_t end);

  Region& region_;
  std::vector<Copy> copies_;
};

}  // namespace hebb::fuzz
