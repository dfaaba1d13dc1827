// Reward-guided decoding, token by token (ARGS, RAD): among the most probable next tokens, take
// the one with the best blend of log-probability and reward.
#include <algorithm>
#include <cmath>

#include "common/random.h"
#include "search/factory.h"
#include "search/path_machine.h"

namespace treeward {
namespace {

// Every child is a pass of the reward model: more than a vocabulary is a slip.
constexpr int32_t kMostTopK = 1 << 16;

// blend = logprob + weight * value, a missing value counting as 0. Greedy takes the first best;
// sampled draws from softmax(blend / temperature) with the number (path hash, search seed) fixes.
class Guided final : public PathMachine {
 public:
  Guided(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
      : PathMachine(std::move(arena), reader, seed) {
    top_k_ = reader.integer("top_k", 8, 1, kMostTopK);
    weight_ = reader.number("weight", 1.0, -1e6, 1e6);
    sampled_ = reader.choice("choice", {"greedy", "sampled"}) == 1;
    temperature_ = reader.number("temperature", 1.0, 1e-6, 1e6);
    max_tokens_ = reader.integer("max_tokens", 0, 0);
  }

 private:
  void fill(Request& request) const override {
    request.mode = Mode::kTop;
    request.unit = Unit::kToken;
    request.count = top_k_;
  }

  void received(const Task&, const std::vector<Arrival>& arrivals) override {
    if (arrivals.empty()) {
      end();
      return;
    }
    std::vector<double> blend;
    for (const Arrival& arrival : arrivals) {
      const float value = at(arrival.node).reward;
      blend.push_back(at(arrival.node).logprob + (std::isnan(value) ? 0.0 : weight_ * value));
    }
    const size_t best = std::max_element(blend.begin(), blend.end()) - blend.begin();
    advance(arrivals[sampled_ ? draw(blend, blend[best]) : best].node);
    if (max_tokens_ > 0 && static_cast<int>(at(head()).depth) >= max_tokens_) end();
  }

  size_t draw(std::vector<double>& blend, double largest) const {
    double total = 0.0;
    for (double& entry : blend) total += entry = std::exp((entry - largest) / temperature_);
    double left = philox_uniform(seed(), at(head()).path_hash, 0) * total;
    for (size_t i = 0; i + 1 < blend.size(); ++i) {
      if (left < blend[i]) return i;
      left -= blend[i];
    }
    return blend.size() - 1;
  }

  int32_t top_k_;
  double weight_;
  bool sampled_;
  double temperature_;
  int32_t max_tokens_;
};

}  // namespace

std::unique_ptr<Machine> make_guided(std::shared_ptr<Arena> arena, OptionReader& reader,
                                     uint64_t seed) {
  return std::make_unique<Guided>(std::move(arena), reader, seed);
}

}  // namespace treeward
