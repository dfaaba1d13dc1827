// Packed products against sums in double; meant for the sanitizers, since buffers are exactly as
// large as they must be.
#include "linear/packed_linear.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "bf16.h"
#include "check.h"
#include "common/huge_pages.h"

namespace treeward {
namespace {

std::unique_ptr<uint16_t[]> random_bf16(size_t n, std::mt19937* random) {
  std::normal_distribution<float> normal;
  auto values = std::make_unique<uint16_t[]>(n);
  for (size_t i = 0; i < n; ++i) values[i] = to_bf16(normal(*random));
  return values;
}

void products_match(int32_t outputs, int32_t inputs, int32_t rows, bool with_bias) {
  std::mt19937 random(outputs + inputs);
  const int64_t weight_stride = inputs + 3, x_stride = inputs + 1, out_stride = outputs + 2;
  // The last row ends with its last element.
  const auto size = [](int64_t n, int64_t stride, int64_t row) { return (n - 1) * stride + row; };
  const auto weight = random_bf16(size(outputs, weight_stride, inputs), &random);
  const auto bias = random_bf16(outputs, &random);
  const auto x = random_bf16(size(rows, x_stride, inputs), &random);
  const size_t n_out = size(rows, out_stride, outputs);
  auto out = std::make_unique<uint16_t[]>(n_out);
  for (size_t i = 0; i < n_out; ++i) out[i] = 0xabcd;

  const PackedLinear linear(weight.get(), weight_stride, with_bias ? bias.get() : nullptr, outputs,
                            inputs);
  linear.multiply(x.get(), x_stride, rows, out.get(), out_stride);
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t output = 0; output < outputs; ++output) {
      double sum = with_bias ? from_bf16(bias[output]) : 0.0;
      for (int32_t input = 0; input < inputs; ++input) {
        sum += double{from_bf16(weight[output * weight_stride + input])} *
               from_bf16(x[row * x_stride + input]);
      }
      const double found = from_bf16(out[row * out_stride + output]);
      CHECK(std::abs(found - sum) <= std::abs(sum) / 256 + 1e-4);
    }
  }
  for (int32_t row = 0; row + 1 < rows; ++row) {
    for (int64_t i = outputs; i < out_stride; ++i) CHECK(out[row * out_stride + i] == 0xabcd);
  }
}

void several_products_have_the_bits_of_one() {
  std::mt19937 random(7);
  constexpr int32_t kInputs = 1540, kRows = 70;
  const int32_t outputs[] = {300, 1, 64};
  const auto x = random_bf16(size_t{kRows} * kInputs, &random);
  std::vector<PackedLinear> layers;
  std::vector<std::vector<uint16_t>> together, alone;
  for (const int32_t n : outputs) {
    const auto weight = random_bf16(size_t{kInputs} * n, &random);
    layers.emplace_back(weight.get(), kInputs, nullptr, n, kInputs);
    together.emplace_back(size_t{kRows} * n);
    alone.emplace_back(size_t{kRows} * n);
  }
  std::vector<PackedLinear::Product> products;
  for (size_t i = 0; i < layers.size(); ++i) {
    products.push_back({&layers[i], together[i].data(), outputs[i]});
    layers[i].multiply(x.get(), kInputs, kRows, alone[i].data(), outputs[i]);
  }
  PackedLinear::multiply(products, x.get(), kInputs, kRows);
  for (size_t i = 0; i < layers.size(); ++i) CHECK(together[i] == alone[i]);
}

void huge_pages_are_shared_and_kept_apart() {
  std::vector<std::shared_ptr<void>> pieces;
  const size_t sizes[] = {1, 64, 65, 3 << 20, 40 << 20, 100, 33 << 20};
  for (size_t i = 0; i < std::size(sizes); ++i) {
    pieces.push_back(shared_huge_pages(sizes[i]));
    CHECK(reinterpret_cast<uintptr_t>(pieces[i].get()) % 64 == 0);
    std::memset(pieces[i].get(), static_cast<int>(i + 1), sizes[i]);
  }
  pieces[1].reset();  // its neighbours stay
  for (size_t i = 0; i < std::size(sizes); ++i) {
    if (pieces[i] == nullptr) continue;
    const auto* bytes = static_cast<const unsigned char*>(pieces[i].get());
    CHECK(bytes[0] == i + 1);
    CHECK(bytes[sizes[i] - 1] == i + 1);
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 100; ++i) std::memset(shared_huge_pages(5000).get(), i, 5000);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace treeward

int main() {
  using namespace treeward;
  huge_pages_are_shared_and_kept_apart();
  if (!PackedLinear::available()) return 0;
  products_match(1, 2, 1, false);
  products_match(100, 64, 7, true);
  products_match(300, 130, 65, true);
  products_match(65, 1540, 13, false);
  products_match(70, 3076, 3, true);
  several_products_have_the_bits_of_one();
  return 0;
}
