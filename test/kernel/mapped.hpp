// A world whose sections are mapped from a file, as an opened store's are.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "world.hpp"

namespace hebb::test {

// What a world holds, to be mapped over and over.
class Image {
 public:
  explicit Image(const World& w);

  // A file of all sections, each from a whole block on, and a world of the same options over it, suspects and all.
  struct Mapped {
    explicit Mapped(const Image& image);
    ~Mapped();
    void cut(uint64_t bytes) const;  // the file, to so many bytes
    std::unique_ptr<World> w;
    std::FILE* file;
    uint64_t bytes = 0;  // of the file
  };

 private:
  const World& from_;
  std::vector<std::vector<uint8_t>> sections_;
};

}  // namespace hebb::test
