#include "platform.hpp"

#if !defined(__linux__) && !defined(__APPLE__)
#error "Hebb runs on Linux and macOS; this system is neither"
#endif

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <mach/mach.h>
#include <mach/mach_vm.h>
#endif

#include <thread>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

namespace hebb::platform {

uint8_t* reserve(uint64_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<uint8_t*>(p);
}

void release(uint8_t* base, uint64_t bytes) {
  munmap(base, bytes);
}

void preferLargePages(uint8_t* base, uint64_t bytes) {
#if defined(__linux__)
  madvise(base, bytes, MADV_HUGEPAGE);
#else
  (void)base;
  (void)bytes;
#endif
}

bool mapPrivate(uint8_t* base, uint64_t bytes, int fd, uint64_t fileOffset) {
  const void* mapped = mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
                            static_cast<off_t>(fileOffset));
  if (mapped == MAP_FAILED) return false;
  madvise(base, bytes, MADV_RANDOM);
  return true;
}

uint8_t* mapBeside(uint64_t bytes, int fd, uint64_t fileOffset) {
  void* mapped =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, static_cast<off_t>(fileOffset));
  if (mapped == MAP_FAILED) return nullptr;
  madvise(mapped, bytes, MADV_RANDOM);
  return static_cast<uint8_t*>(mapped);
}

bool moveMapping(uint8_t* base, uint8_t* beside, uint64_t bytes) {
#if defined(__linux__)
  if (mremap(beside, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, base) != MAP_FAILED) return true;
#else
  mach_vm_address_t target = reinterpret_cast<mach_vm_address_t>(base);
  vm_prot_t now, most;
  if (mach_vm_remap(mach_task_self(), &target, bytes, 0, VM_FLAGS_FIXED | VM_FLAGS_OVERWRITE, mach_task_self(),
                    reinterpret_cast<mach_vm_address_t>(beside), FALSE, &now, &most, VM_INHERIT_COPY) == KERN_SUCCESS) {
    munmap(beside, bytes);
    return true;
  }
  errno = ENOMEM;
#endif
  const int error = errno;
  munmap(beside, bytes);
  errno = error;
  return false;
}

bool mapZeros(uint8_t* base, uint64_t bytes) {
  const void* mapped =
      mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return mapped != MAP_FAILED;
}

void willNeed(uint8_t* base, uint64_t bytes) {
  madvise(base, bytes, MADV_WILLNEED);
}

bool dropPrivate(uint8_t* base, uint64_t bytes, int fd, uint64_t fileOffset) {
#if defined(__linux__)
  (void)fd;
  (void)fileOffset;
  return madvise(base, bytes, MADV_DONTNEED) == 0;
#else
  // MADV_DONTNEED keeps private copies on macOS.
  return mapPrivate(base, bytes, fd, fileOffset);
#endif
}

uint64_t residentPages(const uint8_t* base, uint64_t bytes) {
  constexpr uint64_t kStride = 1 << 16;  // pages asked for at once
#if defined(__linux__)
  unsigned char resident[kStride];
#else
  char resident[kStride];
#endif
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t found = 0;
  for (uint64_t at = 0; at < bytes; at += kStride * page) {
    const uint64_t part = bytes - at < kStride * page ? bytes - at : kStride * page;
    if (mincore(const_cast<uint8_t*>(base) + at, part, resident) != 0) continue;
    for (uint64_t i = 0; i < (part + page - 1) / page; i++) found += resident[i] & 1;
  }
  return found;
}

bool tryLock(int fd, bool exclusive) {
  return flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0;
}

int allocate(int fd, uint64_t offset, uint64_t bytes) {
#if defined(__linux__)
  return posix_fallocate(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes));
#else
  fstore_t store = {F_ALLOCATEALL, F_PEOFPOSMODE, 0, static_cast<off_t>(bytes), 0};
  if (fcntl(fd, F_PREALLOCATE, &store) == -1) return errno;
  return ftruncate(fd, static_cast<off_t>(offset + bytes)) == 0 ? 0 : errno;
#endif
}

unsigned processorCount() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<unsigned>(CPU_COUNT(&set));
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n ? n : 1;
}

}  // namespace hebb::platform
