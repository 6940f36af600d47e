#include "mapped.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace hebb::test {

Image::Image(const World& w) : from_(w) {
  for (uint32_t section = 0; section < w.region->sectionCount(); section++) {
    const std::vector<uint32_t> dirty = w.region->dirtyPages(section);
    const uint64_t end = dirty.empty() ? 0 : roundUp((dirty.back() + 1) * kPageBytes, kBlockBytes);
    sections_.emplace_back(w.region->base(section), w.region->base(section) + end);
  }
}

Image::Mapped::Mapped(const Image& image) : file(std::tmpfile()) {
  const Options& o = image.from_.options;
  w = std::make_unique<World>(o.dimensions, o.metric, o.m, o.maxNodes, o.profile, o.keepOriginals);
  w->vectors = image.from_.vectors;
  w->graph.reset();
  if (!file) std::abort();
  for (const std::vector<uint8_t>& section : image.sections_) {
    if (!section.empty() && std::fwrite(section.data(), section.size(), 1, file) != 1) std::abort();
  }
  std::fflush(file);
  for (uint32_t section = 0; section < image.sections_.size(); section++) {
    const uint64_t size = image.sections_[section].size();
    if (size == 0) continue;
    w->region->snapshot(section);  // what the world changed as it was made would stay as it is
    if (!w->region->map(section, 0, size, fileno(file), bytes)) std::abort();
    for (uint64_t block = 0; block * kBlockBytes < size; block++) {
      const uint32_t sum = kernel->crc32c(image.sections_[section].data() + block * kBlockBytes, kBlockBytes, 0);
      w->region->expectChecksums(section, block, &sum, 1);
    }
    bytes += size;
  }
  if (!w->attach()) std::abort();
}

Image::Mapped::~Mapped() {
  std::fclose(file);
}

void Image::Mapped::cut(uint64_t to) const {
  if (ftruncate(fileno(file), static_cast<off_t>(to)) != 0) std::abort();
}

}  // namespace hebb::test
