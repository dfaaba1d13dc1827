// Memory in pages of 2 MiB, where the system has them.
#pragma once

#include <cstddef>
#include <memory>

namespace treeward {

/// Asks the system to hold a range of memory in huge pages from its first use on: a long read then
/// waits less for addresses to be translated. Returns whether it agreed; ends that do not fill a
/// huge page stay as they are, and so does all memory where the system has none.
bool prefer_huge_pages(void* data, size_t bytes);

/// Memory for what is read often and lives long, aligned to a cache line and not yet written. Many
/// small pieces share huge pages, side by side in the order of the calls; what they share is freed
/// with the last of them. May be called from several threads.
std::shared_ptr<void> shared_huge_pages(size_t bytes);

}  // namespace treeward
