// Memory of large arrays in huge pages where the system has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace treeward {

// A walk touches memory at random. With pages of 4 KiB a few megabytes are more than the processor
// remembers the addresses of, and every step of the walk would first look a page up.
inline constexpr size_t kHugePage = size_t{2} << 20;

/// Allocator of std::vector: from one huge page on, aligned to huge pages and marked for them.
template <typename T>
struct HugePageAllocator {
  using value_type = T;

  HugePageAllocator() = default;
  template <typename Other>
  explicit HugePageAllocator(const HugePageAllocator<Other>&) {}

  T* allocate(size_t count) {
    if (count > (SIZE_MAX - kHugePage) / sizeof(T)) throw std::bad_array_new_length();
    const size_t alignment = count * sizeof(T) >= kHugePage ? kHugePage : kLine;
    const size_t bytes = (count * sizeof(T) + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, bytes);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    // A wish: where it is refused the pages are small and the results the same.
    if (alignment == kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) { std::free(memory); }

  bool operator==(const HugePageAllocator&) const { return true; }

 private:
  static constexpr size_t kLine = 64;
  static_assert(alignof(T) <= kLine);
};

}  // namespace treeward
