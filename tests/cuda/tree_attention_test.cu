// Tree attention on the device against the CPU core, on the plans of random trees.
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "../cpp/check.h"
#include "attention/attention.h"
#include "common/errors.h"
#include "cuda/kernels.h"
#include "kv/span_tree.h"
#include "kv/step_batch.h"

namespace treeward {
namespace {

constexpr int kNoDevice = 77;

void check_cuda(cudaError_t status) {
  if (status != cudaSuccess) std::fprintf(stderr, "%s\n", cudaGetErrorString(status));
  CHECK(status == cudaSuccess);
}

/// The same bytes on both sides. Device memory is exactly as large as it must be.
struct Buffer {
  std::vector<char> host;
  char* device = nullptr;

  explicit Buffer(size_t bytes) : host(bytes) {
    check_cuda(cudaMalloc(&device, bytes > 0 ? bytes : 1));
  }
  ~Buffer() { cudaFree(device); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void upload() {
    check_cuda(cudaMemcpy(device, host.data(), host.size(), cudaMemcpyHostToDevice));
  }
  std::vector<char> downloaded() const {
    std::vector<char> bytes(host.size());
    check_cuda(cudaMemcpy(bytes.data(), device, bytes.size(), cudaMemcpyDeviceToHost));
    return bytes;
  }
};

int bytes_of(ElementType type) { return type == ElementType::f32 ? 4 : 2; }

float element(const char* data, size_t i, ElementType type) {
  uint32_t bits = 0;
  if (type == ElementType::f32) {
    std::memcpy(&bits, data + 4 * i, 4);
  } else {
    uint16_t half;
    std::memcpy(&half, data + 2 * i, 2);
    bits = static_cast<uint32_t>(half) << 16;
  }
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

void fill_normal(Buffer& buffer, ElementType type, std::mt19937& random) {
  std::normal_distribution<float> normal;
  const size_t bytes = bytes_of(type);
  for (size_t i = 0; i < buffer.host.size() / bytes; ++i) {
    uint32_t bits;
    const float x = normal(random);
    std::memcpy(&bits, &x, 4);
    if (type == ElementType::bf16) bits >>= 16;  // little-endian: its low bytes are the number
    std::memcpy(buffer.host.data() + i * bytes, &bits, bytes);
  }
  buffer.upload();
}

struct Case {
  int32_t q_heads, kv_heads, head_dim, page_size;
  AttentionParams params;
};

/// A pool of one layer on both sides. Slots begin as NaN: reading one that no row may see shows.
struct Pool {
  Buffer keys, values;
  KvLayer host, device;

  Pool(const Case& c, int32_t pages, ElementType type)
      : keys(size_t{1} * pages * c.kv_heads * c.page_size * c.head_dim * bytes_of(type)),
        values(keys.host.size()) {
    for (Buffer* buffer : {&keys, &values}) {
      std::memset(buffer->host.data(), 0xff, buffer->host.size());
      buffer->upload();
    }
    host = {keys.host.data(), values.host.data(), pages, c.kv_heads, c.page_size, c.head_dim, type};
    device = host;
    device.keys = keys.device;
    device.values = values.device;
  }
  bool same() const { return keys.downloaded() == keys.host && values.downloaded() == values.host; }
};

void check_close(const Buffer& expected, const std::vector<char>& got, ElementType type) {
  // Both sum in fp32, in different orders; bf16 results may round to neighbours.
  const float relative = type == ElementType::f32 ? 2e-5f : 8e-3f;
  for (size_t i = 0; i < got.size() / bytes_of(type); ++i) {
    const float x = element(expected.host.data(), i, type), y = element(got.data(), i, type);
    if (!(std::abs(x - y) <= relative * std::max(0.1f, std::abs(x)))) {
      std::fprintf(stderr, "element %zu: %g on the CPU, %g on the device\n", i, x, y);
      CHECK(false);
    }
  }
}

/// One step of one layer on both sides: append, then attend.
void step(const Plan& plan, const Case& c, Pool& pool, std::mt19937& random, cudaStream_t stream) {
  const ElementType type = pool.host.type;
  const int64_t kv = int64_t{c.kv_heads} * c.head_dim, q = int64_t{c.q_heads} * c.head_dim;
  Buffer keys(plan.n_rows * kv * bytes_of(type)), values(plan.n_rows * kv * bytes_of(type));
  Buffer query(plan.n_rows * q * bytes_of(type)), out(plan.n_rows * q * bytes_of(type));
  for (Buffer* buffer : {&keys, &values, &query}) fill_normal(*buffer, type, random);
  std::memset(out.host.data(), 0xff, out.host.size());
  out.upload();

  AttentionScratch cpu_scratch;
  append(plan, pool.host, {keys.host.data(), kv, c.head_dim}, {values.host.data(), kv, c.head_dim});
  // Heads outside: the queries are read, and the results written, by their strides.
  const int64_t outer = int64_t{plan.n_rows} * c.head_dim;
  attend(plan, pool.host, {query.host.data(), c.head_dim, outer}, c.q_heads,
         {out.host.data(), q, c.head_dim}, c.params, cpu_scratch);

  const cuda::DevicePlan device_plan(plan, pool.device, stream);
  Buffer scratch(cuda::partials_bytes(device_plan, c.q_heads, c.head_dim));
  std::memset(scratch.host.data(), 0xff, scratch.host.size());
  scratch.upload();
  cuda::append(device_plan, pool.device, {keys.device, kv, c.head_dim},
               {values.device, kv, c.head_dim}, stream);
  cuda::attend(device_plan, pool.device, {query.device, c.head_dim, outer}, c.q_heads,
               {out.device, q, c.head_dim}, c.params, scratch.device, stream);
  check_cuda(cudaStreamSynchronize(stream));
  CHECK(pool.same());
  check_close(out, out.downloaded(), type);
}

/// Two prompts, one of them longer than two chunks, then branches that grow for a few steps.
void random_trees(const Case& c, ElementType type, int seed, cudaStream_t stream) {
  std::mt19937 random(seed);
  const auto below = [&](int32_t n) { return static_cast<int32_t>(random() % n); };
  const int32_t pages = 1024 / c.page_size;
  SpanTree trees(pages, c.page_size);
  Pool pool(c, pages, type);
  std::vector<State> states;
  for (const int32_t length : {1 + below(40), 130 + below(40)}) {
    states.push_back(trees.root(trees.open_tree(std::vector<int32_t>(length, 5))));
  }
  for (int32_t n = 0; n < 4; ++n) {
    for (int32_t i = 0; i < 4; ++i) {
      State state = states[below(static_cast<int32_t>(states.size()))];
      for (int32_t tokens = below(9); tokens >= 0; --tokens) state = trees.extend(state, below(3));
      states.push_back(state);
    }
    StepBatch batch(trees);
    for (const State& state : states) CHECK(batch.add(state));
    batch.finish(8);  // padding rows see no key
    step(batch.plan(), c, pool, random, stream);
    batch.commit();
  }
}

/// A row may have no item, and another may see no key of its items: zeros for both.
void rows_without_keys(const Case& c, ElementType type, cudaStream_t stream) {
  std::mt19937 random(3);
  Pool pool(c, 4, type);
  Plan plan;
  plan.n_rows = 3;
  plan.n_partials = 2;
  plan.query_position = {-1, 0, 1};
  plan.append_slots = {-1, 0, 1};
  plan.slots = {1, 0};
  plan.items = {{1, 3, 0, 1, 1, 0}};  // position 1 alone: hidden from the row at position 0
  plan.reduce_begin = {0, 0, 1, 2};
  plan.reduce_partials = {0, 1};
  step(plan, c, pool, random, stream);
}

void copies(const Case& c, ElementType type, cudaStream_t stream) {
  std::mt19937 random(4);
  Pool pool(c, 5, type);
  fill_normal(pool.keys, type, random);
  fill_normal(pool.values, type, random);
  const int32_t last = 5 * c.page_size - 1;
  const std::vector<int32_t> from = {0, last, 0}, to = {last - 1, 1, 2};
  cuda::copy_slots(pool.device, from, to, stream);
  check_cuda(cudaStreamSynchronize(stream));
  const size_t bytes = c.head_dim * bytes_of(type);
  for (Buffer* buffer : {&pool.keys, &pool.values}) {
    for (size_t i = 0; i < from.size(); ++i) {
      for (int32_t head = 0; head < c.kv_heads; ++head) {
        const auto at = [&](int32_t slot) {
          const size_t row = size_t{1} * (slot / c.page_size * c.kv_heads + head) * c.page_size;
          return buffer->host.data() + (row + slot % c.page_size) * bytes;
        };
        std::memcpy(at(to[i]), at(from[i]), bytes);
      }
    }
  }
  CHECK(pool.same());
}

template <class Call>
bool refused(Call&& call) {
  try {
    call();
  } catch (const InvalidArgument&) {
    return true;
  }
  return false;
}

void wrong_arguments(cudaStream_t stream) {
  const Case c{4, 2, 32, 16, {}};
  Pool pool(c, 4, ElementType::f32);
  Plan plan;
  plan.reduce_begin = {0};
  const cuda::DevicePlan empty(plan, pool.device, stream);
  const auto run = [&](KvLayer layer, int32_t q_heads) {
    cuda::attend(empty, layer, {}, q_heads, {}, {}, nullptr, stream);
  };
  KvLayer large = pool.device, small = pool.device;
  large.head_dim = cuda::kMaxHeadDim + 1;
  small.pages = 3;
  CHECK(!refused([&] { run(pool.device, 4); }));
  CHECK(refused([&] { run(pool.device, 3); }));
  CHECK(refused([&] { run(large, 4); }));
  CHECK(refused([&] { run(small, 4); }));
  CHECK(!refused([&] { cuda::copy_slots(pool.device, {}, {}, stream); }));
  CHECK(refused([&] { cuda::copy_slots(pool.device, {0}, {64}, stream); }));
  CHECK(refused([&] { cuda::copy_slots(pool.device, {0, 1}, {2, 2}, stream); }));
  CHECK(refused([&] { cuda::copy_slots(pool.device, {0, 1}, {1, 2}, stream); }));
  plan.slots = {64};
  CHECK(refused([&] { cuda::DevicePlan(plan, pool.device, stream); }));
}

void run_all() {
  cudaStream_t stream;
  check_cuda(cudaStreamCreate(&stream));
  const std::vector<Case> cases = {
      {4, 2, 32, 16, {0.18f, 0, 0.0f}},   {14, 2, 64, 16, {0.125f, 0, 0.0f}},
      {3, 3, 1, 1, {1.0f, 0, 0.0f}},      {4, 1, 7, 4, {0.4f, 70, 0.0f}},
      {8, 2, 80, 16, {0.11f, 0, 30.0f}},  {2, 1, 48, 64, {0.14f, 1, 0.0f}},
      {6, 2, 33, 8, {0.2f, 5, 2.0f}},     {16, 8, 128, 16, {0.09f, 0, 0.0f}},
      {4, 2, 256, 32, {0.06f, 0, 50.0f}},
  };
  for (const Case& c : cases) {
    for (const ElementType type : {ElementType::f32, ElementType::bf16}) {
      for (int seed = 0; seed < 4; ++seed) random_trees(c, type, seed, stream);
      rows_without_keys(c, type, stream);
      copies(c, type, stream);
    }
  }
  wrong_arguments(stream);
  check_cuda(cudaStreamDestroy(stream));
}

}  // namespace
}  // namespace treeward

int main() {
  if (treeward::cuda::device_count() == 0) {
    std::printf("no CUDA device, skipped\n");
    return treeward::kNoDevice;
  }
  treeward::run_all();
  std::printf("passed\n");
  return 0;
}
