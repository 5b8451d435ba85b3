#include "base/test.h"

#include <algorithm>
#include <string>

namespace fxquant {
namespace {

std::string names(const std::vector<Isa>& isas) {
  std::string text;
  for (const Isa isa : isas) text += (text.empty() ? "" : " ") + std::string(isa_name(isa));
  return text;
}

TEST(Isa, EveryOneHasANameOfItsOwn) {
  std::vector<std::string> all;
  for (int i = 0; i < kIsaCount; ++i) all.emplace_back(isa_name(static_cast<Isa>(i)));
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_EQ(std::count(all.begin(), all.end(), "unknown"), 0);
}

TEST(Isa, TheBestIsTheLastSupported) { EXPECT_EQ(best_isa(), supported_isas().back()); }

// FXQUANT_TEST_ISAS says what the machine is known to have: without it, one that is not found is tested nowhere.
TEST(Isa, SupportedAreThoseOfTheMachine) {
  const char* known = std::getenv("FXQUANT_TEST_ISAS");
  if (!known) GTEST_SKIP() << "FXQUANT_TEST_ISAS is not set; supported: " << names(supported_isas());
  EXPECT_EQ(names(supported_isas()), known);
}

}  // namespace
}  // namespace fxquant
