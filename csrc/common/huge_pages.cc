#include "common/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <new>

namespace treeward {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kBlock = 16 * kHugePage;
constexpr size_t kLine = 64;

size_t up_to(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// A range that pieces are cut from, front to back.
class Block {
 public:
  explicit Block(size_t bytes)
      : size_(up_to(bytes, kHugePage)),
        data_(static_cast<char*>(::operator new(size_, kAlignment))) {
    prefer_huge_pages(data_, size_);
  }
  ~Block() { ::operator delete(data_, kAlignment); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Null when there is no room.
  void* cut(size_t bytes) {
    if (bytes > size_ - used_) return nullptr;
    used_ += bytes;
    return data_ + used_ - bytes;
  }

 private:
  static constexpr std::align_val_t kAlignment{kHugePage};
  size_t size_, used_ = 0;
  char* data_;
};

}  // namespace

bool prefer_huge_pages(void* data, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = up_to(address, kHugePage);
  const uintptr_t end = (address + bytes) / kHugePage * kHugePage;
  if (begin >= end) return false;
  return madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE) == 0;
#else
  (void)data;
  (void)bytes;
  return false;
#endif
}

std::shared_ptr<void> shared_huge_pages(size_t bytes) {
  static std::mutex mutex;
  static std::weak_ptr<Block> last;
  const std::lock_guard lock(mutex);
  bytes = up_to(bytes, kLine);
  std::shared_ptr<Block> block = last.lock();
  void* piece = block == nullptr ? nullptr : block->cut(bytes);
  if (piece == nullptr) {
    block = std::make_shared<Block>(std::max(bytes, kBlock));
    last = block;
    piece = block->cut(bytes);
  }
  return {std::move(block), piece};
}

}  // namespace treeward
